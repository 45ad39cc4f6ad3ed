//! Which labels go into a file for other tools.

use crate::pairs::{Pairs, Split};

/// A choice of labels.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Only those of held-out pairs.
    pub held_out: bool,
    /// Ties too.
    pub ties: bool,
    /// Pairs without a label too.
    pub unlabelled: bool,
}

/// The chosen judgements, in the order of the source.
pub fn rows(pairs: &Pairs, sides: &[Split], choice: Rows) -> Vec<u32> {
    let judgements = &pairs.judgements;
    (0u32..)
        .zip(judgements.pair.iter().zip(&judgements.label))
        .filter(|(_, (pair, label))| {
            let on = sides.get(**pair as usize).is_some_and(|side| *side == Split::Test);
            (on || !choice.held_out)
                && (choice.unlabelled || !label.is_nan())
                && (choice.ties || **label != 0.5)
        })
        .map(|(at, _)| at)
        .collect()
}
