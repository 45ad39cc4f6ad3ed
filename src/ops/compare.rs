//! The same concepts in several runs, or in the groups of one dataset.

use std::path::{Path, PathBuf};

use crate::compare::{self, Measured, Part, Row};
use crate::describe::known::ConceptBank;
use crate::describe::{Feature, FeatureSource};
use crate::export::comparison as record;
use crate::featurizer::SentenceReader;
use crate::matrix::Matrix;
use crate::pairs::{self, PairsError};
use crate::report::{comparison as page, mask};
use crate::run::{Run, RunError, Source};
use crate::sae::DeviceChoice;
use crate::store::{StoreError, output, write_bytes, write_json};

/// What is compared, and where the result goes.
#[derive(Debug, Clone, Default)]
pub struct CompareRequest {
    /// Compare the groups of one run's dataset by this column.
    pub by: Option<String>,
    /// The folder to write to; one beside the first run where none is given.
    pub out: Option<PathBuf>,
    /// Leave personal data out of the page.
    pub anonymise: bool,
}

/// What came out, and where it was written.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What is compared: names and labels of the parts.
    pub parts: Vec<(String, usize)>,
    /// Known concepts, the most surely different first.
    pub known: Vec<Row>,
    /// Learned features that match, with their words in the other run and the cosine of their directions.
    pub learned: Vec<(Row, String, f64)>,
    /// Sentences that the reader should know.
    pub notes: Vec<String>,
    /// The page.
    pub page: PathBuf,
    /// The record.
    pub json: PathBuf,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum CompareError {
    /// A single run and no column.
    #[error(
        "one run alone cannot be compared\nhint: name a second run, or a column of its dataset with `--by COLUMN`"
    )]
    One,
    /// Several runs and a column.
    #[error("`--by` compares the groups of one run\nhint: name one run with it, or leave `--by` out")]
    Both,
    /// More than can be read.
    #[error("{0} runs are too many to read side by side\nhint: name at most {most}", most = compare::MOST_PARTS)]
    Many(usize),
    /// The column is not in one file on disk.
    #[error(
        "`--by` reads a column of one dataset on disk, and this run has several sources or one on the Hub\nhint: analyze each group by itself and compare the runs"
    )]
    Sources,
    /// Too few groups.
    #[error(
        "`{0}` has fewer than two groups with at least {fewest} labels\nhint: choose a column with a few values, each on many rows",
        fewest = compare::FEWEST
    )]
    Groups(String),
    /// Nothing to compare.
    #[error(
        "no concept can be measured in any part: there are too few labels\nhint: `wimhf report RUN` says what each dataset holds"
    )]
    Nothing,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run with what a comparison needs of it.
struct Opened<'r> {
    run: &'r Run,
    source: Source,
    activations: Matrix,
    bank: ConceptBank,
    sentences: SentenceReader,
}

impl<'r> Opened<'r> {
    fn new(run: &'r Run) -> Result<Self, RunError> {
        let sentences = SentenceReader::of(run, DeviceChoice::Auto)?;
        Ok(Self { run, source: run.source()?, activations: run.stated()?, bank: run.bank()?, sentences })
    }

    fn part(&self, name: String, judgements: Vec<u32>) -> Part<'_> {
        Part {
            name,
            dataset: self.run.manifest.dataset.path.clone(),
            pairs: &self.source.pairs,
            activations: &self.activations,
            judgements,
        }
    }
}

/// Compares runs, or the groups of one, and writes the page and the record.
///
/// # Errors
/// See [`CompareError`].
pub fn compare(runs: &[&Run], request: &CompareRequest) -> Result<Comparison, CompareError> {
    match (&request.by, runs.len()) {
        (None, 0 | 1) => return Err(CompareError::One),
        (Some(_), 0 | 2..) => return Err(CompareError::Both),
        (_, count) if count > compare::MOST_PARTS => return Err(CompareError::Many(count)),
        _ => {}
    }
    let opened: Vec<Opened<'_>> = runs.iter().map(|run| Opened::new(run)).collect::<Result<_, _>>()?;
    let mut notes = Vec::new();
    // Which run each part belongs to.
    let (parts, of): (Vec<Part<'_>>, Vec<usize>) = match &request.by {
        Some(column) => groups(&opened[0], column, &mut notes)?,
        None => whole(&opened, &names(runs)),
    };
    let features: Vec<&[Feature]> = of.iter().map(|&at| opened[at].run.features.as_slice()).collect();
    let banks: Vec<&ConceptBank> = of.iter().map(|&at| &opened[at].bank).collect();
    let sentences: Vec<&SentenceReader> = of.iter().map(|&at| &opened[at].sentences).collect();
    let mut known = compare::compare(&parts, &compare::known(&features));
    if known.iter().all(|row| row.cells.iter().all(|cell| cell.win_delta.is_none())) {
        return Err(CompareError::Nothing);
    }
    let surety = |row: &Row| (row.p_holm.unwrap_or(2.0), row.p.unwrap_or(2.0));
    known.sort_by(|a, b| surety(a).partial_cmp(&surety(b)).unwrap_or(std::cmp::Ordering::Equal));
    let mut learned = if request.by.is_none() { learned(&opened, &parts)? } else { Vec::new() };
    if request.anonymise {
        // A learned feature is named by words of the data.
        for (row, words, _) in &mut learned {
            for text in [&mut row.description, &mut row.clause, words] {
                *text = mask(text).into_owned();
            }
        }
    }
    if request.by.is_none() && learned.is_empty() {
        notes.push("no learned features match: only runs over the same embedder can share them".into());
    }
    let input = page::Input {
        parts: &parts,
        known: &known,
        learned: &learned,
        features: &features,
        banks: &banks,
        sentences: &sentences,
        notes: &notes,
        anonymise: request.anonymise,
    };
    let out = request.out.clone().unwrap_or_else(|| default_out(runs, request.by.as_deref()));
    std::fs::create_dir_all(&out).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: out.clone(),
        source,
    })?;
    let inputs: Vec<PathBuf> = runs.iter().flat_map(|run| output::inputs(&run.manifest)).collect();
    output::check_folder(&out, &["comparison.html", "comparison.json"], None, &inputs, false)
        .map_err(RunError::from)?;
    let (html, json) = (out.join("comparison.html"), out.join("comparison.json"));
    write_bytes(&html, page::page(input).as_bytes())?;
    write_json(&json, &record::record(&parts, &known, &learned, &notes))?;
    let labels = |part: usize| known.first().and_then(|row| row.cells.get(part)).map_or(0, |cell| cell.n);
    let parts = parts.iter().enumerate().map(|(at, part)| (part.name.clone(), labels(at))).collect();
    Ok(Comparison { parts, known, learned, notes, page: html, json })
}

/// Parts of one run by a column.
fn groups<'o>(
    first: &'o Opened<'_>,
    column: &str,
    notes: &mut Vec<String>,
) -> Result<(Vec<Part<'o>>, Vec<usize>), CompareError> {
    let sources = first.run.sources();
    let source = match sources.as_slice() {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(CompareError::Sources),
    };
    let values = pairs::column(source, column, "--by")?;
    let groups = compare::groups(&first.source.pairs, &values);
    notes.extend(groups.notes);
    if groups.groups.len() < 2 {
        return Err(CompareError::Groups(column.to_owned()));
    }
    Ok(groups.groups.into_iter().map(|(name, labels)| (first.part(name, labels), 0)).unzip())
}

/// A part for each run.
fn whole<'o>(opened: &'o [Opened<'_>], names: &[String]) -> (Vec<Part<'o>>, Vec<usize>) {
    let parts = opened.iter().zip(names).enumerate().map(|(at, (run, name))| {
        let all = (0..run.source.pairs.judgements.label.len() as u32).collect();
        (run.part(name.clone(), all), at)
    });
    parts.unzip()
}

/// The runs' folder names; whole paths where two are the same.
fn names(runs: &[&Run]) -> Vec<String> {
    let short = |path: &Path| {
        path.file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    let names: Vec<String> = runs.iter().map(|run| short(&run.path)).collect();
    let unique = names.iter().collect::<std::collections::HashSet<_>>().len() == names.len();
    if unique { names } else { runs.iter().map(|run| run.path.display().to_string()).collect() }
}

/// `compare-A-B` or `compare-A-by-COLUMN` beside the first run.
fn default_out(runs: &[&Run], by: Option<&str>) -> PathBuf {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .take(60)
            .collect()
    };
    let mut name = String::from("compare");
    for run in runs.iter().take(4) {
        let folder = run.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name += &format!("-{}", plain(&folder));
    }
    if let Some(column) = by {
        name += &format!("-by-{}", plain(column));
    }
    runs.first().and_then(|run| run.path.parent()).unwrap_or(Path::new("")).join(name)
}

/// Learned features of each further run that match one of the first, compared between these two.
fn learned(opened: &[Opened<'_>], parts: &[Part<'_>]) -> Result<Vec<(Row, String, f64)>, RunError> {
    let mut found = Vec::new();
    for (at, other) in opened.iter().enumerate().skip(1) {
        if other.run.manifest.embedder != opened[0].run.manifest.embedder {
            continue;
        }
        let matches = matches(opened[0].run, other.run)?;
        let measured: Vec<Measured<'_>> = matches
            .iter()
            .filter_map(|m| {
                let feature = opened[0].run.features.get(m.first)?;
                let mut columns = vec![None; parts.len()];
                columns[0] = Some((m.first, 1.0));
                columns[at] = Some((m.other, m.cosine.signum() as f32));
                Some(Measured { feature, columns })
            })
            .collect();
        let rows = compare::compare(parts, &measured);
        for (row, m) in rows.into_iter().zip(&matches) {
            let words = other.run.features.get(m.other).map_or("", |feature| &feature.description);
            let turned = if m.cosine < 0.0 && !words.is_empty() {
                format!("the opposite of: {words}")
            } else {
                words.into()
            };
            found.push((row, turned, m.cosine));
        }
    }
    Ok(found)
}

/// Features of both runs that point the same way, by their columns: those that read sentences, and those that read
/// differences.
fn matches(first: &Run, other: &Run) -> Result<Vec<compare::Match>, RunError> {
    let column = |run: &Run, source: FeatureSource| {
        run.features.iter().position(|feature| feature.source == source).unwrap_or(0)
    };
    let mut all = Vec::new();
    let sentences = (first.sentence_models()?.learned, other.sentence_models()?.learned);
    if let (Some(first), Some(other)) = sentences {
        // What fires in a sentence has no other side.
        all.extend(compare::matches(&first.decoder, &other.decoder).into_iter().filter(|m| m.cosine > 0.0));
    }
    let source = FeatureSource::Difference;
    let (from, to) = (column(first, source), column(other, source));
    let differences = compare::matches(&first.autoencoder()?.0.decoder, &other.autoencoder()?.0.decoder);
    all.extend(differences.into_iter().map(|m| compare::Match {
        first: from + m.first,
        other: to + m.other,
        ..m
    }));
    Ok(all)
}
