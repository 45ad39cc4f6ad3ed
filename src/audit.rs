//! Two judges on the same pairs: where they agree, and which features one rewards more than the other.
//!
//! ```text
//! d = y_judge − y_reference                       of each pair that both have judged, in [−1, 1], seen from A
//! d = ½ δ s + γ₁ Δwords + γ₂ log ratio + ε        s: −1, 0, 1: who clearly has the feature; no intercept
//! ```
//!
//! δ is how many points more often the side with the feature wins with the judge than with the reference, both lengths
//! held fixed. Since both judged the same pairs, what is hard or easy about a pair cancels out: the same difference shows
//! at far fewer pairs than between two samples. Errors are clustered by prompt (Bell & McCaffrey), p-values corrected
//! (Holm) over the features. Everything is odd in A ↔ B, and the two judges changed round turn every sign.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::effects::clusters::Influence;
use crate::effects::logistic::{cholesky, solve};
use crate::effects::penalised::{Penalty, fit};
use crate::effects::{Clusters, auc, quantile_95, student_p};
use crate::matrix::Matrix;
use crate::statistics::krippendorff::Sums;
use crate::statistics::multiplicity::holm;
use crate::statistics::share::wilson_of;
use crate::store::Estimate;

/// Chance of claiming any difference where there is none.
pub const ALPHA: f64 = 0.05;
/// Pairs with a feature below which nothing is said of it.
pub const FEWEST: usize = 20;
/// Pairs that a feature is shown with.
const SHOWN: usize = 5;
/// Parts for what the features tell of the disagreement.
const FOLDS: u64 = 5;
/// Disagreements below which nothing is fitted to them.
const FEWEST_DISAGREEMENTS: usize = 50;

/// Pairs that both have judged.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Index into the pairs, `[judged]`.
    pub pair: Vec<u32>,
    /// Preference for A of the reference: 1, 0, or between.
    pub reference: Vec<f64>,
    /// The same of the judge.
    pub judge: Vec<f64>,
    /// What a pair shares with others.
    pub prompt: Vec<u32>,
    /// Words of A minus words of B.
    pub length: Vec<f64>,
    /// The log of their ratio.
    pub log_ratio: Vec<f64>,
}

/// A feature that is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// Column of the presence.
    pub column: usize,
    /// As in `features.parquet`.
    pub feature_id: String,
    /// "uses lists": completes "the response that …".
    pub description: String,
    /// About length itself: then no length is held fixed.
    pub is_length: bool,
}

/// One feature with both judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// As in `features.parquet`.
    pub feature_id: String,
    /// In words.
    pub description: String,
    /// How much more often the side with it wins, by the reference.
    pub reference: Estimate,
    /// The same by the judge.
    pub judge: Estimate,
    /// Judge minus reference, on the same pairs.
    pub difference: Estimate,
    /// Two-sided p-value of no difference.
    pub p: f64,
    /// Corrected (Holm) over the features.
    pub p_holm: f64,
    /// `p_holm` is below [`ALPHA`].
    pub differs: bool,
    /// Share of the pairs with the feature on one side in which both prefer the same response.
    pub agreement: Estimate,
    /// That, corrected for chance (Cohen's κ).
    pub kappa: Option<f64>,
    /// Pairs in which the judge sides with the feature and the reference against it (or the reverse, where the judge
    /// rewards it less), by id.
    pub examples: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Pairs that both have judged.
    pub pairs: usize,
    /// Of these, pairs in which both prefer a response.
    pub decided: usize,
    /// Share of the decided pairs in which they prefer the same one.
    pub agreement: Estimate,
    /// That, corrected for chance (Cohen's κ).
    pub kappa: Option<f64>,
    /// How well features and lengths tell, where the two disagree, which response the judge prefers: AUC on prompts that
    /// took no part in the fit; .5 is chance.
    pub disagreement_auc: Option<Estimate>,
    /// Every feature, the surest difference first.
    pub features: Vec<AuditRow>,
    /// Sentences that a reader should know.
    pub notes: Vec<String>,
}

/// How far the people who labelled the run agree with each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Among {
    /// People with a label.
    pub people: usize,
    /// Krippendorff's α of "A", "B" and "neither", over the pairs that several people judged: 1 where all agree, 0 where as
    /// often as by chance.
    pub alpha: Estimate,
    /// The same in the pairs with a feature on one side, the least agreement first.
    pub features: Vec<AmongRow>,
}

/// A feature and the people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmongRow {
    /// As in `features.parquet`.
    pub feature_id: String,
    /// In words.
    pub description: String,
    /// As [`Among::alpha`].
    pub alpha: Estimate,
}

/// What several people said of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Votes {
    /// Index into the pairs.
    pub pair: u32,
    /// What it shares with others.
    pub prompt: u32,
    /// Preference for A, one for each person.
    pub labels: Vec<f64>,
}

/// Parts that agreement is computed without, one after the other.
const PARTS: usize = 100;

/// Krippendorff's α over all pairs that several people judged, and by feature; intervals are jackknifed over the prompts.
/// `None` where fewer than [`FEWEST`] pairs have two labels, or nothing could have been disagreed on.
pub fn among(votes: &[Votes], people: usize, presence: &Matrix, looked: &[Looked]) -> Option<Among> {
    let several: Vec<&Votes> = votes.iter().filter(|votes| votes.labels.len() > 1).collect();
    // Prompts stay together; where they are many, several make a part.
    let mut prompts: Vec<u32> = several.iter().map(|votes| votes.prompt).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let parts = prompts.len().min(PARTS);
    let alpha = |with: &dyn Fn(&Votes) -> bool| -> Option<Estimate> {
        let mut sums = vec![Sums::default(); parts];
        for votes in several.iter().filter(|votes| with(votes)) {
            let rank = prompts.partition_point(|prompt| *prompt < votes.prompt);
            let sides: Vec<Option<std::cmp::Ordering>> =
                votes.labels.iter().map(|label| label.partial_cmp(&0.5)).collect();
            sums[rank % parts].add(&sides);
        }
        sums.retain(|part| part.things > 0);
        let n = sums.iter().map(|part| part.things).sum();
        if n < FEWEST {
            return None;
        }
        let (value, error) = Sums::jackknife(&sums)?;
        let half = quantile_95(Some(sums.len() as f64 - 1.0)) * error;
        Some(Estimate { value, low: value - half, high: (value + half).min(1.0), n })
    };
    let all = alpha(&|_| true)?;
    let row = |feature: &Looked| {
        let alpha = alpha(&|votes| presence.row(votes.pair as usize)[feature.column] != 0.0)?;
        let (feature_id, description) = (feature.feature_id.clone(), feature.description.clone());
        Some(AmongRow { feature_id, description, alpha })
    };
    let mut features: Vec<AmongRow> = looked.iter().filter_map(row).collect();
    features.sort_by(|x, y| x.alpha.value.total_cmp(&y.alpha.value).then(x.feature_id.cmp(&y.feature_id)));
    Some(Among { people, alpha: all, features })
}

/// Compares the two judges, feature by feature; `presence` is −1, 0 or 1, `[pairs, features]`.
pub fn audit(
    judged: &Judged,
    presence: &Matrix,
    activations: &Matrix,
    looked: &[Looked],
    name: impl Fn(u32) -> String + Sync,
) -> Audit {
    let n = judged.pair.len();
    let clusters = Clusters::new(n, std::slice::from_ref(&judged.prompt));
    let mut features: Vec<AuditRow> =
        looked.par_iter().filter_map(|feature| row(judged, presence, feature, &clusters, &name)).collect();
    let p: Vec<f64> = features.iter().map(|row| row.p).collect();
    for (row, corrected) in features.iter_mut().zip(holm(&p)) {
        row.p_holm = corrected;
        row.differs = corrected < ALPHA;
    }
    features.sort_by(|x, y| {
        x.p_holm.total_cmp(&y.p_holm).then(y.difference.value.abs().total_cmp(&x.difference.value.abs()))
    });
    let all: Vec<usize> = (0..n).collect();
    let (agreement, kappa, decided) = agreement(judged, &all);
    let mut notes = Vec::new();
    let disagreements = disagreements(judged);
    if disagreements.len() < FEWEST_DISAGREEMENTS {
        notes.push(format!(
            "the two disagree in {} pairs only: too few to say what their disagreement is about as a whole",
            disagreements.len()
        ));
    }
    let disagreement_auc = explained(judged, &disagreements, activations, looked);
    Audit { pairs: n, decided, agreement, kappa, disagreement_auc, features, notes }
}

/// Share of agreement among the pairs `at` that both decide, κ, and how many these are.
fn agreement(judged: &Judged, at: &[usize]) -> (Estimate, Option<f64>, usize) {
    let decided: Vec<usize> =
        at.iter().copied().filter(|&at| judged.reference[at] != 0.5 && judged.judge[at] != 0.5).collect();
    let n = decided.len();
    let side = |values: &[f64], at: usize| values[at] > 0.5;
    let same = decided.iter().filter(|&&at| side(&judged.reference, at) == side(&judged.judge, at)).count();
    let share =
        |values: &[f64]| decided.iter().filter(|&&at| side(values, at)).count() as f64 / n.max(1) as f64;
    let (r, j) = (share(&judged.reference), share(&judged.judge));
    let observed = same as f64 / n.max(1) as f64;
    let chance = r * j + (1.0 - r) * (1.0 - j);
    let [value, low, high] = wilson_of(observed, n.max(1) as f64);
    let kappa = (n > 0 && chance < 1.0).then(|| (observed - chance) / (1.0 - chance));
    (Estimate { value, low, high, n }, kappa, n)
}

fn row(
    judged: &Judged,
    presence: &Matrix,
    feature: &Looked,
    clusters: &Clusters,
    name: &(impl Fn(u32) -> String + Sync),
) -> Option<AuditRow> {
    let n = judged.pair.len();
    let s: Vec<f64> =
        judged.pair.iter().map(|&pair| f64::from(presence.row(pair as usize)[feature.column])).collect();
    let with: Vec<usize> = (0..n).filter(|&at| s[at] != 0.0).collect();
    if with.len() < FEWEST {
        return None;
    }
    let mut columns = vec![s.clone()];
    if !feature.is_length {
        columns.extend([judged.length.clone(), judged.log_ratio.clone()]);
    }
    let effect = |y: Vec<f64>| -> Option<(Estimate, f64)> {
        let (value, influence) = ordinary(&columns, &y)?;
        // Two judges who agree everywhere leave nothing that varies.
        let (variance, df) =
            clusters.sandwich(None, &influence).map_or((0.0, 1.0), |found| (found.variance, found.df));
        let (se, t) = (variance.max(0.0).sqrt(), quantile_95(Some(df)));
        // Half of the difference in win rate stands in the coefficient: one side gains what the other loses.
        let (value, half) = (2.0 * value, 2.0 * t * se);
        let p = if se > 0.0 { student_p(value / (2.0 * se), df) } else { 1.0 };
        Some((Estimate { value, low: value - half, high: value + half, n: with.len() }, p))
    };
    let centred = |y: &[f64]| y.iter().map(|y| y - 0.5).collect::<Vec<f64>>();
    let difference = judged.judge.iter().zip(&judged.reference).map(|(judge, own)| judge - own).collect();
    let (difference, p) = effect(difference)?;
    let (agreement, kappa, _) = agreement(judged, &with);
    // Where the two differ most in the direction of the difference.
    let mut examples: Vec<usize> = with.clone();
    let toward = |at: usize| (judged.judge[at] - judged.reference[at]) * s[at] * difference.value.signum();
    examples.retain(|&at| toward(at) > 0.5);
    examples.sort_by(|x, y| toward(*y).total_cmp(&toward(*x)).then(x.cmp(y)));
    Some(AuditRow {
        feature_id: feature.feature_id.clone(),
        description: feature.description.clone(),
        reference: effect(centred(&judged.reference))?.0,
        judge: effect(centred(&judged.judge))?.0,
        difference,
        p,
        p_holm: 1.0,
        differs: false,
        agreement,
        kappa,
        examples: examples.iter().take(SHOWN).map(|&at| name(judged.pair[at])).collect(),
    })
}

/// First coefficient of a least-squares fit without an intercept, and what each row adds to it.
fn ordinary(columns: &[Vec<f64>], y: &[f64]) -> Option<(f64, Influence)> {
    // On one scale, so that words and shares can be solved together.
    let scale: Vec<f64> = columns
        .iter()
        .map(|column| (column.iter().map(|x| x * x).sum::<f64>() / y.len().max(1) as f64).sqrt())
        .collect();
    if scale[0] <= 0.0 {
        return None;
    }
    let kept: Vec<usize> = (0..columns.len()).filter(|&j| scale[j] > 0.0).collect();
    let k = kept.len();
    let x = |row: usize, j: usize| columns[kept[j]][row] / scale[kept[j]];
    let mut gram = faer::Mat::<f64>::zeros(k, k);
    let mut right = vec![0.0; k];
    for (row, y) in y.iter().enumerate() {
        for i in 0..k {
            right[i] += x(row, i) * y;
            for j in 0..k {
                gram[(i, j)] += x(row, i) * x(row, j);
            }
        }
    }
    let factor = cholesky(&gram)?;
    let beta = solve(&factor, &right);
    let mut first = vec![0.0; k];
    first[0] = 1.0;
    let inverse = solve(&factor, &first);
    let residual: Vec<f64> =
        y.iter().enumerate().map(|(row, y)| y - (0..k).map(|j| x(row, j) * beta[j]).sum::<f64>()).collect();
    let sigma = (residual.iter().map(|r| r * r).sum::<f64>() / (y.len().max(k + 1) - k) as f64).sqrt();
    let toward: Vec<f64> = (0..y.len()).map(|row| (0..k).map(|j| inverse[j] * x(row, j)).sum()).collect();
    // What the fit takes up of t ε is t xᵀ(XᵀX)⁻¹XᵀE: with XᵀX = L Lᵀ, the row of each pair is t σ L⁻¹x.
    let lower = factor.L();
    let mut hat = Vec::with_capacity(y.len() * k);
    for (row, toward) in toward.iter().enumerate() {
        let mut own: Vec<f64> = (0..k).map(|j| x(row, j)).collect();
        for i in 0..k {
            let before: f64 = (0..i).map(|j| lower[(i, j)] * own[j]).sum();
            own[i] = (own[i] - before) / lower[(i, i)];
        }
        hat.extend(own.iter().map(|z| toward * sigma * z / scale[kept[0]]));
    }
    let value = residual.iter().zip(&toward).map(|(r, t)| r * t / scale[kept[0]]).collect();
    let spread = toward.iter().map(|t| t * sigma / scale[kept[0]]).collect();
    Some((beta[0] / scale[kept[0]], Influence { value, spread, hat, taken: k, is_mean: false }))
}

/// Where both prefer a response, and not the same one.
fn disagreements(judged: &Judged) -> Vec<usize> {
    let side = |y: f64| if y == 0.5 { None } else { Some(y > 0.5) };
    (0..judged.pair.len())
        .filter(|&at| match (side(judged.reference[at]), side(judged.judge[at])) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        })
        .collect()
}

/// How well features and lengths tell which response the judge prefers where the two disagree.
fn explained(
    judged: &Judged,
    disagreements: &[usize],
    activations: &Matrix,
    looked: &[Looked],
) -> Option<Estimate> {
    if disagreements.len() < FEWEST_DISAGREEMENTS {
        return None;
    }
    let cols = looked.len() + 2;
    let mut values = Vec::with_capacity(2 * disagreements.len() * cols);
    let mut turned = Vec::with_capacity(disagreements.len() * cols);
    for &at in disagreements {
        let row = activations.row(judged.pair[at] as usize);
        let own = looked.iter().map(|feature| row[feature.column]);
        let lengths = [judged.length[at] as f32, judged.log_ratio[at] as f32];
        let row: Vec<f32> = own.chain(lengths).collect();
        turned.extend(row.iter().map(|x| -x));
        values.extend(row);
    }
    let n = disagreements.len();
    values.extend(turned);
    let matrix = Matrix { values, cols };
    let y: Vec<f64> = disagreements.iter().map(|&at| f64::from(u8::from(judged.judge[at] > 0.5))).collect();
    let variance = |j: usize| {
        let sum: f64 = (0..n).map(|row| f64::from(matrix.row(row)[j]).powi(2)).sum();
        (sum / n as f64).max(1e-12)
    };
    let factors: Vec<f64> = (0..cols).map(variance).collect();
    let fold: Vec<u64> = (disagreements.iter())
        .map(|&at| crate::rng::of_content(u64::from(judged.prompt[at]), "audit folds", &[]) % FOLDS)
        .collect();
    let mut scores = vec![0.0; n];
    for part in 0..FOLDS {
        let rows: Vec<u32> = (0..n).filter(|&row| fold[row] != part).map(|row| row as u32).collect();
        // Every pair also the other way round, so that no side is favoured.
        let both: Vec<u32> = rows.iter().copied().chain(rows.iter().map(|row| row + n as u32)).collect();
        let labels: Vec<f64> = rows
            .iter()
            .map(|row| y[*row as usize])
            .chain(rows.iter().map(|row| 1.0 - y[*row as usize]))
            .collect();
        let model = fit(
            &matrix,
            &both,
            &labels,
            &Penalty { c: 0.01, factors: factors.clone(), ..Penalty::default() },
        );
        let rest: Vec<u32> = (0..n).filter(|&row| fold[row] == part).map(|row| row as u32).collect();
        for (score, row) in model.ok()?.score(&matrix, &rest).iter().zip(&rest) {
            scores[*row as usize] = *score;
        }
    }
    let prompts: Vec<u32> = disagreements.iter().map(|&at| judged.prompt[at]).collect();
    auc(&scores, &y, &Clusters::new(n, &[prompts]))
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Pairs with `features` coins on either side; the judge rewards the first one `extra` more than the reference.
    /// `together` pairs have a prompt in common.
    fn world_of(
        together: u32,
        seed: u64,
        n: usize,
        features: usize,
        extra: f64,
    ) -> (Judged, Matrix, Vec<Looked>) {
        let mut rng = crate::rng::stream(seed, "audit");
        let mut judged = Judged::default();
        let mut presence = Matrix::zeros(n, features);
        for pair in 0..n {
            let mut row = vec![0.0f32; features];
            row.iter_mut().for_each(|slot| *slot = [0.0, 0.0, 0.0, 1.0, -1.0][rng.random_range(0..5)]);
            presence.values[pair * features..(pair + 1) * features].copy_from_slice(&row);
            // What makes a pair easy or hard is the same for both.
            let shared: f64 = (0..6).map(|_| rng.random::<f64>()).sum::<f64>() - 3.0;
            let mut votes = |extra: f64| {
                let eta = 2.5 * shared + extra * f64::from(row[0]) + 0.5 * f64::from(row[1 % features]);
                f64::from(u8::from(rng.random::<f64>() < 1.0 / (1.0 + (-eta).exp())))
            };
            let (own, judge) = (votes(0.0), votes(extra));
            judged.reference.push(own);
            judged.judge.push(judge);
            judged.pair.push(pair as u32);
            judged.prompt.push(pair as u32 / together);
            judged.length.push(rng.random::<f64>() * 40.0 - 20.0);
            judged.log_ratio.push(rng.random::<f64>() - 0.5);
        }
        let looked = (0..features)
            .map(|column| Looked {
                column,
                feature_id: format!("f{column}"),
                description: String::new(),
                is_length: false,
            })
            .collect();
        (judged, presence, looked)
    }

    fn world(seed: u64, n: usize, features: usize, extra: f64) -> (Judged, Matrix, Vec<Looked>) {
        world_of(2, seed, n, features, extra)
    }

    fn found(seed: u64, n: usize, extra: f64) -> Audit {
        let (judged, presence, looked) = world(seed, n, 12, extra);
        audit(&judged, &presence, &presence, &looked, |pair| pair.to_string())
    }

    #[test]
    fn a_judge_beside_himself_differs_in_nothing() {
        let (judged, presence, looked) = world(5, 300, 3, 0.0);
        let same = Judged { judge: judged.reference.clone(), ..judged };
        let found = audit(&same, &presence, &presence, &looked, |pair| pair.to_string());
        assert_eq!(found.features.len(), 3);
        assert!(found.features.iter().all(|row| row.difference.value == 0.0 && !row.differs));
        assert!(found.agreement.value == 1.0 && found.disagreement_auc.is_none());
    }

    #[test]
    fn a_planted_difference_is_found_and_nothing_else() {
        let found = found(1, 1500, 1.5);
        let differing: Vec<&str> =
            found.features.iter().filter(|row| row.differs).map(|row| row.feature_id.as_str()).collect();
        assert_eq!(differing, ["f0"]);
        let first = &found.features[0];
        assert!(first.difference.low > 0.1 && !first.examples.is_empty());
        assert!((first.judge.value - first.reference.value - first.difference.value).abs() < 1e-9);
        assert!(found.disagreement_auc.unwrap().low > 0.5);
    }

    /// Features whose interval of the difference holds 0.
    fn holding_nothing(found: &Audit) -> usize {
        let holds = |row: &&AuditRow| row.difference.low <= 0.0 && row.difference.high >= 0.0;
        found.features.iter().filter(holds).count()
    }

    #[test]
    fn where_nothing_is_planted_one_run_in_twenty_claims_something_and_intervals_hold() {
        let (mut claims, mut inside, mut all) = (0, 0, 0);
        for seed in 0..200 {
            let found = found(seed + 10, 400, 0.0);
            claims += usize::from(found.features.iter().any(|row| row.differs));
            inside += holding_nothing(&found);
            all += found.features.len();
        }
        assert!(claims <= 16, "{claims} of 200");
        let share = inside as f64 / all as f64;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn intervals_hold_where_few_prompts_have_many_pairs() {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..150 {
            let (judged, presence, looked) = world_of(40, seed + 4000, 480, 6, 0.0);
            let found = audit(&judged, &presence, &presence, &looked, |pair| pair.to_string());
            inside += holding_nothing(&found);
            all += found.features.len();
        }
        let share = inside as f64 / all as f64;
        assert!(all == 900 && (0.93..=0.97).contains(&share), "{share} of {all}");
    }

    #[test]
    fn changing_the_judges_round_turns_the_sign_and_turning_the_pairs_changes_nothing() {
        let (judged, presence, looked) = world(3, 500, 4, 0.8);
        let name = |pair: u32| pair.to_string();
        let one = audit(&judged, &presence, &presence, &looked, name);
        let changed =
            Judged { reference: judged.judge.clone(), judge: judged.reference.clone(), ..judged.clone() };
        let other = audit(&changed, &presence, &presence, &looked, name);
        let opposite = |values: &[f64]| values.iter().map(|y| 1.0 - y).collect::<Vec<f64>>();
        let negative = |values: &[f64]| values.iter().map(|x| -x).collect::<Vec<f64>>();
        let turned = Judged {
            reference: opposite(&judged.reference),
            judge: opposite(&judged.judge),
            length: negative(&judged.length),
            log_ratio: negative(&judged.log_ratio),
            ..judged.clone()
        };
        let around = Matrix { values: presence.values.iter().map(|x| -x).collect(), cols: presence.cols };
        let same = audit(&turned, &around, &around, &looked, name);
        for row in &one.features {
            let of = |audit: &Audit| {
                audit.features.iter().find(|other| other.feature_id == row.feature_id).unwrap().difference
            };
            assert!((of(&other).value + row.difference.value).abs() < 1e-9);
            assert!((of(&same).value - row.difference.value).abs() < 1e-9);
        }
    }

    #[test]
    fn the_same_pairs_need_far_fewer_labels_than_two_samples() {
        // How often a difference is found on 500 shared pairs, and on two samples of 2,000 different ones.
        let (mut shared, mut apart) = (0, 0);
        for seed in 0..40 {
            let one = found(seed + 500, 500, 0.9);
            shared += usize::from(one.features.iter().any(|row| row.feature_id == "f0" && row.p < 0.05));
            let (judged, presence, looked) = world(seed + 900, 4000, 12, 0.9);
            let half = |from: usize| Judged {
                pair: judged.pair[from..from + 2000].to_vec(),
                reference: judged.reference[from..from + 2000].to_vec(),
                judge: judged.judge[from..from + 2000].to_vec(),
                prompt: judged.prompt[from..from + 2000].to_vec(),
                length: judged.length[from..from + 2000].to_vec(),
                log_ratio: judged.log_ratio[from..from + 2000].to_vec(),
            };
            let (a, b) = (half(0), half(2000));
            let of = |judged: &Judged| {
                let all = audit(judged, &presence, &presence, &looked[..1], |pair| pair.to_string());
                all.features[0].clone()
            };
            let (own, judge) = (of(&a).reference, of(&b).judge);
            let se = |e: Estimate| (e.high - e.low) / 3.92;
            let z = (judge.value - own.value) / se(own).hypot(se(judge));
            apart += usize::from(z.abs() > 1.96);
        }
        // A quarter of the pairs find at least about as much, and that is most of it.
        assert!(
            shared >= 25 && shared + 4 >= apart,
            "{shared} on 500 shared pairs, {apart} on two samples of 2,000"
        );
    }
}
