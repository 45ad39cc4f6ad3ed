//! A run's page, written again or without what is personal.

use std::path::PathBuf;

use crate::contexts::Contexts;
use crate::featurizer::SentenceReader;
use crate::personalize;
use crate::report::page::Questions;
use crate::report::{mask, page};
use crate::run::{Run, RunError};
use crate::sae::DeviceChoice;
use crate::store::output::Kind;
use crate::store::{read_json, write_bytes};

/// How the page is wanted.
#[derive(Debug, Clone, Default)]
pub struct ReportRequest {
    /// Leave out annotators' ids, the data's folder, e-mail addresses, links, handles, long numbers and models' names.
    pub anonymise: bool,
    /// The file; `report.html` or `report.anonymised.html` in the run where none is given.
    pub out: Option<PathBuf>,
    /// Replace the file even where it is of another kind.
    pub force: bool,
}

/// The page as text.
///
/// # Errors
/// Where the dataset is gone or has changed, or a file of the run cannot be read.
pub fn page(run: &Run, anonymise: bool) -> Result<String, RunError> {
    let source = run.source()?;
    let mut described = run.described()?;
    let mut findings = run.findings.clone();
    if anonymise {
        // A feature may be named by words of the data.
        for feature in &mut described.features {
            feature.description = mask(&feature.description).into_owned();
        }
        for principle in &mut findings.principles {
            for text in [&mut principle.statement, &mut principle.description, &mut principle.short] {
                *text = mask(text).into_owned();
            }
        }
        let others = [
            &mut findings.overlapping,
            &mut findings.not_confirmed,
            &mut findings.indifferent,
            &mut findings.unexplained,
        ];
        for finding in others.into_iter().flatten() {
            finding.text = mask(&finding.text).into_owned();
        }
    }
    // Runs of an earlier version have none.
    let mut contexts: Contexts = kept(run, "contexts.json")?.unwrap_or_default();
    if anonymise {
        for text in contexts.contexts.iter_mut().flat_map(|context| &mut context.examples) {
            *text = mask(text).into_owned();
        }
        for row in &mut contexts.rows {
            row.statement = mask(&row.statement).into_owned();
        }
    }
    let mut questions = questions(run)?;
    questions.keep_current(&run.features);
    if anonymise {
        questions.anonymise();
    }
    let bank = run.bank()?;
    let sentences = SentenceReader::of(run, DeviceChoice::Auto)?;
    let cancel = &run.context.cancel;
    let annotators = personalize::differences(&source.pairs, &described, &run.manifest.config, cancel)?;
    let page = page::render(page::Input {
        manifest: &run.manifest,
        findings: &findings,
        contexts: &contexts,
        questions: &questions,
        described: &described,
        pairs: &source.pairs,
        sides: &source.sides,
        bank: &bank,
        sentences: &sentences,
        annotators: annotators.as_ref(),
        anonymise,
    });
    // A page that was stopped lacks what it had not come to.
    cancel.check()?;
    Ok(page)
}

/// What was asked of the run, where its records lie in it.
fn questions(run: &Run) -> Result<Questions, RunError> {
    Ok(Questions {
        audit: kept(run, "audit/audit.json")?,
        models: kept(run, "models/models.json")?,
        reasons: kept(run, "reasons/reasons.json")?,
        outdated: Vec::new(),
    })
}

/// A record of the run, if it is there.
fn kept<T: serde::de::DeserializeOwned>(run: &Run, name: &str) -> Result<Option<T>, RunError> {
    let file = run.path.join(name);
    if file.exists() { Ok(Some(read_json(&file)?)) } else { Ok(None) }
}

/// Writes the page, and says where.
///
/// # Errors
/// As for [`page`], and where the file cannot be written.
pub fn report(run: &Run, request: &ReportRequest) -> Result<PathBuf, RunError> {
    let name = if request.anonymise { "report.anonymised.html" } else { "report.html" };
    let path = request.out.clone().unwrap_or_else(|| run.path.join(name));
    run.may_write(&path, "--out", Kind::Html, request.force)?;
    let page = page(run, request.anonymise)?;
    write_bytes(&path, page.as_bytes())?;
    Ok(path)
}
