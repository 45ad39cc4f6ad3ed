//! Inverse Constitutional AI: `text_a`, `text_b`, `preferred_text` (`text_a` or `text_b`).

use super::{Plan, Shape};
use crate::pairs::columns::Columns;

pub(super) struct Icai;

impl Shape for Icai {
    fn name(&self) -> &'static str {
        "ICAI"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["text_a", "text_b", "preferred_text"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        Some(Plan {
            prompt: columns.find(&["input", "prompt"]),
            first: columns.find(&["text_a"])?,
            second: columns.find(&["text_b"])?,
            label: columns.find(&["preferred_text"]),
            ..Plan::default()
        })
    }
}
