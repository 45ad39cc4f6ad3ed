//! What a format is to whatever reads with it: which columns hold what, and what it makes of a table.

use polars::prelude::*;

use super::codes::Codes;
use super::columns::{Columns, type_name};
use super::error::PairsError;
use super::options::ReadOptions;
use super::texts::{self, Cells, Texts};
use super::{records, turns};
use crate::config::Pairing;

/// Names that an annotator's id goes by, in every format.
pub(super) const ANNOTATOR: [&str; 7] =
    ["annotator_id", "annotator", "worker_id", "worker", "rater_id", "labeler_id", "labeler"];

/// Names that a prompt goes by, the surest first.
const PROMPT: [&str; 20] = [
    "prompt",
    "instruction",
    "question",
    "query",
    "user_prompt",
    "prompt_text",
    "user_input",
    "user_query",
    "input",
    "context",
    "messages",
    "conversation",
    "conversations",
    "history",
    // Gemini.
    "contents",
    "post",
    "task",
    "source_text",
    "document",
    "article",
];

/// Names that a label goes by, the surest first.
pub(super) const LABEL: [&str; 33] = [
    "label",
    "labels",
    "winner",
    "preference",
    "preferred",
    "preferred_response",
    "preferred_answer",
    "preferred_text",
    "preferred_output",
    "preferred_model",
    "human_preference",
    "overall_preference",
    "preference_label",
    "preference_strength",
    "pref",
    "choice",
    "better",
    "better_response",
    "best",
    "best_response",
    "chosen",
    "selected",
    "selection",
    "verdict",
    "judgement",
    "judgment",
    "comparison",
    "vote",
    "outcome",
    "result",
    "answer_key",
    "annotation",
    "gold",
];

/// One way to lay out pairs in columns.
pub(super) trait FormatAdapter: Sync {
    /// Its name, said aloud when it is recognised.
    fn name(&self) -> &'static str;

    /// Columns of its own, for the message about a table that lacks some of them.
    fn needs(&self) -> &'static [&'static str];

    /// Which columns hold what, if the table has the columns of this format.
    fn recognise(&self, columns: &Columns, options: &ReadOptions) -> Option<ColumnMap>;

    /// Whether the texts are of this shape too; asked when another shape has the same columns.
    fn accepts(&self, _frame: &DataFrame, _plan: &ColumnMap) -> bool {
        true
    }

    /// Prompt and responses where a row is a pair; the first response is the one that label 1 prefers.
    fn texts(&self, frame: &DataFrame, plan: &ColumnMap, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, false, path)
    }

    /// The pairs of a table: a row each, unless the shape makes several of a row or one of several rows.
    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        Ok(ExtractedPairs::rowwise(self.texts(frame, plan, how.path)?))
    }

    /// Whether it is told by such a file alone, and never by the names of columns.
    fn is_document(&self) -> bool {
        false
    }

    /// The rows of a JSON file that is no table, if it is one of this shape's; `Err` says what is wrong with it.
    fn document(&self, _bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        None
    }
}

/// What the user chose about making pairs.
pub(super) struct ExtractOptions<'a> {
    /// For several responses to a prompt.
    pub pairing: Pairing,
    /// The source as given, for messages.
    pub path: &'a str,
}

/// What a format makes of a table, `[pairs]`.
pub(super) struct ExtractedPairs {
    /// Prompt and the two responses.
    pub texts: Texts,
    /// Row in the table; `None`: pair `i` is row `i`.
    pub rows: Option<Vec<u32>>,
    /// Share of preference for the first response; `None`: see the label column.
    pub labels: Option<Vec<f32>>,
    /// Labels as they are written, where a row has several.
    pub written: Option<Column>,
    /// Annotators, where a row has several.
    pub annotators: Option<StringChunked>,
    /// What makes no pair: row and reason.
    pub left_out: Vec<(u32, String)>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

impl ExtractedPairs {
    pub fn rowwise(texts: Texts) -> Self {
        Self {
            texts,
            rows: None,
            labels: None,
            written: None,
            annotators: None,
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// One of several labels that a source carries.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// As in `--preference NAME`.
    pub name: &'static str,
    /// Its label column, where it has one.
    pub column: Option<String>,
    /// ExtractedPairs when the user says nothing.
    pub usual: bool,
}

/// Which columns hold what.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ColumnMap {
    /// Prompt, where the table has one.
    pub prompt: Option<String>,
    /// What stands behind the prompt: the input to an instruction.
    pub input: Option<String>,
    /// What was said before it: a system prompt, and earlier turns.
    pub before: [Option<String>; 2],
    /// The response that label 1 prefers; empty where a row is no pair.
    pub first: String,
    /// The other response.
    pub second: String,
    /// Further columns that the shape reads, in its own order.
    pub more: Vec<String>,
    /// Label, or score or rank; without it, all pairs are unlabelled unless `chosen_first`.
    pub label: Option<String>,
    /// Two columns that say together who wins.
    pub label_pair: Option<LabelPair>,
    /// The published meaning of the label's codes.
    pub codes: Option<Codes>,
    /// Columns that name, row by row, what stands on either side: two models.
    pub models: Option<(String, String)>,
    /// Columns about the first response and about the second: they go where their responses go.
    pub twins: Vec<(String, String)>,
    /// Annotator's id.
    pub annotator: Option<String>,
    /// Which dataset a row comes from, in a table of several.
    pub dataset: Option<String>,
    /// Keys that the split must keep together.
    pub groups: Vec<String>,
    /// Labels that the user may choose from.
    pub choices: Vec<Choice>,
    /// The one that was chosen.
    pub choice: Option<&'static str>,
    /// Conversations are JSON lists of texts, a turn each, in prompt and responses.
    pub of_turns: bool,
    /// The first response is always the preferred one.
    pub chosen_first: bool,
    /// Pairs are made of several ranked or scored responses.
    pub ranked: bool,
    /// So complete a match that no other shape is asked.
    pub certain: bool,
    /// So common names that any other shape goes first.
    pub last_resort: bool,
}

/// Two columns that say together who wins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelPair {
    /// 1 where the first response wins, or its score.
    pub first: String,
    /// The same for the second.
    pub second: String,
    /// 1 where neither does.
    pub tie: Option<String>,
    /// They are scores: the higher one wins, equal ones are a tie.
    pub scores: bool,
}

impl ColumnMap {
    /// What each column is for, in the order in which a shape counts them.
    pub fn roles(&self) -> Vec<(&'static str, &String)> {
        let named = |role, name: &'_ Option<String>| name.is_some().then_some(role);
        let mut all: Vec<(&'static str, &String)> = Vec::new();
        all.extend(named("prompt", &self.prompt).zip(self.prompt.as_ref()));
        if !self.ranked {
            let (first, second) =
                if self.chosen_first { ("preferred", "other") } else { ("response A", "response B") };
            all.extend(
                [(first, &self.first), (second, &self.second)]
                    .into_iter()
                    .filter(|(_, name)| !name.is_empty()),
            );
        }
        all.extend(self.more.iter().map(|name| ("read", name)));
        all.extend(self.before.iter().flatten().map(|name| ("before the prompt", name)));
        all.extend(self.input.iter().map(|name| ("behind the prompt", name)));
        let label = if self.ranked { "score" } else { "label" };
        all.extend(named(label, &self.label).zip(self.label.as_ref()));
        if let Some(pair) = &self.label_pair {
            let role = if pair.scores { "score" } else { "label" };
            all.extend([&pair.first, &pair.second].into_iter().chain(&pair.tie).map(|name| (role, name)));
        }
        if let Some((first, second)) = &self.models {
            all.extend([("what the label may name", first), ("what the label may name", second)]);
        }
        all.extend(named("annotator", &self.annotator).zip(self.annotator.as_ref()));
        all.extend(named("dataset", &self.dataset).zip(self.dataset.as_ref()));
        all.extend(self.groups.iter().map(|name| ("kept together", name)));
        all
    }

    /// The columns it needs, each once.
    pub fn columns(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (_, name) in self.roles() {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// Prompt (where there is one) and further columns, by their place.
    pub fn column<'a>(
        &self,
        frame: &'a DataFrame,
        place: usize,
        path: &str,
    ) -> Result<&'a Column, PairsError> {
        let name = self.prompt.iter().chain(&self.more).nth(place);
        find(frame, name.map_or("", String::as_str), path)
    }

    /// The column of the label, score or rank.
    pub fn label_column<'a>(&self, frame: &'a DataFrame, path: &str) -> Result<&'a Column, PairsError> {
        find(frame, self.label.as_deref().unwrap_or(""), path)
    }

    /// A column of records lacks a field.
    pub fn no_field(&self, place: usize, field: &str, path: &str) -> PairsError {
        let name = self.prompt.iter().chain(&self.more).nth(place).cloned().unwrap_or_default();
        PairsError::NoField { path: path.to_owned(), name, field: field.to_owned() }
    }

    /// Texts straight from the columns.
    pub fn plain_texts(&self, frame: &DataFrame, strip: bool, path: &str) -> Result<Texts, PairsError> {
        let (first, second) = (find(frame, &self.first, path)?, find(frame, &self.second, path)?);
        let cells = if self.of_turns { texts::turns } else { texts::cells };
        let (first, second) = (cells(first, path)?, cells(second, path)?);
        Ok(texts::from_cells(self.prompt_cells(frame, path)?, first, second, strip))
    }

    /// The prompt with what stands before and behind it.
    pub fn prompt_cells(&self, frame: &DataFrame, path: &str) -> Result<Option<Cells>, PairsError> {
        let Some(prompt) = &self.prompt else { return Ok(None) };
        let prompt = find(frame, prompt, path)?;
        if self.input.is_none() && self.before.iter().all(Option::is_none) {
            let cells = if self.of_turns { texts::turns } else { texts::cells };
            return Ok(Some(match cells(prompt, path)? {
                Cells::Text(text) if text.iter().flatten().any(|prompt| turns::asked(prompt) != prompt) => {
                    Cells::Text(text.iter().map(|prompt| prompt.map(turns::asked)).collect())
                }
                cells => cells,
            }));
        }
        let text = |name: &Option<String>| {
            name.as_ref().map(|name| texts::text(find(frame, name, path)?, path)).transpose()
        };
        let (main, input) = (texts::text(prompt, path)?, text(&self.input)?);
        let (system, history) = (text(&self.before[0])?, text(&self.before[1])?);
        let said = |column: &Option<StringChunked>, row: usize| {
            let cell = column.as_ref()?.get(row).filter(|text| !text.trim().is_empty());
            cell.map(str::to_owned)
        };
        let rows = 0..frame.height();
        let whole = rows.map(|row| {
            let main = main.get(row).unwrap_or("");
            let asked = match said(&input, row) {
                Some(input) if main.trim().is_empty() => input,
                Some(input) => format!("{main}\n\n{input}"),
                None => main.to_owned(),
            };
            let system = said(&system, row).map(|text| format!("System: {text}"));
            let earlier = said(&history, row);
            if system.is_none() && earlier.is_none() {
                return (!asked.is_empty()).then_some(asked);
            }
            // A conversation names its speakers already.
            let told = ["Human: ", "System: "].iter().any(|speaker| asked.starts_with(speaker));
            let asked = (!asked.is_empty()).then(|| if told { asked } else { format!("Human: {asked}") });
            Some([system, earlier, asked].into_iter().flatten().collect::<Vec<_>>().join("\n\n"))
        });
        Ok(Some(Cells::Text(whole.collect())))
    }
}

/// A column that the recognised format has.
pub(super) fn find<'a>(frame: &'a DataFrame, name: &str, path: &str) -> Result<&'a Column, PairsError> {
    frame.column(name).map_err(|_| PairsError::NoColumn {
        path: path.to_owned(),
        flag: "the recognised shape",
        name: name.to_owned(),
        hint: "report this as a defect".to_owned(),
    })
}

/// A column of ids as texts.
pub(super) fn keys(column: &Column, path: &str) -> Result<StringChunked, PairsError> {
    let wrong = || PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "ids (texts or numbers)",
        hint: "name a column with one id per row",
    };
    if let DataType::List(inner) = column.dtype()
        && !inner.is_nested()
    {
        // Several names in one cell are one: a judge and its prompt.
        let joined = |cell: AnyValue<'_>| match records::json_of(&cell) {
            serde_json::Value::Array(values) if !values.is_empty() => {
                let part = |value: &serde_json::Value| {
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                };
                Some(values.iter().map(part).collect::<Vec<_>>().join(", "))
            }
            _ => None,
        };
        return Ok(column.as_materialized_series().iter().map(joined).collect());
    }
    if column.dtype().is_nested() {
        return Err(wrong());
    }
    let text = column.cast(&DataType::String).map_err(|_| wrong())?;
    Ok(text.str().map_err(|_| wrong())?.rechunk().into_owned())
}

/// A column of scores, ranks or turns; NaN where there is none.
pub(super) fn numbers(column: &Column, path: &str) -> Result<Vec<f64>, PairsError> {
    records::numbers(column.as_materialized_series()).ok_or_else(|| PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "numbers",
        hint: "name the column with one number per row with `--label-column`",
    })
}

/// A family of columns that say in turn whether the first wins, the second, or neither.
pub(super) fn one_hot(columns: &Columns, name: &str) -> Option<LabelPair> {
    const ENDS: [(&str, &str); 6] =
        [("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("one", "two")];
    const TIES: [&str; 6] = ["tie", "tied", "draw", "equal", "both", "neither"];
    let lower = name.to_lowercase();
    let (first_end, second_end) = ENDS.into_iter().find(|(first, second)| {
        [first, second].into_iter().any(|end| {
            let stem = lower.strip_suffix(end);
            stem.is_some_and(|stem| {
                stem.ends_with(['_', '-', ' ', '.']) || end.len() == 1 && stem.ends_with(char::is_alphabetic)
            })
        })
    })?;
    let own = if lower.ends_with(second_end) { second_end } else { first_end };
    let stem = name.get(..name.len() - own.len())?;
    let first = columns.find(&[&format!("{stem}{first_end}")])?;
    let second = columns.find(&[&format!("{stem}{second_end}")])?;
    // `winner_model_a` goes with `winner_tie`.
    let short: Vec<&str> = stem.trim_end_matches(['_', '-', ' ', '.']).split(['_', '-', ' ', '.']).collect();
    let tie = (0..=short.len()).rev().find_map(|words| {
        let base = short.get(..words)?.join("_");
        let base = if base.is_empty() { base } else { format!("{base}_") };
        TIES.iter().find_map(|tie| columns.find(&[&format!("{base}{tie}")]))
    });
    Some(LabelPair { first, second, tie, scores: false })
}

/// The column with the prompt, by its name and not one of those that are taken.
pub(super) fn prompt(columns: &Columns, taken: &[&str]) -> Option<String> {
    let readable = |name: &str| {
        columns
            .dtype(name)
            .is_some_and(|dtype| !(dtype.is_numeric() || dtype.is_bool() || dtype.is_temporal()))
    };
    PROMPT
        .iter()
        .filter_map(|name| columns.find(&[name]))
        .find(|name| !taken.contains(&name.as_str()) && readable(name))
}
