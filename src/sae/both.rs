//! Features of both kinds in one model: a quarter reconstructs, the others are led by words.
//!
//! Either kind finds what the other one misses: what varies most is content, and what words tell is tone, form
//! and phrases. What each is worth was measured (docs/autoencoder.md).
//!
//! ```text
//! encoder   [features, dimensions]: the autoencoder's rows, then the words' rows · θ_autoencoder / θ_words: one θ gates both
//! decoder   the autoencoder's, then least squares of what these leave on the words' activations
//! θ         such that K of all are active per pair
//! ```

use super::train::count_active;
use super::words::fit_decoder;
use super::{
    Checkpoint, Compute, Control, Deltas, Progress, Sae, SaeConfig, SaeError, TrainReport, train_resumable,
    words,
};
use crate::pairs::Pairs;

/// One feature of so many reconstructs.
const ONE_OF: usize = 4;

/// The settings of the two parts: K is shared as M is. No second part for a single feature.
fn parts(config: &SaeConfig) -> (SaeConfig, Option<SaeConfig>) {
    let first = (config.features / ONE_OF).max(1);
    let share = |features: usize| {
        let active = (config.active as f64 * features as f64 / config.features as f64).round() as usize;
        SaeConfig { features, active: active.clamp(1, features), ..config.clone() }
    };
    if first >= config.features {
        return (config.clone(), None);
    }
    (share(first), Some(share(config.features - first)))
}

/// Learns both parts on the pairs `train` of `deltas` `[pairs, dimensions]`; `validation` stops the
/// autoencoder's training and `calibrate` sets θ, as in [`train_resumable`]. Where words tell nothing
/// the features that reconstruct are alone, and a note says so.
///
/// # Errors
/// Those of [`train_resumable`] and [`words::learn`].
#[allow(clippy::too_many_arguments)] // what both parts need
pub fn learn(
    deltas: &dyn Deltas,
    pairs: &Pairs,
    train: &[u32],
    validation: &[u32],
    calibrate: &[u32],
    config: &SaeConfig,
    compute: &Compute,
    checkpoint: Option<&Checkpoint>,
    events: &mut dyn FnMut(Progress) -> Control,
) -> Result<(Sae, TrainReport), SaeError> {
    let (first, second) = parts(config);
    let (mut sae, mut report) =
        train_resumable(deltas, train, validation, calibrate, &first, compute, checkpoint, events)?;
    let Some(second) = second else { return Ok((sae, report)) };
    if events(Progress::Step { epoch: 0, step: 0, steps: 0 }) == Control::Stop {
        return Err(SaeError::Stopped { epoch: report.epochs });
    }
    let (led, words) = match words::learn(deltas, pairs, train, validation, calibrate, &second) {
        Ok(learned) => learned,
        Err(SaeError::NoWords { pairs, terms }) => {
            report.notes.push(format!(
                "{} features, all of them by reconstruction: for those led by words, {terms} terms that differ \
                 in at least 5 of {pairs} training pairs are too few",
                report.features
            ));
            return Ok((sae, report));
        }
        Err(error) => return Err(error),
    };
    let own = sae.features();
    let by = if sae.threshold > 0.0 && led.threshold > 0.0 { sae.threshold / led.threshold } else { 1.0 };
    sae.encoder.values.extend(led.encoder.values.iter().map(|weight| weight * by));
    sae.decoder.values.extend(led.decoder.values);
    report.features = sae.features();
    report.active = config.active.min(report.active + words.active);
    report.notes.extend(words.notes);

    let measured = if validation.is_empty() { train } else { validation };
    let calibrate = if calibrate.is_empty() { measured } else { calibrate };
    sae.calibrate(deltas, calibrate, report.active)?;
    fit_decoder(&mut sae, own, deltas, train, validation)?;
    report.nmse = sae.nmse(deltas, Some(measured), report.features)?;
    report.nmse_prefixes.push((report.features, report.nmse));
    let active = count_active(&sae, deltas, measured)?;
    report.active_mean = active.iter().sum::<usize>() as f64 / measured.len().max(1) as f64;
    report.dead = count_active(&sae, deltas, train)?.iter().filter(|&&n| n == 0).count();
    Ok((sae, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_ones_are_shared_as_the_features_are() {
        let of = |features, active| {
            let (first, second) = parts(&SaeConfig { features, active, ..SaeConfig::default() });
            let second = second.map(|second| (second.features, second.active));
            ((first.features, first.active), second)
        };
        assert_eq!(of(64, 32), ((16, 8), Some((48, 24))));
        assert_eq!(of(96, 96), ((24, 24), Some((72, 72))));
        assert_eq!(of(10, 1), ((2, 1), Some((8, 1))));
        assert_eq!(of(2, 1), ((1, 1), Some((1, 1))));
        assert_eq!(of(1, 1), ((1, 1), None));
    }
}
