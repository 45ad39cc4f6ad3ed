//! Pairs row by row, for scoring: every row of a table gives one, in its place and as it stands.

use polars::prelude::*;

use super::columns::Columns;
use super::dedup::{hex, log_ratio, pair_hash, words};
use super::error::PairsError;
use super::format::{ColumnMap, ExtractOptions, FormatAdapter};
use super::options::ReadOptions;
use super::read::{check_names, plans};
use super::{Labels, MISSING, Pairs, TextColumn, texts, vectors};

/// How the rows of a table hold what is scored.
pub struct RowReader {
    way: Way,
    options: ReadOptions,
    path: String,
}

enum Way {
    /// A shape, with all of its rivals until the first rows were seen.
    Pairs(Vec<(&'static dyn FormatAdapter, ColumnMap)>),
    /// One response per row: prompt and response.
    Single { prompt: Option<String>, response: String },
    /// Nothing but two columns of vectors.
    Vectors,
}

impl Way {
    fn single(columns: &Columns, options: &ReadOptions) -> Self {
        let prompt = || columns.find(&["prompt", "input", "question"]);
        Self::Single {
            prompt: options.prompt_column.clone().or_else(prompt),
            response: columns.find(&RESPONSE).unwrap_or_default(),
        }
    }
}

/// Some consecutive rows.
pub struct Rows {
    /// One pair per row, in the order and orientation of the table; only texts, lengths and vectors are
    /// filled in. Of single responses B is empty; where there are only vectors, all texts are.
    pub pairs: Pairs,
    /// Why a row cannot be scored, `[rows]`.
    pub problems: Vec<Option<&'static str>>,
}

impl RowReader {
    /// Recognises the columns `schema` of the table at `path`.
    ///
    /// # Errors
    /// Where they are neither pairs nor single responses nor the vectors of `options`.
    pub fn new(schema: &Schema, path: &str, options: &ReadOptions) -> Result<Self, PairsError> {
        let columns = Columns(schema.iter().map(|(name, dtype)| (name.to_string(), dtype.clone())).collect());
        let vectors = options.embedding_columns.is_some();
        check_names(&columns, options, path)?;
        let single = columns.find(&RESPONSE).is_some() && !vectors;
        let way = match plans(&columns, None, options, path) {
            // Rows that compete by prompt are single responses here.
            Ok(ways) if single && ways.iter().all(|(_, plan)| plan.ranked && plan.last_resort) => {
                Way::single(&columns, options)
            }
            Ok(ways) => Way::Pairs(ways),
            Err(PairsError::NotPairs { .. }) if single => Way::single(&columns, options),
            Err(PairsError::NotPairs { .. }) if vectors => Way::Vectors,
            Err(error) => return Err(error),
        };
        Ok(Self { way, options: options.clone(), path: path.to_owned() })
    }

    /// What a row holds, in words.
    pub fn describe(&self) -> &'static str {
        match &self.way {
            Way::Pairs(ways) => ways.first().map_or("pairs", |(shape, _)| shape.name()),
            Way::Single { .. } => "single responses",
            Way::Vectors => "pairs of vectors without texts",
        }
    }

    /// Whether rows hold single responses.
    pub fn is_single(&self) -> bool {
        matches!(self.way, Way::Single { .. })
    }

    /// Whether rows hold texts.
    pub fn has_texts(&self) -> bool {
        !matches!(self.way, Way::Vectors)
    }

    /// Reads a part of the table.
    ///
    /// # Errors
    /// Where a column is not of the type that its name says.
    pub fn read(&mut self, frame: &DataFrame) -> Result<Rows, PairsError> {
        let rows = frame.height();
        let mut problems: Vec<Option<&'static str>> = vec![None; rows];
        let [prompt, first, second] = self.texts(frame, &mut problems)?;
        let single = self.is_single();
        if self.has_texts() {
            for (row, problem) in problems.iter_mut().enumerate() {
                let missing = |text: &StringChunked| text.get(row).is_none_or(|text| text.trim().is_empty());
                if problem.is_none() && (missing(&first) || !single && missing(&second)) {
                    *problem = Some("empty or missing response");
                }
            }
        }
        let deltas = match &self.options.embedding_columns {
            Some((a, b)) => {
                let (deltas, bad) = vectors::deltas_of(frame, (a, b), &self.path)?;
                for (row, reason) in bad {
                    if let Some(problem) = problems.get_mut(row as usize) {
                        problem.get_or_insert(reason);
                    }
                }
                Some(deltas)
            }
            None => None,
        };
        let id = |row: usize| {
            let [p, a, b] = [&prompt, &first, &second].map(|text| text.get(row).unwrap_or(""));
            hex(&pair_hash(p, a, b))
        };
        let length = |text: &StringChunked, row: usize| words(text.get(row).unwrap_or(""));
        let (length_delta, log_length_ratio) = (0..rows)
            .map(|row| (length(&first, row), length(&second, row)))
            .map(|(a, b)| (a as f32 - b as f32, log_ratio(a, b)))
            .unzip();
        let pairs = Pairs {
            pair_id: (0..rows).map(id).collect(),
            length_delta,
            log_length_ratio,
            prompt_key: vec![MISSING; rows],
            prompt: TextColumn(prompt),
            response_a: TextColumn(first),
            response_b: TextColumn(second),
            own_deltas: deltas,
            judgements: Labels::default(),
            ..Pairs::default()
        };
        Ok(Rows { pairs, problems })
    }

    /// Prompt and both responses of every row; why some cannot be read goes to `problems`.
    fn texts(
        &mut self,
        frame: &DataFrame,
        problems: &mut [Option<&'static str>],
    ) -> Result<[StringChunked; 3], PairsError> {
        let empty = || StringChunked::full("".into(), "", frame.height());
        Ok(match &mut self.way {
            Way::Pairs(ways) => {
                if ways.len() > 1 {
                    let at = ways.iter().position(|(shape, plan)| shape.accepts(frame, plan));
                    let chosen = ways.swap_remove(at.unwrap_or(ways.len() - 1));
                    *ways = vec![chosen];
                }
                let Some((shape, plan)) = ways.first() else {
                    return Err(PairsError::Empty { path: self.path.clone() });
                };
                let how = ExtractOptions { pairing: self.options.pairing, path: &self.path };
                let taken = shape.take(frame, plan, &how)?;
                if taken.rows.is_some() {
                    return Err(PairsError::NotPairs {
                        path: self.path.clone(),
                        detail: format!("a row of {} is not one pair", shape.name()),
                        hint: "write its pairs with `prompt`, `response_A` and `response_B` first".into(),
                    });
                }
                let texts = taken.texts;
                for (row, reason) in texts.problems {
                    if let Some(problem) = problems.get_mut(row as usize) {
                        *problem = Some(reason);
                    }
                }
                [texts.prompt, texts.first, texts.second]
            }
            Way::Single { prompt, response } => {
                let column = |name: &str| {
                    let column = frame.column(name).map_err(|_| PairsError::NoColumn {
                        path: self.path.clone(),
                        flag: "its first rows",
                        name: name.to_owned(),
                        hint: "every batch needs the same columns".into(),
                    })?;
                    texts::text(column, &self.path)
                };
                let prompt = match prompt {
                    Some(name) => column(name)?,
                    None => empty(),
                };
                [prompt, column(response)?, empty()]
            }
            Way::Vectors => [empty(), empty(), empty()],
        })
    }
}

/// Names that the column of single responses goes by.
const RESPONSE: [&str; 4] = ["response", "completion", "output", "answer"];
