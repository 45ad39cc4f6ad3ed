//! A finished run that is being looked at: what is read once, and what is made in the background.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use serde_json::Value;
use wimhf::constitution::edits::EditFile;
use wimhf::contexts::{self, Context as Kind};
use wimhf::describe::known::ConceptBank;
use wimhf::describe::{Feature, FeatureSource};
use wimhf::effects::table::EffectRow;
use wimhf::featurizer::SentenceReader;
use wimhf::ops::rate::MODEL_COLUMNS;
use wimhf::pairs::{self, MISSING, Pairs};
use wimhf::relabel::review::proposals;
use wimhf::relabel::unsafe_content::Reader;
use wimhf::run::Source;
use wimhf::sae::DeviceChoice;
use wimhf::score::{Lengths, Weights};
use wimhf::store::Estimate;
use wimhf::{ConstitutionSample, Context, Error, RelabelRequest, Run};

use crate::columns::Columns;
use crate::error::ExploreError;
use crate::journal::Journal;
use crate::presence::Presence;
use crate::search::Search;

/// Pairs by which rows beyond the preset's are proposed for review.
const UNEXPECTED: usize = 100;
/// Pairs up to which the preset reads all texts by itself.
const READ: usize = 100_000;
/// How sure the run must be of the other response before a label counts as unexpected.
const SURE: f32 = 0.75;

/// A change that is proposed for a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Index of the pair.
    #[serde(skip)]
    pub pair: u32,
    /// Row of the source, from 0.
    pub row: u32,
    /// `flip`, `drop`, `tie`, `weight`.
    pub action: String,
    /// How certain, 0 to 1.
    pub score: f64,
    /// Why, in words.
    pub reason: String,
    /// The rule that proposed it.
    pub rule: String,
}

/// Proposals and where they come from.
#[derive(Debug, Default)]
pub struct Candidates {
    /// The most certain first.
    pub all: Vec<Candidate>,
    /// In a sentence.
    pub source: String,
}

/// The models whose responses are compared.
#[derive(Debug, Default)]
pub struct Models {
    /// Their names, the most frequent first.
    pub names: Vec<String>,
    /// Index of A's and B's model, [`MISSING`] where none is named, `[pairs]`.
    pub of: Vec<[u32; 2]>,
}

/// A run, opened.
pub struct Opened {
    /// The run.
    pub run: Run,
    /// Its pairs, in the rows' order of its tables.
    pub source: Source,
    /// Mean label of each pair for A (NaN without one) and the number of labels, `[pairs]`.
    pub labels: Vec<(f32, u32)>,
    /// Graded activations.
    pub activations: Columns,
    /// −1, 0, +1.
    pub present: Columns,
    /// Detectors.
    pub bank: ConceptBank,
    /// What finds features in sentences.
    pub reader: SentenceReader,
    /// Features in the order in which they are shown: principles, those that speak, the others.
    pub order: Vec<usize>,
    /// Without annotators, models and obvious personal data.
    pub anonymise: bool,
    /// What people decided.
    pub journal: Journal,
    /// Numbers of the judgements of each pair: where they begin, and they.
    judgements: (Vec<u32>, Vec<u32>),
    search: OnceLock<Search>,
    presence: OnceLock<Presence>,
    chances: OnceLock<Option<Vec<f32>>>,
    kinds: OnceLock<Vec<Kind>>,
    models: OnceLock<Models>,
    candidates: OnceLock<Candidates>,
    /// What the constitution is tried on, and what it was with which edits: one is made at a time.
    pub(crate) constitution: Mutex<Tried>,
    /// Done, in millionths; and what went wrong.
    progress: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// See [`Opened::constitution`].
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Some of the labels, with what was measured in their pairs.
    pub(crate) sample: Option<ConstitutionSample<'static>>,
    /// The edits, and what is shown with them.
    pub(crate) last: Option<(EditFile, Value)>,
}

/// Where the explorer keeps its own files.
pub fn folder(run: &Path) -> PathBuf {
    run.join("explore")
}

impl Opened {
    /// Opens a run and reads its dataset; what takes longer is made by [`Self::prepare`].
    ///
    /// # Errors
    /// Where the run or its dataset is gone, damaged or of another version.
    pub fn open(path: &Path, anonymise: bool, context: &Context) -> Result<Self, ExploreError> {
        let run = Run::open_in(path, context).map_err(Error::from)?;
        let source = run.source().map_err(Error::from)?;
        let bank = run.bank().map_err(Error::from)?;
        let reader = SentenceReader::of(&run, DeviceChoice::Cpu).map_err(Error::from)?;
        let count = source.pairs.pair_id.len();
        let labels = mean_labels(&source.pairs);
        let judgements = by_pair(&source.pairs.judgements.pair, count);
        let order = order(&run);
        Ok(Self {
            activations: Columns::new(&run.path.join("activations.parquet"), count),
            present: Columns::new(&run.path.join("presence.parquet"), count),
            journal: Journal::open(&folder(&run.path)),
            run,
            source,
            labels,
            bank,
            reader,
            order,
            anonymise,
            judgements,
            search: OnceLock::new(),
            presence: OnceLock::new(),
            chances: OnceLock::new(),
            kinds: OnceLock::new(),
            models: OnceLock::new(),
            candidates: OnceLock::new(),
            constitution: Mutex::default(),
            progress: AtomicU64::new(0),
            trouble: Mutex::new(None),
        })
    }

    /// Makes what takes long; called once, in a thread of its own. What fails is told by [`Self::trouble`].
    pub fn prepare(&self) {
        let step = |from: f64, to: f64| move |done: f64| self.tell(from + (to - from) * done);
        let features: Vec<(usize, String)> = (self.run.features.iter().enumerate())
            .map(|(at, feature)| (at, feature.feature_id.clone()))
            .filter(|(at, _)| self.run.features[*at].is_said() || self.run.features[*at].speaks())
            .collect();
        match Presence::read(&self.present, &features, self.labels.len(), step(0.0, 0.2)) {
            Ok(found) => drop(self.presence.set(found)),
            Err(error) => self.blame(&error),
        }
        let _ = self.chances.set(self.read_chances().unwrap_or_default());
        let _ = self.models.set(self.read_models());
        match Search::of(&folder(&self.run.path), self, step(0.2, 0.7)) {
            Ok(found) => drop(self.search.set(found)),
            Err(error) => self.blame(&error),
        }
        self.tell(0.7);
        let _ = self.candidates.set(self.read_candidates());
        self.tell(0.8);
        let _ = self.kinds.set(self.read_kinds());
        self.tell(1.0);
    }

    fn tell(&self, done: f64) {
        self.progress.store((done * 1e6) as u64, Ordering::Relaxed);
    }

    fn blame(&self, error: &ExploreError) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    /// How much of [`Self::prepare`] is done, 0 to 1.
    pub fn progress(&self) -> f64 {
        self.progress.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// What could not be made, in a sentence.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn made<'a, T>(&self, cell: &'a OnceLock<T>, what: &'static str) -> Result<&'a T, ExploreError> {
        cell.get().ok_or_else(|| match self.trouble() {
            Some(trouble) if self.progress() >= 1.0 => ExploreError::missing(trouble, ""),
            _ => ExploreError::NotYet { what, progress: self.progress() },
        })
    }

    /// The full text.
    ///
    /// # Errors
    /// While it is being made.
    pub fn search(&self) -> Result<&Search, ExploreError> {
        self.made(&self.search, "the index of all texts")
    }

    /// Which features are in which pairs.
    ///
    /// # Errors
    /// While it is being made.
    pub fn presence(&self) -> Result<&Presence, ExploreError> {
        self.made(&self.presence, "the index of features")
    }

    /// P(A preferred) of each pair; `None` where the run has no labels to learn it from.
    ///
    /// # Errors
    /// While it is being made.
    pub fn chances(&self) -> Result<Option<&Vec<f32>>, ExploreError> {
        Ok(self.made(&self.chances, "what the run expects of each pair")?.as_ref())
    }

    /// Kinds of request.
    ///
    /// # Errors
    /// While they are being made.
    pub fn kinds(&self) -> Result<&[Kind], ExploreError> {
        Ok(self.made(&self.kinds, "the kinds of request")?)
    }

    /// The models whose responses are compared.
    ///
    /// # Errors
    /// While they are being read.
    pub fn models(&self) -> Result<&Models, ExploreError> {
        self.made(&self.models, "the models' names")
    }

    /// Changes that are proposed.
    ///
    /// # Errors
    /// While they are being made.
    pub fn candidates(&self) -> Result<&Candidates, ExploreError> {
        self.made(&self.candidates, "the list of labels to look at")
    }

    /// The index of a pair.
    ///
    /// # Errors
    /// Where there is none of that id.
    pub fn pair(&self, id: &str) -> Result<usize, ExploreError> {
        let ids = &self.source.pairs.pair_id;
        // They stand in their order (`pairs::canonical`).
        ids.binary_search_by(|own| own.as_str().cmp(id)).map_err(|_| {
            ExploreError::missing(
                format!("the run has no pair `{}`", shorten(id)),
                "is it from another run, or from before a change of the dataset?",
            )
        })
    }

    /// The index of a feature by any of its names.
    ///
    /// # Errors
    /// Where there is none, with the nearest.
    pub fn feature(&self, name: &str) -> Result<usize, ExploreError> {
        self.run.feature(name).map_err(|error| {
            let error = Error::from(error);
            ExploreError::missing(error.what.clone(), error.hint.clone().unwrap_or_default())
        })
    }

    /// Numbers of a pair's judgements.
    pub fn judgements(&self, pair: usize) -> &[u32] {
        let (starts, all) = &self.judgements;
        let from = starts.get(pair).copied().unwrap_or(0) as usize;
        let to = starts.get(pair + 1).copied().unwrap_or(0) as usize;
        all.get(from..to).unwrap_or_default()
    }

    /// A text as it is shown.
    pub fn shown(&self, text: &str) -> String {
        if self.anonymise { wimhf::report::anonymise::mask(text).into_owned() } else { text.to_owned() }
    }

    /// How much more often the side with a feature wins.
    pub fn win(&self, feature: usize) -> Option<Estimate> {
        win(self.effect(feature)?)
    }

    /// All figures of a feature's effect.
    pub fn effect(&self, feature: usize) -> Option<&EffectRow> {
        self.run.effects.rows.get(feature)?.as_ref()
    }

    /// The principle that a feature makes: its rank, from 1.
    pub fn principle(&self, feature: usize) -> Option<&wimhf::constitution::Principle> {
        let id = &self.run.features[feature].feature_id;
        self.run.findings.principles.iter().find(|principle| principle.feature_ids.contains(id))
    }

    /// How strongly a feature is there, signed: more in A above zero.
    ///
    /// # Errors
    /// Where the column cannot be read.
    pub fn strength(&self, feature: usize) -> Result<Arc<Vec<f32>>, ExploreError> {
        let own = &self.run.features[feature];
        let table = if own.is_worded() { &self.present } else { &self.activations };
        table.get(&own.feature_id)
    }

    /// P(A preferred) from the run's own weights, column by column.
    fn read_chances(&self) -> Result<Option<Vec<f32>>, ExploreError> {
        let Ok(weights) = Weights::of(&self.run) else { return Ok(None) };
        let fitted = &weights.full;
        let pairs = &self.source.pairs;
        let mut sums: Vec<f64> =
            (0..self.labels.len()).map(|pair| fitted.score(&[], Lengths::of(pairs, pair), &[])).collect();
        if let Ok(kinds) = contexts::Kinds::new(weights.contexts.clone())
            && !fitted.by_context.is_empty()
        {
            let columns: Vec<Vec<f32>> = (fitted.by_context.iter())
                .map(|own| self.activations.read(&weights.features[own.feature]))
                .collect::<Result<_, _>>()?;
            for (pair, sum) in sums.iter_mut().enumerate() {
                let inside = kinds.of(pairs.prompt.get(pair));
                let there = fitted.by_context.iter().zip(&columns).filter(|(own, _)| inside[own.context]);
                *sum += there.map(|(own, column)| own.weight * f64::from(column[pair])).sum::<f64>();
            }
        }
        for (id, weight) in weights.features.iter().zip(&fitted.weights).filter(|(_, weight)| **weight != 0.0)
        {
            let column = self.activations.read(id)?;
            sums.iter_mut().zip(column).for_each(|(sum, value)| *sum += weight * f64::from(value));
        }
        Ok(Some(sums.into_iter().map(|sum| fitted.probability(sum) as f32).collect()))
    }

    fn read_kinds(&self) -> Vec<Kind> {
        let seed = self.run.manifest.config.seed;
        let cancel = &self.run.context.cancel;
        let found = Reader::new(None)
            .ok()
            .and_then(|reader| contexts::found(&self.source.pairs, seed, &reader, cancel).ok());
        let mut kinds = found.map(|found| found.contexts).unwrap_or_default();
        // Those that the run looked at: the others divide too little.
        if let Ok(bytes) = wimhf::limits::read(self.run.path.join("contexts.json"))
            && let Ok(known) = serde_json::from_slice::<contexts::Contexts>(&bytes)
        {
            let ids: Vec<&str> = known.contexts.iter().map(|kind| kind.context_id.as_str()).collect();
            kinds.retain(|kind| ids.contains(&kind.context_id.as_str()));
        }
        kinds
    }

    fn read_models(&self) -> Models {
        let nobody = Models { names: Vec::new(), of: Vec::new() };
        let sources = self.run.sources();
        let [data] = sources.as_slice() else { return nobody };
        if self.anonymise || data.starts_with("hf://") {
            return nobody;
        }
        let Ok(Some((first, second))) = pairs::find_columns(data, &MODEL_COLUMNS) else { return nobody };
        let read = |name: &str| pairs::column(data, name, "--model-columns");
        let (Ok(first), Ok(second)) = (read(&first), read(&second)) else { return nobody };
        models_of(&self.source.pairs, &first, &second)
    }

    /// What a review of the run proposes, what the preset would propose, and labels that the run did not expect.
    fn read_candidates(&self) -> Candidates {
        let pairs = &self.source.pairs;
        let table = self.run.path.join("relabel/review.csv");
        let of = |decision: &wimhf::relabel::Decision| of_decision(pairs, decision);
        let mut all: Vec<Candidate> = proposals(&table, pairs).unwrap_or_default().iter().map(of).collect();
        let mut source = "They come from the table that `wimhf relabel` left.".to_owned();
        if all.is_empty() && self.labels.len() > READ {
            source = format!(
                "`wimhf relabel RUN --preset safety` adds those that may reward harm: it reads every text, which takes long for {} pairs.",
                wimhf::report::text::thousands(self.labels.len())
            );
        } else if all.is_empty() {
            let request = RelabelRequest { safety: true, dry_run: true, ..RelabelRequest::default() };
            if let Ok(found) = self.run.relabel(&request, &mut ()) {
                all = found.decisions.marked.iter().map(of).collect();
            }
            source = "They come from the preset for safety: labels that may reward harm.".to_owned();
        }
        let marked = all.len();
        all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        all.extend(self.unexpected(&all));
        if all.len() > marked {
            source += &format!(
                " {} more are labels where what the run knows points clearly to the other response.",
                all.len() - marked
            );
        }
        Candidates { all, source }
    }

    /// Labels that go against what the run expects, the least expected first.
    fn unexpected(&self, known: &[Candidate]) -> Vec<Candidate> {
        let Some(Some(chances)) = self.chances.get() else { return Vec::new() };
        let judgements = &self.source.pairs.judgements;
        let mut found: Vec<(f32, u32)> = Vec::new();
        for (at, (&pair, &label)) in judgements.pair.iter().zip(&judgements.label).enumerate() {
            let chance = chances[pair as usize];
            let other = if label > 0.5 { 1.0 - chance } else { chance };
            if !label.is_nan() && label != 0.5 && other >= SURE {
                found.push((other, at as u32));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let rows: std::collections::HashSet<u32> = known.iter().map(|one| one.row).collect();
        let new = found.into_iter().filter(|(_, at)| !rows.contains(&judgements.row[*at as usize]));
        new.take(UNEXPECTED)
            .map(|(sure, at)| Candidate {
                pair: judgements.pair[at as usize],
                row: judgements.row[at as usize],
                action: "flip".to_owned(),
                score: f64::from(sure),
                reason: format!(
                    "from what annotators reward elsewhere, the run would have expected the other response ({:.0} %)",
                    100.0 * sure
                ),
                rule: "unexpected".to_owned(),
            })
            .collect()
    }
}

/// A mark of the preset as a proposal.
fn of_decision(pairs: &Pairs, decision: &wimhf::relabel::Decision) -> Candidate {
    Candidate {
        pair: decision.pair,
        row: pairs.judgements.row[decision.judgement as usize],
        action: decision.action.name().to_owned(),
        score: decision.score,
        reason: decision.reason.clone(),
        rule: decision.rules.join(", "),
    }
}

/// The win rate of an effect that has one.
pub fn win(row: &EffectRow) -> Option<Estimate> {
    Some(Estimate { value: row.win_delta?, low: row.win_low?, high: row.win_high?, n: row.win_n })
}

/// Features as they are shown: principles by rank, then what speaks and then the others by the size of their effect.
fn order(run: &Run) -> Vec<usize> {
    let rank = |feature: &Feature| {
        let of = |p: &&wimhf::constitution::Principle| p.feature_ids.first() == Some(&feature.feature_id);
        run.findings.principles.iter().find(of).map_or(usize::MAX, |principle| principle.rank)
    };
    let size = |at: usize| {
        let row = run.effects.rows.get(at).and_then(Option::as_ref);
        row.and_then(|row| row.win_delta).map_or(-1.0, f64::abs)
    };
    let group = |feature: &Feature| match feature.source {
        _ if !feature.is_said() => 2,
        FeatureSource::Theme => 1,
        _ => u8::from(!feature.speaks()),
    };
    let mut order: Vec<usize> = (0..run.features.len()).collect();
    order.sort_by(|&a, &b| {
        let (x, y) = (&run.features[a], &run.features[b]);
        let by = |x: &Feature| (rank(x), group(x));
        by(x).cmp(&by(y)).then(size(b).total_cmp(&size(a))).then(a.cmp(&b))
    });
    order
}

/// Mean label and number of labels of each pair.
fn mean_labels(pairs: &Pairs) -> Vec<(f32, u32)> {
    let mut counts = vec![0u32; pairs.pair_id.len()];
    let judgements = &pairs.judgements;
    for (&pair, label) in judgements.pair.iter().zip(&judgements.label) {
        counts[pair as usize] += u32::from(!label.is_nan());
    }
    pairs::mean_labels(pairs).into_iter().zip(counts).collect()
}

/// Numbers of what belongs to each pair: where they begin, and they.
fn by_pair(pair: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; count + 1];
    pair.iter().for_each(|&pair| starts[pair as usize + 1] += 1);
    for at in 0..count {
        starts[at + 1] += starts[at];
    }
    let mut next = starts.clone();
    let mut all = vec![0; pair.len()];
    for (at, &pair) in pair.iter().enumerate() {
        all[next[pair as usize] as usize] = at as u32;
        next[pair as usize] += 1;
    }
    (starts, all)
}

/// The models of each pair, from the models of each row's first and second response.
fn models_of(pairs: &Pairs, first: &[Option<String>], second: &[Option<String>]) -> Models {
    let mut number = std::collections::HashMap::new();
    let mut names: Vec<(String, usize)> = Vec::new();
    let mut of = vec![[MISSING; 2]; pairs.pair_id.len()];
    let judgements = &pairs.judgements;
    for (at, &pair) in judgements.pair.iter().enumerate() {
        let row = judgements.row[at] as usize;
        let slot = &mut of[pair as usize];
        if *slot != [MISSING; 2] {
            continue;
        }
        let mut index = |column: &[Option<String>]| {
            let Some(name) = column.get(row).and_then(Option::as_deref) else { return MISSING };
            let next = names.len() as u32;
            let at = *number.entry(name.to_owned()).or_insert(next);
            if at == next {
                names.push((name.to_owned(), 0));
            }
            names[at as usize].1 += 1;
            at
        };
        let (one, other) = (index(first), index(second));
        *slot = if judgements.swapped[at] { [other, one] } else { [one, other] };
    }
    let mut by: Vec<usize> = (0..names.len()).collect();
    by.sort_by(|&a, &b| names[b].1.cmp(&names[a].1).then_with(|| names[a].0.cmp(&names[b].0)));
    let mut place = vec![MISSING; names.len()];
    by.iter().zip(0u32..).for_each(|(&old, new)| place[old] = new);
    let moved = |at: u32| place.get(at as usize).copied().unwrap_or(MISSING);
    Models {
        names: by.iter().map(|&at| names[at].0.clone()).collect(),
        of: of.into_iter().map(|[a, b]| [moved(a), moved(b)]).collect(),
    }
}

/// An id of somebody else's, short enough for a sentence.
pub(crate) fn shorten(text: &str) -> String {
    wimhf::report::text::excerpt(text, 80)
}
