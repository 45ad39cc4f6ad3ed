//! The same concepts in several datasets, or in groups of one: one estimator, differences tested.
//!
//! What is compared are known concepts, whose detectors no label took part in choosing; so every label counts,
//! not only the held-out ones. Learned features of runs over the same embedder are compared where their
//! directions match, which no label decides either.
//!
//! In each part the effect is the length-controlled Δ win rate with its clustered interval
//! ([`crate::effects::feature_effect`]); what fewer than 5 % of a part's pairs differ in is left blank. That the
//! parts do not differ is tested with a score test: one logit over the labels of all parts with one coefficient of
//! the feature, and whether what it leaves goes with the feature in another way in some part. Under the null the
//! clusters' contributions s are symmetric around 0, so (Σs)ᵀ(Σssᵀ)⁻¹(Σs)/m over m clusters follows a Beta law
//! (Hotelling's, not centred), which stays true for small parts and rare features, where a Wald test over the
//! parts' own effects takes a chance extreme for a sure one. Parts may share prompts and annotators: clusters reach
//! over parts; where annotators are many enough to be a sample of people, they have to confirm it as well. The
//! p-values are corrected (Holm) over the concepts.

use std::collections::HashMap;

use faer::Mat;
use rayon::prelude::*;
use serde::Serialize;
use statrs::function::beta::beta_reg;

use crate::describe::{Feature, FeatureSource};
use crate::effects::clusters::FEWEST_PEOPLE;
use crate::effects::logistic::{Design, cholesky, solve};
use crate::effects::table::control_of;
use crate::effects::{Clusters, Control, Sample, quantile_95, win_influence};
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs};
use crate::statistics::multiplicity::{benjamini_hochberg, holm};

/// Prevalence below which a part's effect is left blank (METHOD §9).
pub const BLANK_BELOW: f64 = 0.05;
/// Chance of claiming any difference where there is none. Lower than for principles: nothing confirms a
/// difference on other labels.
pub const ALPHA: f64 = 0.01;
/// Parts that a page can show side by side.
pub const MOST_PARTS: usize = 12;
/// Labels that a group needs.
pub const FEWEST: usize = 50;
/// |cosine| of two decoder directions from which on they are the same feature.
pub const SAME: f64 = 0.6;

/// Some labels of a dataset.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// What it is called.
    pub name: String,
    /// The same for parts of the same dataset: then annotators of the same name are the same.
    pub dataset: String,
    /// The dataset.
    pub pairs: &'a Pairs,
    /// `[pairs, features]`
    pub activations: &'a Matrix,
    /// Indices into [`Pairs::judgements`]; ties and missing labels among them are left out.
    pub judgements: Vec<u32>,
}

/// One thing to compare: its column in each part and the sign that it has there.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The feature as the first part has it.
    pub feature: &'a Feature,
    /// Column and sign in each part, `[parts]`; `None` where the part does not have it.
    pub columns: Vec<Option<(usize, f32)>>,
}

/// An effect in one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cell {
    /// Δ win rate; `None` where the part is blank or nothing can be estimated.
    pub win_delta: Option<f64>,
    /// Lower end of its 95 % interval.
    pub win_low: Option<f64>,
    /// Upper end.
    pub win_high: Option<f64>,
    /// Its clustered standard error.
    pub win_se: Option<f64>,
    /// Share of the judged pairs that differ in it.
    pub prevalence: f64,
    /// Labels, ties left out.
    pub n: usize,
}

/// The difference between two parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Index of the one part.
    pub of: usize,
    /// Index of the other.
    pub to: usize,
    /// Effect in `of` minus effect in `to`.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided p-value.
    pub p: f64,
    /// The same corrected (Holm) over the pairs of parts of this concept.
    pub p_holm: f64,
}

/// One concept in every part.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// As in `features.parquet` of the first run.
    pub feature_id: String,
    /// In words.
    pub description: String,
    /// "uses emoji": completes "the response that …".
    pub clause: String,
    /// Flags of the bank.
    pub flags: Vec<String>,
    /// `[parts]`
    pub cells: Vec<Cell>,
    /// p-value of no difference between the parts that are not blank; `None` with fewer than two.
    pub p: Option<f64>,
    /// Corrected (Holm) over all rows: the decision.
    pub p_holm: Option<f64>,
    /// False discovery rate.
    pub q_bh: Option<f64>,
    /// `p_holm` is below [`ALPHA`].
    pub differs: bool,
    /// It differs, and the interval of one part lies above 0 and that of another below.
    pub reverses: bool,
    /// Every two parts, where it differs.
    pub differences: Vec<Difference>,
}

/// A learned feature of one run and its counterpart in another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Match {
    /// Column in the first run.
    pub first: usize,
    /// Column in the other.
    pub other: usize,
    /// Cosine of their directions; negative where their signs are opposite.
    pub cosine: f64,
}

/// Measures every row in every part and tests the differences; rows in the order given.
pub fn compare(parts: &[Part<'_>], measured: &[Measured<'_>]) -> Vec<Row> {
    let samples: Vec<PartSample> = parts.iter().map(PartSample::new).collect();
    let shared = Shared::new(parts, &samples);
    let mut rows: Vec<Row> =
        measured.par_iter().map(|what| row(what, parts, &samples, &shared, false)).collect();
    let p: Vec<f64> = rows.iter().map(|row| row.p.unwrap_or(f64::NAN)).collect();
    let some = |value: f64| Some(value).filter(|value| value.is_finite());
    for ((row, holm), q) in rows.iter_mut().zip(holm(&p)).zip(benjamini_hochberg(&p)) {
        (row.p_holm, row.q_bh) = (some(holm), some(q));
        row.differs = holm < ALPHA;
        let above = row.cells.iter().any(|cell| cell.win_low.is_some_and(|low| low > 0.0));
        let below = row.cells.iter().any(|cell| cell.win_high.is_some_and(|high| high < 0.0));
        row.reverses = row.differs && above && below;
    }
    // Every two parts are a test each: only where the row as a whole differs.
    rows.par_iter_mut().zip(measured).filter(|(found, _)| found.differs).for_each(|(found, what)| {
        found.differences = row(what, parts, &samples, &shared, true).differences;
    });
    rows
}

/// The usable labels of a part.
struct PartSample {
    sample: Sample,
    /// Index of each label into the part's judgements.
    judgement: Vec<u32>,
}

impl PartSample {
    fn new(part: &Part<'_>) -> Self {
        let judgements = &part.pairs.judgements;
        let usable = |&&at: &&u32| {
            judgements.label.get(at as usize).is_some_and(|label| !label.is_nan() && *label != 0.5)
        };
        let judgement: Vec<u32> = part.judgements.iter().filter(usable).copied().collect();
        let pair = |&at: &u32| judgements.pair[at as usize];
        let row: Vec<u32> = judgement.iter().map(pair).collect();
        let y = judgement.iter().map(|&at| f64::from(judgements.label[at as usize])).collect();
        let length = row.iter().map(|&at| f64::from(part.pairs.length_delta[at as usize])).collect();
        // A pair without a prompt still groups its own labels.
        let prompt = row.iter().map(|&at| match part.pairs.prompt_key[at as usize] {
            MISSING => MISSING / 2 + at,
            key => key,
        });
        let annotator = judgement.iter().map(|&at| judgements.annotator[at as usize]);
        let distinct = |ids: &[u32]| {
            let own = ids.iter().filter(|id| **id == MISSING).count();
            own + ids.iter().filter(|id| **id != MISSING).collect::<std::collections::HashSet<_>>().len()
        };
        let mut clusters: Vec<Vec<u32>> = vec![prompt.collect(), annotator.collect()];
        clusters.retain(|ids| distinct(ids) > 1);
        // Labels and lengths come from `Pairs`, which holds finite lengths and labels from 0 to 1.
        let ratio = row
            .iter()
            .map(|&at| part.pairs.log_length_ratio.get(at as usize).copied())
            .map(|ratio| ratio.map_or(f64::NAN, f64::from))
            .collect();
        let sample = Sample::new(y, length, row, &clusters).unwrap_or_default().with_ratio(ratio);
        Self { sample, judgement }
    }
}

/// Clusters over the labels of all parts one after the other.
struct Shared {
    clusters: Clusters,
    /// Where each part begins.
    start: Vec<usize>,
}

impl Shared {
    fn new(parts: &[Part<'_>], samples: &[PartSample]) -> Self {
        let mut prompts: HashMap<&str, u32> = HashMap::new();
        let mut people: HashMap<(&str, &str), u32> = HashMap::new();
        let (mut prompt, mut annotator, mut start) = (Vec::new(), Vec::new(), Vec::new());
        for (part, usable) in parts.iter().zip(samples) {
            start.push(prompt.len());
            for (&at, &pair) in usable.judgement.iter().zip(usable.sample.row()) {
                // The same prompt is the same cluster in whatever dataset it stands.
                let text = part.pairs.prompt.get(pair as usize);
                let key = if text.is_empty() { part.pairs.pair_id[pair as usize].as_str() } else { text };
                let next = prompts.len() as u32;
                prompt.push(*prompts.entry(key).or_insert(next));
                let who = part.pairs.judgements.annotator[at as usize];
                let name = (who != MISSING).then(|| part.pairs.annotators.get(who as usize)).flatten();
                let next = people.len() as u32;
                annotator.push(name.map_or(MISSING, |name| {
                    *people.entry((part.dataset.as_str(), name.as_str())).or_insert(next)
                }));
            }
        }
        let varied = |ids: &[u32]| ids.iter().any(|id| *id == MISSING || *id != ids[0]);
        let named = annotator.iter().any(|id| *id != MISSING);
        let mut dimensions = vec![prompt];
        if named {
            dimensions.push(annotator);
        }
        dimensions.retain(|ids| varied(ids));
        let rows = dimensions.first().map_or(0, Vec::len);
        Self { clusters: Clusters::new(rows, &dimensions), start }
    }
}

/// One concept: cells, and what its parts have to do with each other, on the whole or every two of them.
fn row(
    what: &Measured<'_>,
    parts: &[Part<'_>],
    samples: &[PartSample],
    shared: &Shared,
    every_two: bool,
) -> Row {
    let control = control_of(what.feature);
    let mut cells = vec![Cell::default(); parts.len()];
    let (mut with, mut stacked) = (Vec::new(), Stacked::default());
    for (index, (part, usable)) in parts.iter().zip(samples).enumerate() {
        let cell = &mut cells[index];
        cell.n = usable.sample.len();
        let Some((column, sign)) = what.columns.get(index).copied().flatten() else { continue };
        let z: Vec<f32> = (usable.sample.row().iter())
            .map(|&pair| part.activations.row(pair as usize).get(column).map_or(0.0, |z| z * sign))
            .collect();
        if z.is_empty() {
            continue;
        }
        cell.prevalence = usable.sample.prevalence(&z);
        if cell.prevalence < BLANK_BELOW {
            continue;
        }
        let (win, ..) = win_influence(&z, &usable.sample, control);
        if !(win.value.is_finite() && win.se.is_finite() && win.se > 0.0) {
            continue;
        }
        cell.win_delta = Some(win.value);
        cell.win_low = Some(win.low);
        cell.win_high = Some(win.high);
        cell.win_se = Some(win.se);
        stacked.add(with.len(), &z, &usable.sample, shared.start[index]);
        with.push(index);
    }
    let mut found = Row {
        feature_id: what.feature.feature_id.clone(),
        description: what.feature.description.clone(),
        clause: what.feature.clause.clone(),
        flags: what.feature.flags.clone(),
        ..Row::default()
    };
    if with.len() > 1 {
        let all: Vec<usize> = (0..with.len()).collect();
        found.p = stacked.heterogeneity(&all, control, &shared.clusters);
        if every_two {
            found.differences = differences(&with, &cells, &stacked, control, &shared.clusters);
        }
    }
    found.cells = cells;
    found
}

/// The labels of several parts, one after the other.
#[derive(Debug, Default)]
struct Stacked {
    z: Vec<f64>,
    y: Vec<f64>,
    length: Vec<f64>,
    ratio: Vec<f64>,
    /// Place of the part of each label.
    part: Vec<usize>,
    /// Its row in the shared clusters.
    row: Vec<usize>,
}

impl Stacked {
    fn add(&mut self, place: usize, z: &[f32], sample: &Sample, start: usize) {
        self.z.extend(z.iter().map(|&z| f64::from(z)));
        self.y.extend(sample.y());
        self.length.extend(sample.length());
        self.ratio.extend(sample.ratio());
        self.part.extend(z.iter().map(|_| place));
        self.row.extend((0..z.len()).map(|at| start + at));
    }

    /// p-value of the parts at `places` having one coefficient of the feature; `None` where it cannot be tested.
    fn heterogeneity(&self, places: &[usize], control: Control, clusters: &Clusters) -> Option<f64> {
        let rows: Vec<usize> = (0..self.y.len()).filter(|&at| places.contains(&self.part[at])).collect();
        let pick = |values: &[f64]| rows.iter().map(|&at| values[at]).collect::<Vec<f64>>();
        let mut columns = Vec::new();
        if control == Control::Length {
            columns.push(pick(&self.length));
            if self.ratio.len() == self.y.len() {
                columns.push(pick(&self.ratio));
            }
        }
        let z = pick(&self.z);
        columns.push(z.clone());
        let design = Design::new(&columns, pick(&self.y), vec![1.0; rows.len()]);
        let fitted = design.fit();
        if !fitted.outcome.has_estimate() {
            return None;
        }
        // The feature within each part but the last: with the feature as a whole they say the rest.
        let own = |place: usize| -> Vec<f64> {
            rows.iter().zip(&z).map(|(&at, &z)| if self.part[at] == place { z } else { 0.0 }).collect()
        };
        let scores: Option<Vec<Vec<f64>>> = (places.split_last()?.1.iter())
            .map(|&place| Some(design.score_test(&fitted, &own(place))?.1.value))
            .collect();
        let scores = scores?;
        let tests = (0..2).filter_map(|dimension| {
            let ids: Vec<u32> =
                clusters.along(dimension).map(|ids| rows.iter().map(|&at| ids[self.row[at]]).collect())?;
            let people = effective(&ids);
            // Few people are taken as they are; a prompt is always one.
            (dimension == 0 || people >= FEWEST_PEOPLE.max(2.0 * scores.len() as f64))
                .then(|| not_centred(&scores, &ids))
                .flatten()
        });
        tests.reduce(f64::max)
    }
}

/// 1 / Σ share² of the clusters.
fn effective(ids: &[u32]) -> f64 {
    let mut count: HashMap<u32, f64> = HashMap::new();
    ids.iter().for_each(|id| *count.entry(*id).or_default() += 1.0);
    (ids.len() as f64).powi(2) / count.values().map(|n| n * n).sum::<f64>()
}

/// p-value of the clusters' sums of every score (`[scores][rows]`) being 0 on the whole.
fn not_centred(scores: &[Vec<f64>], ids: &[u32]) -> Option<f64> {
    let q = scores.len();
    // In order of the first row, so that sums do not depend on a hash's order.
    let mut place: HashMap<u32, usize> = HashMap::new();
    let mut sums: Vec<f64> = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        let next = place.len();
        let at = *place.entry(*id).or_insert(next);
        sums.resize(place.len() * q, 0.0);
        for (slot, score) in sums[at * q..].iter_mut().zip(scores) {
            *slot += score[row];
        }
    }
    let scale: Vec<f64> =
        (0..q).map(|j| sums.chunks_exact(q).map(|s| s[j] * s[j]).sum::<f64>().sqrt()).collect();
    let mut all = vec![0.0; q];
    let mut square = Mat::<f64>::zeros(q, q);
    let mut m = 0.0;
    for sum in sums.chunks_exact(q) {
        if sum.iter().zip(&scale).all(|(s, scale)| s.abs() <= 1e-9 * scale) {
            continue;
        }
        m += 1.0;
        for i in 0..q {
            all[i] += sum[i] / scale[i];
            for j in 0..q {
                square[(i, j)] += sum[i] * sum[j] / (scale[i] * scale[j]);
            }
        }
    }
    let solved = solve(&cholesky(&square)?, &all);
    let statistic: f64 = solved.iter().zip(&all).map(|(a, b)| a * b).sum();
    let free = m - q as f64;
    if !(statistic.is_finite() && free >= 1.0) {
        return None;
    }
    Some(beta_reg(free / 2.0, q as f64 / 2.0, (1.0 - statistic / m).clamp(0.0, 1.0)))
}

/// Every two of the parts `with`.
fn differences(
    with: &[usize],
    cells: &[Cell],
    stacked: &Stacked,
    control: Control,
    clusters: &Clusters,
) -> Vec<Difference> {
    let figure = |at: usize| Some((cells[at].win_delta?, cells[at].win_se?));
    let mut found = Vec::new();
    for (i, &of) in with.iter().enumerate() {
        for (j, &to) in with.iter().enumerate().skip(i + 1) {
            let (Some((a, a_se)), Some((b, b_se))) = (figure(of), figure(to)) else { continue };
            let half = quantile_95(None) * a_se.hypot(b_se);
            found.push(Difference {
                of,
                to,
                value: a - b,
                low: (a - b - half).max(-2.0),
                high: (a - b + half).min(2.0),
                p: stacked.heterogeneity(&[i, j], control, clusters).unwrap_or(1.0),
                p_holm: f64::NAN,
            });
        }
    }
    let corrected = holm(&found.iter().map(|difference| difference.p).collect::<Vec<_>>());
    for (difference, p) in found.iter_mut().zip(corrected) {
        difference.p_holm = p;
    }
    found
}

/// Known concepts that all runs measure in the same words, as rows to compare.
pub fn known<'a>(runs: &[&'a [Feature]]) -> Vec<Measured<'a>> {
    let Some(first) = runs.first() else { return Vec::new() };
    let column = |features: &[Feature], wanted: &Feature| {
        features.iter().position(|f| {
            f.source == FeatureSource::Known
                && f.feature_id == wanted.feature_id
                && f.description == wanted.description
        })
    };
    (first.iter().filter(|feature| feature.source == FeatureSource::Known))
        .filter_map(|feature| {
            let columns: Option<Vec<_>> =
                runs.iter().map(|run| column(run, feature).map(|at| Some((at, 1.0)))).collect();
            Some(Measured { feature, columns: columns? })
        })
        .collect()
}

/// Features of two autoencoders whose directions (their decoders, `[features, dimensions]`) are each other's nearest and
/// at least [`SAME`] alike.
///
/// Empty where the two autoencoders do not live in the same space.
pub fn matches(first: &Matrix, other: &Matrix) -> Vec<Match> {
    if first.cols != other.cols {
        return Vec::new();
    }
    let cosine = |i: usize, j: usize| -> f64 {
        let (a, b) = (first.row(i), other.row(j));
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let all: Vec<Vec<f64>> = (0..first.rows())
        .map(|i| {
            (0..other.rows()).map(|j| Some(cosine(i, j)).filter(|c| c.is_finite()).unwrap_or(0.0)).collect()
        })
        .collect();
    let nearest = |values: &mut dyn Iterator<Item = f64>| {
        values.map(f64::abs).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
    };
    (0..first.rows())
        .filter_map(|i| {
            let j = nearest(&mut all[i].iter().copied())?;
            let back = nearest(&mut all.iter().map(|row| row[j]))?;
            (back == i && all[i][j].abs() >= SAME).then_some(Match { first: i, other: j, cosine: all[i][j] })
        })
        .collect()
}

/// Labels sorted into groups by a column of the source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    /// Name and judgements of each, largest first, or in order where the column was cut into quarters.
    pub groups: Vec<(String, Vec<u32>)>,
    /// What the user should know: groups left out, quarters.
    pub notes: Vec<String>,
}

/// Groups the judgements by `values` (`[rows of the source]`).
///
/// Numbers and dates with more than [`MOST_PARTS`] different values are cut into quarters; of other columns the
/// largest groups are taken. A group needs [`FEWEST`] labels.
pub fn groups(pairs: &Pairs, values: &[Option<String>]) -> Groups {
    let judgements = &pairs.judgements;
    let mut of: HashMap<&str, Vec<u32>> = HashMap::new();
    let mut nameless = 0;
    for (at, (&row, label)) in judgements.row.iter().zip(&judgements.label).enumerate() {
        if label.is_nan() || *label == 0.5 {
            continue;
        }
        match values.get(row as usize).and_then(Option::as_deref) {
            Some(value) => of.entry(value).or_default().push(at as u32),
            None => nameless += 1,
        }
    }
    let mut found = Groups::default();
    if nameless > 0 {
        found.notes.push(format!("labels without a value in the column, left out: {nameless}"));
    }
    let mut named: Vec<(&str, Vec<u32>)> = of.into_iter().collect();
    if named.len() > MOST_PARTS
        && let Some(quarters) = quarters(&named)
    {
        found.notes.push("the column has many values in order, so it was cut into quarters".into());
        found.groups = quarters;
        return found;
    }
    named.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(b.0)));
    let all = named.len();
    named.retain(|(_, labels)| labels.len() >= FEWEST);
    named.truncate(MOST_PARTS);
    if named.len() < all {
        found.notes.push(format!(
            "groups left out: {} (at most {MOST_PARTS}, each with at least {FEWEST} labels)",
            all - named.len()
        ));
    }
    found.groups = named.into_iter().map(|(name, labels)| (name.to_owned(), labels)).collect();
    found
}

/// Numbers or ISO dates cut into four groups of about equal size.
fn quarters(named: &[(&str, Vec<u32>)]) -> Option<Vec<(String, Vec<u32>)>> {
    let numbers: Option<Vec<f64>> =
        named.iter().map(|(value, _)| value.trim().parse::<f64>().ok().filter(|v| v.is_finite())).collect();
    let date = |text: &str| {
        let b = text.as_bytes();
        b.len() >= 10 && b[4] == b'-' && b[7] == b'-' && b[..4].iter().all(u8::is_ascii_digit)
    };
    let mut order: Vec<usize> = (0..named.len()).collect();
    match numbers {
        Some(numbers) => order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b])),
        None if named.iter().all(|(value, _)| date(value)) => order.sort_by_key(|&at| named[at].0),
        None => return None,
    }
    let total: usize = named.iter().map(|(_, labels)| labels.len()).sum();
    let mut cut: Vec<(&str, &str, Vec<u32>)> = Vec::new();
    let mut seen = 0;
    for at in order {
        let (value, labels) = &named[at];
        // A value belongs to the quarter in which its middle lies, so that equal values stay together.
        let quarter = ((seen + labels.len() / 2) * 4 / total.max(1)).min(3);
        seen += labels.len();
        while cut.len() <= quarter {
            cut.push((value, value, Vec::new()));
        }
        let last = &mut cut[quarter];
        if last.2.is_empty() {
            last.0 = value;
        }
        last.1 = value;
        last.2.extend(labels);
    }
    cut.retain(|(.., labels)| labels.len() >= FEWEST);
    let short = |text: &str| text.chars().take(10).collect::<String>();
    Some(cut.into_iter().map(|(a, b, labels)| (format!("{} to {}", short(a), short(b)), labels)).collect())
}
