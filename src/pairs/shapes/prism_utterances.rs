//! PRISM's utterances: a row per response, with `user_prompt`, `model_response`, `score` and its turn.

use std::collections::HashMap;

use polars::prelude::DataFrame;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, keys, numbers};
use crate::pairs::ranked::{Dialogue, Rankings, position_of_best};
use crate::pairs::texts;

pub(super) struct PrismUtterances;

impl FormatAdapter for PrismUtterances {
    fn name(&self) -> &'static str {
        "PRISM utterances"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["user_prompt", "model_response", "score", "conversation_id", "turn", "user_id"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let mut plan = ColumnMap {
            prompt: Some(columns.find(&["user_prompt"])?),
            more: vec![
                columns.find(&["model_response"])?,
                columns.find(&["conversation_id"])?,
                columns.find(&["turn"])?,
            ],
            label: Some(columns.find(&["score"])?),
            annotator: columns.find(&["user_id"]),
            ranked: true,
            ..ColumnMap::default()
        };
        plan.more.extend(columns.find(&["if_chosen"]));
        Some(plan)
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let prompt = texts::text(plan.column(frame, 0, how.path)?, how.path)?;
        let response = texts::text(plan.column(frame, 1, how.path)?, how.path)?;
        let conversation = keys(plan.column(frame, 2, how.path)?, how.path)?;
        let turn = numbers(plan.column(frame, 3, how.path)?, how.path)?;
        let chosen = match plan.more.get(3) {
            Some(_) => numbers(plan.column(frame, 4, how.path)?, how.path)?,
            None => Vec::new(),
        };
        let score = numbers(plan.label_column(frame, how.path)?, how.path)?;

        // Conversations in the order of the file, their rows by turn.
        let mut order: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for row in 0..frame.height() {
            let Some(name) = conversation.get(row) else { continue };
            let at = *known.entry(name).or_insert_with(|| {
                order.push(Vec::new());
                order.len() - 1
            });
            order[at].push(row as u32);
        }
        let mut rankings = Rankings::new(response.clone());
        for rows in &mut order {
            rows.sort_by(|a, b| turn[*a as usize].total_cmp(&turn[*b as usize]));
            let mut dialogue = Dialogue::default();
            for rows in rows.chunk_by(|a, b| turn[*a as usize] == turn[*b as usize]) {
                let Some(&row) = rows.first() else { continue };
                let user = prompt.get(row as usize).unwrap_or("");
                let members: Vec<(u32, f64)> = rows.iter().map(|&row| (row, score[row as usize])).collect();
                rankings.add(row, &dialogue.ask(user), &members);
                // With equal scores, one of them was gone on with.
                let went_on = rows.iter().find(|row| chosen.get(**row as usize) == Some(&1.0)).copied();
                let best = || position_of_best(&members).and_then(|best| rows.get(best).copied());
                let Some(went_on) = went_on.or_else(best) else { break };
                dialogue.push(user, response.get(went_on as usize).unwrap_or(""));
            }
        }
        Ok(rankings.pairs(how.pairing))
    }
}
