//! Stanford Human Preferences: `history`, `human_ref_A`, `human_ref_B`, `labels` (1 = A preferred).

use super::{Plan, Shape};
use crate::pairs::columns::Columns;

pub(super) struct Shp;

impl Shape for Shp {
    fn name(&self) -> &'static str {
        "SHP"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["history", "human_ref_A", "human_ref_B", "labels"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        Some(Plan {
            prompt: columns.find(&["history"]),
            first: columns.find(&["human_ref_A"])?,
            second: columns.find(&["human_ref_B"])?,
            label: columns.find(&["labels", "label"]),
            ..Plan::default()
        })
    }
}
