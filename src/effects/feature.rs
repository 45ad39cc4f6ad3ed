//! What one feature has to do with the label: β and Δwin-rate, and features taken together.

use std::ops::Range;

use rayon::prelude::*;

use super::clusters::{Clusters, Influence};
use super::control::Control;
use super::logistic::{Design, Fitted, Outcome, Shares, Sums};
use super::numeric::{gather_columns, normal_p, quantile_95, student_p};
use super::sample::Sample;
use crate::context::{Cancel, Stopped};
use crate::matrix::Matrix;

/// A feature's association with the label. Figures are NaN where there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Effect {
    /// How the fit of β ended.
    pub outcome: Outcome,
    /// Judgements used.
    pub n: usize,
    /// Share of the judged pairs with z ≠ 0.
    pub prevalence: f64,
    /// Log-odds per standard deviation of z, the control held constant.
    pub beta: f64,
    /// Standard error of β by maximum likelihood.
    pub beta_se: f64,
    /// Two-sided p-value of β by maximum likelihood (Wald, normal).
    pub beta_p: f64,
    /// Cluster-robust standard error of β.
    pub beta_se_clustered: f64,
    /// Two-sided p-value of β with the clustered error (t; see [`Clusters`] for its degrees of freedom), or, where
    /// the labels are separated and β has no finite estimate, of the clustered score test.
    pub beta_p_clustered: f64,
    /// How the win rate moves.
    pub win: WinDelta,
}

/// How much more often the side with more of a feature wins, the control held constant.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WinDelta {
    /// How the fit ended.
    pub outcome: Outcome,
    /// Change of the win rate, −1 to 1.
    pub value: f64,
    /// Clustered standard error.
    pub se: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Two-sided p-value of no change.
    pub p: f64,
    /// Judgements used: those of pairs with z ≠ 0.
    pub n: usize,
    /// Degrees of freedom of the interval; infinite where it is a normal one.
    #[serde(skip)]
    pub df: f64,
}

/// A feature's effect among others, all in one fit. Figures are NaN where there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Conditional {
    /// Column of the matrix.
    pub feature: usize,
    /// How the fit of this column ended.
    pub outcome: Outcome,
    /// Log-odds per standard deviation of z, the other features and the control held constant.
    pub beta: f64,
    /// Standard error of β by maximum likelihood.
    pub beta_se: f64,
    /// Two-sided p-value of β by maximum likelihood.
    pub beta_p: f64,
    /// Cluster-robust standard error of β.
    pub beta_se_clustered: f64,
    /// Two-sided p-value of β with the clustered error.
    pub beta_p_clustered: f64,
}

/// What is wanted of an effect: each half takes a fit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// β and the win rate.
    Both,
    /// β alone; the win rate is NaN.
    Slope,
    /// The win rate alone; β is NaN.
    Win,
}

/// Features whose columns are in memory at once.
const TOGETHER: usize = 64;
/// Features whose score tests one task makes: a cache line of a row of activations.
const SCORED: usize = 16;

/// The effect of every column of `matrix` (`[pairs, features]`) by itself, in parallel.
///
/// β is the coefficient of P(y = 1) = σ(α + β·z + γ·ℓ), z and the lengths ℓ standardised over the sample
/// (divisor n). Δwin-rate is described at [`feature_effect`]. A feature that cannot
/// be estimated says why and disturbs no other.
pub fn feature_effects(matrix: &Matrix, sample: &Sample, control: Control) -> Vec<Effect> {
    let all: Vec<usize> = (0..matrix.cols).collect();
    // Nobody can ask this one to stop.
    feature_effects_of(matrix, &all, sample, control, Part::Both, &Cancel::default()).unwrap_or_default()
}

/// The same of some columns and in part, for work that somebody may stop; in the order of `features`.
///
/// # Errors
/// [`Stopped`].
pub fn feature_effects_of(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
    part: Part,
    cancel: &Cancel,
) -> Result<Vec<Effect>, Stopped> {
    if sample.is_empty() {
        return Ok(features.iter().map(|_| feature_effect(&[], sample, control)).collect());
    }
    let base = control_design(sample, control);
    let mut effects = Vec::with_capacity(features.len());
    for features in features.chunks(TOGETHER) {
        let found: Result<Vec<Effect>, Stopped> = gather_columns(matrix, features, sample.row())
            .par_chunks_exact(sample.len())
            .map(|z| {
                cancel.check()?;
                Ok(effect_beside(&base, z, sample, control, part))
            })
            .collect();
        effects.extend(found?);
    }
    Ok(effects)
}

/// The effect of one feature from its value at every judgement, `[judgements]`.
///
/// Δwin-rate leaves out judgements with z = 0, puts D = 1 where z > 0 and 0 else in the place of z,
/// fits again, and averages σ(α + β + γℓ) − σ(α + γℓ) over the judgements left. Its interval is the
/// clustered delta method over everything that varies: the coefficients and the average.
pub fn feature_effect(z: &[f32], sample: &Sample, control: Control) -> Effect {
    effect_beside(&control_design(sample, control), z, sample, control, Part::Both)
}

/// The control alone, to which a feature is added.
fn control_design(sample: &Sample, control: Control) -> Design {
    Design::new(&sample.controls(control), sample.y().to_vec(), vec![1.0; sample.len()])
}

fn effect_beside(base: &Design, z: &[f32], sample: &Sample, control: Control, part: Part) -> Effect {
    let none = |outcome| Effect {
        outcome,
        n: sample.len(),
        prevalence: sample.prevalence(z),
        beta: f64::NAN,
        beta_se: f64::NAN,
        beta_p: f64::NAN,
        beta_se_clustered: f64::NAN,
        beta_p_clustered: f64::NAN,
        win: WinDelta::none(outcome, z.iter().filter(|&&z| z != 0.0).count()),
    };
    let won = |effect: Effect| match part {
        Part::Slope => effect,
        Part::Both | Part::Win => Effect { win: win_influence(z, sample, control).0, ..effect },
    };
    let slope = match added(base, z, sample) {
        Err(outcome) => Err(outcome),
        Ok(_) if part == Part::Win => return won(none(Outcome::Fitted)),
        Ok(design) => slope(base, &design, z, sample),
    };
    match slope {
        Err(outcome @ (Outcome::NotFinite | Outcome::Constant | Outcome::Collinear)) => none(outcome),
        Err(outcome) => won(none(outcome)),
        Ok(Slope { outcome, beta, se, se_clustered, p_clustered }) => won(Effect {
            beta,
            beta_se: se,
            beta_p: normal_p(beta / se),
            beta_se_clustered: se_clustered,
            beta_p_clustered: p_clustered,
            ..none(outcome)
        }),
    }
}

/// The coefficient of one feature and its clustered p-value, as in [`feature_effect`], without the win rate.
pub(crate) fn coefficient(z: &[f32], sample: &Sample, control: Control) -> Option<(f64, f64)> {
    let base = control_design(sample, control);
    let design = added(&base, z, sample).ok()?;
    slope(&base, &design, z, sample).ok().map(|slope| (slope.beta, slope.p_clustered))
}

/// An estimated coefficient of a feature.
struct Slope {
    outcome: Outcome,
    beta: f64,
    se: f64,
    se_clustered: f64,
    p_clustered: f64,
}

/// The control and a feature; why not, where the feature cannot be estimated beside it.
fn added(base: &Design, z: &[f32], sample: &Sample) -> Result<Design, Outcome> {
    if z.len() != sample.len() || !z.iter().all(|z| z.is_finite()) {
        return Err(Outcome::NotFinite);
    }
    if sample.is_empty() {
        return Err(Outcome::TooFewRows);
    }
    let design = base.with(&z.iter().map(|&z| f64::from(z)).collect::<Vec<f64>>());
    let last = base.kept.len() + base.dropped.len();
    match design.dropped.iter().find(|(index, _)| *index == last) {
        Some(&(_, outcome)) => Err(outcome),
        None => Ok(design),
    }
}

/// The coefficient of `z`, the last column of `design`, beside the control alone.
fn slope(base: &Design, design: &Design, z: &[f32], sample: &Sample) -> Result<Slope, Outcome> {
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return Err(fitted.outcome);
    }
    let at = fitted.beta.len() - 1;
    let (beta, se) = (fitted.beta[at], fitted.covariance[(at, at)].sqrt());
    let shares = design.shares(&fitted);
    let (mut se_clustered, mut p_clustered) = clustered(design, &shares, &fitted, at, sample.clusters());
    if separated(fitted.outcome) {
        let z: Vec<f64> = z.iter().map(|&z| f64::from(z)).collect();
        if let Some((t, p)) = tested(base, &z, sample.clusters()) {
            (se_clustered, p_clustered) = (error_of(beta, t, se), p);
        }
    }
    Ok(Slope { outcome: fitted.outcome, beta, se, se_clustered, p_clustered })
}

/// Whether a coefficient may be infinite: its error says nothing then, and a score test decides.
fn separated(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Separated | Outcome::QuasiSeparated | Outcome::NotConverged)
}

/// The standard error with which a coefficient has this t; `se` where both are nothing but rounding.
fn error_of(beta: f64, t: f64, se: f64) -> f64 {
    if beta.abs() > 1e-9 && t.abs() > 1e-9 { (beta / t).abs() } else { se }
}

/// Clustered standard error and p-value of the coefficient at position `at`.
fn clustered(
    design: &Design,
    shares: &Shares,
    fitted: &Fitted,
    at: usize,
    clusters: &Clusters,
) -> (f64, f64) {
    let weights: Vec<f64> = (0..fitted.beta.len()).map(|j| fitted.covariance[(at, j)]).collect();
    match clusters.sandwich(None, &design.influence(shares, &weights, None)) {
        // Where the influences cancel within every cluster, rounding is all that is left of the variance.
        Some(found) if found.variance > 1e-18 * fitted.covariance[(at, at)] => {
            let se = found.variance.sqrt();
            (se, student_p(fitted.beta[at] / se, found.df))
        }
        _ => (f64::NAN, f64::NAN),
    }
}

/// Clustered score test of adding `column` to `design`: t and p.
fn tested(design: &Design, column: &[f64], clusters: &Clusters) -> Option<(f64, f64)> {
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return None;
    }
    let (score, influence) = design.score_test(&fitted, column)?;
    let found = clusters.sandwich(None, &influence)?;
    let t = score / found.variance.sqrt();
    Some((t, student_p(t, found.df)))
}

/// The effects of several columns of `matrix` in one fit, with the control.
///
/// Features that the control or earlier ones determine are left out and say so.
pub fn conditional_effects(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
) -> Vec<Conditional> {
    conditional(matrix, features, sample, control, 0..features.len())
}

/// The effect of the last of several columns of `matrix` in one fit, with the control.
pub(crate) fn last_conditional_effect(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
) -> Option<Conditional> {
    conditional_effect_at(matrix, features, features.len().checked_sub(1)?, sample, control)
}

/// The effect of the column at position `place` of several in one fit, with the control.
pub(crate) fn conditional_effect_at(
    matrix: &Matrix,
    features: &[usize],
    place: usize,
    sample: &Sample,
    control: Control,
) -> Option<Conditional> {
    conditional(matrix, features, sample, control, place..place + 1).pop()
}

/// The effects of the columns at the positions `wanted` in one fit of all.
fn conditional(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
    wanted: Range<usize>,
) -> Vec<Conditional> {
    let columns = columns_of(matrix, features, sample, control);
    let controls = columns.len() - features.len();
    let design = Design::new(&columns, sample.y().to_vec(), vec![1.0; sample.len()]);
    let fitted = design.fit();
    let shares = fitted.outcome.has_estimate().then(|| design.shares(&fitted));
    let estimate = |(index, &feature): (usize, &usize)| {
        let kept = design.kept.iter().position(|&(kept, ..)| kept == index + controls);
        let dropped = design.dropped.iter().find(|&&(dropped, _)| dropped == index + controls);
        let nan = f64::NAN;
        let mut found = Conditional {
            feature,
            outcome: dropped.map_or(fitted.outcome, |&(_, outcome)| outcome),
            beta: nan,
            beta_se: nan,
            beta_p: nan,
            beta_se_clustered: nan,
            beta_p_clustered: nan,
        };
        let (Some(at), Some(shares)) = (kept.map(|at| at + 1), &shares) else { return found };
        found.beta = fitted.beta[at];
        found.beta_se = fitted.covariance[(at, at)].sqrt();
        found.beta_p = normal_p(found.beta / found.beta_se);
        (found.beta_se_clustered, found.beta_p_clustered) =
            clustered(&design, shares, &fitted, at, sample.clusters());
        if separated(fitted.outcome) {
            let others = columns.iter().enumerate().filter(|&(column, _)| column != index + controls);
            let others: Vec<Vec<f64>> = others.map(|(_, column)| column.clone()).collect();
            let rest = Design::new(&others, sample.y().to_vec(), vec![1.0; sample.len()]);
            // Beside one that tells every label, no other adds anything.
            let (t, p) = tested(&rest, &columns[index + controls], sample.clusters()).unwrap_or((0.0, 1.0));
            (found.beta_se_clustered, found.beta_p_clustered) = (error_of(found.beta, t, found.beta_se), p);
        }
        found
    };
    features.iter().enumerate().skip(wanted.start).take(wanted.len()).map(estimate).collect()
}

/// Δwin-rate (see [`feature_effect`]), the judgements with z ≠ 0, and what each of them adds to its deviation from
/// the truth; nothing of these where there is no estimate.
pub(crate) fn win_influence(z: &[f32], sample: &Sample, control: Control) -> (WinDelta, Vec<u32>, Influence) {
    let rows: Vec<u32> = (0..z.len() as u32).filter(|&row| z[row as usize] != 0.0).collect();
    let others: Vec<Vec<f64>> = (sample.controls(control).iter())
        .map(|column| rows.iter().map(|&row| column[row as usize]).collect())
        .collect();
    let more = rows.iter().map(|&row| f64::from(u8::from(z[row as usize] > 0.0))).collect();
    let (win, influence) = win_delta(others, more, &rows, sample);
    (win, rows, influence)
}

/// The Δwin-rate of a 0/1 column, the `others` held fixed, over the judgements `rows`.
fn win_delta(
    mut others: Vec<Vec<f64>>,
    more: Vec<f64>,
    rows: &[u32],
    sample: &Sample,
) -> (WinDelta, Influence) {
    let (last, n) = (others.len(), rows.len());
    let none = |outcome| (WinDelta::none(outcome, n), Influence::default());
    others.push(more);
    let y = rows.iter().map(|&row| sample.y()[row as usize]).collect();
    let design = Design::new(&others, y, vec![1.0; n]);
    drop(others);
    let Some(at) = design.kept.iter().position(|&(index, ..)| index == last) else {
        let why = design.dropped.iter().find(|(index, _)| *index == last).map(|&(_, outcome)| outcome);
        return none(why.filter(|_| n > 0).unwrap_or(Outcome::TooFewRows));
    };
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return none(fitted.outcome);
    }
    let switch = design.switch(&fitted, at);
    let robust = sample.clusters().sandwich(Some(rows), &switch.influence);
    let robust = robust.map(|found| (found.variance, found.df));
    (WinDelta::new(fitted.outcome, switch.value, robust, switch.by_model, n), switch.influence)
}

/// What a fit of the columns `inside` and the control leaves of each label: y − p̂, and p̂(1 − p̂).
///
/// `None` where nothing can be fitted.
pub fn unexplained(
    matrix: &Matrix,
    inside: &[usize],
    sample: &Sample,
    control: Control,
) -> Option<(Vec<f64>, Vec<f64>)> {
    let design = design_of(matrix, inside, sample, control);
    let fitted = design.fit();
    let estimate = fitted.outcome.has_estimate();
    estimate.then(|| (design.residuals(&fitted.beta), design.curvature(&fitted)))
}

/// The control and the columns `inside` of `matrix` at every judgement.
fn design_of(matrix: &Matrix, inside: &[usize], sample: &Sample, control: Control) -> Design {
    Design::new(&columns_of(matrix, inside, sample, control), sample.y().to_vec(), vec![1.0; sample.len()])
}

/// The same columns as they are, the controls first.
fn columns_of(matrix: &Matrix, inside: &[usize], sample: &Sample, control: Control) -> Vec<Vec<f64>> {
    let mut columns = sample.controls(control);
    let found = gather_columns(matrix, inside, sample.row());
    columns.extend((0..inside.len()).map(|place| {
        let column = found.get(place * sample.len()..(place + 1) * sample.len()).unwrap_or_default();
        column.iter().map(|&z| f64::from(z)).collect()
    }));
    columns
}

/// For every column of `matrix`, the score test of adding it to a fit of the columns `inside` and the
/// control: a z-value, its sign that of the column's coefficient, 0 where it would add nothing.
///
/// One fit serves all columns, so this is how to ask which one to try next.
pub fn score_tests(matrix: &Matrix, inside: &[usize], sample: &Sample, control: Control) -> Vec<f64> {
    let all: Vec<usize> = (0..matrix.cols).collect();
    score_tests_of(matrix, &all, inside, sample, control)
}

/// The same of some columns, in their order.
pub(crate) fn score_tests_of(
    matrix: &Matrix,
    features: &[usize],
    inside: &[usize],
    sample: &Sample,
    control: Control,
) -> Vec<f64> {
    let none = || vec![0.0; features.len()];
    if sample.is_empty() || features.is_empty() {
        return none();
    }
    let design = design_of(matrix, inside, sample, control);
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return none();
    }
    let curvature = design.curvature(&fitted);
    let residuals = design.residuals(&fitted.beta);
    features
        .par_chunks(SCORED)
        .flat_map_iter(|features| {
            let sums = design.sums_with(matrix, sample.row(), features, &residuals, &curvature);
            sums.into_iter().map(|Sums { score, own, shared }| {
                let explained: f64 = (0..shared.len())
                    .map(|i| {
                        let row = (0..shared.len()).map(|j| fitted.covariance[(i, j)] * shared[j]);
                        row.sum::<f64>() * shared[i]
                    })
                    .sum();
                let left = own - explained;
                // The sum of a column with a gap is not finite; so is its test, and that is no test.
                let z = if left > 1e-9 * own { score / left.sqrt() } else { 0.0 };
                if z.is_finite() { z } else { 0.0 }
            })
        })
        .collect()
}

/// The Δwin-rates of several columns of `matrix`, each with the others and the control held fixed.
///
/// As in [`feature_effect`], but the fit over the judgements where a feature is active holds the other
/// features, too. Features that the others determine there have no estimate.
pub fn conditional_win_deltas(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
) -> Vec<WinDelta> {
    let columns = gather_columns(matrix, features, sample.row());
    (0..features.len())
        .into_par_iter()
        .map(|place| win_delta_among(&columns, features.len(), place, sample, control))
        .collect()
}

/// The Δwin-rate of the column at position `place` of several, the others and the control held fixed.
pub(crate) fn conditional_win_delta_at(
    matrix: &Matrix,
    features: &[usize],
    place: usize,
    sample: &Sample,
    control: Control,
) -> WinDelta {
    let columns = gather_columns(matrix, features, sample.row());
    win_delta_among(&columns, features.len(), place, sample, control)
}

/// The same from the `columns` themselves, `[count, judgements]`.
fn win_delta_among(
    columns: &[f32],
    count: usize,
    place: usize,
    sample: &Sample,
    control: Control,
) -> WinDelta {
    let n = sample.len();
    let column = |place: usize| columns.get(place * n..(place + 1) * n).unwrap_or_default();
    let own = column(place);
    let rows: Vec<u32> = (0..own.len() as u32).filter(|&at| own[at as usize] != 0.0).collect();
    let mut others: Vec<Vec<f64>> = (sample.controls(control).iter())
        .map(|column| rows.iter().map(|&at| column[at as usize]).collect())
        .collect();
    for other in (0..count).filter(|&other| other != place) {
        let other = column(other);
        others.push(rows.iter().map(|&at| f64::from(other[at as usize])).collect());
    }
    let more = rows.iter().map(|&at| f64::from(u8::from(own[at as usize] > 0.0))).collect();
    win_delta(others, more, &rows, sample).0
}

impl WinDelta {
    /// From the cluster-robust variance with its degrees of freedom, where there is one.
    fn new(outcome: Outcome, value: f64, robust: Option<(f64, f64)>, by_model: f64, n: usize) -> Self {
        let (variance, df) = match robust {
            // Where an arm has one label only, its residuals say nothing about how sure that is.
            Some((variance, df)) if outcome == Outcome::Fitted => (variance, Some(df)),
            Some((variance, df)) => (variance.max(by_model), Some(df)),
            None => (by_model, None),
        };
        let se = variance.sqrt();
        let half = quantile_95(df) * se;
        Self {
            outcome,
            value,
            se,
            low: (value - half).max(-1.0),
            high: (value + half).min(1.0),
            p: df.map_or_else(|| normal_p(value / se), |df| student_p(value / se, df)),
            n,
            df: df.unwrap_or(f64::INFINITY),
        }
    }

    fn none(outcome: Outcome, n: usize) -> Self {
        let nan = f64::NAN;
        Self { outcome, value: nan, se: nan, low: nan, high: nan, p: nan, n, df: nan }
    }
}
