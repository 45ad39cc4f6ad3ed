//! The formats in which preference data comes: columns → pairs.
//!
//! A format whose rows are pairs is a line in [`named`]'s table; one that needs code of its own is a file with a
//! [`FormatAdapter`] and a line in [`ALL`]. What cells and codes mean is none of their business: see `texts` and
//! `codes`.

mod alternatives;
mod annotated_pairs;
mod annotation_tools;
mod arena;
mod argilla;
mod chosen_rejected;
mod community_alignment;
mod listed;
mod named;
mod oasst;
mod paired;
mod prism;
mod prism_utterances;
mod scored;
mod summaries;
mod transcripts;
mod ultrafeedback;
mod unpaired;

use polars::prelude::*;

use super::codes::Codes;
use super::columns::Columns;
use super::format::{ANNOTATOR, ColumnMap, FormatAdapter, LABEL, LabelPair, one_hot, prompt};
use super::options::ReadOptions;
use super::sides::{self, Order};

pub(super) use paired::guess;
pub(super) use unpaired::thumb;

/// Every format that is recognised; where two need the same columns, the more special one first.
static ALL: &[&dyn FormatAdapter] = &[
    &named::ONE_HOT,
    &named::OWN,
    &transcripts::Transcripts,
    &alternatives::Alternatives,
    &chosen_rejected::ChosenRejected,
    &arena::Arena,
    &named::PKU,
    &named::SHP,
    &named::HELPSTEER_2,
    &named::HELPSTEER_3,
    &named::ALPACA_EVAL,
    &named::WEB_GPT,
    &prism::Prism,
    &prism_utterances::PrismUtterances,
    &community_alignment::CommunityAlignment,
    &oasst::OpenAssistant,
    &ultrafeedback::UltraFeedback,
    &summaries::Summaries,
    &named::ICAI,
    &annotated_pairs::AnnotatedPairs,
    &annotation_tools::LabelStudio,
    &annotation_tools::ArgillaRecords,
    &argilla::ArgillaTable,
    &listed::Listed,
    &paired::Paired,
    &scored::Scored,
    &unpaired::Unpaired,
];

/// The rows of a JSON file that is no table, with the name of the shape that knows it.
pub(super) fn document(bytes: &[u8]) -> Option<(&'static str, Result<DataFrame, String>)> {
    ALL.iter().find_map(|shape| Some((shape.name(), shape.document(bytes)?)))
}

/// The shape of a table with these columns, more than one where only the texts can tell, the more
/// special first; `known` is the name of the shape where the file itself told it. `Err` holds the names of
/// shapes that want different columns.
pub(super) fn candidates(
    columns: &Columns,
    known: Option<&str>,
    options: &ReadOptions,
) -> Result<Vec<(&'static dyn FormatAdapter, ColumnMap)>, Vec<&'static str>> {
    let mut found: Vec<(&'static dyn FormatAdapter, ColumnMap)> = Vec::new();
    for &shape in ALL {
        if known.is_some_and(|name| name != shape.name()) || known.is_none() && shape.is_document() {
            continue;
        }
        if let Some(mut plan) = shape.recognise(columns, options) {
            complete(columns, &mut plan);
            if plan.certain {
                return Ok(vec![(shape, plan)]);
            }
            found.push((shape, plan));
        }
    }
    if found.iter().any(|(_, plan)| !plan.last_resort) {
        found.retain(|(_, plan)| !plan.last_resort);
    }
    let same =
        |a: &ColumnMap, b: &ColumnMap| (&a.first, &a.second, &a.more) == (&b.first, &b.second, &b.more);
    match found.first() {
        Some((_, first)) if found.iter().any(|(_, plan)| !same(first, plan)) => {
            Err(found.iter().map(|(shape, _)| shape.name()).collect())
        }
        _ => Ok(found),
    }
}

/// Adds what any format may have: annotators, groups, what stands around the prompt or goes with a response.
fn complete(columns: &Columns, plan: &mut ColumnMap) {
    if plan.annotator.is_none() {
        let free = |name: &String| plan.label.as_ref() != Some(name);
        plan.annotator = columns.find(&ANNOTATOR).filter(free);
    }
    plan.dataset = dataset(columns);
    if let Some(group) = columns.find(&["conversation_id"])
        && !plan.groups.contains(&group)
    {
        plan.groups.push(group);
    }
    around_prompt(columns, plan);
    // Arena's sets on Kaggle, whose turns stand as JSON lists beside a column per outcome.
    let outcome = plan.label_pair.as_ref().map(|pair| pair.first.to_lowercase());
    plan.of_turns = outcome.is_some_and(|name| name.starts_with("winner_model_"));
    if plan.models.is_none() && plan.label.is_some() && !plan.ranked {
        let pairs = [
            ("model_a", "model_b"),
            ("model_1", "model_2"),
            ("generator_1", "generator_2"),
            ("model_A", "model_B"),
        ];
        let models = pairs.iter().find_map(|(a, b)| columns.find(&[a]).zip(columns.find(&[b])));
        // `model_b` goes where `response_b` goes.
        plan.models = models.and_then(|(a, b)| match sides::order(&plan.first, &plan.second) {
            Order::Plain => Some((a, b)),
            Order::Turned => Some((b, a)),
            Order::Some => None,
        });
    }
    if plan.chosen_first {
        plan.twins = twins(columns, plan);
    }
}

/// Names of what a question is about.
const CONTEXT: [&str; 5] = ["context", "article", "document", "passage", "source_document"];

/// What stands before and behind the prompt.
fn around_prompt(columns: &Columns, plan: &mut ColumnMap) {
    let used = [&plan.first, &plan.second];
    let free = |name: &String| {
        plan.prompt.as_ref() != Some(name) && !used.contains(&name) && !plan.more.contains(name)
    };
    let is = |name: &str| plan.prompt.as_deref().is_some_and(|prompt| prompt.eq_ignore_ascii_case(name));
    if plan.input.is_none() && is("instruction") {
        plan.input = columns.find(&["input"]).filter(free);
    }
    let asks = ["prompt", "instruction", "question", "query"].into_iter().any(is);
    if plan.input.is_none() && asks {
        // What the question is about: without it, all questions of a set may be the same.
        let texts = |name: &String| match columns.dtype(name) {
            Some(DataType::List(inner)) => **inner == DataType::String,
            Some(dtype) => *dtype == DataType::String,
            None => false,
        };
        plan.input = columns.find(&CONTEXT).filter(free).filter(texts);
    }
    if asks && !plan.ranked {
        let plain = |name: &String| columns.dtype(name).is_some_and(|dtype| !dtype.is_nested());
        let nested = |name: &String| matches!(columns.dtype(name), Some(DataType::List(_)));
        plan.before = [
            columns.find(&["system", "system_prompt"]).filter(free).filter(plain),
            columns.find(&["history"]).filter(free).filter(nested),
        ];
    }
}

/// Pairs of columns that differ by `chosen` and `rejected` only: `score_chosen` and `score_rejected`.
fn twins(columns: &Columns, plan: &ColumnMap) -> Vec<(String, String)> {
    let other = |name: &String| {
        let at = name.to_lowercase().find("chosen")?;
        // The name may change its length in lower case; then it is no such name.
        let (before, after) = (name.get(..at)?, name.get(at + "chosen".len()..)?);
        columns.find(&[&format!("{before}rejected{after}")])
    };
    let names = columns.0.iter().map(|(name, _)| name).filter(|name| **name != plan.first);
    names
        .filter_map(|name| Some((name.clone(), other(name)?)))
        .filter(|(_, second)| *second != plan.second)
        .collect()
}

/// The column that says which dataset a row comes from.
fn dataset(columns: &Columns) -> Option<String> {
    columns.find(&["dataset"]).filter(|name| columns.dtype(name).is_some_and(|dtype| !dtype.is_nested()))
}

/// The shape that most of whose columns are there, and which are not.
pub(super) fn closest(columns: &Columns) -> Option<(&'static str, Vec<&'static str>)> {
    let missing = |shape: &&'static dyn FormatAdapter| {
        let lacks: Vec<&'static str> =
            shape.needs().iter().filter(|name| columns.find(&[name]).is_none()).copied().collect();
        let there = shape.needs().len() - lacks.len();
        // One `prompt` is no resemblance.
        (there >= 2 && there >= lacks.len()).then(|| (lacks.len(), shape.name(), lacks))
    };
    let (_, name, lacks) = ALL.iter().filter_map(missing).min_by_key(|(count, ..)| *count)?;
    Some((name, lacks))
}

/// Columns named by hand: this project's own format under other names.
pub(super) fn by_hand(
    columns: &Columns,
    first: &str,
    second: &str,
    options: &ReadOptions,
) -> (&'static dyn FormatAdapter, ColumnMap) {
    let used =
        |name: &String| name != first && name != second && options.prompt_column.as_ref() != Some(name);
    let label = columns.find(&LABEL).filter(used);
    let mut plan = ColumnMap {
        prompt: prompt(columns, &[first, second]),
        first: first.to_owned(),
        second: second.to_owned(),
        // Columns whose names say which one was preferred need no label.
        chosen_first: label.is_none() && paired::is_ordered(first, second),
        label,
        ..ColumnMap::default()
    };
    if let Some(label) = &plan.label {
        plan.codes = known_codes(columns, &plan, label);
    } else if !plan.chosen_first {
        plan.label_pair = with_responses(paired::label_pair_of(columns, first, second), first, second);
    }
    complete(columns, &mut plan);
    (&named::OWN, plan)
}

/// The published codes of a label column, where a format has just these responses and this label.
pub(super) fn known_codes(columns: &Columns, plan: &ColumnMap, label: &str) -> Option<Codes> {
    let options = ReadOptions::default();
    ALL.iter().filter_map(|format| format.recognise(columns, &options)).find_map(|known| {
        let same = known.first == plan.first && known.second == plan.second;
        known.codes.filter(|_| same && known.label.as_deref() == Some(label))
    })
}

/// The family of a label column by hand: a column per outcome, of which the user named one.
pub(super) fn label_pair(columns: &Columns, plan: &ColumnMap, name: &str) -> Option<LabelPair> {
    let lower = name.to_lowercase();
    let about = ["win", "prefer", "better"].iter().any(|word| lower.contains(word));
    let found = one_hot(columns, name).filter(|pair| about || pair.tie.is_some());
    // 1 in `worse_a` is no vote for A.
    let found = found.filter(|_| !sides::is_of_loser(name));
    with_responses(found, &plan.first, &plan.second)
}

/// Two columns about `a` and `b`, in the order in which the responses of these names were put; `None` where they are
/// about two of several, which need not be these.
fn with_responses(pair: Option<LabelPair>, first: &str, second: &str) -> Option<LabelPair> {
    let pair = pair?;
    match sides::order(first, second) {
        Order::Plain => Some(pair),
        Order::Turned => Some(LabelPair { first: pair.second, second: pair.first, ..pair }),
        Order::Some => None,
    }
}

#[cfg(test)]
mod tests;
