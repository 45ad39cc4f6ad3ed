//! How well a linear probe on the deltas predicts held-out labels, for the benches of embedders.

use wimhf::effects::table::LabelledSample;
use wimhf::effects::{self, penalised};
use wimhf::matrix::Matrix;
use wimhf::pairs::{self, Pairs, Split};

/// The probe's AUC on the held-out side of one split.
pub fn auc(pairs: &Pairs, deltas: &Matrix, seed: u64) -> effects::Estimate {
    let (sides, _) = pairs::split(pairs, [0.6, 0.0, 0.4], seed).expect("shares that add up");
    let sample = |side: Split| LabelledSample::on(pairs, &sides, &[side]).sample;
    let (train, test) = (sample(Split::Train), sample(Split::Test));
    let probe = penalised::fit(deltas, train.row(), train.y(), &penalised::Penalty::default());
    let scores = probe.expect("two labels").score(deltas, test.row());
    effects::auc(&scores, test.y(), test.clusters()).expect("two labels")
}
