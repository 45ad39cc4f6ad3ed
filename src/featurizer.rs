//! A finished run applied to other pairs: its embedder, its autoencoders, its detectors and its themes.

use crate::context::Context;
use crate::describe::presence::Firing;
use crate::describe::sentence_features::SentenceModels;
use crate::describe::{Feature, FeatureSource, Wording, beside, contrast, known::ConceptBank};
use crate::embed::Embedder;
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::run::{Run, RunEmbedder, RunError};
use crate::sae::{DeviceChoice, Sae};
use crate::sentences::{SentenceTable, split};

/// Everything that turns a pair into the run's features.
///
/// A pair's activations do not depend on the pairs that it comes with, so those of the run's own pairs are
/// what stands in its `activations.parquet`.
pub struct Featurizer {
    /// `None` where the run's vectors were the user's own.
    embedder: Option<RunEmbedder>,
    sentences: SentenceReader,
    sae: Sae,
    bank: ConceptBank,
    themes: Vec<Vec<String>>,
}

/// What finds a run's features in sentences.
pub struct SentenceReader {
    models: SentenceModels,
    /// The autoencoder over differences, where sentences lie in its space.
    difference: Option<Sae>,
    embedder: Box<dyn Embedder>,
    context: Context,
    /// The level from which on each feature of `models` is there.
    clear: Vec<f32>,
    /// Whether each is there only where its phrases stand, and the phrases.
    worded: Vec<bool>,
    wording: Wording,
    /// The ids of these features, and of those on differences.
    ids: [Vec<String>; 2],
}

/// Share of the way from a pair's mean sentence to its strongest, from which on a sentence carries a feature on
/// differences.
const CARRIES: f32 = 0.6;

impl SentenceReader {
    /// The run's own.
    ///
    /// # Errors
    /// Where its files cannot be read, or its embedder is not what it was.
    pub fn of(run: &Run, device: DeviceChoice) -> Result<Self, RunError> {
        let difference = run.autoencoder()?.0;
        let own = run.manifest.config.data.embedding_columns.is_some();
        let embedder = run.sentence_embedder(device)?;
        Ok(Self::new(
            run.sentence_models()?,
            (!own).then_some(difference),
            embedder,
            &run.features,
            &run.context,
        ))
    }

    /// Of models whose features stand among `features`.
    pub fn new(
        models: SentenceModels,
        difference: Option<Sae>,
        embedder: Box<dyn Embedder>,
        features: &[Feature],
        context: &Context,
    ) -> Self {
        let ids = |is: &dyn Fn(FeatureSource) -> bool| {
            features.iter().filter(|f| is(f.source)).map(|f| f.feature_id.clone()).collect()
        };
        let read = features.iter().filter(|feature| feature.source.reads_sentences());
        Self {
            models,
            difference,
            embedder,
            context: context.clone(),
            clear: read.clone().map(|feature| feature.clear_level.unwrap_or(f32::INFINITY)).collect(),
            worded: read.clone().map(Feature::is_worded).collect(),
            wording: Wording::of(read),
            ids: [ids(&FeatureSource::reads_sentences), ids(&|source| source == FeatureSource::Difference)],
        }
    }

    /// What fires in the responses of some pairs.
    fn fire(&self, table: SentenceTable) -> Result<Firing, RunError> {
        Ok(self.models.fire(table, self.embedder.as_ref(), &self.context, &mut ())?)
    }

    /// For each pair of responses the parts of either in which each feature shows: sentences in which one of sentences is
    /// clear, and those that carry one on differences. Byte ranges in order, by the feature's id.
    ///
    /// # Errors
    /// Where the embedder fails.
    pub fn places(&self, pairs: &[[&str; 2]]) -> Result<Vec<[Places; 2]>, RunError> {
        let text =
            |slot: usize| pairs.get(slot / 2).and_then(|pair| pair.get(slot % 2)).copied().unwrap_or("");
        let table = SentenceTable::of_texts(2 * pairs.len(), text);
        let sentence = |at: usize| table.text(at);
        let embedder = self.embedder.as_ref();
        let (z, vectors) = self.models.read(table.len(), &sentence, embedder, &self.context, &mut ())?;
        let along = self.difference.as_ref().map(|sae| times(&vectors, &sae.encoder));
        let find = |pair: usize| -> [Places; 2] {
            let spans = [2 * pair, 2 * pair + 1].map(|slot| (split(text(slot)), table.of(slot)));
            let carries = along.as_ref().map(|along| carrying(along, spans[0].1, spans[1].1));
            spans.map(|(spans, sentences)| {
                let mut found = Places::new();
                for (span, &sentence) in spans.iter().zip(sentences) {
                    let span = (span.start as usize, span.end as usize);
                    let (index, value) = z.row(sentence as usize);
                    let worded = self.wording.in_sentence(table.text(sentence as usize));
                    let clear = |&(feature, z): &(&u32, &f32)| {
                        self.clear.get(*feature as usize).is_some_and(|clear| z >= clear)
                            && (self.worded.get(*feature as usize) != Some(&true) || worded.contains(feature))
                    };
                    for (&feature, _) in index.iter().zip(value).filter(clear) {
                        if let Some(id) = self.ids[0].get(feature as usize) {
                            found.entry(id.clone()).or_default().push(span);
                        }
                    }
                    let carried = along.iter().zip(&carries).flat_map(|(along, least)| {
                        let row = along.row(sentence as usize);
                        self.ids[1].iter().zip(row.iter().zip(least)).filter(|(_, (z, least))| z >= least)
                    });
                    for (id, _) in carried {
                        found.entry(id.clone()).or_default().push(span);
                    }
                }
                found
            })
        };
        Ok((0..pairs.len()).map(find).collect())
    }
}

/// x · encoderᵀ, `[rows, features]`.
fn times(x: &Matrix, encoder: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(x.rows(), encoder.rows());
    for row in 0..x.rows() {
        for feature in 0..encoder.rows() {
            let dot: f32 = x.row(row).iter().zip(encoder.row(feature)).map(|(a, b)| a * b).sum();
            out.row_mut(row)[feature] = dot;
        }
    }
    out
}

/// The projection from which on a sentence carries each feature on differences, in one pair.
fn carrying(along: &Matrix, a: &[u32], b: &[u32]) -> Vec<f32> {
    let count = (a.len() + b.len()).max(1) as f32;
    (0..along.cols)
        .map(|feature| {
            let values = a.iter().chain(b).map(|&sentence| along.row(sentence as usize)[feature]);
            let mean = values.clone().sum::<f32>() / count;
            let most = values.fold(f32::MIN, f32::max);
            mean + CARRIES * (most - mean)
        })
        .collect()
}

/// Parts of a text by the feature that is there.
pub type Places = std::collections::BTreeMap<String, Vec<(usize, usize)>>;

impl Featurizer {
    /// The run's own.
    ///
    /// # Errors
    /// Where its files cannot be read, or its concepts are not what they were.
    pub fn of(run: &Run, device: DeviceChoice) -> Result<Self, RunError> {
        let bank = run.bank()?;
        let of_run = run.features.iter().filter(|feature| feature.source == FeatureSource::Known);
        if !of_run.filter_map(|f| f.concept.as_deref()).eq(bank.concepts().iter().map(|c| c.id.as_str())) {
            return Err(RunError::OtherConcepts { path: run.path.clone(), data: run.data().to_owned() });
        }
        Ok(Self {
            embedder: run.embedder(device)?,
            sentences: SentenceReader::of(run, device)?,
            sae: run.autoencoder()?.0,
            bank,
            themes: run.themes.iter().map(|theme| theme.words.clone()).collect(),
        })
    }

    /// Length of a vector.
    pub fn dimensions(&self) -> usize {
        self.sae.dimensions()
    }

    /// Features of the autoencoders and the dictionary; they come first.
    pub fn found(&self) -> usize {
        self.sentences.models.features() + self.sae.features()
    }

    /// All features.
    pub fn features(&self) -> usize {
        self.found() + self.bank.concepts().len() + self.themes.len()
    }

    /// Whether texts can be embedded, or vectors have to be brought.
    pub fn embeds(&self) -> bool {
        self.embedder.is_some()
    }

    /// The autoencoder over differences.
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
    /// Where the embedder fails, or vectors are not of the autoencoder's size, or not finite.
    pub fn activations(&self, pairs: &Pairs, deltas: &Matrix) -> Result<Matrix, RunError> {
        let firing = self.sentences.fire(SentenceTable::of_pairs(pairs))?;
        let graded = firing.graded(firing.differences(&self.sentences.clear).0);
        self.with_the_rest(&graded, pairs, deltas)
    }

    /// What statements rest on, `[pairs, features]`: see [`Run::stated`], which it is for the run's own pairs.
    ///
    /// # Errors
    /// As for [`Self::activations`].
    pub fn stated(&self, pairs: &Pairs, deltas: &Matrix) -> Result<Matrix, RunError> {
        let reader = &self.sentences;
        let firing = reader.fire(SentenceTable::of_pairs(pairs))?;
        let mut graded = firing.graded(firing.differences(&reader.clear).0);
        let (there, named) = (firing.where_worded(&reader.wording, &reader.clear), reader.wording.features());
        if !named.is_empty() {
            let rows = graded.values.chunks_exact_mut(graded.cols.max(1));
            for (row, there) in rows.zip(there.chunks_exact(named.len())) {
                for (&feature, &there) in named.iter().zip(there) {
                    row[feature as usize] = f32::from(there);
                }
            }
        }
        self.with_the_rest(&graded, pairs, deltas)
    }

    /// The features of sentences and all others, in their order.
    fn with_the_rest(&self, graded: &Matrix, pairs: &Pairs, deltas: &Matrix) -> Result<Matrix, RunError> {
        let known = self.bank.measure(pairs, &mut |_| ());
        let themes = contrast::read(pairs, &self.themes);
        Ok(beside(&beside(&self.arranged(graded, &self.differences(deltas)?), &known), &themes))
    }

    /// The same where only the vectors are known: 0 for every feature but those of the autoencoder over differences.
    ///
    /// # Errors
    /// As for [`Self::activations`].
    pub fn of_vectors(&self, deltas: &Matrix) -> Result<Matrix, RunError> {
        let silent = Matrix::zeros(deltas.rows(), self.sentences.models.features());
        let rest = Matrix::zeros(deltas.rows(), self.features() - self.found());
        Ok(beside(&self.arranged(&silent, &self.differences(deltas)?), &rest))
    }

    fn differences(&self, deltas: &Matrix) -> Result<Matrix, RunError> {
        Ok(self.sae.activations(deltas)?)
    }

    /// Learned features, those on differences, the dictionary's.
    fn arranged(&self, sentences: &Matrix, difference: &Matrix) -> Matrix {
        let learned = self.sentences.models.learned_features();
        let first = sentences.columns(0, learned);
        beside(&beside(&first, difference), &sentences.columns(learned, sentences.cols))
    }
}
