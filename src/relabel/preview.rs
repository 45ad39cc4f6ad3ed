//! What relabelling would change: the balance of the labels and every principle's effect.

use serde::Serialize;

use super::decisions::{Decisions, prefers_a, relabelled};
use crate::context::Cancel;
use crate::effects::Part;
use crate::effects::table::{LabelledSample, one_by_one};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::run::{Run, Source};

/// A principle before and after, on held-out labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shift {
    /// The principle's rank.
    pub rank: usize,
    /// Its statement.
    pub statement: String,
    /// Difference in win rate by itself, with its interval.
    pub before: Option<[f64; 3]>,
    /// The same on the changed labels.
    pub after: Option<[f64; 3]>,
}

/// What would change.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Preview {
    /// Rows of the source that change, rows that repeat a judgement included.
    pub rows: usize,
    /// Rows of the source that were read.
    pub rows_read: usize,
    /// Rows of the source beyond the most that an analysis takes: their labels stay.
    pub rows_unread: usize,
    /// Share of the labels with a preference that prefer the source's first response, before and after;
    /// `None` where the preferred response always stands first.
    pub first_preferred: Option<[f64; 2]>,
    /// Labels with a preference, before and after.
    pub labels: [usize; 2],
    /// Every principle.
    pub principles: Vec<Shift>,
    /// Held-out labels behind the principles' figures, before and after.
    pub held_out: [usize; 2],
}

/// Measures what the decisions would change.
pub fn preview(
    run: &Run,
    source: &Source,
    activations: &Matrix,
    decisions: &Decisions,
    rows: usize,
) -> Preview {
    let pairs = &source.pairs;
    let labels = relabelled(pairs, &decisions.marked);
    let changed = with_labels(pairs, labels);
    let share = |pairs: &Pairs| {
        let judgements = &pairs.judgements;
        let sides: Vec<bool> = judgements
            .label
            .iter()
            .zip(&judgements.swapped)
            .filter_map(|(&label, &swapped)| Some(prefers_a(label)? != swapped))
            .collect();
        (sides.iter().filter(|&&first| first).count() as f64 / sides.len().max(1) as f64, sides.len())
    };
    let (before, after) = (share(pairs), share(&changed));

    let chosen: Vec<usize> = run
        .findings
        .principles
        .iter()
        .filter_map(|principle| {
            let id = principle.feature_ids.first()?;
            run.features.iter().position(|feature| feature.feature_id == *id)
        })
        .collect();
    let effects = |pairs: &Pairs| {
        let labels = LabelledSample::on(pairs, &source.sides, &[Split::Test]);
        // A few columns: over before anybody could want it to stop.
        let never = Cancel::default();
        let effects = one_by_one(activations, &run.features, &chosen, &labels.sample, Part::Win, &never);
        let figures = effects.unwrap_or_default().into_iter().map(|effect| {
            let win = effect.win;
            Some([win.value, win.low, win.high]).filter(|figure| figure.iter().all(|x| x.is_finite()))
        });
        (figures.collect::<Vec<_>>(), labels.sample.len())
    };
    let ((old, n_old), (new, n_new)) = if chosen.is_empty() {
        ((Vec::new(), 0), (Vec::new(), 0))
    } else {
        (effects(pairs), effects(&changed))
    };
    let principles = run
        .findings
        .principles
        .iter()
        .zip(old.into_iter().zip(new))
        .map(|(principle, (before, after))| Shift {
            rank: principle.rank,
            statement: principle.statement.clone(),
            before,
            after,
        })
        .collect();
    Preview {
        rows,
        rows_read: source.rows_read,
        rows_unread: source.layout.rows.iter().sum::<usize>().saturating_sub(source.rows_read),
        first_preferred: (!source.layout.chosen_first).then_some([before.0, after.0]),
        labels: [before.1, after.1],
        principles,
        held_out: [n_old, n_new],
    }
}

/// The same pairs with other labels.
pub(super) fn with_labels(pairs: &Pairs, labels: Vec<f32>) -> Pairs {
    let mut changed = pairs.clone();
    changed.judgements.label = labels;
    changed
}
