//! Features on differences: learns them, then how well each of them comes back.

use super::{Checkpoint, Compute, Control, Deltas, Progress, Sae, SaeConfig, SaeError, TrainReport};
use super::{stability, train_resumable};

/// What features are learned from; what a sweep varies is not here.
#[derive(Clone, Copy)]
pub struct TrainData<'a> {
    /// `[pairs, dimensions]`
    pub deltas: &'a dyn Deltas,
    /// Pairs to learn from.
    pub train: &'a [u32],
    /// Pairs that say when to stop.
    pub validation: &'a [u32],
    /// Pairs on which θ is set and stability is measured.
    pub calibrate: &'a [u32],
    /// Where.
    pub compute: &'a Compute,
}

impl TrainData<'_> {
    /// Learns features, and learns them again from either half of the training pairs:
    /// [`TrainReport::stability`] says what came back. It is empty where half of the pairs is too few.
    ///
    /// # Errors
    /// Those of [`train_resumable`].
    pub fn learn(
        &self,
        config: &SaeConfig,
        checkpoint: Option<&Checkpoint>,
        events: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<(Sae, TrainReport), SaeError> {
        let (model, mut report) = self.once(self.train, config, checkpoint, events)?;
        let mut halves = Vec::new();
        for parity in [0, 1] {
            let half: Vec<u32> = self.train.iter().copied().skip(parity).step_by(2).collect();
            let config = SaeConfig { seed: config.seed.wrapping_add(1 + parity as u64), ..config.clone() };
            // Of a half nobody wants to hear losses, but whoever wants to stop is asked.
            let mut ask = |_: Progress| events(Progress::Step { epoch: 0, step: 0, steps: 0 });
            let learned = self.once(&half, &config, None, &mut ask);
            if let Err(stopped @ SaeError::Stopped { .. }) = learned {
                return Err(stopped);
            }
            // Half of a small dataset may be too small; its stability is unknown then, not zero.
            halves.extend(learned.ok().map(|(half, _)| half));
        }
        if halves.len() == 2 {
            report.stability = stability(&model, &halves, self.deltas, self.calibrate)?;
        }
        Ok((model, report))
    }

    fn once(
        &self,
        train: &[u32],
        config: &SaeConfig,
        checkpoint: Option<&Checkpoint>,
        events: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<(Sae, TrainReport), SaeError> {
        let Self { deltas, validation, calibrate, compute, .. } = *self;
        train_resumable(deltas, train, validation, calibrate, config, compute, checkpoint, events)
    }
}
