//! Statistics that more than one stage needs.

pub mod correlation;
pub mod krippendorff;
pub mod multiplicity;
pub mod random_effects;
pub mod share;

/// The 97.5 % quantile of the normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;
