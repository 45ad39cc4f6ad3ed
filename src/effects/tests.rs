//! Against statsmodels, scikit-learn, skglm and scipy: `tests/fixtures/effects/make.py`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::logistic::{Column, fit};
use super::*;
use crate::matrix::Matrix;

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let text = include_str!("../../tests/fixtures/effects/effects.json");
    let mut all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    serde_json::from_value(all.remove(name).unwrap()).unwrap()
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: f64) {
    within(what, ours, theirs, 1e-6);
}

#[track_caller]
fn within(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    let error = (ours - theirs).abs() / theirs.abs().max(1e-300);
    assert!(ours == theirs || error <= tolerance, "{what}: {ours} instead of {theirs} ({error:.1e})");
}

/// One feature as a matrix, one pair per judgement.
fn matrix(z: &[f64]) -> Matrix {
    Matrix { values: z.iter().map(|&z| z as f32).collect(), cols: 1 }
}

fn sample(y: &[f64], length: &[f64], clusters: &[Vec<u32>]) -> Sample {
    Sample::new(y.to_vec(), length.to_vec(), (0..y.len() as u32).collect(), clusters).unwrap()
}

#[test]
fn tail_probabilities_equal_scipy() {
    for (z, p) in fixture::<Vec<(f64, f64)>>("normal_p") {
        within("normal", numeric::normal_p(z), p, 1e-9);
    }
    for (t, df, p) in fixture::<Vec<(f64, f64, f64)>>("student_p") {
        within(&format!("t {t} {df}"), numeric::student_p(t, df), p, 1e-8);
    }
    for (df, quantile) in fixture::<Vec<(f64, f64)>>("student_975") {
        within("t quantile", numeric::quantile_95(Some(df)), quantile, 1e-8);
    }
}

#[derive(Deserialize)]
struct FeatureCase {
    name: String,
    z: Vec<f64>,
    length: Vec<f64>,
    y: Vec<f64>,
    clusters: Vec<Vec<u32>>,
    beta: f64,
    se: f64,
    p: f64,
    se_clustered: f64,
    p_clustered: f64,
    prevalence: f64,
    beta_alone: f64,
    se_alone: f64,
    win: Option<WinCase>,
}

#[derive(Deserialize)]
struct WinCase {
    value: f64,
    se: f64,
    low: f64,
    high: f64,
    n: usize,
}

#[test]
fn feature_effects_equal_statsmodels() {
    for case in fixture::<Vec<FeatureCase>>("features") {
        let name = |what: &str| format!("{}: {what}", case.name);
        let sample = sample(&case.y, &case.length, &case.clusters);
        let effect = feature_effects(&matrix(&case.z), &sample, Control::Length)[0];
        assert_eq!(effect.outcome, Outcome::Fitted, "{}", case.name);
        close(&name("beta"), effect.beta, case.beta);
        close(&name("se"), effect.beta_se, case.se);
        close(&name("p"), effect.beta_p, case.p);
        close(&name("clustered se"), effect.beta_se_clustered, case.se_clustered);
        close(&name("clustered p"), effect.beta_p_clustered, case.p_clustered);
        close(&name("prevalence"), effect.prevalence, case.prevalence);
        let alone = feature_effects(&matrix(&case.z), &sample, Control::Nothing)[0];
        close(&name("beta alone"), alone.beta, case.beta_alone);
        close(&name("se alone"), alone.beta_se, case.se_alone);
        let joint = conditional_effects(&matrix(&case.z), &[0], &sample, Control::Length)[0];
        close(&name("joint beta"), joint.beta, case.beta);
        close(&name("joint clustered se"), joint.beta_se_clustered, case.se_clustered);
        if let Some(win) = case.win {
            close(&name("win"), effect.win.value, win.value);
            close(&name("win se"), effect.win.se, win.se);
            close(&name("win low"), effect.win.low, win.low);
            close(&name("win high"), effect.win.high, win.high);
            assert_eq!(effect.win.n, win.n);
        }
    }
}

#[derive(Deserialize)]
struct SeparatedCase {
    name: String,
    z: Vec<f64>,
    length: Vec<f64>,
    y: Vec<f64>,
    beta: f64,
    se: f64,
}

#[test]
fn separation_is_said_and_answered_with_firths_estimate() {
    for case in fixture::<Vec<SeparatedCase>>("separated") {
        let effect =
            feature_effects(&matrix(&case.z), &sample(&case.y, &case.length, &[]), Control::Length)[0];
        let expected = if case.name == "complete" { Outcome::Separated } else { Outcome::QuasiSeparated };
        assert_eq!(effect.outcome, expected, "{}", case.name);
        close(&case.name, effect.beta, case.beta);
        close(&case.name, effect.beta_se, case.se);
        assert!(effect.outcome.note().is_some());
        if case.name == "complete" {
            assert!(effect.win.value.is_finite() && effect.win.low < effect.win.high);
        } else {
            assert_eq!(effect.win.outcome, Outcome::Constant, "z is never below 0");
        }
    }
}

#[derive(Deserialize)]
struct JointCase {
    columns: Vec<Vec<f64>>,
    y: Vec<f64>,
    prompt: Vec<u32>,
    annotator: Vec<u32>,
    value: Vec<f64>,
    se: Vec<f64>,
    se_one: Vec<f64>,
    se_two: Vec<f64>,
    log_likelihood: f64,
}

#[test]
fn a_fit_with_scales_from_1e_minus_8_to_1e8_equals_statsmodels() {
    let case: JointCase = fixture("joint");
    let columns: Vec<Column> = case.columns.iter().map(|values| Column { name: "x", values }).collect();
    let one = Clusters::new(case.y.len(), std::slice::from_ref(&case.prompt));
    let two = Clusters::new(case.y.len(), &[case.prompt.clone(), case.annotator.clone()]);
    let (one, two) = (fit(&columns, &case.y, Some(&one)), fit(&columns, &case.y, Some(&two)));
    close("log-likelihood", one.log_likelihood, case.log_likelihood);
    for j in 0..case.value.len() {
        close("value", one.coefficients[j].value, case.value[j]);
        close("se", one.coefficients[j].se, case.se[j]);
        close("one-way", one.coefficients[j].se_clustered, case.se_one[j]);
        close("two-way", two.coefficients[j].se_clustered, case.se_two[j]);
    }
}

#[derive(Deserialize)]
struct AucCase {
    name: String,
    score: Vec<f64>,
    y: Vec<f64>,
    groups: Vec<u32>,
    value: f64,
    low: f64,
    high: f64,
}

#[test]
fn auc_and_its_interval_equal_the_pairwise_sums() {
    for case in fixture::<Vec<AucCase>>("auc") {
        let clusters = Clusters::new(case.y.len(), &[case.groups]);
        let ours = auc(&case.score, &case.y, &clusters).unwrap();
        close(&case.name, ours.value, case.value);
        close(&case.name, ours.low, case.low);
        close(&case.name, ours.high, case.high);
    }
}

#[derive(Deserialize)]
struct CorrelationCase {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    r: f64,
    p: f64,
    low: f64,
    high: f64,
}

#[test]
fn pearson_equals_scipy() {
    for case in fixture::<Vec<CorrelationCase>>("correlation") {
        let ours = pearson(&case.x, &case.y);
        close(&case.name, ours.r, case.r);
        close(&case.name, ours.low, case.low);
        close(&case.name, ours.high, case.high);
        // 1 − r loses digits in scipy itself where r is nearly 1.
        if case.name != "nearly one" {
            close(&case.name, ours.p, case.p);
        }
    }
}

#[derive(Deserialize)]
struct MultipleCase {
    p: Vec<f64>,
    bonferroni: Vec<f64>,
    holm: Vec<f64>,
    fdr_bh: Vec<f64>,
}

#[test]
fn corrections_equal_statsmodels() {
    let case: MultipleCase = fixture("multiple");
    let ours = [
        (multiplicity::bonferroni(&case.p), &case.bonferroni),
        (multiplicity::holm(&case.p), &case.holm),
        (multiplicity::benjamini_hochberg(&case.p), &case.fdr_bh),
    ];
    for (ours, theirs) in ours {
        ours.iter().zip(theirs).for_each(|(&ours, &theirs)| within("adjusted", ours, theirs, 1e-12));
    }
}
