//! PRISM's conversations: `conversation_history` with the scored responses of every turn.

use polars::prelude::DataFrame;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter};
use crate::pairs::ranked::{Dialogue, Rankings, position_of_best};
use crate::pairs::records::Records;

pub(super) struct Prism;

impl FormatAdapter for Prism {
    fn name(&self) -> &'static str {
        "PRISM conversations"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["conversation_history", "conversation_id", "user_id"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let history = columns.find(&["conversation_history"])?;
        columns.has_records(&history).then_some(())?;
        Some(ColumnMap {
            more: vec![history],
            annotator: columns.find(&["user_id"]),
            ranked: true,
            ..ColumnMap::default()
        })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let history = Records::new(plan.column(frame, 0, how.path)?, "turns (lists of records)", how.path)?;
        let text = |field| history.texts(field).ok_or_else(|| plan.no_field(0, field, how.path));
        let (role, content) = (text("role")?, text("content")?);
        let turn = history.numbers(&["turn"]).ok_or_else(|| plan.no_field(0, "turn", how.path))?;
        let score = history.numbers(&["score"]);
        let chosen = history.numbers(&["if_chosen"]);
        if score.is_none() && chosen.is_none() {
            return Err(plan.no_field(0, "score", how.path));
        }
        let at = |column: &Option<Vec<f64>>, i: usize| {
            column.as_ref().and_then(|numbers| numbers.get(i)).copied().unwrap_or(f64::NAN)
        };
        let mut rankings = Rankings::new(content.clone());
        for row in 0..frame.height() {
            let mut entries: Vec<usize> = history.range(row).collect();
            entries.sort_by(|a, b| turn[*a].total_cmp(&turn[*b]));
            let mut dialogue = Dialogue::default();
            for entries in entries.chunk_by(|a, b| turn[*a] == turn[*b]) {
                let is_user = |i: &&usize| role.get(**i) == Some("user");
                let user = entries.iter().find(is_user).and_then(|i| content.get(*i)).unwrap_or("");
                let responses: Vec<usize> = entries.iter().filter(|i| !is_user(i)).copied().collect();
                let mut members: Vec<(u32, f64)> =
                    responses.iter().map(|&i| (i as u32, at(&score, i))).collect();
                if members.iter().all(|(_, score)| score.is_nan()) {
                    members.iter_mut().for_each(|(i, score)| *score = at(&chosen, *i as usize));
                }
                rankings.add(row as u32, &dialogue.ask(user), &members);
                let went_on = responses.iter().find(|i| at(&chosen, **i) == 1.0).copied();
                let went_on =
                    went_on.or_else(|| position_of_best(&members).and_then(|i| responses.get(i).copied()));
                let Some(went_on) = went_on else { break };
                dialogue.push(user, content.get(went_on).unwrap_or(""));
            }
        }
        Ok(rankings.pairs(how.pairing))
    }
}
