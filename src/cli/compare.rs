//! `wimhf compare RUN RUN…` and `wimhf compare RUN --by COLUMN`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, finished, print};
use crate::apply::SentenceReader;
use crate::compare::{self, Measured, Part, Row};
use crate::describe::{Feature, FeatureSource};
use crate::describe::known::Bank;
use crate::finished::{FinishedError, FinishedRun, Source};
use crate::matrix::Matrix;
use crate::pairs;
use crate::report::comparison;
use crate::run::{write_bytes, write_json};
use crate::sae::DeviceChoice;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf compare runs/arena runs/hh runs/prism
  wimhf compare runs/sample --by prompt_topic
  wimhf compare runs/sample --by model_A --out compared")]
pub struct CompareArguments {
    /// Run directories that `analyze` left; with `--by` one of them.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Compare the groups of one dataset by this column: language, model, country; numbers and dates with many
    /// values are cut into quarters.
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// Folder for comparison.html and comparison.json [default: beside the first run].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Leave out annotators' ids, e-mail addresses, links, handles, long numbers and the names of models from
    /// the page.
    #[arg(long)]
    anonymise: bool,
    /// Open the page in the browser.
    #[arg(long)]
    open: bool,
}

/// A run with what a comparison needs of it.
struct Opened {
    run: FinishedRun,
    source: Source,
    activations: Matrix,
    bank: Bank,
    sentences: SentenceReader,
}

impl Opened {
    fn new(path: &Path) -> Result<Self, FinishedError> {
        let run = FinishedRun::open(path)?;
        let (source, activations, bank) = (run.source()?, run.activations()?, run.bank()?);
        let sentences = SentenceReader::of(&run, DeviceChoice::Auto)?;
        Ok(Self { run, source, activations, bank, sentences })
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

/// A mistake of the user's, with what to do.
fn mistake(text: String) -> Failure {
    Failure::new(2, &anyhow::anyhow!(text))
}

/// Runs the subcommand.
pub fn run(arguments: CompareArguments) -> Result<(), Failure> {
    match (&arguments.by, arguments.runs.len()) {
        (None, 1) => {
            return Err(mistake(
                "one run alone cannot be compared\nhint: name a second run, or a column of its dataset with `--by COLUMN`".into(),
            ));
        }
        (Some(_), 2..) => {
            return Err(mistake(
                "`--by` compares the groups of one run\nhint: name one run with it, or leave `--by` out"
                    .into(),
            ));
        }
        (_, count) if count > compare::MOST_PARTS => {
            return Err(mistake(format!(
                "{count} runs are too many to read side by side\nhint: name at most {}",
                compare::MOST_PARTS
            )));
        }
        _ => {}
    }
    let opened: Vec<Opened> =
        arguments.runs.iter().map(|path| Opened::new(path)).collect::<Result<_, _>>().map_err(finished)?;
    let mut notes = Vec::new();
    // Which run each part belongs to.
    let (parts, of): (Vec<Part<'_>>, Vec<usize>) = match &arguments.by {
        Some(column) => {
            let first = &opened[0];
            let sources = first.run.sources();
            let source = match sources.as_slice() {
                [one] if !one.starts_with("hf://") => one,
                _ => {
                    return Err(mistake(
                        "`--by` reads a column of one dataset on disk, and this run has several sources or one on the Hub\nhint: analyze each group by itself and compare the runs".into(),
                    ));
                }
            };
            let values = pairs::column(source, column, "--by")
                .map_err(|error| Failure::new(2, &anyhow::Error::new(error)))?;
            let groups = compare::groups(&first.source.pairs, &values);
            notes.extend(groups.notes);
            if groups.groups.len() < 2 {
                return Err(mistake(format!(
                    "`{column}` has fewer than two groups with at least {} labels\nhint: choose a column with a few values, each on many rows",
                    compare::FEWEST
                )));
            }
            groups.groups.into_iter().map(|(name, labels)| (first.part(name, labels), 0)).unzip()
        }
        None => {
            let names = names(&arguments.runs);
            opened
                .iter()
                .enumerate()
                .map(|(at, run)| {
                    let all = (0..run.source.pairs.judgements.label.len() as u32).collect();
                    (run.part(names[at].clone(), all), at)
                })
                .unzip()
        }
    };
    let features: Vec<&[Feature]> = of.iter().map(|&at| opened[at].run.features.as_slice()).collect();
    let banks: Vec<&Bank> = of.iter().map(|&at| &opened[at].bank).collect();
    let sentences: Vec<&SentenceReader> = of.iter().map(|&at| &opened[at].sentences).collect();
    let mut known = compare::compare(&parts, &compare::known(&features));
    if known.iter().all(|row| row.cells.iter().all(|cell| cell.win_delta.is_none())) {
        return Err(mistake(
            "no concept can be measured in any part: there are too few labels\nhint: `wimhf report RUN` says what each dataset holds".into(),
        ));
    }
    let surety = |row: &Row| (row.p_holm.unwrap_or(2.0), row.p.unwrap_or(2.0));
    known.sort_by(|a, b| surety(a).partial_cmp(&surety(b)).unwrap_or(std::cmp::Ordering::Equal));
    let learned = learned(&opened, &parts, arguments.by.is_none()).map_err(finished)?;
    if arguments.by.is_none() && learned.is_empty() {
        notes.push("no learned features match: only runs over the same embedder can share them".into());
    }
    let input = comparison::Input {
        parts: &parts,
        known: &known,
        learned: &learned,
        features: &features,
        banks: &banks,
        sentences: &sentences,
        notes: &notes,
        anonymise: arguments.anonymise,
    };
    let out = arguments.out.clone().unwrap_or_else(|| default_out(&arguments));
    std::fs::create_dir_all(&out).map_err(|error| {
        Failure::new(2, &anyhow::Error::new(error).context(format!("cannot create `{}`", out.display())))
    })?;
    let fail =
        |error: crate::run::RunError| Failure::new(if error.is_users() { 2 } else { 1 }, &error.into());
    let page = out.join("comparison.html");
    write_bytes(&page, comparison::page(input).as_bytes()).map_err(fail)?;
    write_json(&out.join("comparison.json"), &comparison::record(input)).map_err(fail)?;
    print(&format!("{}\nRead on: {}, comparison.json\n", comparison::terminal(input), page.display()))?;
    if arguments.open {
        super::report::open(&page)?;
    }
    Ok(())
}

/// The runs' folder names; whole paths where two are the same.
fn names(runs: &[PathBuf]) -> Vec<String> {
    let short = |path: &Path| {
        path.file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    let names: Vec<String> = runs.iter().map(|path| short(path)).collect();
    let unique = names.iter().collect::<std::collections::HashSet<_>>().len() == names.len();
    if unique { names } else { runs.iter().map(|path| path.display().to_string()).collect() }
}

/// `compare-A-B` or `compare-A-by-COLUMN` beside the first run.
fn default_out(arguments: &CompareArguments) -> PathBuf {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .take(60)
            .collect()
    };
    let mut name = String::from("compare");
    for run in arguments.runs.iter().take(4) {
        let folder = run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name += &format!("-{}", plain(&folder));
    }
    if let Some(column) = &arguments.by {
        name += &format!("-by-{}", plain(column));
    }
    arguments.runs[0].parent().unwrap_or(Path::new("")).join(name)
}

/// Learned features of each further run that match one of the first, compared between these two.
fn learned(
    opened: &[Opened],
    parts: &[Part<'_>],
    several: bool,
) -> Result<Vec<(Row, String, f64)>, FinishedError> {
    let mut found = Vec::new();
    if !several {
        return Ok(found);
    }
    for (at, other) in opened.iter().enumerate().skip(1) {
        if other.run.manifest.embedder != opened[0].run.manifest.embedder {
            continue;
        }
        let matches = matches(&opened[0].run, &other.run)?;
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
fn matches(first: &FinishedRun, other: &FinishedRun) -> Result<Vec<compare::Match>, FinishedError> {
    let column = |run: &FinishedRun, source: FeatureSource| {
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
    all.extend(differences.into_iter().map(|m| compare::Match { first: from + m.first, other: to + m.other, ..m }));
    Ok(all)
}
