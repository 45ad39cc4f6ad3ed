//! Reading a source: containers, shape, labels, vectors, then pairs.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::codes::Codes;
use super::columns::{Columns, shorten, type_name};
use super::dedup::{Drops, Rows, assemble, gather};
use super::error::PairsError;
use super::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, keys};
use super::options::ReadOptions;
use super::sample::{self, Sample};
use super::shapes;
use super::sides;
use super::source::{self, Source};
use super::table::Table;
use super::texts::Texts;
use super::{ColumnReport, DroppedRow, Layout, Pairs, ReadReport, SourceReport, labels, vectors};
use crate::config::Pairing;
use crate::limits::thousands;
use crate::matrix::Matrix;
use crate::suggest::nearest;

/// Reads a file, a folder of shards or a glob as pairs, each once, with every annotator's judgement.
///
/// # Errors
/// See [`read_all`].
pub fn read(source: &str, options: &ReadOptions) -> Result<(Pairs, ReadReport), PairsError> {
    read_all(&[Source::new(source)], options)
}

/// Reads sources, each of its own shape, as one set of pairs, each once, with every annotator's judgement.
///
/// Parquet, Arrow IPC, CSV, TSV, JSON lines and JSON arrays are told by their bytes and extensions, the
/// shape by its columns. Nothing is left out silently: see [`ReadReport::dropped`]. Annotators of different
/// sources are different people, whatever their ids.
///
/// # Errors
/// [`PairsError`], in words for the user; damaged files are errors, never panics.
pub fn read_all(sources: &[Source], options: &ReadOptions) -> Result<(Pairs, ReadReport), PairsError> {
    let mut hash = Sha256::new();
    let read = |source| Part::read(source, options, &mut hash).inspect(Part::log);
    let mut parts = sources.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if let (Some(name), [only, ..]) = (&options.preference, sources)
        && !parts.iter().any(|part| part.has_choices)
    {
        return Err(PairsError::NoChoice {
            path: only.path.clone(),
            name: shorten(name),
            reason: format!("the shape {} has one label only", parts[0].report.shape),
            hint: "leave `--preference` out; `--label-column` names another column".into(),
        });
    }
    name_datasets(&mut parts);
    let mut report = ReadReport {
        path: sources.iter().map(|source| source.path.as_str()).collect::<Vec<_>>().join(", "),
        fingerprint: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        ..ReadReport::default()
    };
    for part in &mut parts {
        if !report.shape.split("; ").any(|shape| shape == part.report.shape) {
            let between = if report.shape.is_empty() { "" } else { "; " };
            report.shape.push_str(&format!("{between}{}", part.report.shape));
        }
        let several = sources.len() > 1;
        let of = |note: String| if several { format!("{}: {note}", part.report.dataset) } else { note };
        report.notes.extend(std::mem::take(&mut part.notes).into_iter().map(of));
        report.pairs_read += part.report.pairs_read;
    }
    // Half of the range, since both responses are numbered together.
    let rows: usize = parts.iter().map(|part| part.rows.texts.first.len()).sum();
    if rows >= (u32::MAX / 2) as usize {
        return Err(PairsError::TooManyRows { path: report.path, rows });
    }

    let whole = stack_parts(&mut parts, sources)?;
    let (mut pairs, drops) = assemble(whole.rows, whole.drops, options.seed);
    let place = |pair: u32| {
        let source = whole.starts.partition_point(|start| *start <= pair).saturating_sub(1);
        let within = pair - whole.starts.get(source).copied().unwrap_or(0);
        let row = match parts.get(source).and_then(|part| part.source_rows.as_ref()) {
            Some(rows) => rows.get(within as usize).copied().unwrap_or(within),
            None => within,
        };
        (source, row)
    };
    let mut used = vec![0; parts.len()];
    for row in &mut pairs.judgements.row {
        let source;
        (source, *row) = place(*row);
        if let Some(count) = used.get_mut(source) {
            *count += 1;
        }
    }
    for row in &mut pairs.repeats.row {
        (_, *row) = place(*row);
    }
    report.dropped_rows = (drops.list().into_iter())
        .map(|(pair, reason)| {
            let (source, row) = place(pair);
            DroppedRow { source, row, reason }
        })
        .collect();
    if let [only] = parts.as_mut_slice() {
        report.layout = only.layout.take().unwrap_or_default();
    }
    for (source, (part, pairs_used)) in parts.into_iter().zip(used).enumerate() {
        let left_out = part.left_out.into_iter();
        report.dropped_rows.extend(left_out.map(|(row, reason)| DroppedRow { source, row, reason }));
        report.sources.push(SourceReport { pairs_used, ..part.report });
    }
    report.dropped_rows.sort_by_key(|dropped| (dropped.source, dropped.row));
    for dropped in &report.dropped_rows {
        *report.dropped.entry(dropped.reason.clone()).or_default() += 1;
    }
    report.pairs_used = pairs.judgements.pair.len();
    if pairs.pair_id.is_empty() {
        return Err(nothing_left(&report));
    }
    Ok((pairs, report))
}

/// One source, read.
struct Part {
    rows: Rows,
    drops: Drops,
    /// Row in the source of each entry of `rows`; `None`: the same.
    source_rows: Option<Vec<u32>>,
    left_out: Vec<(u32, String)>,
    notes: Vec<String>,
    /// It has several labels to choose from.
    has_choices: bool,
    report: SourceReport,
    /// Files and columns, where each row is one pair.
    layout: Option<Layout>,
}

impl Part {
    /// For whoever looks for a fault.
    fn log(&self) {
        let SourceReport { path, rows, pairs_used, shape, .. } = &self.report;
        log::debug!("read {path}: {rows} rows, {pairs_used} used, shape {shape}");
    }

    fn read(source: &Source, options: &ReadOptions, hash: &mut Sha256) -> Result<Self, PairsError> {
        let path = source.path.as_str();
        let (files, mut notes) = source.files()?;
        let mut tables =
            files.iter().map(|file| Table::open(file, hash)).collect::<Result<Vec<Table>, _>>()?;
        let Some(first) = tables.first() else { return Err(PairsError::Empty { path: path.to_owned() }) };
        let (columns, known) = (first.columns.clone(), first.document);
        if columns.0.is_empty() {
            return Err(PairsError::Empty { path: path.to_owned() });
        }
        for note in tables.iter_mut().flat_map(|table| std::mem::take(&mut table.notes)) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        check_names(&columns, options, path)?;
        let ways = plans(&columns, known, options, path)?;
        let Loaded { frame, shard_rows, kept } = load(&mut tables, &ways, options, path)?;
        let rows = shard_rows.iter().sum();
        if kept.is_some() {
            notes.push(sampled_note(options.max_pairs, rows));
        }
        let chosen = ways.iter().find(|(shape, plan)| shape.accepts(&frame, plan)).or(ways.last());
        let Some((shape, plan)) = chosen else {
            return Err(not_pairs(&columns, path));
        };
        let report = SourceReport {
            path: path.to_owned(),
            files: files.len(),
            bytes: files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|meta| meta.len()).sum(),
            shape: match plan.choice {
                Some(choice) => format!("{} ({choice})", shape.name()),
                None => shape.name().to_owned(),
            },
            columns: column_report(&columns, plan, options),
            rows,
            shuffled: plan.chosen_first || plan.ranked,
            ..SourceReport::default()
        };
        let taken = shape.take(&frame, plan, &ExtractOptions { pairing: options.pairing, path })?;
        let layout = Layout { files, rows: shard_rows, ..Layout::default() };
        Extraction { tables: &tables, frame, kept, plan, options, path }.finish(taken, report, layout, notes)
    }
}

/// That some rows were not taken, and how to have them.
fn sampled_note(most: usize, rows: usize) -> String {
    format!(
        "{} pairs of {} rows are analysed: a sample that is the same in whatever order the rows stand \
         (`--max-pairs 0` takes all of them)",
        thousands(most),
        thousands(rows)
    )
}

/// What of a source's files is in memory.
struct Loaded {
    frame: DataFrame,
    /// Rows of each file.
    shard_rows: Vec<usize>,
    /// Where the rows of `frame` stand in the source, ascending; `None`: all of them are there.
    kept: Option<Vec<u32>>,
}

/// The columns that any of the ways needs, of all files; of more pairs than are asked for those with the lowest hashes.
fn load(
    tables: &mut [Table],
    ways: &[(&'static dyn FormatAdapter, ColumnMap)],
    options: &ReadOptions,
    path: &str,
) -> Result<Loaded, PairsError> {
    // Texts and labels now; vectors later, a column at a time.
    let mut needed: Vec<String> = Vec::new();
    for name in ways.iter().flat_map(|(_, plan)| plan.columns()) {
        if !needed.contains(&name) {
            needed.push(name);
        }
    }
    let vector_columns = options.embedding_columns.iter().flat_map(|(a, b)| [a, b]);
    let all: Vec<String> = needed.iter().chain(vector_columns).cloned().collect();
    check_shards(tables, &all)?;
    for table in tables.iter_mut() {
        table.retain(&all)?;
    }
    let loaded = match texts_of(ways).filter(|_| options.max_pairs > 0) {
        Some(texts) => lowest(tables, &needed, Sample::new(options.max_pairs, &texts, path))?,
        None => {
            let (frame, shard_rows) = concat(tables, &needed)?;
            Loaded { frame, shard_rows, kept: None }
        }
    };
    // Rows that were left out are numbered, too.
    match loaded.shard_rows.iter().sum::<usize>() {
        0 => Err(PairsError::Empty { path: path.to_owned() }),
        rows if rows >= (u32::MAX / 2) as usize => {
            Err(PairsError::TooManyRows { path: path.to_owned(), rows })
        }
        _ => Ok(loaded),
    }
}

/// The columns of prompt and responses, the responses last, where every way has a pair in each row: where several rows
/// make one, none can be left out by itself.
fn texts_of(ways: &[(&'static dyn FormatAdapter, ColumnMap)]) -> Option<Vec<String>> {
    let mut before: Vec<String> = Vec::new();
    let mut responses: Vec<String> = Vec::new();
    for (_, plan) in ways {
        if plan.ranked || plan.first.is_empty() || plan.second.is_empty() {
            return None;
        }
        before.extend(plan.prompt.iter().chain(&plan.input).chain(plan.before.iter().flatten()).cloned());
        responses = vec![plan.first.clone(), plan.second.clone()];
    }
    before.sort();
    before.dedup();
    before.retain(|name| !responses.contains(name));
    (!responses.is_empty()).then(|| [before, responses].concat())
}

/// Reads all files piece by piece and keeps the pairs with the lowest hashes, once there are more rows than pairs are asked
/// for.
fn lowest(tables: &[Table], names: &[String], mut sample: Sample<'_>) -> Result<Loaded, PairsError> {
    let mut whole: Option<DataFrame> = None;
    let mut shard_rows = Vec::with_capacity(tables.len());
    for table in tables {
        let mut rows = 0;
        table.pieces(names, sample::PIECE, &mut |piece| {
            rows += piece.height();
            let part = if sample.has_begun() { sample.of(&piece)? } else { piece };
            let mut all = match whole.take() {
                None => part,
                Some(above) => below_table(above, part, table, tables)?,
            };
            if !sample.has_begun() && sample.is_exceeded_by(all.height()) {
                all = sample.of(&all)?;
            }
            if sample.is_full() {
                all = sample.lowest(&all)?;
            }
            whole = Some(all);
            Ok(())
        })?;
        shard_rows.push(rows);
    }
    let frame = whole.unwrap_or_default();
    if !sample.has_begun() {
        return Ok(Loaded { frame, shard_rows, kept: None });
    }
    let frame = sample.lowest(&frame)?;
    Ok(Loaded { frame, shard_rows, kept: sample.rows() })
}

/// A table whose format is known, on its way to pairs.
struct Extraction<'a> {
    tables: &'a [Table],
    frame: DataFrame,
    /// As in [`Loaded`].
    kept: Option<Vec<u32>>,
    plan: &'a ColumnMap,
    options: &'a ReadOptions,
    path: &'a str,
}

impl Extraction<'_> {
    fn finish(
        self,
        mut taken: ExtractedPairs,
        mut report: SourceReport,
        layout: Layout,
        mut notes: Vec<String>,
    ) -> Result<Part, PairsError> {
        let (plan, path) = (self.plan, self.path);
        let pairs = taken.texts.first.len();
        report.pairs_read = pairs + taken.left_out.len();
        notes.append(&mut taken.texts.notes);
        notes.append(&mut taken.notes);
        let mut drops = Drops::new(pairs);
        // Where a row is a pair with a label of its own, it can be written back.
        let rowwise = taken.rows.is_none() && taken.labels.is_none();
        let (labels, codes) = match taken.labels.take() {
            Some(labels) => (Some(labels), Codes::default()),
            None => self.labels(&taken, &mut drops, &mut notes)?,
        };
        let layout = rowwise.then(|| self.layout(layout, codes));
        let annotators = match taken.annotators.take() {
            Some(names) => Some(names),
            None => plan.annotator.as_deref().map(|name| self.keys(name, &taken)).transpose()?,
        };
        let datasets = plan.dataset.as_deref().map(|name| self.keys(name, &taken)).transpose()?;
        let groups = (plan.groups.iter())
            .map(|name| Ok((name.clone(), self.keys(name, &taken)?)))
            .collect::<Result<Vec<_>, PairsError>>()?;
        let rows = self.frame.height();
        drop(self.frame);
        let deltas = match &self.options.embedding_columns {
            Some((a, b)) => {
                let kept = self.kept.as_deref();
                let (matrix, bad) = vectors::deltas(self.tables, (a, b), (rows, kept), path)?;
                for (row, reason) in bad {
                    drops.add(row as usize, reason);
                }
                Some(matrix)
            }
            None => None,
        };
        notes.extend(order_note(plan, self.options.pairing));
        let (source_rows, left_out) = match self.kept {
            None => (taken.rows, taken.left_out),
            Some(kept) => {
                let place = |row: u32| kept.get(row as usize).copied().unwrap_or(row);
                let left_out = taken.left_out.into_iter().map(|(row, why)| (place(row), why)).collect();
                let rows = taken.rows.map(|rows| rows.into_iter().map(place).collect());
                (Some(rows.unwrap_or(kept)), left_out)
            }
        };
        let chosen_first = vec![plan.chosen_first || plan.ranked; pairs];
        Ok(Part {
            rows: Rows { texts: taken.texts, labels, annotators, groups, datasets, deltas, chosen_first },
            drops,
            source_rows,
            left_out,
            notes,
            has_choices: !plan.choices.is_empty(),
            report,
            layout,
        })
    }

    /// A column of the table as ids, for the pairs made of its rows.
    fn keys(&self, name: &str, taken: &ExtractedPairs) -> Result<StringChunked, PairsError> {
        let found = self.frame.column(name).map_err(|_| PairsError::NoColumn {
            path: self.path.to_owned(),
            flag: "the recognised shape",
            name: name.to_owned(),
            hint: "report this as a defect".to_owned(),
        })?;
        let keys = keys(found, self.path)?;
        Ok(match &taken.rows {
            Some(rows) => gather(&keys, rows.iter().copied()),
            None => keys,
        })
    }

    fn layout(&self, layout: Layout, codes: Codes) -> Layout {
        let plan = self.plan;
        Layout {
            prompt: plan.prompt.clone(),
            first: plan.first.clone(),
            second: plan.second.clone(),
            label: plan.label.clone().filter(|_| plan.label_pair.is_none()),
            label_pair: plan.label_pair.as_ref().map(|pair| (pair.first.clone(), pair.second.clone())),
            chosen_first: plan.chosen_first,
            twins: plan.twins.clone(),
            codes,
            ..layout
        }
    }

    /// Labels of the first response, and how they are written.
    fn labels(
        &self,
        taken: &ExtractedPairs,
        drops: &mut Drops,
        notes: &mut Vec<String>,
    ) -> Result<(Option<Vec<f32>>, Codes), PairsError> {
        let plan = self.plan;
        if plan.chosen_first {
            return Ok((Some(vec![1.0; self.frame.height()]), Codes::default()));
        }
        if let Some(pair) = &plan.label_pair {
            let (values, note) = labels::of_pair(&self.frame, pair, self.path)?;
            notes.push(note);
            for (row, _) in values.iter().enumerate().filter(|(_, value)| value.is_nan()) {
                drops.add(row, "missing label");
            }
            return Ok((Some(values), Codes::default()));
        }
        let column = match &taken.written {
            Some(column) => Some(column),
            None => plan.label.as_deref().and_then(|name| self.frame.column(name).ok()),
        };
        let Some(column) = column else {
            let may_be = self.tables.first().map(|table| may_be_labels(&table.columns, plan));
            let may_be = may_be.unwrap_or_default();
            let seen = if may_be.is_empty() {
                String::new()
            } else {
                format!(" ({} may be one)", may_be.join(" or "))
            };
            notes.push(format!(
                "no label column: measurable preferences only; name one with `--label-column` if there is{seen}"
            ));
            return Ok((None, Codes::default()));
        };
        let example =
            |row: usize| Some([begins(taken.texts.first.get(row)?), begins(taken.texts.second.get(row)?)]);
        let hints = labels::Hints {
            responses: [&plan.first, &plan.second],
            map: self.options.label_map.as_ref(),
            scale: self.options.label_scale,
            classes: self
                .tables
                .iter()
                .find_map(|table| table.classes.get(column.name().as_str()))
                .map(Vec::as_slice),
            known: plan.codes.clone(),
            empty_is_nothing: self.tables.iter().any(Table::is_csv) || taken.written.is_some(),
            named: self.named(taken),
            example: Some(&example),
            path: self.path,
        };
        let Some(labels) = labels::read(column, &hints)? else {
            notes.push(format!("the label column `{}` is empty: measurable preferences only", column.name()));
            return Ok((None, Codes::default()));
        };
        for row in labels.missing {
            drops.add(row as usize, "missing label");
        }
        for (row, value) in labels.unknown {
            drops.add(row as usize, &format!("unknown label `{value}`"));
        }
        notes.extend(labels.notes);
        Ok((Some(labels.values), labels.codes))
    }

    /// What a label may repeat of its row: the models' names, the responses' texts.
    fn named(&self, taken: &ExtractedPairs) -> Vec<[StringChunked; 2]> {
        let mut named = Vec::new();
        if let Some((a, b)) = &self.plan.models
            && let (Ok(a), Ok(b)) = (self.keys(a, taken), self.keys(b, taken))
        {
            named.push([a, b]);
        }
        let text = |column: &StringChunked, name: &str| column.clone().with_name(name.into());
        let Texts { first, second, .. } = &taken.texts;
        named.push([text(first, &self.plan.first), text(second, &self.plan.second)]);
        named
    }
}

/// Columns that nothing is read from and whose names are those of labels, for a table in which no label was found.
fn may_be_labels(columns: &Columns, plan: &ColumnMap) -> Vec<String> {
    const WORDS: [&str; 26] = [
        "label",
        "labels",
        "chosen",
        "better",
        "best",
        "worse",
        "worst",
        "winner",
        "wins",
        "win",
        "loser",
        "prefer",
        "prefers",
        "preferred",
        "preference",
        "rank",
        "ranking",
        "score",
        "rating",
        "choice",
        "verdict",
        "vote",
        "votes",
        "selected",
        "rejected",
        "judgement",
    ];
    let used = plan.columns();
    let says = |name: &str| sides::words(name).iter().any(|word| WORDS.contains(&word.as_str()));
    (columns.0.iter())
        .filter(|(name, dtype)| !dtype.is_nested() && says(name) && !used.contains(name))
        .take(4)
        .map(|(name, _)| format!("`{}`", shorten(name)))
        .collect()
}

/// How a response begins, for a question.
fn begins(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let start = words.iter().take(6).copied().collect::<Vec<_>>().join(" ");
    format!("“{}…” ({} words)", shorten(&start), words.len())
}

/// How pairs stand that the source does not put in an order of its own.
fn order_note(plan: &ColumnMap, pairing: Pairing) -> Option<String> {
    if plan.chosen_first {
        return Some(
            "the preferred response stands first in the source: A and B were shuffled by the seed".into(),
        );
    }
    let how = match pairing {
        Pairing::BestVsRest => "the best against each of the others",
        Pairing::TopVsBottom => "the best against the worst",
    };
    plan.ranked
        .then(|| format!("pairs of several responses to a prompt: {how}; A and B were shuffled by the seed"))
}

/// Which column is read as what.
fn column_report(columns: &Columns, plan: &ColumnMap, options: &ReadOptions) -> Vec<ColumnReport> {
    let roles = plan.roles();
    let vectors = options.embedding_columns.as_ref();
    let role = |name: &String| {
        let of_plan = roles.iter().filter(|(_, other)| *other == name).map(|(role, _)| *role);
        let vector = vectors.filter(|(a, b)| a == name || b == name).map(|_| "vector");
        let twin = plan.twins.iter().find_map(|(first, second)| match name {
            _ if name == first => Some("goes with the preferred one"),
            _ if name == second => Some("goes with the other one"),
            _ => None,
        });
        let all: Vec<&str> = of_plan.chain(vector).chain(twin).collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    (columns.0.iter())
        .map(|(name, dtype)| ColumnReport { name: name.clone(), r#type: type_name(dtype), role: role(name) })
        .collect()
}

/// Gives every source a name of its own: that of its file or folder, with as much of the path as it takes.
fn name_datasets(parts: &mut [Part]) {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for part in parts {
        let name = source::dataset_name(&part.report.path);
        let count = taken.entry(name.clone()).or_default();
        *count += 1;
        part.report.dataset = if *count > 1 { format!("{name} ({count})") } else { name };
    }
}

/// All sources one below the other.
struct Whole {
    rows: Rows,
    drops: Drops,
    /// First entry of each source.
    starts: Vec<u32>,
}

fn stack_parts(parts: &mut [Part], sources: &[Source]) -> Result<Whole, PairsError> {
    let several = parts.len() > 1;
    let any_dataset = several || parts.iter().any(|part| part.rows.datasets.is_some());
    let any_label = parts.iter().any(|part| part.rows.labels.is_some());
    let any_annotator = parts.iter().any(|part| part.rows.annotators.is_some());
    let mut group_names: Vec<String> = Vec::new();
    for (name, _) in parts.iter().flat_map(|part| &part.rows.groups) {
        if !group_names.contains(name) {
            group_names.push(name.clone());
        }
    }
    let mut whole: Option<Whole> = None;
    for (part, source) in parts.iter_mut().zip(sources) {
        let count = part.rows.texts.first.len();
        let empty = || StringChunked::full_null(PlSmallStr::EMPTY, count);
        let rows = std::mem::take(&mut part.rows);
        let dataset = &part.report.dataset;
        let of_source = |ids: StringChunked| -> StringChunked {
            if !several {
                return ids;
            }
            let known = |id: &&str| !id.trim().is_empty();
            ids.iter().map(|id| id.filter(known).map(|id| format!("{dataset}/{id}"))).collect()
        };
        let mut groups = rows.groups;
        let groups: Vec<(String, StringChunked)> = (group_names.iter())
            .map(|name| {
                let at = groups.iter().position(|(other, _)| other == name);
                (name.clone(), at.map_or_else(empty, |at| of_source(groups.swap_remove(at).1)))
            })
            .collect();
        let rows = Rows {
            labels: any_label.then(|| rows.labels.unwrap_or_else(|| vec![f32::NAN; count])),
            annotators: any_annotator.then(|| rows.annotators.map_or_else(empty, of_source)),
            datasets: any_dataset
                .then(|| rows.datasets.unwrap_or_else(|| StringChunked::full("".into(), dataset, count))),
            groups,
            ..rows
        };
        let drops = std::mem::replace(&mut part.drops, Drops::new(0));
        whole = Some(match whole {
            None => Whole { rows, drops, starts: vec![0] },
            Some(above) => below(above, rows, &drops, &source.path)?,
        });
    }
    whole.ok_or_else(|| PairsError::Empty { path: String::new() })
}

/// Puts a source below those before it; all of them have the same optional columns.
fn below(mut above: Whole, rows: Rows, drops: &Drops, path: &str) -> Result<Whole, PairsError> {
    let start = above.rows.texts.first.len();
    above.starts.push(start as u32);
    let unexpected = |error: PolarsError| PairsError::Damaged {
        path: path.into(),
        format: "a further source",
        detail: error.to_string(),
        hint: "analyse it on its own".into(),
    };
    let append = |to: &mut StringChunked, from: &StringChunked| to.append(from).map(drop).map_err(unexpected);
    let Texts { prompt, first, second, problems, .. } = rows.texts;
    append(&mut above.rows.texts.prompt, &prompt)?;
    append(&mut above.rows.texts.first, &first)?;
    append(&mut above.rows.texts.second, &second)?;
    for (to, from) in
        [(&mut above.rows.annotators, &rows.annotators), (&mut above.rows.datasets, &rows.datasets)]
    {
        if let (Some(to), Some(from)) = (to, from) {
            append(to, from)?;
        }
    }
    for ((_, to), (_, from)) in above.rows.groups.iter_mut().zip(&rows.groups) {
        append(to, from)?;
    }
    let shift = |row: u32| row + start as u32;
    above.rows.texts.problems.extend(problems.into_iter().map(|(row, reason)| (shift(row), reason)));
    if let (Some(to), Some(from)) = (&mut above.rows.labels, rows.labels) {
        to.extend(from);
    }
    above.rows.chosen_first.extend(rows.chosen_first);
    above.drops.append(drops);
    if let (Some(to), Some(from)) = (&mut above.rows.deltas, rows.deltas) {
        stack_vectors(to, from, path)?;
    }
    Ok(above)
}

fn stack_vectors(to: &mut Matrix, from: Matrix, path: &str) -> Result<(), PairsError> {
    if to.cols != from.cols {
        return Err(PairsError::VectorDimension {
            column: path.to_owned(),
            row: 0,
            expected: to.cols,
            found: from.cols,
        });
    }
    to.values.extend(from.values);
    Ok(())
}

/// Any column of a source as texts, one value per row in the rows' order; `flag` is what named it.
///
/// # Errors
/// As for [`read()`], and where the column is not there or holds lists.
pub fn values(source: &str, name: &str, flag: &'static str) -> Result<Vec<Option<String>>, PairsError> {
    let (files, _) = Source::new(source).files()?;
    let tables = (files.iter())
        .map(|file| Table::open(file, &mut Sha256::new()))
        .collect::<Result<Vec<Table>, _>>()?;
    let columns = tables.first().map(|table| table.columns.clone()).unwrap_or_default();
    if columns.dtype(name).is_none() {
        return Err(no_column(&columns, flag, name, source));
    }
    let names = [name.to_owned()];
    check_shards(&tables, &names)?;
    let (frame, _) = concat(&tables, &names)?;
    let column = frame.column(name).map_err(|_| no_column(&columns, flag, name, source))?;
    let texts = keys(column, source)?;
    Ok(texts.iter().map(|value| value.map(str::to_owned)).collect())
}

/// A column that is not there, with the nearest one that is.
fn no_column(columns: &Columns, flag: &'static str, name: &str, path: &str) -> PairsError {
    let near = columns.nearest(name).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let hint = format!("{near}columns seen: {}", columns.describe());
    PairsError::NoColumn { path: path.to_owned(), flag, name: shorten(name), hint }
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
        Some((flag, name)) => Err(no_column(columns, flag, name, path)),
    }
}

/// The shapes that the columns allow, with what the user named by hand in place.
pub(super) fn plans(
    columns: &Columns,
    known: Option<&'static str>,
    options: &ReadOptions,
    path: &str,
) -> Result<Vec<(&'static dyn FormatAdapter, ColumnMap)>, PairsError> {
    let mut ways = match (&options.response_a_column, &options.response_b_column) {
        (Some(a), Some(b)) => vec![shapes::by_hand(columns, a, b, options)],
        _ => shapes::candidates(columns, known, options).map_err(|names| PairsError::Ambiguous {
            path: path.to_owned(),
            ways: names.join("; "),
            columns: columns.describe(),
        })?,
    };
    if ways.is_empty() {
        return Err(not_pairs(columns, path));
    }
    for (shape, plan) in &mut ways {
        if plan.ranked {
            refuse_options(shape.name(), plan, options, path)?;
        }
        if let Some(name) = &options.response_a_column {
            plan.first.clone_from(name);
        }
        if let Some(name) = &options.response_b_column {
            plan.second.clone_from(name);
        }
        if let Some(name) = &options.label_column {
            // A label of the user's choice says who wins, so the order says nothing any more.
            plan.chosen_first = false;
            plan.twins.clear();
            let is_own = plan.choices.iter().any(|choice| choice.column.as_ref() == Some(name))
                || plan.choices.is_empty() && plan.label.as_ref() == Some(name);
            plan.codes =
                plan.codes.take().filter(|_| is_own).or_else(|| shapes::known_codes(columns, plan, name));
            plan.label = Some(name.clone());
            plan.label_pair = if plan.ranked { None } else { shapes::label_pair(columns, plan, name) };
        } else {
            choose(shape.name(), plan, columns, options, path)?;
        }
        if options.prompt_column.is_some() {
            plan.prompt.clone_from(&options.prompt_column);
            (plan.input, plan.before) = (None, [None, None]);
        }
        if options.annotator_column.is_some() {
            plan.annotator.clone_from(&options.annotator_column);
        }
        for name in &options.group_columns {
            if !plan.groups.contains(name) {
                plan.groups.push(name.clone());
            }
        }
        if !plan.ranked && plan.first == plan.second {
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

/// Where pairs are made of several responses, there are no two columns to name.
fn refuse_options(
    shape: &'static str,
    plan: &ColumnMap,
    options: &ReadOptions,
    path: &str,
) -> Result<(), PairsError> {
    let given = [
        (
            "--response-a-column",
            options.response_a_column.is_some(),
            "it makes pairs of several responses",
            "name both response columns to read the rows as pairs, or none",
        ),
        (
            "--response-b-column",
            options.response_b_column.is_some(),
            "it makes pairs of several responses",
            "name both response columns to read the rows as pairs, or none",
        ),
        (
            "--embedding-columns",
            options.embedding_columns.is_some(),
            "a row is no pair, so it has no two vectors",
            "save the pairs in a table of their own, with their vectors",
        ),
        (
            "--prompt-column",
            options.prompt_column.is_some() && plan.prompt.is_none(),
            "the prompt is the conversation itself",
            "leave it out",
        ),
        (
            "--label-column",
            options.label_column.is_some() && plan.label.is_none(),
            "the ranks or scores stand with the responses",
            "leave it out; `--preference` chooses a score where there are several",
        ),
    ];
    match given.into_iter().find(|(_, given, ..)| *given) {
        Some((flag, _, reason, hint)) => {
            Err(PairsError::Inapplicable { path: path.to_owned(), flag, shape, reason, hint })
        }
        None => Ok(()),
    }
}

/// Settles which of a source's labels counts.
fn choose(
    shape: &'static str,
    plan: &mut ColumnMap,
    columns: &Columns,
    options: &ReadOptions,
    path: &str,
) -> Result<(), PairsError> {
    let chosen = match &options.preference {
        _ if plan.choices.is_empty() => return Ok(()),
        Some(name) => {
            let found = plan.choices.iter().find(|choice| choice.name.eq_ignore_ascii_case(name));
            found.ok_or_else(|| {
                let names = || plan.choices.iter().map(|choice| choice.name);
                PairsError::NoChoice {
                    path: path.to_owned(),
                    name: shorten(name),
                    reason: format!("{shape} has `{}`", names().collect::<Vec<_>>().join("`, `")),
                    hint: match nearest(name, names()) {
                        Some(near) => format!("did you mean `--preference {near}`?"),
                        None => "choose one of them".into(),
                    },
                }
            })?
        }
        None => match plan.choices.as_slice() {
            [only] => only,
            [first, ..] => {
                plan.choices.iter().find(|choice| choice.usual).ok_or_else(|| PairsError::Choose {
                    path: path.to_owned(),
                    shape,
                    choices: (plan.choices.iter())
                        .map(|choice| match &choice.column {
                            Some(column) => format!("`{}` (column `{}`)", choice.name, shorten(column)),
                            None => format!("`{}`", choice.name),
                        })
                        .collect::<Vec<_>>()
                        .join(" and "),
                    first: first.name,
                    columns: columns.describe(),
                })?
            }
            [] => return Ok(()),
        },
    };
    plan.choice = Some(chosen.name);
    if chosen.column.is_some() {
        plan.label.clone_from(&chosen.column);
    }
    Ok(())
}

/// No shape fits: say what was seen and how to name the columns.
fn not_pairs(columns: &Columns, path: &str) -> PairsError {
    let is_text = |dtype: &DataType| matches!(&*type_name(dtype), "text" | "list of records");
    let texts: Vec<&String> =
        columns.0.iter().filter(|(_, dtype)| is_text(dtype)).map(|(name, _)| name).collect();
    let mut detail = match texts.len() {
        0 => format!("it has no column of texts; columns seen: {}", columns.describe()),
        1 => format!(
            "it has one column of texts, where a pair needs two responses; columns seen: {}",
            columns.describe()
        ),
        _ => format!("no known shape has these columns: {}", columns.describe()),
    };
    if let Some((shape, lacks)) = shapes::closest(columns) {
        match lacks.as_slice() {
            [] => detail.push_str(&format!("; nearest is {shape}, whose columns hold something else here")),
            lacks => detail.push_str(&format!("; nearest is {shape}, which lacks `{}`", lacks.join("`, `"))),
        }
    }
    let hint = if let Some((command, _)) = shapes::guess(columns) {
        format!(
            "two columns look like responses; say which column tells who was preferred: `{command} --label-column L`"
        )
    } else if let ([only], Some(label)) = (texts.as_slice(), shapes::thumb(columns)) {
        detail.push_str(&format!(
            "; with a label (`{}`) for each text its rows are unpaired, as for KTO",
            shorten(&label)
        ));
        format!(
            "take the question out of `{}` into a column `prompt` and the answer into `completion`: then the good and \
             the bad answers to one question are set against each other, if any question has both",
            shorten(only)
        )
    } else if let Some((list, _)) = columns.0.iter().find(|(_, dtype)| type_name(dtype) == "list of text") {
        format!(
            "a row has several responses in `{}`: add a list with a score for each (`scores`), or write the two that \
             were compared into columns of their own, such as `chosen` and `rejected`",
            shorten(list)
        )
    } else {
        by_name(columns)
    };
    PairsError::NotPairs { path: path.to_owned(), detail, hint }
}

/// How to name the columns by hand, with those that are nearly called so and may hold such a thing.
fn by_name(columns: &Columns) -> String {
    let wanted = [
        ("--prompt-column", "prompt", true),
        ("--response-a-column", "response_A", true),
        ("--response-b-column", "response_B", true),
        ("--label-column", "label", false),
        ("--response-a-column", "chosen", true),
        ("--response-b-column", "rejected", true),
    ];
    let mut near: Vec<(&str, &str)> = Vec::new();
    for (flag, name, is_text) in wanted {
        let fits = |dtype: &DataType| match is_text {
            true => !(dtype.is_numeric() || dtype.is_bool() || dtype.is_temporal()),
            false => !dtype.is_nested(),
        };
        if let Some(found) = columns.nearest(name)
            && columns.dtype(found).is_some_and(fits)
            && !near.iter().any(|(_, other)| *other == found)
        {
            near.push((flag, found));
        }
    }
    let mut hint = "name the columns by hand: `--prompt-column P --response-a-column A --response-b-column B --label-column L`".to_owned();
    if !near.is_empty() {
        let near: Vec<String> = near.iter().map(|(flag, name)| format!("`{flag} {name}`")).collect();
        hint.push_str(&format!(" (did you mean {}?)", near.join(", ")));
    }
    hint
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
            Some(above) => below_table(above, part, table, tables)?,
        });
    }
    Ok((whole.unwrap_or_default(), rows))
}

/// Puts rows of `table`, one of `tables`, below those that came before.
fn below_table(
    above: DataFrame,
    part: DataFrame,
    table: &Table,
    tables: &[Table],
) -> Result<DataFrame, PairsError> {
    stack(above, part).map_err(|detail| PairsError::Schema {
        path: table.path.clone(),
        first: tables.first().map(|t| t.path.clone()).unwrap_or_else(|| Path::new("").into()),
        detail,
    })
}

/// Stacks two frames with the same column names; records are put together by the names of their fields.
fn stack(above: DataFrame, below: DataFrame) -> Result<DataFrame, String> {
    let mut columns = Vec::with_capacity(above.width());
    for (a, b) in above.columns().iter().zip(below.columns()) {
        let (mut a, mut b) = (a.clone(), b.clone());
        if a.dtype() != b.dtype() {
            let differ = format!(
                "column `{}` holds {}, there {}",
                b.name(),
                type_name(b.dtype()),
                type_name(a.dtype())
            );
            let to = common(a.dtype(), b.dtype()).ok_or_else(|| differ.clone())?;
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

/// A type that holds what two types hold; `None` where there is none.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    let number = |dtype: &DataType| dtype.is_numeric() || dtype.is_bool() || dtype.is_decimal();
    let text =
        |dtype: &DataType| matches!(dtype, DataType::String | DataType::Categorical(..) | DataType::Enum(..));
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (a, b) if number(a) && number(b) => Some(DataType::Float64),
        // Labels as words in one file and as numbers in another.
        (a, b) if (text(a) || number(a)) && (text(b) || number(b)) => Some(DataType::String),
        (DataType::List(a), DataType::List(b)) => Some(DataType::List(Box::new(common(a, b)?))),
        (DataType::Struct(a), DataType::Struct(b)) => {
            let mut fields = a.clone();
            for field in b {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) => known.dtype = common(&known.dtype, &field.dtype)?,
                    None => fields.push(field.clone()),
                }
            }
            Some(DataType::Struct(fields))
        }
        _ => None,
    }
}

fn nothing_left(report: &ReadReport) -> PairsError {
    let reasons: Vec<String> =
        report.dropped.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    let hint = if report.dropped.contains_key("identical responses") {
        "check that the two response columns are different ones"
    } else if report.dropped.contains_key("only one response") {
        "pairs need two responses to the same prompt; if two columns hold them, name both (`--response-a-column`, `--response-b-column`)"
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
