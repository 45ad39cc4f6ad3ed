//! How well a linear probe on the deltas predicts held-out labels, for the benches of embedders.

use wimhf::effects::{self, Sample, penalised};
use wimhf::matrix::Matrix;
use wimhf::pairs::{self, Pairs, Split};

/// The probe's AUC on the held-out side of one split.
pub fn auc(pairs: &Pairs, deltas: &Matrix, seed: u64) -> effects::Estimate {
    let (sides, _) = pairs::split(pairs, [0.6, 0.0, 0.4], seed).expect("shares that add up");
    let sample = |side: Split| {
        let judgements = &pairs.judgements;
        let used: Vec<usize> = (0..judgements.pair.len())
            .filter(|&j| judgements.label[j] != 0.5 && sides[judgements.pair[j] as usize] == side)
            .collect();
        let row: Vec<u32> = used.iter().map(|&j| judgements.pair[j]).collect();
        let prompt = row.iter().map(|&pair| pairs.prompt_key[pair as usize]).collect();
        Sample::new(
            used.iter().map(|&j| f64::from(judgements.label[j])).collect(),
            row.iter().map(|&pair| f64::from(pairs.length_delta[pair as usize])).collect(),
            row.clone(),
            &[prompt],
        )
        .expect("columns of one length")
    };
    let (train, test) = (sample(Split::Train), sample(Split::Test));
    let probe = penalised::fit(deltas, train.row(), train.y(), &penalised::Penalty::default());
    let scores = probe.expect("two labels").score(deltas, test.row());
    effects::auc(&scores, test.y(), test.clusters()).expect("two labels")
}
