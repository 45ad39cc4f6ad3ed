//! Chatbot Arena / LMArena and MT-bench: `conversation_a`, `conversation_b`, `winner`.

use polars::prelude::DataFrame;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, FormatAdapter, find, numbers};
use crate::pairs::texts::{self, Cells, Texts};

pub(super) struct Arena;

impl FormatAdapter for Arena {
    fn name(&self) -> &'static str {
        "Arena conversations"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["conversation_a", "conversation_b", "winner"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        Some(ColumnMap {
            first: columns.find(&["conversation_a"])?,
            second: columns.find(&["conversation_b"])?,
            label: columns.find(&["winner"]),
            annotator: columns.find(&["judge", "user_id"]),
            // MT-bench: the turn that was judged; in Arena, how many there are.
            more: columns.find(&["turn"]).into_iter().collect(),
            ..ColumnMap::default()
        })
    }

    fn texts(&self, frame: &DataFrame, plan: &ColumnMap, path: &str) -> Result<Texts, PairsError> {
        let turns = match plan.more.first().and_then(|name| frame.column(name).ok()) {
            Some(column) => numbers(column, path)?,
            None => Vec::new(),
        };
        let cells = |name: &str| {
            Ok::<_, PairsError>(match texts::cells(find(frame, name, path)?, path)? {
                Cells::Messages(messages) if !turns.is_empty() => Cells::Messages(messages.cut(&turns)),
                cells => cells,
            })
        };
        Ok(texts::from_cells(
            plan.prompt_cells(frame, path)?,
            cells(&plan.first)?,
            cells(&plan.second)?,
            false,
        ))
    }
}
