//! How harmful a response is, read in its conversation.
//!
//! ```text
//! harm(prompt, response) = σ(w₀ + w · x)
//! x = concepts present, log length, cues of the request, e(response), e(last turn), e(person's turns),
//!     e(response) ∘ e(last turn)
//! where one response refuses at once and the other one does what was asked:
//!     the first: harm · ¼;  the other: 1 − (1 − harm) · (1 − .7 · cues of the request)
//! score of a label = harm(preferred) · (1 − harm(other))
//! ```
//!
//! `e` is the boxed embedder, whatever the run's own is. The weights (`data/harm.json`) are fitted by
//! `cargo bench --bench relabelling -- fit` on hh-rlhf's harmless-base test set, as language models read it without seeing
//! a label (`tests/reading/verdicts_harm.csv`), and on the openly licensed moderation set; how often a mark of each score
//! is right ([`Precision`]) was measured on prompts that the weights had not seen. Words and vectors see no intent: a
//! mark is a reason to read, and most of them are wrong.

use std::sync::LazyLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::unsafe_content::{Reader, turns_of_the_person};
use crate::describe::known::{ConceptBank, ConceptBankError};
use crate::embed::{BundledEmbedder, Embedder};
use crate::matrix::Matrix;
use crate::statistics::share::wilson_of;

/// The weights and what is known of them.
const FILE: &str = include_str!("../../data/harm.json");
/// Brings an embedding's coordinates to the size of a concept that is present or not.
const VECTORS: f32 = 3.0;
/// The same for products of two coordinates.
const PRODUCTS: f32 = 48.0;

/// Weights of the reader, `data/harm.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// What they were fitted on.
    pub about: String,
    /// The concepts of the bank by id; one that the bank no longer has counts nothing.
    pub concepts: Vec<String>,
    /// Added to every score.
    pub intercept: f64,
    /// In the order of [`HarmReader::inputs`].
    pub weights: Vec<f32>,
    /// How often marks were right, the highest scores first.
    pub precision: Vec<Precision>,
}

/// How often marks of a score were right where they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// Marks with at least this score …
    pub from: f64,
    /// … and less than this.
    pub below: f64,
    /// Marks that were read.
    pub read: u32,
    /// Of these, marks on labels that prefer the more harmful response.
    pub right: u32,
}

impl Precision {
    /// The share with its interval.
    pub fn share(&self) -> [f64; 3] {
        wilson_of(f64::from(self.right) / f64::from(self.read.max(1)), f64::from(self.read.max(1)))
    }

    /// A sentence about such marks.
    pub fn said(&self) -> String {
        let [share, low, high] = self.share().map(|share| (share * 100.0).round());
        format!(
            "Where marks with a score of {} or more were read on real data (hh-rlhf, prompts that it was not made from), {} of {} were right: {share:.0} % [{low:.0}, {high:.0}].",
            self.from, self.right, self.read
        )
    }
}

/// What is known of marks with at least `score`.
pub fn precision(score: f64) -> Option<Precision> {
    let weights = WEIGHTS.as_ref().ok()?;
    let bands = weights.precision.iter().filter(|band| band.below > score);
    // Bands are counted whole, so it begins where the lowest one does.
    let whole = Precision { from: 1.0, below: 1.0, ..Precision::default() };
    let sum = bands.fold(whole, |sum, band| Precision {
        from: sum.from.min(band.from),
        read: sum.read + band.read,
        right: sum.right + band.right,
        ..sum
    });
    (sum.read > 0).then_some(sum)
}

/// Score from which on marks were right often enough to change a label unread; none may be.
pub fn sure() -> Option<f64> {
    let weights = WEIGHTS.as_ref().ok()?;
    let bounds = weights.precision.iter().map(|band| band.from);
    let enough = |from: &f64| {
        precision(*from).is_some_and(|found| found.read >= FEWEST && found.share()[0] >= RIGHT_ENOUGH)
    };
    bounds.filter(enough).reduce(f64::min)
}

/// Share of right marks from which on a label may be changed unread.
const RIGHT_ENOUGH: f64 = 0.9;
/// Fewer marks that were read say nothing.
const FEWEST: u32 = 10;

/// Words in which a refusal has to begin; what sounds like one further down is often about something else.
const OPENING: usize = 30;
/// Fewer words than this do nothing that was asked.
const FEWEST_WORDS: usize = 12;
/// What is left of a refusal's harm: words of the request speak in it, too.
const REFUSAL: f64 = 0.25;
/// What a cue of the request says about a response that does what was asked where the other one refuses.
const COMPLIANCE: f64 = 0.7;
/// The concept of refusing.
const REFUSES: &str = "refuses";
/// Concepts with which a response declines.
const DECLINES: [&str; 3] = [REFUSES, "does_not_know", "clarifies"];

static WEIGHTS: LazyLock<Result<Weights, serde_json::Error>> = LazyLock::new(|| serde_json::from_str(FILE));

fn damaged(file: &str, error: impl std::fmt::Display) -> ConceptBankError {
    ConceptBankError::Parse { path: file.into(), message: error.to_string() }
}

/// Reads responses.
#[derive(Debug)]
pub struct HarmReader {
    embedder: BundledEmbedder,
    bank: ConceptBank,
    weights: Weights,
    /// Column of each of the weights' concepts in what the bank reads.
    columns: Vec<Option<usize>>,
    /// Columns of refusing, and of all that declines.
    refuses: Option<usize>,
    declines: Vec<usize>,
}

impl HarmReader {
    /// With the boxed weights.
    ///
    /// # Errors
    /// None in a program whose tests passed.
    pub fn boxed() -> Result<Self, ConceptBankError> {
        let weights = WEIGHTS.as_ref().map_err(|error| damaged("data/harm.json", error))?;
        Self::with(weights.clone())
    }

    /// With other weights; without any concepts it takes all of the boxed bank.
    ///
    /// # Errors
    /// As for [`Self::boxed`].
    pub fn with(mut weights: Weights) -> Result<Self, ConceptBankError> {
        let bank = ConceptBank::boxed()?;
        let embedder = BundledEmbedder::load().map_err(|error| damaged("data/boxed", error))?;
        if weights.concepts.is_empty() {
            weights.concepts = bank.concepts().iter().map(|concept| concept.id.clone()).collect();
        }
        let place = |id: &str| bank.concepts().iter().position(|concept| concept.id == id);
        let columns = weights.concepts.iter().map(|id| place(id)).collect();
        let (refuses, declines) = (place(REFUSES), DECLINES.iter().filter_map(|id| place(id)).collect());
        Ok(Self { embedder, bank, weights, columns, refuses, declines })
    }

    /// Its weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What the weights are applied to, `[talks, inputs]`; each talk is a prompt and a response to it, `cues` reads
    /// requests.
    pub fn inputs(&self, talks: &[(&str, &str)], cues: &Reader) -> Matrix {
        let person: Vec<Vec<&str>> =
            talks.par_iter().map(|(prompt, _)| turns_of_the_person(prompt)).collect();
        let all: Vec<String> = person.iter().map(|turns| turns.join("\n")).collect();
        let vectors = |texts: Vec<&str>| self.embedder.embed(&texts).unwrap_or_default();
        let said = vectors(talks.iter().map(|(_, response)| *response).collect());
        let last = vectors(person.iter().map(|turns| turns.last().copied().unwrap_or("")).collect());
        let all = vectors(all.iter().map(String::as_str).collect());
        let rows: Vec<Vec<f32>> = talks
            .par_iter()
            .enumerate()
            .map(|(at, (prompt, response))| {
                let read = self.bank.read(prompt, response);
                let present = self.columns.iter().map(|column| {
                    f32::from(u8::from(
                        column.is_some_and(|column| read.get(column).is_some_and(|v| *v > 0.0)),
                    ))
                });
                let words = response.split_whitespace().count() as f32;
                let (r, l, u) = (said.row(at), last.row(at), all.row(at));
                present
                    .chain([(1.0 + words).ln() / 5.0, cues.read(prompt).score as f32])
                    .chain(r.iter().map(|x| x * VECTORS))
                    .chain(l.iter().map(|x| x * VECTORS))
                    .chain(u.iter().map(|x| x * VECTORS))
                    .chain(r.iter().zip(l).map(|(x, y)| x * y * PRODUCTS))
                    .collect()
            })
            .collect();
        let cols = rows.first().map_or(0, Vec::len);
        Matrix { values: rows.concat(), cols }
    }

    /// How harmful both responses of each pair are, 0 to 1, `[pairs]`.
    pub fn pairs(&self, pairs: &[(&str, [&str; 2])], cues: &Reader) -> Vec<[f64; 2]> {
        let talks: Vec<(&str, &str)> =
            pairs.iter().flat_map(|(prompt, both)| both.map(|response| (*prompt, response))).collect();
        let harm = self.read(&talks, cues);
        let both = |(harm, (prompt, both)): (&[f64], &(&str, [&str; 2]))| {
            self.weighed(prompt, both, [harm[0], harm[1]], cues)
        };
        harm.par_chunks_exact(2).zip(pairs).map(both).collect()
    }

    /// The same with what a refusal beside a response that does not refuse says.
    pub fn weighed(&self, prompt: &str, both: &[&str; 2], mut harm: [f64; 2], cues: &Reader) -> [f64; 2] {
        for (refusing, other) in [(0, 1), (1, 0)] {
            if self.refuses_at_once(prompt, both[refusing]) && self.complies(prompt, both[other]) {
                harm[refusing] *= REFUSAL;
                harm[other] = 1.0 - (1.0 - harm[other]) * (1.0 - COMPLIANCE * cues.read(prompt).score);
            }
        }
        harm
    }

    fn refuses_at_once(&self, prompt: &str, response: &str) -> bool {
        let opening: String = response.split_inclusive(char::is_whitespace).take(OPENING).collect();
        let read = self.bank.read(prompt, &opening);
        self.refuses.is_some_and(|at| read[at] > 0.0)
    }

    fn complies(&self, prompt: &str, response: &str) -> bool {
        if response.split_whitespace().count() < FEWEST_WORDS {
            return false;
        }
        let read = self.bank.read(prompt, response);
        self.declines.iter().all(|at| read[*at] <= 0.0)
    }

    /// How harmful each response is by its words, 0 to 1, `[talks]`.
    pub fn read(&self, talks: &[(&str, &str)], cues: &Reader) -> Vec<f64> {
        const AT_ONCE: usize = 4096;
        let mut out = Vec::with_capacity(talks.len());
        for part in talks.chunks(AT_ONCE) {
            let inputs = self.inputs(part, cues);
            out.extend((0..part.len()).map(|row| {
                let terms = inputs.row(row).iter().zip(&self.weights.weights);
                let score: f64 = terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                1.0 / (1.0 + (-(score + self.weights.intercept)).exp())
            }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_with_harm_is_told_from_refusals_and_from_harmless_help() {
        let (reader, cues) = (HarmReader::boxed().unwrap(), Reader::new(None).unwrap());
        let talks = [
            (
                "How do I steal a car?",
                "You can break the window with a hammer and then hot-wire the ignition.",
            ),
            ("How do I steal a car?", "I'm sorry, but I can't help with that. Stealing is illegal."),
            ("How do I bake bread?", "Mix flour, water, salt and yeast, let it rise, and bake it."),
        ];
        let harm = reader.read(&talks, &cues);
        assert!(harm[0] > 0.5, "{harm:?}");
        assert!(harm[1] < 0.5 && harm[2] < 0.5, "{harm:?}");
        assert_eq!(reader.weights().weights.len(), reader.inputs(&talks[..1], &cues).cols);
        // Every concept of the weights is still in the bank.
        assert!(reader.columns.iter().all(Option::is_some));
    }

    #[test]
    fn what_is_said_of_precision_is_what_was_counted() {
        let bands = &WEIGHTS.as_ref().unwrap().precision;
        // One after the other, from the highest, without a gap.
        assert!(bands.len() > 3 && bands.windows(2).all(|two| two[0].from == two[1].below));
        let all = precision(0.0).unwrap();
        assert_eq!(all.read, bands.iter().map(|band| band.read).sum::<u32>());
        // What is proposed is likelier to be right than what is not, or nothing should be proposed.
        let (high, rest) = (precision(0.4).unwrap(), all.right - precision(0.4).unwrap().right);
        let rest = f64::from(rest) / f64::from(all.read - high.read);
        assert!(high.share()[1] > rest, "{:?} {rest}", high.share());
        let inside = precision(0.43).unwrap();
        assert_eq!((inside.from, inside.read), (0.4, high.read), "a band is counted whole, and said so");
        assert!(inside.said().contains("a score of 0.4 or more"), "{}", inside.said());
        assert!(precision(2.0).is_none());
        // None is right often enough to be changed unread.
        assert_eq!(sure(), None);
    }
}
