//! A finished run applied to other pairs: its embedder, its autoencoder, its detectors and its themes.

use crate::describe::{beside, contrast, known::ConceptBank};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::run::{Run, RunEmbedder, RunError};
use crate::sae::{DeviceChoice, Sae};

/// Everything that turns a pair into the run's features.
///
/// A pair's activations do not depend on the pairs that it comes with, so those of the run's own pairs are
/// what stands in its `activations.parquet`.
pub struct Featurizer {
    /// `None` where the run's vectors were the user's own.
    embedder: Option<RunEmbedder>,
    sae: Sae,
    bank: ConceptBank,
    themes: Vec<Vec<String>>,
}

impl Featurizer {
    /// The run's own.
    ///
    /// # Errors
    /// Where its files cannot be read, or its concepts are not what they were.
    pub fn of(run: &Run, device: DeviceChoice) -> Result<Self, RunError> {
        let bank = run.bank()?;
        let of_run = run.features.iter().filter(|feature| feature.source == "known");
        if !of_run.filter_map(|f| f.concept.as_deref()).eq(bank.concepts().iter().map(|c| c.id.as_str())) {
            return Err(RunError::OtherConcepts { path: run.path.clone(), data: run.data().to_owned() });
        }
        Ok(Self {
            embedder: run.embedder(device)?,
            sae: run.autoencoder()?.0,
            bank,
            themes: run.themes.iter().map(|theme| theme.words.clone()).collect(),
        })
    }

    /// Length of a vector.
    pub fn dimensions(&self) -> usize {
        self.sae.dimensions()
    }

    /// Features by the autoencoder; they come first.
    pub fn learned(&self) -> usize {
        self.sae.features()
    }

    /// All features.
    pub fn features(&self) -> usize {
        self.learned() + self.bank.concepts().len() + self.themes.len()
    }

    /// Whether texts can be embedded, or vectors have to be brought.
    pub fn embeds(&self) -> bool {
        self.embedder.is_some()
    }

    /// The autoencoder.
    pub fn sae(&self) -> &Sae {
        &self.sae
    }

    /// e(A) − e(B), `[pairs, dimensions]`: the pairs' own vectors, else embedded now. `None` where neither is
    /// possible.
    ///
    /// # Errors
    /// Where the embedder fails.
    pub fn deltas(&self, pairs: &Pairs) -> Result<Option<Matrix>, RunError> {
        if let Some(own) = &pairs.own_deltas {
            return Ok(Some(own.clone()));
        }
        let Some(embedder) = &self.embedder else { return Ok(None) };
        Ok(Some(embedder.deltas(pairs, &mut ())?))
    }

    /// Activations `[pairs, features]` in the order of [`Run::features`].
    ///
    /// # Errors
    /// Where the vectors are not of the autoencoder's size, or not finite.
    pub fn activations(&self, pairs: &Pairs, deltas: &Matrix) -> Result<Matrix, RunError> {
        let learned = self.learned_activations(deltas)?;
        let known = self.bank.measure(pairs, &mut |_| ());
        let themes = contrast::read(pairs, &self.themes);
        Ok(beside(&beside(&learned, &known), &themes))
    }

    /// The autoencoder's alone, `[pairs, learned]`: for pairs of which only the vectors are known.
    ///
    /// # Errors
    /// As for [`Self::activations`].
    pub fn learned_activations(&self, deltas: &Matrix) -> Result<Matrix, RunError> {
        Ok(self.sae.activations(deltas)?)
    }
}
