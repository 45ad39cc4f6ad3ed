//! Chatbot Arena / LMArena: `conversation_a`, `conversation_b`, `winner`.

use super::{Plan, Shape};
use crate::pairs::columns::Columns;

pub(super) struct Arena;

impl Shape for Arena {
    fn name(&self) -> &'static str {
        "Arena conversations"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["conversation_a", "conversation_b", "winner"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        Some(Plan {
            first: columns.find(&["conversation_a"])?,
            second: columns.find(&["conversation_b"])?,
            label: columns.find(&["winner"]),
            annotator: columns.find(&["judge", "user_id"]),
            ..Plan::default()
        })
    }
}
