//! A finished run, and a run ready to score.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::*;
use pyo3::prelude::*;
use serde_json::{Map, Value, json};
use wimhf::constitution::Principle;
use wimhf::constitution::choose::Objective;
use wimhf::constitution::select::evidence_pairs;
use wimhf::effects::table::LabelledSample;
use wimhf::pairs::{Split, mean_labels};
use wimhf::relabel::rules::{Rule, Should};
use wimhf::relabel::{RelabelError, clause};
use wimhf::run::Source;
use wimhf::score::stream::BATCH;
use wimhf::{
    AuditRequest, Audited, ConstitutionRequest, Context, ContextsRequest, Error, ErrorKind, ExportRequest,
    JudgeRequest, PersonalizeRequest, RateRequest, ReasonsRequest, RelabelRequest, ReportRequest, Run,
    ScoreRequest, Scorer,
};

use crate::arrow::Frame;
use crate::errors::input;
use crate::options::{self, ObjectiveName, read};
use crate::work::{moment, work};

/// A finished run.
#[pyclass(frozen, module = "wimhf._wimhf", name = "NativeRun")]
pub struct NativeRun {
    run: Run,
    source: Mutex<Option<Arc<Source>>>,
}

impl NativeRun {
    /// The run with the keys, folders and request to stop of this call.
    fn within(&self, context: &Context) -> Run {
        Run { context: context.clone(), ..self.run.clone() }
    }

    /// The dataset, read once.
    fn source(&self, context: &Context) -> Result<Arc<Source>, Error> {
        let mut kept = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = &*kept {
            return Ok(Arc::clone(source));
        }
        let source = Arc::new(self.within(context).source().map_err(Error::from)?);
        *kept = Some(Arc::clone(&source));
        Ok(source)
    }
}

type Watcher<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

#[pymethods]
impl NativeRun {
    /// Opens a run directory for reading.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let run = moment(py, |context| Ok(Run::open_in(path, context)?))?;
        Ok(Self { run, source: Mutex::new(None) })
    }

    /// The run directory.
    #[getter]
    fn path(&self) -> PathBuf {
        self.run.path.clone()
    }

    /// `run.json` as JSON.
    fn manifest(&self, py: Python<'_>) -> PyResult<String> {
        moment(py, |_| text(&self.run.manifest))
    }

    /// `principles.json` as JSON.
    fn findings(&self, py: Python<'_>) -> PyResult<String> {
        moment(py, |_| text(&self.run.findings))
    }

    /// How well sets of features tell held-out labels, as JSON.
    fn ablation(&self, py: Python<'_>) -> PyResult<String> {
        let effects = &self.run.effects;
        moment(py, |_| {
            text(&json!({
                "auc": effects.auc,
                "auc_minus_embedding": effects.auc_minus_embedding,
                "auc_minus_length": effects.auc_minus_length,
                "auc_missing": effects.auc_missing,
                "labels_held_out": effects.labels_held_out,
                "ties_held_out": effects.ties_held_out,
            }))
        })
    }

    /// A table by name: `principles`, `features`, `effects`, `pairs`, `activations` or `presence`.
    fn table(&self, py: Python<'_>, name: &str) -> PyResult<Frame> {
        let run = &self.run;
        let file = |name: &str| parquet(&run.path.join(name));
        let frame = match name {
            "features" | "pairs" | "activations" | "presence" => {
                work(None, py, |_, _| file(&format!("{name}.parquet")))?
            }
            "effects" => work(None, py, |_, _| effects(run))?,
            _ => work(None, py, |_, _| principles(run))?,
        };
        Ok(Frame(frame))
    }

    /// Held-out pairs that speak for a feature or principle and against it, the clearest first.
    fn evidence(&self, py: Python<'_>, feature: &str, most: usize, side: &str) -> PyResult<Frame> {
        work(None, py, |context, _| {
            let index = self.run.feature(feature).map_err(Error::from)?;
            let source = self.source(context)?;
            evidence(&self.run, &source, index, most, side)
        })
        .map(Frame)
    }

    /// The run ready to score.
    fn scorer(&self, py: Python<'_>, options: &str) -> PyResult<NativeScorer> {
        work(None, py, |context, _| {
            let asked = read::<options::Score>(options)?;
            // Thousands of workers: none of them fetches a model or fills a disk.
            let context = match asked.worker {
                true => context.clone().with("HF_HUB_OFFLINE", Some("1")).without_cache(),
                false => context.clone(),
            };
            Ok(NativeScorer(Arc::new(self.within(&context).scorer(&asked.request())?)))
        })
    }

    /// Scores a file into a file; its name, rows and problems as JSON.
    fn score_file(
        &self,
        py: Python<'_>,
        watcher: Watcher<'_, '_>,
        new: &str,
        out: Option<String>,
        options: &str,
    ) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Score>(options)?;
            let force = asked.force;
            let how = asked.request();
            if new == "-" || out.as_deref() == Some("-") {
                return Err(input("`-` is the command's: pass a table, or name a file"));
            }
            let scored =
                self.within(context).score(&ScoreRequest { new: new.to_owned(), out, how, force })?;
            let summary = scored.summary.as_ref();
            text(&json!({
                "out": scored.out,
                "rows": summary.map(|summary| summary.rows),
                "problems": summary.map(|summary| &summary.problems),
            }))
        })
    }

    /// Marks labels and writes the changed dataset; what was found as JSON.
    fn relabel(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, observer| {
            let asked = read::<options::Relabel>(options)?;
            let request = RelabelRequest {
                data: asked.data,
                rules: asked.rules,
                rules_file: asked.rules_file,
                safety: asked.safety,
                action: asked.action,
                decisions: asked.decisions,
                top: asked.top,
                min_score: asked.min_score,
                weight: asked.weight,
                out: asked.out,
                trl: asked.trl,
                dry_run: asked.dry_run,
                evaluate: asked.evaluate,
                cues: asked.cues,
                judge: asked.judge.request(context),
                force: asked.force,
            };
            let done = self.within(context).relabel(&request, observer)?;
            text(&json!({
                "decisions": done.decisions,
                "preview": done.preview,
                "cost": done.cost,
                "evaluation": done.evaluation,
                "files": done.written.as_ref().map(|written| &written.files),
                "rows": done.written.as_ref().map(|written| written.rows),
                "changed": done.written.as_ref().map(|written| &written.changed),
                "trl": done.trl,
                "review": done.review.as_ref().map(|review| [&review.table, &review.page]),
            }))
        })
    }

    /// Rules as they are understood, a JSON object each.
    fn rules(&self, py: Python<'_>, rules: Vec<String>, file: Option<PathBuf>) -> PyResult<String> {
        moment(py, |_| {
            let mut found = Vec::new();
            for rule in &rules {
                found.push(Rule::parse(rule, &self.run).map_err(RelabelError::from)?);
            }
            if let Some(file) = &file {
                found.extend(Rule::from_file(file, &self.run).map_err(RelabelError::from)?);
            }
            let told = |rule: &Rule| {
                let feature = &self.run.features[rule.feature];
                json!({
                    "name": rule.name,
                    "feature": feature.feature_id,
                    "clause": clause(feature),
                    "prefer": rule.should == Should::Prefer,
                    "min_strength": rule.min_strength,
                    "action": rule.action,
                    "reads_responses": feature.is_worded(),
                    "reads_prompts": rule.unsafe_prompt.is_some() || !rule.prompt_matches.is_empty(),
                })
            };
            text(&found.iter().map(told).collect::<Vec<_>>())
        })
    }

    /// Weights of annotators; what was found as JSON.
    fn personalize(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Personalize>(options)?;
            let usual = PersonalizeRequest::default();
            let request = PersonalizeRequest {
                by: asked.by,
                features: asked.features,
                min_pairs: asked.min_pairs.unwrap_or(usual.min_pairs),
                groups: asked.groups,
                evaluate: asked.evaluate.unwrap_or(usual.evaluate),
                dry_run: asked.dry_run,
                out: asked.out,
                force: asked.force,
            };
            let done = self.within(context).personalize(&request)?;
            text(&json!({"found": done.found, "files": done.files}))
        })
    }

    /// The few principles that tell most labels; what was found as JSON.
    fn constitution(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, observer| {
            let asked = read::<options::Constitution>(options)?;
            let usual = ConstitutionRequest::default();
            let request = ConstitutionRequest {
                principles: asked.principles,
                objective: match asked.objective {
                    ObjectiveName::Linear => Objective::Linear,
                    ObjectiveName::Vote => Objective::Vote,
                },
                edits: asked.edits,
                dry_run: asked.dry_run,
                out: asked.out,
                model: asked.model.request(context),
                icai: asked.icai,
                pairs: asked.pairs.unwrap_or(usual.pairs),
                pairs_per_call: asked.pairs_per_call.unwrap_or(usual.pairs_per_call),
            };
            let done = self.within(context).constitution(&request, observer)?;
            text(&json!({"found": done.found, "cost": done.cost, "files": done.files}))
        })
    }

    /// Concepts of the user's own, read by a language model; what was found as JSON.
    fn judge(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, observer| {
            let asked = read::<options::Judge>(options)?;
            let judge = asked.judge.request(context);
            let mut settings = self.run.manifest.config.describe.language.clone();
            if let Some(model) = &judge.model {
                settings.judge = Some(model.clone());
            }
            judge.over(&mut settings);
            let request = JudgeRequest {
                concepts: asked.concepts,
                pairs: asked.pairs.unwrap_or(wimhf::ops::constitution::MODEL_PAIRS),
                pairs_per_call: asked.pairs_per_call.unwrap_or(wimhf::ops::constitution::PAIRS_PER_CALL),
                judge,
                settings,
                second_judge: asked.second_judge,
                dry_run: asked.dry_run,
            };
            text(&self.within(context).judge(&request, observer)?)
        })
    }

    /// Two judges on the same pairs; what was found as JSON.
    fn audit(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Audit>(options)?;
            let request = AuditRequest {
                judge_column: asked.judge_column,
                judge_scores: asked.judge_scores,
                judge_data: asked.judge_data,
                label_map: asked.label_map,
                label_scale: asked.label_scale,
                against: asked.against,
                out: asked.out,
                force: asked.force,
            };
            let audited = self.within(context).audit(&request)?;
            let Audited { found, among, judge, reference, files } = audited;
            let record = wimhf::export::audit::record(found.as_ref(), among.as_ref(), &judge, &reference);
            text(&json!({"found": record, "files": files}))
        })
    }

    /// Where it holds; what was found as JSON.
    fn contexts(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Contexts>(options)?;
            let request = ContextsRequest { columns: asked.columns, out: asked.out, force: asked.force };
            let done = self.within(context).contexts(&request)?;
            text(&json!({"found": done.found, "files": done.files}))
        })
    }

    /// Do they do what they say; what was found as JSON.
    fn reasons(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Reasons>(options)?;
            let request = ReasonsRequest {
                reason_columns: asked.reason_columns,
                critique_columns: asked.critique_columns,
                out: asked.out,
                force: asked.force,
            };
            let done = self.within(context).reasons(&request)?;
            text(&json!({"found": done.found, "files": done.files}))
        })
    }

    /// Which models win, and why; what was found as JSON.
    fn models(&self, py: Python<'_>, watcher: Watcher<'_, '_>, options: &str) -> PyResult<String> {
        work(watcher, py, |context, _| {
            let asked = read::<options::Models>(options)?;
            let request = RateRequest { columns: asked.columns, out: asked.out, force: asked.force };
            let rated = self.within(context).models(&request)?;
            text(&json!({"found": rated.found, "files": rated.files}))
        })
    }

    /// Writes the page; where it is.
    fn report(&self, py: Python<'_>, options: &str) -> PyResult<PathBuf> {
        work(None, py, |context, _| {
            let asked = read::<options::Report>(options)?;
            self.within(context).report(&ReportRequest {
                anonymise: asked.anonymise,
                out: asked.out,
                force: asked.force,
            })
        })
    }

    /// Writes the pairs for another tool; where they are.
    fn export(&self, py: Python<'_>, options: &str) -> PyResult<PathBuf> {
        work(None, py, |context, _| {
            let asked = read::<options::Export>(options)?;
            let request = ExportRequest {
                format: asked.format.into(),
                out: asked.out,
                held_out: asked.held_out,
                force: asked.force,
            };
            Ok(self.within(context).export(&request)?.path)
        })
    }
}

impl NativeRun {
    /// For verbs about several.
    pub fn run(&self, context: &Context) -> Run {
        self.within(context)
    }
}

/// A run ready to score, opened once.
#[pyclass(frozen, module = "wimhf._wimhf", name = "NativeScorer")]
pub struct NativeScorer(Arc<Scorer>);

#[pymethods]
impl NativeScorer {
    /// The rows with what was found about them, and the summary as JSON.
    fn transform(&self, py: Python<'_>, watcher: Watcher<'_, '_>, new: &Frame) -> PyResult<(Frame, String)> {
        let frame = new.0.clone();
        let (scored, summary) = work(watcher, py, |context, observer| {
            let mut pass = self.0.pass(frame.schema(), "the table").map_err(Error::from)?;
            observer.stage("score", frame.height());
            // A table without rows has its columns all the same.
            let mut out = pass.score(&frame.slice(0, BATCH)).map_err(Error::from)?;
            for start in (BATCH..frame.height()).step_by(BATCH) {
                if context.cancel.requested() {
                    return Err(Error::new(ErrorKind::Cancelled, "stopped while scoring"));
                }
                observer.advance(start);
                let part = pass.score(&frame.slice(start as i64, BATCH)).map_err(Error::from)?;
                out.vstack_mut_owned(part).map_err(|error| input(error.to_string()))?;
            }
            observer.finished("score", 0.0, false);
            let summary = pass.summary();
            Ok((out, text(&json!({"rows": summary.rows, "problems": summary.problems}))?))
        })?;
        Ok((Frame(scored), summary))
    }
}

/// A value as JSON. Values of ours always have that form.
pub fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::Internal, &error.to_string()))
}

/// A Parquet file of a run.
pub fn parquet(path: &Path) -> Result<DataFrame, Error> {
    let failed = |error: String| {
        Error::new(
            ErrorKind::Run,
            &format!(
                "cannot read `{}`: {error}\nhint: the run is not finished or damaged; analyze the data again",
                path.display()
            ),
        )
    };
    let file = wimhf::limits::open(path).map_err(|error| failed(error.to_string()))?;
    ParquetReader::new(file).finish().map_err(|error| failed(error.to_string()))
}

/// Rows of JSON objects as a table. `usual` stands for the columns where there is no row, and `words` names columns
/// of text that may be empty throughout.
fn table(rows: Vec<Value>, usual: Value, words: &[&str]) -> Result<DataFrame, Error> {
    let failed = |error: PolarsError| Error::new(ErrorKind::Internal, &error.to_string());
    let count = rows.len();
    let rows = if rows.is_empty() { vec![usual] } else { rows };
    let bytes = text(&rows)?.into_bytes();
    let mut frame = JsonReader::new(std::io::Cursor::new(bytes))
        .with_json_format(JsonFormat::Json)
        .infer_schema_len(None)
        .finish()
        .map_err(failed)?
        .slice(0, count);
    let empty: Vec<PlSmallStr> = frame
        .columns()
        .iter()
        .filter(|column| column.dtype().is_null())
        .map(|column| column.name().clone())
        .collect();
    for name in empty {
        let dtype = if words.contains(&name.as_str()) { DataType::String } else { DataType::Float64 };
        let column = frame.column(&name).and_then(|column| column.cast(&dtype)).map_err(failed)?;
        frame.with_column(column).map_err(failed)?;
    }
    Ok(frame)
}

fn principles(run: &Run) -> Result<DataFrame, Error> {
    let value = |principle: &Principle| serde_json::to_value(principle).unwrap_or_default();
    let rows = run.findings.principles.iter().map(value).collect();
    table(rows, value(&Principle::default()), &[])
}

/// Every feature's effect on held-out labels; nulls, with the reason, where there is none.
fn effects(run: &Run) -> Result<DataFrame, Error> {
    let table_of = &run.effects;
    let usual = serde_json::to_value(wimhf::effects::table::EffectRow::default()).unwrap_or_default();
    let row = |index: usize| {
        let feature = run.features.get(index);
        let mut row = Map::new();
        row.insert("feature_id".into(), feature.map(|f| f.feature_id.clone()).into());
        row.insert("source".into(), serde_json::to_value(feature.map(|f| f.source)).unwrap_or_default());
        row.insert("description".into(), feature.map(|f| f.description.clone()).into());
        let effect = table_of.rows.get(index).and_then(Option::as_ref);
        let effect = effect.and_then(|effect| serde_json::to_value(effect).ok());
        for name in usual.as_object().into_iter().flat_map(Map::keys) {
            let value = effect.as_ref().and_then(|effect| effect.get(name)).cloned();
            row.insert(name.clone(), value.unwrap_or_default());
        }
        row.insert("p_bonferroni".into(), table_of.bonferroni.get(index).copied().flatten().into());
        row.insert("p_holm".into(), table_of.holm.get(index).copied().flatten().into());
        row.insert("q_bh".into(), table_of.q_bh.get(index).copied().flatten().into());
        row.insert("missing".into(), table_of.missing.get(index).cloned().flatten().into());
        Value::Object(row)
    };
    let rows: Vec<Value> = (0..run.features.len()).map(row).collect();
    table(rows, row(0), &["note", "missing", "feature_id", "source", "description"])
}

/// The direction that the labels take: a principle's, else the sign of the effect.
fn preferred(run: &Run, index: usize) -> bool {
    let id = &run.features[index].feature_id;
    let principle = run.findings.principles.iter().find(|p| p.feature_ids.first() == Some(id));
    match principle {
        Some(principle) => principle.direction == "prefer",
        None => run.effects.rows.get(index).and_then(Option::as_ref).is_none_or(|effect| effect.beta >= 0.0),
    }
}

/// `side`: `for`, `against`, or both.
fn evidence(run: &Run, source: &Source, index: usize, most: usize, side: &str) -> Result<DataFrame, Error> {
    let described = run.described().map_err(Error::from)?;
    let activations = &described.activations;
    let means = LabelledSample::on(&source.pairs, &source.sides, &[Split::Test]).pair_means();
    // As for principles: only where it is clearly there.
    let shown = |pair: u32| {
        let (z, there) =
            (activations.row(pair as usize)[index], described.presence.row(pair as usize)[index]);
        if z * there > 0.0 { z } else { 0.0 }
    };
    let (mut supporting, mut against) =
        evidence_pairs(shown, preferred(run, index), &source.pairs, &means, most);
    match side {
        "for" => against.clear(),
        "against" => supporting.clear(),
        _ => {}
    }
    let sides =
        std::iter::repeat_n("for", supporting.len()).chain(std::iter::repeat_n("against", against.len()));
    let pairs: Vec<usize> = supporting.iter().chain(&against).map(|pair| *pair as usize).collect();
    let labels = mean_labels(&source.pairs);
    let texts = |column: &wimhf::pairs::TextColumn| -> Vec<String> {
        pairs.iter().map(|&pair| column.get(pair).to_owned()).collect()
    };
    let columns = vec![
        Column::new(
            "pair_id".into(),
            pairs.iter().map(|&p| source.pairs.pair_id[p].as_str()).collect::<Vec<_>>(),
        ),
        Column::new("side".into(), sides.collect::<Vec<_>>()),
        Column::new("prompt".into(), texts(&source.pairs.prompt)),
        Column::new("response_a".into(), texts(&source.pairs.response_a)),
        Column::new("response_b".into(), texts(&source.pairs.response_b)),
        Column::new("label".into(), pairs.iter().map(|&p| f64::from(labels[p])).collect::<Vec<_>>()),
        Column::new(
            "activation".into(),
            pairs.iter().map(|&p| activations.row(p)[index]).collect::<Vec<_>>(),
        ),
    ];
    DataFrame::new(pairs.len(), columns).map_err(|error| Error::new(ErrorKind::Internal, &error.to_string()))
}
