//! Reading a source: containers, shape, labels, vectors, then pairs.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::columns::{Columns, shorten, type_name};
use super::dedup::{Drops, Rows, assemble};
use super::error::PairsError;
use super::shapes::{self, Plan, Shape};
use super::table::Table;
use super::{Layout, Pairs, ReadReport, labels, source, vectors};

/// What the user says about the source; everything else is recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// Column with the prompt.
    pub prompt_column: Option<String>,
    /// Column with the response that label 1 prefers.
    pub response_a_column: Option<String>,
    /// Column with the other response.
    pub response_b_column: Option<String>,
    /// Column with the label.
    pub label_column: Option<String>,
    /// Column with the annotator's id.
    pub annotator_column: Option<String>,
    /// Columns besides the prompt whose values the split must keep on one side.
    pub group_columns: Vec<String>,
    /// Columns with the vectors of the two responses, in the order of the response columns.
    pub embedding_columns: Option<(String, String)>,
    /// The run's seed: decides how pairs of chosen-first sources stand.
    pub seed: u64,
}

/// Reads a file, a folder of shards or a glob as pairs, each once, with every annotator's judgement.
///
/// Parquet, Arrow IPC, CSV, TSV, JSON lines and JSON arrays are told by their bytes and extensions, the
/// shape by its columns. Nothing is left out silently: see [`ReadReport::dropped`].
///
/// # Errors
/// [`PairsError`], in words for the user; damaged files are errors, never panics.
pub fn read(source: &str, options: &ReadOptions) -> Result<(Pairs, ReadReport), PairsError> {
    let (files, notes) = source::locate(source)?;
    let mut hash = Sha256::new();
    let mut tables =
        files.iter().map(|file| Table::open(file, &mut hash)).collect::<Result<Vec<Table>, _>>()?;
    let mut report = ReadReport {
        path: source.to_owned(),
        fingerprint: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        notes,
        ..ReadReport::default()
    };
    let columns = tables.first().map(|table| table.columns.clone()).unwrap_or_default();
    if columns.0.is_empty() {
        return Err(PairsError::Empty { path: source.to_owned() });
    }
    check_names(&columns, options, source)?;
    let ways = plans(&columns, options, source)?;

    // Texts and labels now; vectors later, a column at a time.
    let mut needed: Vec<String> = Vec::new();
    for name in ways.iter().flat_map(|(_, plan)| plan.columns()) {
        if !needed.contains(&name) {
            needed.push(name);
        }
    }
    let vector_columns = options.embedding_columns.iter().flat_map(|(a, b)| [a, b]);
    let all: Vec<String> = needed.iter().chain(vector_columns).cloned().collect();
    check_shards(&tables, &all)?;
    for table in &mut tables {
        table.retain(&all)?;
    }
    let (frame, shard_rows) = concat(&tables, &needed)?;
    let rows = frame.height();
    if rows == 0 {
        return Err(PairsError::Empty { path: source.to_owned() });
    }
    // Half of the range, since both responses are numbered together.
    if rows >= (u32::MAX / 2) as usize {
        return Err(PairsError::TooManyRows { path: source.to_owned(), rows });
    }
    let chosen = ways.iter().find(|(shape, plan)| shape.accepts(&frame, plan)).or(ways.last());
    let Some((shape, plan)) = chosen else {
        return Err(not_pairs(&columns, source));
    };
    report.shape = shape.name().to_owned();
    report.pairs_read = rows;
    report.layout = Layout {
        files,
        rows: shard_rows,
        prompt: plan.prompt.clone(),
        first: plan.first.clone(),
        second: plan.second.clone(),
        label: plan.label.clone(),
        chosen_first: plan.chosen_first,
    };

    let mut drops = Drops::new(rows);
    let texts = shape.texts(&frame, plan, source)?;
    let labels = read_labels(&frame, plan, source, &mut drops, &mut report)?;
    let annotators = plan.annotator.as_deref().map(|name| keys(&frame, name, source)).transpose()?;
    let groups = plan
        .groups
        .iter()
        .map(|name| Ok((name.clone(), keys(&frame, name, source)?)))
        .collect::<Result<Vec<_>, PairsError>>()?;
    drop(frame);
    let deltas = match &options.embedding_columns {
        Some((a, b)) => {
            let (matrix, bad) = vectors::deltas(&tables, (a, b), rows, source)?;
            for (row, reason) in bad {
                drops.add(row as usize, reason);
            }
            Some(matrix)
        }
        None => None,
    };
    drop(tables);

    let rows = Rows { texts, labels, annotators, groups, deltas, chosen_first: plan.chosen_first };
    let (pairs, drops) = assemble(rows, drops, options.seed);
    report.dropped_rows = drops.list();
    for (_, reason) in &report.dropped_rows {
        *report.dropped.entry(reason.clone()).or_default() += 1;
    }
    report.pairs_used = pairs.judgements.pair.len();
    if plan.chosen_first {
        report.notes.push(
            "the preferred response stands first in the source: A and B were shuffled by the seed".into(),
        );
    }
    if pairs.pair_id.is_empty() {
        return Err(nothing_left(&report));
    }
    Ok((pairs, report))
}

/// Every column that was named by hand must be there.
pub(super) fn check_names(columns: &Columns, options: &ReadOptions, path: &str) -> Result<(), PairsError> {
    let mut named: Vec<(&'static str, &String)> = Vec::new();
    named.extend(options.prompt_column.iter().map(|name| ("--prompt-column", name)));
    named.extend(options.response_a_column.iter().map(|name| ("--response-a-column", name)));
    named.extend(options.response_b_column.iter().map(|name| ("--response-b-column", name)));
    named.extend(options.label_column.iter().map(|name| ("--label-column", name)));
    named.extend(options.annotator_column.iter().map(|name| ("--annotator-column", name)));
    named.extend(options.group_columns.iter().map(|name| ("--split-columns", name)));
    if let Some((a, b)) = &options.embedding_columns {
        named.extend([("--embedding-columns", a), ("--embedding-columns", b)]);
    }
    match named.into_iter().find(|(_, name)| columns.dtype(name).is_none()) {
        None => Ok(()),
        Some((flag, name)) => {
            let near =
                columns.nearest(name).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let hint = format!("{near}columns seen: {}", columns.describe());
            Err(PairsError::NoColumn { path: path.to_owned(), flag, name: shorten(name), hint })
        }
    }
}

/// The shapes that the columns allow, with what the user named by hand in place.
pub(super) fn plans(
    columns: &Columns,
    options: &ReadOptions,
    path: &str,
) -> Result<Vec<(&'static dyn Shape, Plan)>, PairsError> {
    let mut ways = match (&options.response_a_column, &options.response_b_column) {
        (Some(a), Some(b)) => vec![shapes::by_hand(columns, a, b)],
        _ => shapes::candidates(columns).map_err(|names| PairsError::Ambiguous {
            path: path.to_owned(),
            ways: names.join("; "),
            columns: columns.describe(),
        })?,
    };
    if ways.is_empty() {
        return Err(not_pairs(columns, path));
    }
    for (_, plan) in &mut ways {
        if let Some(name) = &options.response_a_column {
            plan.first.clone_from(name);
        }
        if let Some(name) = &options.response_b_column {
            plan.second.clone_from(name);
        }
        if let Some(name) = &options.label_column {
            // A label of the user's choice says who wins, so the order says nothing any more.
            plan.label = Some(name.clone());
            plan.chosen_first = false;
        }
        if options.prompt_column.is_some() {
            plan.prompt.clone_from(&options.prompt_column);
        }
        if options.annotator_column.is_some() {
            plan.annotator.clone_from(&options.annotator_column);
        }
        for name in &options.group_columns {
            if !plan.groups.contains(name) {
                plan.groups.push(name.clone());
            }
        }
        if plan.first == plan.second {
            return Err(PairsError::NotPairs {
                path: path.to_owned(),
                detail: format!("both responses are to come from the column `{}`", shorten(&plan.first)),
                hint: "name two different columns with `--response-a-column` and `--response-b-column`"
                    .into(),
            });
        }
    }
    Ok(ways)
}

/// No shape fits: say what was seen and how to name the columns.
fn not_pairs(columns: &Columns, path: &str) -> PairsError {
    let texts = columns
        .0
        .iter()
        .filter(|(_, dtype)| type_name(dtype) == "text" || type_name(dtype) == "list of records");
    let detail = match texts.count() {
        0 => format!("it has no column of texts; columns seen: {}", columns.describe()),
        1 => format!(
            "it has one column of texts, where a pair needs two responses; columns seen: {}",
            columns.describe()
        ),
        _ => format!("no known shape has these columns: {}", columns.describe()),
    };
    let wanted = [
        ("--prompt-column", "prompt"),
        ("--response-a-column", "response_A"),
        ("--response-b-column", "response_B"),
        ("--label-column", "label"),
        ("--response-a-column", "chosen"),
        ("--response-b-column", "rejected"),
    ];
    let near: Vec<String> = (wanted.iter())
        .filter_map(|(flag, name)| columns.nearest(name).map(|near| format!("`{flag} {near}`")))
        .collect();
    let mut hint = "name the columns by hand: `--prompt-column P --response-a-column A --response-b-column B --label-column L`".to_owned();
    if !near.is_empty() {
        hint.push_str(&format!(" (did you mean {}?)", near.join(", ")));
    }
    PairsError::NotPairs { path: path.to_owned(), detail, hint }
}

/// Every shard must have the columns that are read.
fn check_shards(tables: &[Table], names: &[String]) -> Result<(), PairsError> {
    let Some((first, rest)) = tables.split_first() else { return Ok(()) };
    for table in rest {
        if let Some(name) = names.iter().find(|name| table.columns.dtype(name).is_none()) {
            return Err(PairsError::Schema {
                path: table.path.clone(),
                first: first.path.clone(),
                detail: format!("it has no column `{name}`, only {}", table.columns.describe()),
            });
        }
    }
    Ok(())
}

/// The named columns of all shards, one below the other, and the rows of each.
fn concat(tables: &[Table], names: &[String]) -> Result<(DataFrame, Vec<usize>), PairsError> {
    let mut whole: Option<DataFrame> = None;
    let mut rows = Vec::with_capacity(tables.len());
    for table in tables {
        let part = table.load(names)?;
        rows.push(part.height());
        whole = Some(match whole {
            None => part,
            Some(above) => stack(above, part).map_err(|detail| PairsError::Schema {
                path: table.path.clone(),
                first: tables.first().map(|t| t.path.clone()).unwrap_or_else(|| Path::new("").into()),
                detail,
            })?,
        });
    }
    Ok((whole.unwrap_or_default(), rows))
}

/// Stacks two frames with the same column names; number types and all-null columns adapt.
fn stack(above: DataFrame, below: DataFrame) -> Result<DataFrame, String> {
    let mut columns = Vec::with_capacity(above.width());
    for (a, b) in above.columns().iter().zip(below.columns()) {
        let (mut a, mut b) = (a.clone(), b.clone());
        if a.dtype() != b.dtype() {
            let differ = format!("column `{}` holds {}, there {}", b.name(), b.dtype(), a.dtype());
            let number = |column: &Column| column.dtype().is_numeric() || column.dtype().is_bool();
            let to = if a.dtype().is_null() {
                b.dtype().clone()
            } else if number(&a) && number(&b) {
                DataType::Float64
            } else {
                a.dtype().clone()
            };
            let nulls = (a.null_count(), b.null_count());
            a = a.cast(&to).map_err(|_| differ.clone())?;
            b = b.cast(&to).map_err(|_| differ.clone())?;
            if nulls != (a.null_count(), b.null_count()) {
                return Err(differ);
            }
        }
        a.append(&b).map_err(|error| error.to_string())?;
        columns.push(a);
    }
    DataFrame::new_infer_height(columns).map_err(|error| error.to_string())
}

/// Labels of the first response, with unknown ones left out and everything said that must be.
fn read_labels(
    frame: &DataFrame,
    plan: &Plan,
    path: &str,
    drops: &mut Drops,
    report: &mut ReadReport,
) -> Result<Option<Vec<f32>>, PairsError> {
    if plan.chosen_first {
        return Ok(Some(vec![1.0; frame.height()]));
    }
    let column = plan.label.as_deref().and_then(|name| frame.column(name).ok());
    let Some(column) = column else {
        report.notes.push(
            "no label column: measurable preferences only; name one with `--label-column` if there is".into(),
        );
        return Ok(None);
    };
    let Some(labels) = labels::read(column, path)? else {
        report
            .notes
            .push(format!("the label column `{}` is empty: measurable preferences only", column.name()));
        return Ok(None);
    };
    for row in labels.missing {
        drops.add(row as usize, "missing label");
    }
    for (row, value) in labels.unknown {
        drops.add(row as usize, &format!("unknown label `{value}`"));
    }
    report.notes.extend(labels.notes);
    Ok(Some(labels.values))
}

/// A column of ids as texts.
fn keys(frame: &DataFrame, name: &str, path: &str) -> Result<StringChunked, PairsError> {
    let wrong = |found: &DataType| PairsError::ColumnType {
        path: path.to_owned(),
        name: name.to_owned(),
        found: type_name(found),
        expected: "ids (texts or numbers)",
        hint: "name a column with one id per row",
    };
    let column = frame.column(name).map_err(|_| wrong(&DataType::Null))?;
    if column.dtype().is_nested() {
        return Err(wrong(column.dtype()));
    }
    let text = column.cast(&DataType::String).map_err(|_| wrong(column.dtype()))?;
    Ok(text.str().map_err(|_| wrong(column.dtype()))?.rechunk().into_owned())
}

fn nothing_left(report: &ReadReport) -> PairsError {
    let counts: BTreeMap<&String, &usize> = report.dropped.iter().collect();
    let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    let hint = if report.dropped.contains_key("identical responses") {
        "check that the two response columns are different ones"
    } else if report.dropped.keys().any(|reason| reason.contains("vector")) {
        "check the columns named by `--embedding-columns`"
    } else {
        "check which columns hold the responses and the labels"
    };
    PairsError::NothingLeft {
        path: report.path.clone(),
        rows: report.pairs_read,
        reasons: reasons.join(", "),
        hint,
    }
}
