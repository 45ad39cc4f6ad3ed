//! Figures that choosing does not flatter: chosen on four fifths of the labels, measured on the fifth.
//!
//! A feature that is confirmed on all labels is so in part because these labels happen to favour it, and its
//! effect on them is too large for the same reason. So the labels are cut into fifths, prompts kept whole. A fifth
//! counts where the *other four*, by themselves and at the same bar, choose the feature in the same direction; the
//! effect is estimated over the fifths that count. None of them took part in the choice that made it count.

use super::control::Control;
use super::feature::{WinDelta, coefficient, win_influence};
use super::sample::Sample;
use crate::pairs::Pairs;
use crate::rng;

/// Parts that labels are cut into.
pub const FOLDS: u8 = 5;
/// By how much an interval widens where some fifths do not count: that they do not is news of the others, since a
/// fifth is left out where those are low. Found by simulation (`cargo bench --bench calibration -- crossfit`).
pub(crate) const WIDER: f64 = 1.25;

/// The fifth of every judgement of `sample` (whose rows are pairs), by its prompt's content: the order of the rows
/// does not matter. A pair without a prompt goes by itself.
pub fn folds(pairs: &Pairs, sample: &Sample) -> Vec<u8> {
    parting(pairs, sample, 0)
}

/// Fifths likewise, others for every `number`; those of 0 are [`folds`].
pub(super) fn parting(pairs: &Pairs, sample: &Sample, number: u64) -> Vec<u8> {
    let mut of: Vec<Option<u8>> = vec![None; pairs.pair_id.len()];
    (sample.row().iter())
        .map(|&pair| match of.get_mut(pair as usize) {
            Some(slot) => *slot.get_or_insert_with(|| part(pairs, pair as usize, number)),
            None => 0,
        })
        .collect()
}

/// The fifth of a pair's judgements.
pub fn fold(pairs: &Pairs, pair: usize) -> u8 {
    part(pairs, pair, 0)
}

fn part(pairs: &Pairs, pair: usize, number: u64) -> u8 {
    let prompt = rng::plain(pairs.prompt.get(pair));
    let key = if prompt.is_empty() { pairs.pair_id.get(pair).map_or("", String::as_str) } else { &prompt };
    (rng::of_content(number, "cross-fit", &[key]) % u64::from(FOLDS)) as u8
}

/// A cross-fitted Δwin-rate.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossFitted {
    /// The figure, its interval wider where fifths are missing.
    pub win: WinDelta,
    /// The fifths that count, from 0.
    pub folds: Vec<u8>,
    /// Judgements of these.
    pub rows: Vec<usize>,
}

/// The Δwin-rate of a feature with values `z` and clear presence `clear` (`[judgements]` each), over the fifths whose others
/// choose it by z: a clustered p of at most `bar` in the direction `sign`. The win rate goes by presence. `None` where no
/// fifth counts or nothing can be estimated.
pub fn cross_fitted(
    (z, clear): (&[f32], &[f32]),
    sample: &Sample,
    control: Control,
    fold: &[u8],
    bar: f64,
    sign: f64,
) -> Option<CrossFitted> {
    let chosen: Vec<u8> = (0..FOLDS)
        .filter(|&number| {
            let rest: Vec<usize> = (0..sample.len()).filter(|&at| fold[at] != number).collect();
            let found = coefficient(&pick(z, &rest), &sample.subset(&rest), control);
            rest.len() < sample.len() && found.is_some_and(|(beta, p)| p <= bar && beta * sign > 0.0)
        })
        .collect();
    let rows: Vec<usize> = (0..sample.len()).filter(|&at| chosen.contains(&fold[at])).collect();
    let mut win = win_influence(&pick(clear, &rows), &sample.subset(&rows), control).0;
    if !(win.value.is_finite() && win.low.is_finite() && win.high.is_finite()) {
        return None;
    }
    if rows.len() < sample.len() {
        win.low = (win.value - WIDER * (win.value - win.low)).max(-1.0);
        win.high = (win.value + WIDER * (win.high - win.value)).min(1.0);
        win.se *= WIDER;
    }
    Some(CrossFitted { win, folds: chosen, rows })
}

fn pick(z: &[f32], rows: &[usize]) -> Vec<f32> {
    rows.iter().map(|&at| z[at]).collect()
}
