//! Statistics that more than one stage needs.

pub mod correlation;
pub mod multiplicity;
pub mod random_effects;
