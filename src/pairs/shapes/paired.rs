//! Two columns whose names differ by one word (`answer_1` and `answer_2`): guessed, and said aloud.

use polars::prelude::{DataFrame, DataType};

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{
    ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, LABEL, LabelPair, one_hot, prompt,
};
use crate::pairs::sides::{SIDES, differ, words};
use crate::pairs::texts::Texts;

pub(super) struct Paired;

/// Words by which two columns of responses differ that say which one is preferred.
const ORDERED: [(&str, &str); 18] = [
    ("chosen", "rejected"),
    ("accepted", "rejected"),
    ("preferred", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "unpreferred"),
    ("preferred", "nonpreferred"),
    ("winner", "loser"),
    ("winning", "losing"),
    ("win", "lose"),
    ("won", "lost"),
    ("better", "worse"),
    ("best", "worst"),
    ("good", "bad"),
    ("positive", "negative"),
    ("pos", "neg"),
    ("w", "l"),
    ("j", "k"),
    ("selected", "rejected"),
];
/// Words for responses.
const RESPONSE: [&str; 21] = [
    "response",
    "answer",
    "output",
    "completion",
    "conversation",
    "text",
    "candidate",
    "summary",
    "generation",
    "reply",
    "message",
    "assistant",
    "option",
    "content",
    "comment",
    "continuation",
    "responses",
    "generated",
    "story",
    "essay",
    "translation",
];
/// Words for other things that come in twos.
const OTHER: [&str; 31] = [
    "model",
    "score",
    "scores",
    "rating",
    "ratings",
    "id",
    "name",
    "token",
    "tokens",
    "length",
    "len",
    "source",
    "annotator",
    "generator",
    "label",
    "rank",
    "reward",
    "prob",
    "winner",
    "url",
    "lang",
    "language",
    "feedback",
    "reasoning",
    "rationale",
    "reason",
    "critique",
    "count",
    "quotes",
    "judge",
    "type",
];

/// Whether the names of two columns say that the first is preferred.
pub(super) fn is_ordered(first: &str, second: &str) -> bool {
    let found = differ(&words(first), &words(second));
    found.is_some_and(|(_, a, b)| ORDERED.iter().any(|(one, other)| *one == a && *other == b))
}

/// Two columns that may be the responses.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    first: String,
    second: String,
    ordered: bool,
    /// Lower is surer.
    doubt: u8,
}

fn candidates(columns: &Columns) -> Vec<Candidate> {
    let holds_texts = |dtype: &DataType| {
        matches!(
            dtype,
            DataType::String
                | DataType::Categorical(..)
                | DataType::Enum(..)
                | DataType::List(_)
                | DataType::Struct(_)
                | DataType::Binary
        )
    };
    let named: Vec<(&String, Vec<String>)> = columns
        .0
        .iter()
        .filter(|(_, dtype)| holds_texts(dtype))
        .map(|(name, _)| (name, words(name)))
        .collect();
    let mut found: Vec<Candidate> = Vec::new();
    for (first, one) in &named {
        for (second, other) in &named {
            let Some((place, a, b)) = differ(one, other) else { continue };
            let is = |pairs: &[(&str, &str)]| pairs.iter().any(|(x, y)| *x == a && *y == b);
            let (sides, ordered) = (is(&SIDES), is(&ORDERED));
            if !sides && !ordered {
                continue;
            }
            let stem: Vec<&String> =
                one.iter().enumerate().filter(|(i, _)| *i != place).map(|(_, w)| w).collect();
            if stem.iter().any(|word| OTHER.contains(&word.as_str())) {
                continue;
            }
            let doubt = match stem.as_slice() {
                stem if stem.iter().any(|word| RESPONSE.contains(&word.as_str())) => 0,
                [] => 1,
                _ => 2,
            };
            found.push(Candidate { first: (*first).clone(), second: (*second).clone(), ordered, doubt });
        }
    }
    // Three or more in a row are no pair: 0 and 1, 1 and 2.
    let twice = |candidate: &Candidate| {
        let again =
            |name: &String| found.iter().filter(|c| c.first == *name || c.second == *name).count() > 1;
        again(&candidate.first) || again(&candidate.second)
    };
    let alone: Vec<Candidate> = found.iter().filter(|candidate| !twice(candidate)).cloned().collect();
    let least = alone.iter().map(|candidate| candidate.doubt).min();
    alone.into_iter().filter(|candidate| Some(candidate.doubt) == least).collect()
}

/// Which columns the names point to, if they point to one pair only.
fn plan(columns: &Columns) -> Option<ColumnMap> {
    let found = candidates(columns);
    let [only] = found.as_slice() else { return None };
    let taken = |name: &&String| **name == only.first || **name == only.second;
    let free: Vec<(String, DataType)> = columns.0.iter().filter(|(name, _)| !taken(&name)).cloned().collect();
    let free = Columns(free);
    let prompt = prompt(&free, &[]);
    let scalar = |name: &String| free.dtype(name).is_some_and(|dtype| !matches!(dtype, DataType::Struct(_)));
    let label = LABEL
        .iter()
        .filter_map(|name| free.find(&[name]))
        .find(|name| scalar(name) && prompt.as_ref() != Some(name));
    let mut plan = ColumnMap {
        prompt,
        first: only.first.clone(),
        second: only.second.clone(),
        chosen_first: only.ordered,
        last_resort: true,
        ..ColumnMap::default()
    };
    if only.ordered {
        return Some(plan);
    }
    plan.label = label;
    if plan.label.is_none() {
        plan.label_pair = outcomes(&free).or_else(|| scores(&free));
    }
    Some(plan)
}

/// A column per outcome, whatever its name.
fn outcomes(columns: &Columns) -> Option<LabelPair> {
    let counts = |name: &String| {
        columns.dtype(name).is_some_and(|d| d.is_numeric() || d.is_bool() || *d == DataType::String)
    };
    let says = |name: &str| {
        words(name).iter().any(|word| {
            matches!(word.as_str(), "winner" | "wins" | "win" | "preferred" | "better" | "prefer")
        })
    };
    let found =
        columns.0.iter().filter(|(name, _)| says(name)).find_map(|(name, _)| one_hot(columns, name))?;
    (counts(&found.first) && counts(&found.second)).then_some(found)
}

/// A score for each response.
fn scores(columns: &Columns) -> Option<LabelPair> {
    const WORDS: [&str; 5] = ["score", "rating", "reward", "votes", "grade"];
    let says = |name: &str| words(name).iter().any(|word| WORDS.contains(&word.as_str()));
    let numbers = |name: &String| {
        columns.dtype(name).is_some_and(|dtype| dtype.is_numeric() || *dtype == DataType::String)
    };
    let named: Vec<&String> =
        columns.0.iter().map(|(name, _)| name).filter(|name| says(name) && numbers(name)).collect();
    let mut found = Vec::new();
    for first in &named {
        for second in &named {
            if let Some((_, a, b)) = differ(&words(first), &words(second))
                && SIDES.iter().any(|(x, y)| *x == a && *y == b)
            {
                found.push(LabelPair {
                    first: (*first).clone(),
                    second: (*second).clone(),
                    tie: None,
                    scores: true,
                });
            }
        }
    }
    match found.as_slice() {
        [_] => found.pop(),
        _ => None,
    }
}

/// Two columns that say together who wins, beside responses that were named by hand.
pub(super) fn label_pair_of(columns: &Columns, first: &str, second: &str) -> Option<LabelPair> {
    let free = columns.0.iter().filter(|(name, _)| name != first && name != second).cloned();
    let free = Columns(free.collect());
    outcomes(&free).or_else(|| scores(&free))
}

/// Prompt and responses alone, for formats that have their labels elsewhere.
pub(super) fn responses(columns: &Columns) -> Option<ColumnMap> {
    let found = plan(columns)?;
    Some(ColumnMap { prompt: found.prompt, first: found.first, second: found.second, ..ColumnMap::default() })
}

/// The options that name the columns by hand, as far as their names tell; with the columns that may be the label.
pub(in crate::pairs) fn guess(columns: &Columns) -> Option<(String, bool)> {
    let plan = plan(columns)?;
    let told = plan.label.is_some() || plan.label_pair.is_some() || plan.chosen_first;
    Some((command(&plan), told))
}

/// The plan as it would be typed.
fn command(plan: &ColumnMap) -> String {
    let quoted =
        |name: &String| match name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            true => name.clone(),
            false => format!("'{}'", name.replace('\'', "'\\''")),
        };
    let mut command = String::new();
    for (flag, name) in [
        ("--prompt-column", plan.prompt.as_ref()),
        ("--response-a-column", Some(&plan.first)),
        ("--response-b-column", Some(&plan.second)),
        (
            "--label-column",
            plan.label.as_ref().or(plan.label_pair.as_ref().filter(|p| !p.scores).map(|p| &p.first)),
        ),
    ] {
        if let Some(name) = name {
            command.push_str(&format!("{flag} {} ", quoted(name)));
        }
    }
    command.trim_end().to_owned()
}

impl FormatAdapter for Paired {
    fn name(&self) -> &'static str {
        "two columns of responses"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn recognise(&self, columns: &Columns, options: &ReadOptions) -> Option<ColumnMap> {
        let plan = plan(columns)?;
        // Who won must be told by something.
        let told = plan.label.is_some() || plan.label_pair.is_some() || plan.chosen_first;
        (told || options.label_column.is_some()).then_some(plan)
    }

    fn texts(&self, frame: &DataFrame, plan: &ColumnMap, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, plan.chosen_first, path)
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let mut taken = ExtractedPairs::rowwise(self.texts(frame, plan, how.path)?);
        taken.notes.push(format!("the columns were guessed from their names; by hand: `{}`", command(plan)));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Columns {
        Columns(names.iter().map(|name| ((*name).to_owned(), DataType::String)).collect())
    }

    #[test]
    fn names_that_differ_by_a_side_are_a_pair() {
        for (names, command) in [
            (
                &["question", "answer_1", "answer_2", "winner"][..],
                "--prompt-column question --response-a-column answer_1 --response-b-column answer_2 --label-column winner",
            ),
            (
                &["id", "responseA", "responseB", "model_a", "model_b", "vote"],
                "--response-a-column responseA --response-b-column responseB --label-column vote",
            ),
            (
                &["left", "right", "choice"],
                "--response-a-column left --response-b-column right --label-column choice",
            ),
            (
                &["query", "good answer", "bad answer"],
                "--prompt-column query --response-a-column 'good answer' --response-b-column 'bad answer'",
            ),
            (
                &["prompt", "winning_response", "losing_response"],
                "--prompt-column prompt --response-a-column winning_response --response-b-column losing_response",
            ),
        ] {
            assert_eq!(guess(&table(names)), Some((command.to_owned(), true)), "{names:?}");
        }
        for names in [
            &["prompt", "answer_0", "answer_1", "answer_2", "winner"][..],
            &["prompt", "model_a", "model_b", "winner"],
            &["prompt", "response", "score"],
        ] {
            assert_eq!(guess(&table(names)), None, "{names:?}");
        }
    }
}
