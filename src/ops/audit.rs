//! Two judges on the pairs of a run: which features one rewards more than the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use crate::audit::{self, Among, Audit, FEWEST, Judged, Looked, Votes};
use crate::dataset::{locate, read_options};
use crate::describe::FeatureSource;
use crate::export::audit as tables;
use crate::matrix::Matrix;
use crate::pairs::{self, LabelMap, LabelScale, MISSING, Pairs, PairsError, ReadOptions};
use crate::run::{Run, RunError, Source};
use crate::store::{StoreError, write_json};

/// Whose labels are held against whose.
#[derive(Debug, Clone, Default)]
pub struct AuditRequest {
    /// The judge's label column: of the run's dataset, or of `judge_data`.
    pub judge_column: Option<String>,
    /// Columns with the judge's scores of the first and the second response, in the run's dataset.
    pub judge_scores: Option<(String, String)>,
    /// A dataset with the judge's labels of the same pairs, which are joined by their texts.
    pub judge_data: Option<String>,
    /// What the values of the judge's label column mean, one by one.
    pub label_map: Option<LabelMap>,
    /// Which end of its scale is for A.
    pub label_scale: Option<LabelScale>,
    /// Another label column of the run's dataset to hold it against; the run's own labels where none is named.
    pub against: Option<String>,
    /// The folder to write to; `RUN/audit` where none is given.
    pub out: Option<PathBuf>,
    /// Replace files that are no audit.
    pub force: bool,
}

/// What came out, and where it was written.
#[derive(Debug, Clone)]
pub struct Audited {
    /// What differs; nothing where no judge was named.
    pub found: Option<Audit>,
    /// How far the people behind the run's labels agree, where several judged the same pairs.
    pub among: Option<Among>,
    /// What the judge is called; empty where none was named.
    pub judge: String,
    /// What it is held against.
    pub reference: String,
    /// `audit.json` and `audit.csv`.
    pub files: Vec<PathBuf>,
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum AuditError {
    /// No judge.
    #[error(
        "nothing says whose labels to look at{0}\nhint: `--judge-column COLUMN`, `--judge-scores FIRST,SECOND`, or `--judge-data FILE` with the same pairs"
    )]
    NoJudge(&'static str),
    /// Too many judges.
    #[error("`--judge-scores` are columns of the run's own dataset\nhint: leave `{0}` out")]
    Both(&'static str),
    /// The columns are not in one file on disk.
    #[error(
        "scores are read from columns of one dataset on disk, and this run has several sources or one on the Hub\nhint: put them into one file, or download the dataset"
    )]
    Sources,
    /// A column of scores that are no numbers.
    #[error(
        "`{column}` holds `{value}` in row {row}, which is no number\nhint: `--judge-scores` wants two columns of numbers"
    )]
    Score { column: String, value: String, row: usize },
    /// Nothing in common.
    #[error(
        "there are {found} pairs in which both `{judge}` and `{reference}` prefer a response, which is too few ({of} pairs in the run)\nhint: pairs are the same where prompt and both responses are the same; ties say nothing here"
    )]
    Few { judge: String, reference: String, found: usize, of: usize },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds a judge's labels against the run's, and the run's annotators against each other.
///
/// # Errors
/// See [`AuditError`].
pub fn audit(run: &Run, request: &AuditRequest) -> Result<Audited, AuditError> {
    let folder = request.out.clone().unwrap_or_else(|| run.path.join("audit"));
    // Before the work; where there is no folder yet, nothing can be replaced.
    if folder.exists() {
        run.may_write_into(&folder, &["audit.json", "audit.csv"], &[], request.force)?;
    }
    let source = run.source()?;
    let presence = run.presence()?;
    let looked = looked(run);
    let (votes, people) = votes(&source.pairs);
    let among = audit::among(&votes, people, &presence, &looked);
    let no_judge =
        request.judge_column.is_none() && request.judge_scores.is_none() && request.judge_data.is_none();
    let (judge, reference, found) = match no_judge {
        true if request.against.is_some() => return Err(AuditError::NoJudge("")),
        true if among.is_none() => {
            return Err(AuditError::NoJudge(", and there are too few pairs that several annotators judged"));
        }
        true => (String::new(), OWN.to_owned(), None),
        false => {
            let (judge, reference, found) = beside(run, request, &source, &presence, &looked)?;
            (judge, reference, Some(found))
        }
    };
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: folder.clone(),
        source,
    })?;
    run.may_write_into(&folder, &["audit.json", "audit.csv"], &[], request.force)?;
    let (json, csv) = (folder.join("audit.json"), folder.join("audit.csv"));
    write_json(&json, &tables::record(found.as_ref(), among.as_ref(), &judge, &reference))?;
    tables::write(&csv, found.as_ref(), among.as_ref())?;
    Ok(Audited { found, among, judge, reference, files: vec![json, csv] })
}

/// What the labels of the run are called.
const OWN: &str = "the run's labels";

/// The features that are looked at.
fn looked(run: &Run) -> Vec<Looked> {
    (run.features.iter().enumerate())
        .filter(|(_, feature)| {
            feature.speaks() && feature.is_said() && feature.source != FeatureSource::Theme
        })
        // Length is looked at once, as length.
        .filter(|(_, feature)| feature.source == FeatureSource::Known || !feature.is_about("length"))
        .map(|(column, feature)| Looked {
            column,
            feature_id: feature.feature_id.clone(),
            description: feature.description.clone(),
            is_length: feature.is_about("length"),
        })
        .collect()
}

/// What the annotators of the run said of each pair, and how many annotators there are.
fn votes(pairs: &Pairs) -> (Vec<Votes>, usize) {
    let judgements = &pairs.judgements;
    let mut by_pair: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    let mut people = HashSet::new();
    for (at, &pair) in judgements.pair.iter().enumerate() {
        let (label, annotator) = (judgements.label[at], judgements.annotator[at]);
        // Nobody's labels are those of one.
        if !label.is_nan() && annotator != MISSING {
            people.insert(annotator);
            by_pair.entry(pair).or_default().push(f64::from(label));
        }
    }
    let votes = by_pair.into_iter();
    (votes.map(|(pair, labels)| Votes { pair, prompt: prompt(pairs, pair), labels }).collect(), people.len())
}

/// What a pair shares with others; pairs without a prompt share nothing.
fn prompt(pairs: &Pairs, pair: u32) -> u32 {
    let key = pairs.prompt_key[pair as usize];
    if key == MISSING { MISSING / 2 + pair } else { key }
}

/// The judge's name, what it is held against, and what differs.
fn beside(
    run: &Run,
    request: &AuditRequest,
    source: &Source,
    presence: &Matrix,
    looked: &[Looked],
) -> Result<(String, String, Audit), AuditError> {
    let mut notes = Vec::new();
    let (judge, votes) = judge(run, request, source, &mut notes)?;
    let (reference, own) = match &request.against {
        Some(column) => (
            column.clone(),
            relabelled(
                run,
                &source.pairs,
                None,
                Labels { column: Some(column), flag: "--against", ..Labels::default() },
                &mut notes,
            )?,
        ),
        None => (OWN.to_owned(), means(&source.pairs)),
    };
    let (judged, ties) = joined(&source.pairs, &own, &votes);
    for (who, ties) in [(&judge, ties.judge), (&reference, ties.reference)] {
        if ties > 0 {
            notes.push(format!("{ties} pairs in which neither response is preferred by {who} are left out"));
        }
    }
    if judged.pair.len() < FEWEST {
        let of = source.pairs.pair_id.len();
        return Err(AuditError::Few { judge, reference, found: judged.pair.len(), of });
    }
    let missing = votes.iter().filter(|vote| vote.is_none()).count();
    if missing > 0 {
        notes.push(format!("{missing} of {} pairs have no label by {judge}", votes.len()));
    }
    if own == votes {
        notes.push(format!(
            "{judge} says the same as {reference} of every pair: these may be the same labels"
        ));
    }
    let ids = &source.pairs.pair_id;
    let mut found =
        audit::audit(&judged, presence, &run.stated()?, looked, |pair| ids[pair as usize].clone());
    notes.append(&mut found.notes);
    found.notes = notes;
    Ok((judge, reference, found))
}

/// The judge's name, and its preference for A of each pair of the run.
fn judge(
    run: &Run,
    request: &AuditRequest,
    source: &Source,
    notes: &mut Vec<String>,
) -> Result<(String, Vec<Option<f64>>), AuditError> {
    if let Some((first, second)) = &request.judge_scores {
        if request.judge_column.is_some() {
            return Err(AuditError::Both("--judge-column"));
        }
        if request.judge_data.is_some() {
            return Err(AuditError::Both("--judge-data"));
        }
        return Ok((format!("{first}, {second}"), scored(run, &source.pairs, first, second)?));
    }
    let name = match (&request.judge_data, &request.judge_column) {
        (None, None) => return Err(AuditError::NoJudge("")),
        (None, Some(column)) => column.clone(),
        // A column of the same name may be the run's own labels.
        (Some(data), Some(column)) => format!("{column} of {}", file_name(data)),
        (Some(data), None) => file_name(data),
    };
    let labels = Labels {
        column: request.judge_column.as_ref(),
        flag: "--judge-column",
        map: request.label_map.as_ref(),
        scale: request.label_scale,
    };
    Ok((name, relabelled(run, &source.pairs, request.judge_data.as_deref(), labels, notes)?))
}

/// A dataset without the folder that it lies in.
fn file_name(data: &str) -> String {
    let name = data.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
    name.filter(|name| !name.is_empty()).unwrap_or(data).to_owned()
}

/// A label column and what its values mean.
#[derive(Default)]
struct Labels<'a> {
    column: Option<&'a String>,
    /// What the user named it with.
    flag: &'static str,
    map: Option<&'a LabelMap>,
    scale: Option<LabelScale>,
}

/// The labels of another column or another dataset, pair by pair of the run.
fn relabelled(
    run: &Run,
    pairs: &Pairs,
    data: Option<&str>,
    labels: Labels<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<f64>>, AuditError> {
    let own = read_options(&run.manifest.config);
    // What was said of the run's own label column is not true of this one.
    let said = |own: ReadOptions| ReadOptions {
        label_column: labels.column.cloned(),
        label_map: labels.map.cloned(),
        label_scale: labels.scale,
        preference: None,
        // Labels of other pairs than the run's do no harm.
        max_pairs: 0,
        ..own
    };
    let (names, options) = match data {
        Some(data) => (vec![data.to_owned()], said(ReadOptions { seed: own.seed, ..ReadOptions::default() })),
        None => (run.sources(), said(own)),
    };
    let sources = locate(&names, &run.context, &mut ()).map_err(RunError::from)?;
    let (other, _) = pairs::read_all(&sources, &options).map_err(|error| match error {
        // The option that the user typed.
        PairsError::NoColumn { path, flag: "--label-column", name, hint } => {
            PairsError::NoColumn { path, flag: labels.flag, name, hint }
        }
        other => other,
    })?;
    let other = pairs::canonical(other);
    let votes = means(&other);
    let place: HashMap<&str, usize> =
        other.pair_id.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let found: Vec<Option<f64>> =
        pairs.pair_id.iter().map(|id| place.get(id.as_str()).and_then(|at| votes[*at])).collect();
    let lost =
        other.pair_id.len() - pairs.pair_id.iter().filter(|id| place.contains_key(id.as_str())).count();
    if lost > 0 {
        notes.push(format!("{lost} pairs that were judged are not in the run"));
    }
    Ok(found)
}

/// Which response has the higher score, pair by pair.
fn scored(run: &Run, pairs: &Pairs, first: &str, second: &str) -> Result<Vec<Option<f64>>, AuditError> {
    let sources = run.sources();
    let data = match sources.as_slice() {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(AuditError::Sources),
    };
    let numbers = |name: &str| -> Result<Vec<Option<f64>>, AuditError> {
        let texts = pairs::column(data, name, "--judge-scores")?;
        let number = |(row, text): (usize, Option<String>)| match text {
            None => Ok(None),
            Some(text) => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(AuditError::Score { column: name.to_owned(), value: text, row }),
            },
        };
        texts.into_iter().enumerate().map(number).collect()
    };
    let (one, other) = (numbers(first)?, numbers(second)?);
    let mut sums = vec![(0.0, 0.0); pairs.pair_id.len()];
    let judgements = &pairs.judgements;
    for (at, &pair) in judgements.pair.iter().enumerate() {
        let row = judgements.row[at] as usize;
        let (Some(Some(a)), Some(Some(b))) = (one.get(row), other.get(row)) else { continue };
        let first_wins = if a > b {
            1.0
        } else if a < b {
            0.0
        } else {
            0.5
        };
        let vote = if judgements.swapped[at] { 1.0 - first_wins } else { first_wins };
        let slot = &mut sums[pair as usize];
        *slot = (slot.0 + vote, slot.1 + 1.0);
    }
    Ok(sums.into_iter().map(|(sum, n)| (n > 0.0).then(|| sum / n)).collect())
}

/// Mean preference for A, pair by pair.
fn means(pairs: &Pairs) -> Vec<Option<f64>> {
    pairs::mean_labels(pairs).into_iter().map(|label| (!label.is_nan()).then(|| f64::from(label))).collect()
}

/// Pairs in which one of the two prefers neither response.
#[derive(Default)]
struct Ties {
    judge: usize,
    reference: usize,
}

/// The pairs in which both prefer a response. A judge that seldom does says nothing about what the others reward: his ties
/// would look like differences.
fn joined(pairs: &Pairs, reference: &[Option<f64>], judge: &[Option<f64>]) -> (Judged, Ties) {
    let mut judged = Judged::default();
    let mut ties = Ties::default();
    for (pair, (own, vote)) in reference.iter().zip(judge).enumerate() {
        let (Some(own), Some(vote)) = (own, vote) else { continue };
        ties.judge += usize::from(*vote == 0.5);
        ties.reference += usize::from(*own == 0.5);
        if *vote == 0.5 || *own == 0.5 {
            continue;
        }
        judged.pair.push(pair as u32);
        judged.reference.push(*own);
        judged.judge.push(*vote);
        judged.prompt.push(prompt(pairs, pair as u32));
        judged.length.push(f64::from(pairs.length_delta[pair]));
        judged.log_ratio.push(pairs.log_length_ratio.get(pair).map_or(0.0, |ratio| f64::from(*ratio)));
    }
    (judged, ties)
}
