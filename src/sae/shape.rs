//! What the data can carry of what was asked, and how often the engines look.

use super::{Activation, SaeConfig};

/// Steps between two looks at which features are dead; each look waits for the device.
pub(super) const LOOK_EVERY: usize = 8;

/// What the data can carry of what was asked.
pub(super) struct Shape {
    pub(super) features: usize,
    pub(super) active: usize,
    pub(super) activation: Activation,
    /// Ascending, the last is `features`.
    pub(super) prefixes: Vec<usize>,
}

impl Shape {
    /// No more features than rows, nor than four times the dimensions.
    pub(super) fn fitting(config: &SaeConfig, rows: usize, dimensions: usize) -> (Self, Vec<String>) {
        let features = config.features.min(rows).min(4 * dimensions);
        let active = config.active.min(features);
        let mut prefixes = config.prefixes.clone();
        prefixes.retain(|&prefix| 0 < prefix && prefix < features);
        prefixes.push(features);
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut notes = Vec::new();
        if features < config.features {
            notes.push(format!(
                "{features} features with {active} active instead of {} with {}: {rows} training pairs \
                 with {dimensions} dimensions carry no more",
                config.features, config.active
            ));
        }
        (Self { features, active, activation: Activation::Signed, prefixes }, notes)
    }
}
