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
        // The plain sandwich, as statsmodels has it; effects use one that few or unequal clusters do not deceive.
        let columns =
            [Column { name: "length", values: &case.length }, Column { name: "z", values: &case.z }];
        let clusters = Clusters::new(case.y.len(), &case.clusters);
        let plain = fit(&columns, &case.y, Some(&clusters));
        let z = &plain.coefficients[2];
        close(&name("clustered se"), z.se_clustered * z.sd, case.se_clustered);
        within(&name("clustered p"), z.p_clustered, case.p_clustered, 1e-4);
        close(&name("prevalence"), effect.prevalence, case.prevalence);
        let alone = feature_effects(&matrix(&case.z), &sample, Control::Nothing)[0];
        close(&name("beta alone"), alone.beta, case.beta_alone);
        close(&name("se alone"), alone.beta_se, case.se_alone);
        let joint = conditional_effects(&matrix(&case.z), &[0], &sample, Control::Length)[0];
        close(&name("joint beta"), joint.beta, case.beta);
        close(&name("joint clustered se"), joint.beta_se_clustered, effect.beta_se_clustered);
        if let Some(win) = case.win {
            close(&name("win"), effect.win.value, win.value);
            // As above: what each label adds is the same, and the plain sandwich over it is the reference's.
            let z: Vec<f32> = case.z.iter().map(|&z| z as f32).collect();
            let (_, rows, influence) = win_influence(&z, &sample, Control::Length);
            let plain = sample.clusters().meat(Some(&rows), &influence.value, 1, 3).unwrap();
            let se = plain.matrix[(0, 0)].sqrt();
            close(&name("win se"), se, win.se);
            let half = numeric::quantile_95(Some(plain.df)) * se;
            close(&name("win low"), (win.value - half).max(-1.0), win.low);
            close(&name("win high"), (win.value + half).min(1.0), win.high);
            assert!(effect.win.low < effect.win.value && effect.win.value < effect.win.high);
            assert_eq!(effect.win.n, win.n);
        }
    }
}

#[derive(Deserialize)]
struct ClusterCase {
    name: String,
    z: Vec<f64>,
    length: Vec<f64>,
    y: Vec<f64>,
    clusters: Vec<Vec<u32>>,
    beta: f64,
    se: f64,
    p: f64,
}

/// `tests/fixtures/effects/make_clusters.py` writes the estimator out with whole matrices.
#[test]
fn clustered_errors_equal_their_definition_in_numpy() {
    let text = include_str!("../../tests/fixtures/effects/clusters.json");
    for case in serde_json::from_str::<Vec<ClusterCase>>(text).unwrap() {
        let sample = sample(&case.y, &case.length, &case.clusters);
        let effect = feature_effects(&matrix(&case.z), &sample, Control::Length)[0];
        close(&case.name, effect.beta, case.beta);
        close(&case.name, effect.beta_se_clustered, case.se);
        within(&case.name, effect.beta_p_clustered, case.p, 1e-5);
    }
}

/// One has given nine tenths of the labels, seven others the rest; labels are coins. The others' sum mirrors his own,
/// so a sandwich over annotators sees next to no variance: with it, a third of such worlds had p < .05.
#[test]
fn one_annotator_with_most_labels_does_not_make_chance_significant() {
    let mut random = crate::rng::stream(1, "one annotator");
    let worlds = 300;
    let mut below = 0;
    for _ in 0..worlds {
        let n = 400;
        let coin = |random: &mut rand_chacha::ChaCha8Rng| f64::from(u8::from(random.random::<bool>()));
        let z: Vec<f64> = (0..n).map(|_| random.random::<f64>() * 2.0 - 1.0).collect();
        let y: Vec<f64> = (0..n).map(|_| coin(&mut random)).collect();
        let length: Vec<f64> = (0..n).map(|_| f64::from(random.random_range(-50..50))).collect();
        let who = (0..n)
            .map(|_| if random.random::<f64>() < 0.9 { 0 } else { random.random_range(1..8) })
            .collect();
        let sample = sample(&y, &length, &[(0..n as u32).collect(), who]);
        let effect = feature_effects(&matrix(&z), &sample, Control::Length)[0];
        below += usize::from(effect.beta_p_clustered < 0.05);
    }
    // Fifteen are expected; twenty-six are four standard deviations more.
    assert!((3..27).contains(&below), "{below} of {worlds}");
}

/// Three people with the same taste: their number leaves two degrees of freedom to a sandwich over annotators.
#[test]
fn three_annotators_leave_a_real_effect_visible() {
    let mut random = crate::rng::stream(2, "three annotators");
    let n = 900;
    let z: Vec<f64> = (0..n).map(|_| random.random::<f64>() * 2.0 - 1.0).collect();
    let y: Vec<f64> =
        z.iter().map(|z| f64::from(u8::from(random.random::<f64>() < numeric::sigmoid(0.8 * z)))).collect();
    let length = vec![0.0; n];
    let who = (0..n as u32).map(|row| row % 3).collect();
    let sample = sample(&y, &length, &[(0..n as u32).collect(), who]);
    let effect = feature_effects(&matrix(&z), &sample, Control::Length)[0];
    assert!(effect.beta_p_clustered < 1e-6, "{effect:?}");
}

/// The longer response always wins: no coefficient is finite, and nothing could be surer.
#[test]
fn what_decides_every_label_is_significant() {
    let n = 300;
    let z: Vec<f64> = (0..n).map(|row| f64::from(row * 7 % 41) - 20.5).collect();
    let y: Vec<f64> = z.iter().map(|z| f64::from(u8::from(*z > 0.0))).collect();
    let other: Vec<f64> = (0..n).map(|row| f64::from(row * 5 % 17) - 8.0).collect();
    let sample = sample(&y, &vec![0.0; n as usize], &[(0..n as u32).map(|row| row / 2).collect()]);
    let effect = feature_effects(&matrix(&z), &sample, Control::Nothing)[0];
    assert_eq!(effect.outcome, Outcome::Separated);
    assert!(effect.beta_p_clustered < 1e-15, "{effect:?}");
    assert!(effect.win.low > 0.5 && effect.win.p < 1e-10, "{:?}", effect.win);
    // Beside another feature, too; and that one adds nothing.
    let both = z.iter().zip(&other).flat_map(|(z, o)| [*z as f32, *o as f32]).collect();
    let joint = conditional_effects(&Matrix { values: both, cols: 2 }, &[0, 1], &sample, Control::Nothing);
    assert!(joint[0].beta_p_clustered < 1e-15, "{joint:?}");
    assert!(joint[1].beta_p_clustered > 0.01, "{joint:?}");
}

/// What matters of length is often the ratio: ten words more are much in a line and nothing on a page.
#[test]
fn length_bends() {
    let mut random = crate::rng::stream(3, "length bends");
    let n = 3_000;
    let words: Vec<(f64, f64)> = (0..n)
        .map(|_| {
            let a = (random.random::<f64>() * 8.0).exp();
            (a.round(), (a * (random.random::<f64>() * 1.6 - 0.8).exp()).round())
        })
        .collect();
    let ratio: Vec<f64> = words.iter().map(|(a, b)| ((1.0 + a) / (1.0 + b)).ln()).collect();
    let y: Vec<f64> = ratio
        .iter()
        .map(|r| f64::from(u8::from(random.random::<f64>() < numeric::sigmoid(1.5 * r))))
        .collect();
    let delta: Vec<f64> = words.iter().map(|(a, b)| a - b).collect();
    // A feature that is nothing but the ratio, with noise: beside the difference alone it looks like one.
    let z: Vec<f64> = ratio.iter().map(|r| r + 0.5 * (random.random::<f64>() - 0.5)).collect();
    let straight = sample(&y, &delta, &[]);
    let bent = sample(&y, &delta, &[]).with_ratio(ratio);
    let p = |sample: &Sample| feature_effects(&matrix(&z), sample, Control::Length)[0].beta_p_clustered;
    assert!(p(&straight) < 1e-6, "{}", p(&straight));
    assert!(p(&bent) > 0.01, "{}", p(&bent));
    let half = |sample: &Sample, from: usize, to: usize| sample.subset(&(from..to).collect::<Vec<_>>());
    let rung = |sample: &Sample| {
        let rungs = ladder(
            &Matrix::zeros(n, 1),
            0,
            1,
            Peers::default(),
            &Measure::split(&half(sample, 0, n / 2), &half(sample, n / 2, n)),
        );
        rungs[0].auc.as_ref().unwrap().value
    };
    assert!(rung(&bent) > rung(&straight) + 0.01, "{} against {}", rung(&bent), rung(&straight));
}

/// A hundred columns of noise beside length: the penalty may choose none of them.
#[test]
fn adding_noise_lowers_no_rung() {
    let (matrix, all) = planted(21, 1_500, 100);
    let mut noise = matrix;
    for row in 0..noise.rows() {
        // The two columns that matter are taken out.
        noise.row_mut(row)[..2].fill(0.0);
    }
    let part = |from: usize, to: usize| all.subset(&(from..to).collect::<Vec<_>>());
    let peers = Peers { deltas: Some(&noise), texts: None, ..Peers::default() };
    let rungs = ladder(&noise, 0, 100, peers, &Measure::split(&part(0, 500), &part(500, 1_500)));
    let value = |name: &str| rungs.iter().find(|rung| rung.name == name).unwrap().auc.as_ref().unwrap().value;
    for name in ["known", "embedding"] {
        assert!(value(name) > value("length") - 0.01, "{name}: {} under {}", value(name), value("length"));
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
        // What each label adds is that of the pairwise sums: the plain sandwich over it gives the reference's ends.
        let influence = Ranking::new(&case.score, &case.y).unwrap().influence;
        let plain = clusters.meat(None, &influence, 1, 1).unwrap();
        let value = ours.value;
        let half =
            numeric::quantile_95(Some(plain.df)) * plain.matrix[(0, 0)].sqrt() / (value * (1.0 - value));
        let logit = (value / (1.0 - value)).ln();
        close(&case.name, numeric::sigmoid(logit - half), case.low);
        close(&case.name, numeric::sigmoid(logit + half), case.high);
        // Ours knows how unequal the clusters are, and is seldom narrower.
        assert!(ours.low < value && value < ours.high, "{ours:?}");
        within(&case.name, ours.high - ours.low, case.high - case.low, 0.2);
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

#[derive(Deserialize)]
struct WideCase {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    fits: Vec<WideFit>,
}

#[derive(Deserialize)]
struct WideFit {
    c: f64,
    intercept: f64,
    coefficients: Vec<f64>,
    auc: f64,
}

#[test]
fn the_penalised_fit_equals_scikit_learn() {
    let case: WideCase = fixture("wide");
    let n = case.y.len();
    let matrix =
        Matrix { values: case.x.iter().flatten().map(|&x| x as f32).collect(), cols: case.x[0].len() };
    let rows: Vec<u32> = (0..n as u32).collect();
    for theirs in case.fits {
        let penalty = penalised::Penalty { c: theirs.c, ..Default::default() };
        let ours = penalised::fit(&matrix, &rows, &case.y, &penalty.clone().tight()).unwrap();
        let size = theirs.coefficients.iter().fold(0.0_f64, |max, c| max.max(c.abs()));
        close("intercept", ours.intercept, theirs.intercept);
        for (ours, theirs) in ours.coefficients.iter().zip(&theirs.coefficients) {
            assert!((ours - theirs).abs() < 1e-7 * size, "{ours} instead of {theirs}");
        }
        let figure = |fit: &penalised::Linear| {
            auc(&fit.score(&matrix, &rows), &case.y, &Clusters::new(n, &[])).unwrap().value
        };
        close("auc", figure(&ours), theirs.auc);
        let quick = penalised::fit(&matrix, &rows, &case.y, &penalty).unwrap();
        within("auc with the default tolerance", figure(&quick), theirs.auc, 1e-3);
        // Weighting the penalty by the columns' variances = standardising the columns.
        let factors = (0..matrix.cols).map(|j| if j % 2 == 0 { 4.0 } else { 0.25 }).collect();
        let weighted = penalised::Penalty { factors, ..penalty }.tight();
        let weighted = penalised::fit(&matrix, &rows, &case.y, &weighted).unwrap();
        let mut scaled = matrix.clone();
        for (at, value) in scaled.values.iter_mut().enumerate() {
            *value *= if (at % scaled.cols).is_multiple_of(2) { 0.5 } else { 2.0 };
        }
        let tight = penalised::Penalty { c: theirs.c, ..Default::default() }.tight();
        let scaled = penalised::fit(&scaled, &rows, &case.y, &tight).unwrap();
        close("scaled intercept", weighted.intercept, scaled.intercept);
    }
}

/// Activations of which most are 0, and labels that some of them move.
fn mostly_zero(n: usize, d: usize) -> (Matrix, Vec<f64>) {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let mut matrix = Matrix::zeros(n, d);
    let mut y = Vec::with_capacity(n);
    for row in 0..n {
        let mut eta = 0.0;
        for (column, value) in matrix.row_mut(row).iter_mut().enumerate() {
            if uniform() < 0.15 {
                *value = (uniform() * 2.0 - 1.0) as f32;
                eta += f64::from(*value) * (column % 5) as f64;
            }
        }
        y.push(f64::from(u8::from(uniform() < 1.0 / (1.0 + (-eta).exp()))));
    }
    (matrix, y)
}

#[test]
fn a_fit_through_the_origin_is_that_of_every_pair_seen_from_both_sides() {
    let (n, d) = (2_000, 20);
    let (matrix, y) = mostly_zero(n, d);
    let rows: Vec<u32> = (0..n as u32).collect();
    let through = penalised::Penalty { c: 0.5, through_origin: true, ..Default::default() }.tight();
    let through = penalised::fit(&matrix, &rows, &y, &through).unwrap();
    assert_eq!(through.intercept, 0.0);
    let values = matrix.values.iter().copied().chain(matrix.values.iter().map(|x| -x)).collect();
    let both = Matrix { values, cols: d };
    let labels: Vec<f64> = y.iter().copied().chain(y.iter().map(|y| 1.0 - y)).collect();
    let twice: Vec<u32> = (0..2 * n as u32).collect();
    let penalty = penalised::Penalty { c: 0.25, ..Default::default() }.tight();
    let mirrored = penalised::fit(&both, &twice, &labels, &penalty).unwrap();
    for (a, b) in through.coefficients.iter().zip(&mirrored.coefficients) {
        within("coefficient", *a, *b, 1e-7);
    }
    // Where all labels are the same, it is still the smaller of two sides that would be missed.
    assert!(
        penalised::fit(
            &matrix,
            &rows,
            &vec![1.0; n],
            &penalised::Penalty { through_origin: true, ..Default::default() }
        )
        .is_ok()
    );
}

#[test]
fn score_tests_are_the_sums_that_they_say() {
    let (n, d) = (1_003, 30);
    let (matrix, y) = mostly_zero(n, d);
    let length = (0..n).map(|i| (i % 17) as f64 - 8.0).collect();
    let sample = Sample::new(y, length, (0..n as u32).collect(), &[]).unwrap();
    let all = score_tests(&matrix, &[3, 4], &sample, Control::Length);
    // One column at a time, and in another order, they are the same to the last bit.
    let some = feature::score_tests_of(&matrix, &[29, 0, 7], &[3, 4], &sample, Control::Length);
    assert_eq!(some, [all[29], all[0], all[7]]);
    // What is in the fit already adds nothing.
    assert!(all[3].abs() < 1e-6 && all[4].abs() < 1e-6, "{} {}", all[3], all[4]);
    // By hand, beside an intercept alone: Σ z·(y − p) / √(Σ z²v − (Σ zv)²/Σ v).
    let alone = score_tests(&matrix, &[], &sample, Control::Nothing);
    let p = sample.y().iter().sum::<f64>() / n as f64;
    for (column, found) in alone.iter().enumerate() {
        let z: Vec<f64> = matrix.column(column).iter().map(|&z| f64::from(z)).collect();
        let v = p * (1.0 - p);
        let score: f64 = z.iter().zip(sample.y()).map(|(z, y)| z * (y - p)).sum();
        let left = v * (z.iter().map(|z| z * z).sum::<f64>() - z.iter().sum::<f64>().powi(2) / n as f64);
        within("score test", *found, score / left.sqrt(), 1e-9);
    }
}

#[derive(Deserialize)]
struct LassoCase {
    z: Vec<Vec<f64>>,
    length: Vec<f64>,
    y: Vec<f64>,
    lambda_max: f64,
    path: Vec<LassoPoint>,
}

#[derive(Deserialize)]
struct LassoPoint {
    lambda: f64,
    intercept: f64,
    length: f64,
    coefficients: Vec<f64>,
}

#[test]
fn the_l1_path_equals_skglm_and_selection_lies_on_it() {
    let case: LassoCase = fixture("lasso");
    let p = case.z[0].len();
    let mut values: Vec<f32> = case.z.iter().flatten().map(|&z| z as f32).collect();
    // Rows of the matrix in another order than the judgements.
    values.rotate_right(p);
    let n = case.y.len() as u32;
    let matrix = Matrix { values, cols: p };
    let rows = (0..n).map(|row| (row + 1) % n).collect();
    let sample = Sample::new(case.y, case.length, rows, &[]).unwrap();
    let lasso = lasso::Lasso::new(&matrix, &sample, Control::Length).unwrap();
    close("lambda max", lasso.lambda_max(), case.lambda_max);
    let lambdas: Vec<f64> = case.path.iter().map(|point| point.lambda).collect();
    for (ours, theirs) in lasso.path(&lambdas).iter().zip(&case.path) {
        within("intercept", ours.intercept, theirs.intercept, 1e-5);
        within("length", ours.controls[0], theirs.length, 1e-5);
        for (ours, theirs) in ours.coefficients.iter().zip(&theirs.coefficients) {
            assert_eq!(*ours == 0.0, *theirs == 0.0, "{ours} instead of {theirs}");
            assert!((ours - theirs).abs() < 1e-6, "{ours} instead of {theirs}");
        }
    }
    for count in 0..=p {
        let chosen = lasso.select(count);
        assert_eq!(chosen.active().len(), count);
        let again = &lasso.path(&[chosen.lambda])[0];
        for (a, b) in chosen.coefficients.iter().zip(&again.coefficients) {
            assert!((a - b).abs() < 1e-6, "{count}: {a} {b}");
        }
    }
    assert_eq!(lasso.select(p + 5).active().len(), p, "no more than there are");
}

use proptest::prelude::*;
use rand::RngExt;

/// A planted set: `features` sparse columns of which the first two matter, and length.
fn planted(seed: u64, n: usize, features: usize) -> (Matrix, Sample) {
    let mut random = crate::rng::stream(seed, "effects tests");
    let mut matrix = Matrix::zeros(n, features);
    let (mut y, mut length, mut prompt) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..n {
        for value in matrix.row_mut(row) {
            if random.random::<f64>() < 0.3 {
                *value = random.random::<f32>() * 4.0 - 2.0;
            }
        }
        length.push(f64::from(random.random_range(-50..50)));
        prompt.push(random.random_range(0..n as u32 / 2));
        let z = matrix.row(row);
        let eta = 1.2 * f64::from(z[0]) - 0.8 * f64::from(z[1]) + 0.01 * length[row];
        y.push(f64::from(u8::from(random.random::<f64>() < numeric::sigmoid(eta))));
    }
    let rows = (0..n as u32).collect();
    (matrix, Sample::new(y, length, rows, &[prompt]).unwrap())
}

#[test]
fn a_feature_that_cannot_be_estimated_disturbs_no_other() {
    let (mut matrix, sample) = planted(1, 400, 6);
    let before = feature_effects(&matrix, &sample, Control::Length);
    let joint_before = conditional_effects(&matrix, &[0, 1, 5], &sample, Control::Length);
    for row in 0..matrix.rows() {
        let (label, length) = (sample.y()[row] as f32, sample.length()[row] as f32);
        let values = matrix.row_mut(row);
        values[2] = 0.0;
        values[3] = label * 2.0 - 1.0;
        values[4] = length * 3.0;
    }
    matrix.row_mut(7)[5] = f32::NAN;
    let after = feature_effects(&matrix, &sample, Control::Length);
    assert_eq!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
    let outcomes: Vec<Outcome> = after.iter().map(|effect| effect.outcome).collect();
    use Outcome::{Collinear, Constant, Fitted, NotFinite, Separated};
    assert_eq!(outcomes, [Fitted, Fitted, Constant, Separated, Collinear, NotFinite]);
    assert!(after[3].beta > 1.0 && after[3].beta < 20.0, "bounded: {}", after[3].beta);
    assert!(after[2].beta.is_nan() && after[4].beta_p.is_nan());
    assert_eq!(after[2].prevalence, 0.0);
    // Alone, the feature that is length can be estimated.
    assert_eq!(feature_effects(&matrix, &sample, Control::Nothing)[4].outcome, Fitted);

    let joint = conditional_effects(&matrix, &[0, 2, 1, 4, 5, 99], &sample, Control::Length);
    let outcomes: Vec<Outcome> = joint.iter().map(|effect| effect.outcome).collect();
    assert_eq!(outcomes, [Fitted, Constant, Fitted, Collinear, NotFinite, NotFinite]);
    let alone = conditional_effects(&matrix, &[0, 1], &sample, Control::Length);
    assert_eq!((joint[0].beta, joint[2].beta), (alone[0].beta, alone[1].beta));
    assert!(joint_before.iter().all(|effect| effect.outcome == Fitted));
}

#[test]
fn a_win_rate_with_one_sided_labels_is_bounded_and_says_so() {
    let n = 80;
    let z: Vec<f64> = (0..n).map(|row| f64::from(row % 4) - 1.0).collect();
    let length: Vec<f64> = (0..n).map(|row| f64::from(row * 7 % 13)).collect();
    let y: Vec<f64> = (0..n).map(|row| if row % 4 > 1 { 1.0 } else { f64::from(row / 4 % 2) }).collect();
    let effect = feature_effects(&matrix(&z), &sample(&y, &length, &[]), Control::Length)[0];
    let win = effect.win;
    assert_eq!(win.outcome, Outcome::QuasiSeparated);
    assert!(win.low < win.value && win.value < win.high && win.high <= 1.0, "{win:?}");
    assert!(win.high - win.low > 0.05, "an arm without losses is not certain: {win:?}");
}

#[test]
fn hopeless_samples_end_in_outcomes() {
    let (matrix, _) = planted(2, 50, 3);
    let outcome = |y: Vec<f64>| {
        let n = y.len();
        let sample = Sample::new(y, vec![1.0; n], (0..n as u32).collect(), &[]).unwrap();
        let effects = feature_effects(&matrix, &sample, Control::Length);
        assert_eq!(effects.len(), 3);
        assert!(conditional_effects(&matrix, &[0, 1], &sample, Control::Length)[0].beta.is_nan());
        let rungs = ladder(
            &matrix,
            2,
            1,
            Peers { deltas: Some(&matrix), texts: None, ..Peers::default() },
            &Measure::split(&sample, &sample),
        );
        assert!(Measure::crossed(&sample, &vec![0; n]).is_none());
        assert!(n == 2 || rungs.iter().all(|rung| rung.auc.is_err()));
        effects[0].outcome
    };
    assert_eq!(outcome(Vec::new()), Outcome::TooFewRows);
    assert!(!outcome(vec![1.0]).has_estimate());
    assert!(!outcome(vec![1.0, 0.0]).has_estimate());
    assert_eq!(outcome(vec![1.0; 40]), Outcome::OneClass);
    // Rows that the matrix does not have.
    let beyond =
        Sample::new(vec![0.0, 1.0, 1.0, 0.0, 1.0], vec![0.0; 5], vec![0, 1, 2, 3, 999], &[]).unwrap();
    assert_eq!(feature_effects(&matrix, &beyond, Control::Length)[0].outcome, Outcome::NotFinite);
    assert!(Sample::new(vec![0.0, 2.0], vec![0.0; 2], vec![0, 1], &[]).is_err());
    assert!(Sample::new(vec![0.0, f64::NAN], vec![0.0; 2], vec![0, 1], &[]).is_err());
    assert!(Sample::new(vec![0.0], vec![f64::NAN], vec![0], &[]).is_err());
    assert!(Sample::new(vec![0.0], vec![0.0], vec![0], &[vec![0, 1]]).is_err());
    assert!(auc(&[1.0, 2.0], &[1.0, 1.0], &Clusters::new(2, &[])).is_none());
    assert!(auc(&[1.0, f64::NAN], &[1.0, 0.0], &Clusters::new(2, &[])).is_none());
    assert!(pearson(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]).r.is_nan());
}

#[test]
fn a_perfect_ranking_is_not_certain() {
    let score: Vec<f64> = (0..20).map(f64::from).collect();
    let y: Vec<f64> = (0..20).map(|i| f64::from(u8::from(i >= 10))).collect();
    let figure = auc(&score, &y, &Clusters::new(20, &[])).unwrap();
    assert_eq!((figure.value, figure.high), (1.0, 1.0));
    assert!(figure.low > 0.6 && figure.low < 0.9, "{figure:?}");
}

#[test]
fn the_ladder_rises_where_features_are_planted() {
    let (matrix, explore) = planted(3, 3_000, 20);
    let (other, held_out) = planted(4, 1_500, 20);
    // One matrix for both: the held-out judgements point at its second half.
    let mut all = matrix;
    all.values.extend(other.values);
    let rows: Vec<u32> = (3_000..4_500).collect();
    let held_out = Sample::new(held_out.y().to_vec(), held_out.length().to_vec(), rows, &[]).unwrap();
    let rungs = ladder(
        &all,
        12,
        8,
        Peers { deltas: Some(&all), texts: None, ..Peers::default() },
        &Measure::split(&explore, &held_out),
    );
    let names: Vec<&str> = rungs.iter().map(|rung| rung.name).collect();
    assert_eq!(names, ["length", "top5", "top10", "learned", "known", "learned_and_known", "embedding"]);
    let value: Vec<f64> = rungs.iter().map(|rung| rung.auc.as_ref().unwrap().value).collect();
    assert!(value[0] < 0.66 && value[1] > value[0] + 0.05, "{value:?}");
    // What the top rungs take: the planted ones first.
    let first =
        Matrix { values: (0..all.rows()).flat_map(|row| all.row(row)[..12].to_vec()).collect(), cols: 12 };
    let lasso = lasso::Lasso::new(&first, &explore, Control::Length).unwrap();
    let (five, ten) = (lasso.select(5).active(), lasso.select(10).active());
    assert!(five.contains(&0) && five.contains(&1), "{five:?}");
    assert_eq!((five.len(), ten.len()), (5, 10));
    assert!((value[4] - value[0]).abs() < 0.02, "known features are noise here: {value:?}");
    for rung in &rungs {
        let figure = rung.auc.as_ref().unwrap();
        assert!(figure.low < figure.value && figure.value < figure.high && figure.n == 1_500);
    }
    let without = ladder(&all, 0, 20, Peers::default(), &Measure::split(&explore, &held_out));
    let missing: Vec<&str> = without.iter().filter(|rung| rung.auc.is_err()).map(|rung| rung.name).collect();
    assert_eq!(missing, ["top5", "top10", "learned", "embedding"]);
}

/// Every label measured by a fit on others: as good as held-out ones where there is something, and guessing where there is
/// nothing, also where the first response wins more often.
#[test]
fn the_crossed_ladder_measures_all_labels_and_flatters_none() {
    let (matrix, sample) = planted(5, 1_500, 20);
    let part: Vec<u8> = (0..sample.len()).map(|at| (at % 5) as u8).collect();
    let of = |sample: &Sample, name: &str| {
        let peers = Peers { deltas: Some(&matrix), ..Peers::default() };
        let rungs = ladder(&matrix, 12, 8, peers, &Measure::crossed(sample, &part).unwrap());
        rungs.iter().find(|rung| rung.name == name).unwrap().auc.unwrap()
    };
    let (length, top, all) = (of(&sample, "length"), of(&sample, "top5"), of(&sample, "embedding"));
    assert_eq!(all.n, sample.len());
    assert!(top.value > length.value + 0.05 && all.value > length.value + 0.05, "{length:?} {top:?} {all:?}");
    // Parted twice, each judgement has the mean of two fits that did not see it.
    let other: Vec<u8> = (0..sample.len()).map(|at| (at / 5 % 5) as u8).collect();
    let (peers, once) = (Peers::default(), Measure::crossed(&sample, &part).unwrap());
    let twice = ladder(&matrix, 12, 8, peers, &once.and_crossed(&other));
    let twice = twice.iter().find(|rung| rung.name == "learned").unwrap().auc.unwrap();
    let once = of(&sample, "learned");
    assert!(
        twice.n == once.n && twice.value != once.value && twice.value > once.value - 0.01,
        "{once:?} {twice:?}"
    );
    let mut random = crate::rng::stream(6, "crossed ladder");
    let mean = (0..12)
        .map(|_| {
            let coin = |_| f64::from(u8::from(random.random::<f64>() < 0.7));
            let y: Vec<f64> = (0..sample.len()).map(coin).collect();
            let nothing = Sample::new(y, vec![0.0; sample.len()], sample.row().to_vec(), &[]).unwrap();
            of(&nothing, "embedding").value
        })
        .sum::<f64>()
        / 12.0;
    // The standard deviation of one is .016.
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
}

/// Hardly held back, the L1 fit beside both lengths is the maximum-likelihood one, in units of the columns as they are.
#[test]
fn the_l1_fit_beside_two_lengths_is_logistic_regression_where_nothing_is_held_back() {
    let (matrix, sample) = planted(12, 600, 4);
    let ratio: Vec<f64> = sample.length().iter().map(|length| (length / 9.0).sin() + 2.0).collect();
    let same = sample.length().iter().map(|length| 3.0 - 2.0 * length).collect();
    let controls = [sample.length().to_vec(), ratio, vec![3.0; sample.len()], same];
    let columns: Vec<f32> = (0..4).flat_map(|column| matrix.column(column)).collect();
    let lasso = lasso::Lasso::beside(&controls, columns, sample.y().to_vec()).unwrap();
    let solution = lasso.path(&[0.1, 0.01, 1e-9]).pop().unwrap();
    let values: Vec<Vec<f64>> = (controls[..2].iter().cloned())
        .chain((0..4).map(|column| matrix.column(column).iter().map(|&x| f64::from(x)).collect()))
        .collect();
    let named: Vec<Column<'_>> = values.iter().map(|values| Column { name: "x", values }).collect();
    let theirs = fit(&named, sample.y(), None);
    let mut ours = lasso.raw(&solution);
    assert_eq!(ours.remove(2), 0.0, "a length that never varies");
    assert_eq!(ours.remove(2), 0.0, "a length that says what the first one says");
    for (ours, theirs) in ours.iter().zip(&theirs.coefficients[1..]) {
        assert!((ours - theirs.value).abs() < 1e-4 * (1.0 + theirs.value.abs()), "{ours} {}", theirs.value);
    }
    assert!((lasso.shift(&solution) - theirs.coefficients[0].value).abs() < 1e-3);
    // Held back as strongly as it takes, no feature is left, and the lengths stay.
    let none = &lasso.path(&[lasso.lambda_max() * 1.01])[0];
    assert!(none.active().is_empty() && none.controls[0] != 0.0 && none.controls[1] != 0.0, "{none:?}");
}

#[test]
fn a_rung_of_many_features_and_few_labels_is_penalised_until_it_predicts() {
    // Two of 80 columns move the label; 240 labels are too few to tell them from the others.
    let (matrix, all) = planted(11, 2_000, 80);
    let part = |from: usize, to: usize| {
        let rows: Vec<u32> = (from as u32..to as u32).collect();
        Sample::new(all.y()[from..to].to_vec(), all.length()[from..to].to_vec(), rows, &[]).unwrap()
    };
    let (explore, held_out) = (part(0, 240), part(240, 2_000));
    let rungs = ladder(&matrix, matrix.cols, 0, Peers::default(), &Measure::split(&explore, &held_out));
    let chosen = rungs.iter().find(|rung| rung.name == "learned").unwrap().auc.as_ref().unwrap().value;
    // The same with C = 1 over standardised columns, by hand.
    let mut design = Matrix { values: Vec::new(), cols: matrix.cols + 1 };
    for (row, &length) in all.length().iter().enumerate() {
        design.values.push(length as f32);
        design.values.extend_from_slice(matrix.row(row));
    }
    let factors = (0..design.cols)
        .map(|column| {
            let values: Vec<f64> = design.column(column)[..240].iter().map(|&v| f64::from(v)).collect();
            let mean = values.iter().sum::<f64>() / 240.0;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 240.0
        })
        .collect();
    let rows: Vec<u32> = (0..2_000).collect();
    let linear = penalised::fit(
        &design,
        &rows[..240],
        explore.y(),
        &penalised::Penalty { factors, ..penalised::Penalty::default() },
    )
    .unwrap();
    let weak = auc(&linear.score(&design, &rows[240..]), held_out.y(), held_out.clusters()).unwrap().value;
    assert!(chosen > weak + 0.01, "{chosen} against {weak}");
}

/// Judgements with few distinct values, so that ties, empty cells and separation are common.
fn judgements() -> impl Strategy<Value = Vec<(f32, i32, f64, u32, u32)>> {
    let z = prop_oneof![3 => Just(0.0_f32), 2 => -2.0_f32..2.0, 1 => Just(1.0_f32)];
    let y = prop_oneof![Just(0.0), Just(1.0), Just(1.0), Just(0.25)];
    prop::collection::vec((z, -4..5, y, 0_u32..9, prop_oneof![0_u32..4, Just(u32::MAX)]), 0..80)
}

/// The effect with all signs turned by the given factors.
fn effect_of(rows: &[(f32, i32, f64, u32, u32)], side: f32, label: bool) -> Effect {
    let z: Vec<f32> = rows.iter().map(|row| row.0 * side).collect();
    let y = rows.iter().map(|row| if label { 1.0 - row.2 } else { row.2 }).collect();
    let length = rows.iter().map(|row| f64::from(row.1) * f64::from(side)).collect();
    let clusters = [rows.iter().map(|row| row.3).collect(), rows.iter().map(|row| row.4).collect()];
    let sample = Sample::new(y, length, (0..rows.len() as u32).collect(), &clusters).unwrap();
    feature_effect(&z, &sample, Control::Length)
}

fn same(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * (1.0 + a.abs())
}

proptest! {
    #[test]
    fn swapping_all_responses_changes_nothing(rows in judgements()) {
        let (one, other) = (effect_of(&rows, 1.0, false), effect_of(&rows, -1.0, true));
        prop_assert_eq!((one.outcome, one.win.outcome), (other.outcome, other.win.outcome));
        let pairs = [(one.beta, other.beta), (one.beta_se, other.beta_se), (one.beta_p, other.beta_p),
            (one.beta_se_clustered, other.beta_se_clustered), (one.win.value, other.win.value),
            (one.win.low, other.win.low), (one.win.high, other.win.high)];
        for (a, b) in pairs {
            prop_assert!(same(a, b), "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn flipping_the_labels_turns_every_sign(rows in judgements()) {
        let (one, other) = (effect_of(&rows, 1.0, false), effect_of(&rows, 1.0, true));
        prop_assert_eq!((one.outcome, one.win.outcome), (other.outcome, other.win.outcome));
        let pairs = [(one.beta, -other.beta), (one.beta_se, other.beta_se),
            (one.beta_se_clustered, other.beta_se_clustered), (one.win.value, -other.win.value),
            (one.win.low, -other.win.high), (one.win.high, -other.win.low)];
        for (a, b) in pairs {
            prop_assert!(same(a, b), "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn figures_exist_exactly_where_the_outcome_says_so(rows in judgements()) {
        let effect = effect_of(&rows, 1.0, false);
        prop_assert_eq!(effect.outcome.has_estimate(), effect.beta.is_finite() && effect.beta_se > 0.0);
        prop_assert_eq!(effect.win.outcome.has_estimate(), effect.win.value.is_finite());
        prop_assert!(effect.beta.is_nan() || effect.beta.abs() < 1e3, "{:?}", effect);
        if effect.win.outcome.has_estimate() {
            prop_assert!(effect.win.low <= effect.win.value && effect.win.value <= effect.win.high);
        }
    }
}

/// What the properties above found once: a cluster whose rows the control explains to the last bit, so that rounding
/// decided whether it has a spread.
#[test]
fn a_cluster_that_the_control_explains_is_none() {
    let rows = [(1.0, -3, 1.0, 0, 0), (0.0, -3, 1.0, 0, 0), (0.0, -1, 1.0, 1, 0), (0.0, -3, 0.0, 0, 0)];
    let one = effect_of(&rows, 1.0, false);
    for other in [effect_of(&rows, -1.0, true), effect_of(&rows, 1.0, true)] {
        assert!(same(one.beta_se_clustered, other.beta_se_clustered), "{one:?} {other:?}");
        assert!(same(one.beta_p_clustered, other.beta_p_clustered), "{one:?} {other:?}");
    }
}

#[test]
fn fewer_labels_are_those_with_the_lowest_ids_in_any_order() {
    use crate::pairs::{Labels, Pairs, Split};
    let ids = ["d", "a", "c", "b", "e"];
    let pairs = |order: &[usize]| Pairs {
        pair_id: ids.iter().map(|id| (*id).to_owned()).collect(),
        prompt_key: (0..5).collect(),
        length_delta: vec![0.0; 5],
        log_length_ratio: vec![0.0; 5],
        judgements: Labels {
            pair: order.iter().map(|&at| at as u32).collect(),
            label: order.iter().map(|&at| (at % 2) as f32).collect(),
            annotator: vec![crate::pairs::MISSING; 5],
            ..Labels::default()
        },
        ..Pairs::default()
    };
    let kept = |order: &[usize], most: usize| {
        let pairs = pairs(order);
        let some = table::LabelledSample::on(&pairs, &[Split::Train; 5], &table::ALL).at_most(most, &pairs);
        let mut rows: Vec<&str> = some.sample.row().iter().map(|&row| ids[row as usize]).collect();
        rows.sort_unstable();
        rows.concat()
    };
    assert_eq!(kept(&[0, 1, 2, 3, 4], 3), "abc");
    assert_eq!(kept(&[4, 3, 2, 1, 0], 3), "abc");
    assert_eq!(kept(&[0, 1, 2, 3, 4], 9), "abcde");
}
