//! Community Alignment: up to four turns a row, four responses each, and which of them was preferred.

use polars::prelude::*;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter};
use crate::pairs::ranked::{Dialogue, Rankings};
use crate::pairs::texts;

pub(super) struct CommunityAlignment;

const TURNS: [&str; 4] = ["first", "second", "third", "fourth"];
const LETTERS: [&str; 4] = ["a", "b", "c", "d"];
/// Some responses still end with their model's stop token.
const STOP: &str = "<|end_of_text|>";

impl FormatAdapter for CommunityAlignment {
    fn name(&self) -> &'static str {
        "Community Alignment"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[
            "first_turn_prompt",
            "first_turn_response_a",
            "first_turn_response_b",
            "first_turn_preferred_response",
            "conversation_id",
            "annotator_id",
        ]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let mut plan = ColumnMap { ranked: true, ..ColumnMap::default() };
        // Per turn: prompt, preferred, and the responses that are there. A turn that is not there has none.
        for turn in TURNS {
            let find = |what: &str| columns.find(&[&format!("{turn}_turn_{what}")]);
            let (Some(prompt), Some(preferred)) = (find("prompt"), find("preferred_response")) else { break };
            let responses: Vec<Option<String>> =
                LETTERS.iter().map(|letter| find(&format!("response_{letter}"))).collect();
            if responses.iter().flatten().count() < 2 {
                break;
            }
            plan.more.extend([prompt, preferred]);
            plan.more.extend(responses.into_iter().flatten());
        }
        (!plan.more.is_empty()).then_some(plan)
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let text = |name: &str| match frame.column(name) {
            Ok(column) => texts::text(column, how.path),
            Err(_) => Ok(StringChunked::full_null(PlSmallStr::EMPTY, frame.height())),
        };
        let rows = frame.height();
        let mut turns = Vec::new();
        let mut pool = StringChunkedBuilder::new(PlSmallStr::EMPTY, 4 * rows);
        let mut pooled = 0u32;
        for turn in TURNS {
            let find = |what: &str| {
                plan.more.iter().find(|name| name.eq_ignore_ascii_case(&format!("{turn}_turn_{what}")))
            };
            let (Some(prompt), Some(preferred)) = (find("prompt"), find("preferred_response")) else { break };
            let mut responses = Vec::new();
            for letter in LETTERS {
                let Some(name) = find(&format!("response_{letter}")) else { continue };
                for cell in text(name)?.iter() {
                    pool.append_option(cell.map(|text| text.trim_end().trim_end_matches(STOP).trim_end()));
                }
                responses.push((letter, pooled));
                pooled += rows as u32;
            }
            turns.push((text(prompt)?, text(preferred)?, responses));
        }
        let pool = pool.finish();
        let mut rankings = Rankings::new(pool.clone());
        for row in 0..rows {
            let mut dialogue = Dialogue::default();
            let mut broken = false;
            for (prompt, preferred, responses) in &turns {
                let user = prompt.get(row).unwrap_or("").trim();
                let given: Vec<(&str, u32)> = responses
                    .iter()
                    .map(|(letter, start)| (*letter, start + row as u32))
                    .filter(|(_, i)| pool.get(*i as usize).is_some_and(|text| !text.is_empty()))
                    .collect();
                if given.is_empty() {
                    // A conversation that ended; what comes after a gap has lost its context.
                    broken = true;
                    continue;
                }
                if broken {
                    rankings.leave_out(row as u32, "turn after a missing one");
                    continue;
                }
                let wanted = preferred.get(row).unwrap_or("").trim();
                let wanted = wanted.rsplit('_').next().unwrap_or(wanted);
                let best = given.iter().find(|(letter, _)| letter.eq_ignore_ascii_case(wanted));
                let Some(&(_, best)) = best else {
                    rankings.leave_out(row as u32, "turn without a preferred response");
                    broken = true;
                    continue;
                };
                let members: Vec<(u32, f64)> =
                    given.iter().map(|&(_, i)| (i, if i == best { 1.0 } else { 0.0 })).collect();
                rankings.add(row as u32, &dialogue.ask(user), &members);
                dialogue.push(user, pool.get(best as usize).unwrap_or(""));
            }
        }
        Ok(rankings.pairs(how.pairing))
    }
}
