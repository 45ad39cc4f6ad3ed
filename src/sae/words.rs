//! Features led by words: directions of the embedding along which the responses' words differ, too.
//!
//! Reconstruction spends its few features on what varies most, which is content. What people have
//! opinions on (tone, form, phrases) varies little, but it is said in certain words. So here the
//! directions are looked for with which groups of words go together; no label is looked at, and
//! the features are linear in the delta like the autoencoder's.
//!
//! ```text
//! S [pairs, terms]   +1 where only A has the term, −1 where only B has it; v = mean S²
//! L = SᵀX R / n      loadings of the terms, X R being X lightly whitened: R = U / √(e + 3 ē)
//! Q                  the M leading right singular vectors of L; V = varimax of L Q / v^.2
//! l_j                terms loading on direction j, all but the 50 strongest soft-thresholded away
//! encoder_j          ridge regression of the score S l_j on the delta, its penalty by generalised
//!                    cross-validation; scaled so that pre has mean square one
//! decoder            least squares of the delta on the gated activations, shrunk by how much of it holds on
//!                    pairs that it was not fitted on
//! ```
//!
//! Sources: varimax (Kaiser 1958), penalised matrix decomposition of a cross-covariance (Witten,
//! Tibshirani & Hastie 2009), generalised cross-validation (Golub, Heath & Wahba 1979).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use faer::{Mat, Side, linalg::solvers::Solve};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::linear::{product, sum_blocks};
use super::model::check_rows;
use super::train::{check_config, check_finite, count_active, non_zero};
use super::{Deltas, Sae, SaeConfig, SaeError, TrainReport, initial};
use crate::matrix::{Matrix, fixed_order};
use crate::{pairs::Pairs, rng};

/// Pairs that directions are estimated from, at most.
const SAMPLE: usize = 32_768;
/// Terms at most, those that differ in most pairs.
const TERMS: usize = 3000;
/// A term has to differ in this share of the pairs, and in so many of them.
const TERM_SHARE: f64 = 0.004;
const TERM_PAIRS: u32 = 5;
/// Terms that a feature's score is made of.
const KEPT: usize = 50;
/// What is added to the eigenvalues before whitening, in their mean.
const FLOOR: f32 = 3.0;
/// Power of a term's variance that its loading is divided by before the rotation.
const TEMPER: f32 = 0.2;
/// Ridge penalties to choose from, in mean eigenvalues.
const PENALTIES: [f64; 6] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// Learns on the pairs `train` of `deltas` `[pairs, dimensions]` and their texts, weighs the decoder on
/// `validation`, sets θ on `calibrate`.
/// Fewer features than asked where there are fewer terms, dimensions or pairs. Of `config` only M, K,
/// the prefixes and the seed matter. Figures in the report are measured on `calibrate`.
///
/// # Errors
/// [`SaeError::Setting`], [`SaeError::NoRows`], [`SaeError::NotFinite`], [`SaeError::RowOutside`],
/// [`SaeError::NoWords`].
pub fn learn(
    deltas: &dyn Deltas,
    pairs: &Pairs,
    train: &[u32],
    validation: &[u32],
    calibrate: &[u32],
    config: &SaeConfig,
) -> Result<(Sae, TrainReport), SaeError> {
    check_config(config)?;
    for rows in [train, validation, calibrate] {
        check_rows(rows, deltas)?;
        check_finite(rows, deltas)?;
    }
    let rows = non_zero(train, deltas)?;
    if rows.is_empty() {
        return Err(SaeError::NoRows { given: train.len(), zero: train.len() });
    }
    let calibrate = if calibrate.is_empty() { &rows } else { calibrate };
    let mut random = rng::stream(config.seed, "words");
    let sample = initial::sample_of(&rows, SAMPLE, &mut random);
    let panel = Panel::new(pairs, &sample);
    let mut x = deltas.gather(&sample)?.values;
    let square: f64 = x.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let scale = (square / sample.len() as f64).sqrt();
    x.iter_mut().for_each(|value| *value = (f64::from(*value) / scale) as f32);

    let asked = config.features.min(sample.len());
    let mut encoder = encoder(&x, deltas.dimensions(), &panel, asked, &mut random);
    drop(x);
    if encoder.is_empty() {
        return Err(SaeError::NoWords { pairs: sample.len(), terms: panel.share.len() });
    }
    encoder.iter_mut().for_each(|value| *value = (f64::from(*value) / scale) as f32);
    let encoder = Matrix { values: encoder, cols: deltas.dimensions() };
    let features = encoder.rows();
    let active = config.active.min(features);
    let mut report = TrainReport {
        rows: rows.len(),
        rows_zero: train.len() - rows.len(),
        features,
        active,
        ..TrainReport::default()
    };
    if features < config.features {
        report.notes.push(format!(
            "{features} features with {active} active instead of {} with {}: {} terms in {} training pairs \
             with {} dimensions carry no more",
            config.features,
            config.active,
            panel.share.len(),
            sample.len(),
            deltas.dimensions()
        ));
    }
    let mut sae = Sae { decoder: encoder.clone(), encoder, threshold: 0.0 };
    sae.calibrate(deltas, calibrate, active)?;
    fit_decoder(&mut sae, 0, deltas, &rows, validation)?;
    for prefix in config.prefixes.iter().copied().filter(|&p| 0 < p && p < features).chain([features]) {
        report.nmse_prefixes.push((prefix, sae.nmse(deltas, Some(calibrate), prefix)?));
    }
    report.nmse = report.nmse_prefixes.last().map_or(f64::NAN, |&(_, nmse)| nmse);
    report.active_mean =
        count_active(&sae, deltas, calibrate)?.iter().sum::<usize>() as f64 / calibrate.len().max(1) as f64;
    report.dead = count_active(&sae, deltas, &rows)?.iter().filter(|&&n| n == 0).count();
    Ok((sae, report))
}

/// Which terms only one of the two responses has, by row.
struct Panel {
    /// Row i's terms are `terms[start[i]..start[i + 1]]`: number and whether A has it.
    start: Vec<usize>,
    terms: Vec<(u32, bool)>,
    /// Share of the rows in which each term differs.
    share: Vec<f32>,
}

impl Panel {
    /// Of the pairs `rows`, in that order.
    fn new(pairs: &Pairs, rows: &[u32]) -> Self {
        let per_row: Vec<Vec<(u64, bool)>> = rows
            .par_iter()
            .map(|&row| {
                let a = terms(pairs.response_a.get(row as usize));
                let b = terms(pairs.response_b.get(row as usize));
                let only = |one: &[u64], other: &[u64], in_a: bool| -> Vec<(u64, bool)> {
                    one.iter()
                        .filter(|term| other.binary_search(term).is_err())
                        .map(|&term| (term, in_a))
                        .collect()
                };
                let mut found = only(&a, &b, true);
                found.extend(only(&b, &a, false));
                found
            })
            .collect();
        let mut counts: HashMap<u64, u32, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        for (term, _) in per_row.iter().flatten() {
            *counts.entry(*term).or_default() += 1;
        }
        let least = TERM_PAIRS.max((TERM_SHARE * rows.len() as f64).ceil() as u32);
        let mut often: Vec<(u32, u64)> =
            counts.into_iter().filter(|&(_, n)| n >= least).map(|(term, n)| (n, term)).collect();
        often.sort_unstable_by(|a, b| b.cmp(a));
        often.truncate(TERMS);
        let number: HashMap<u64, u32, BuildHasherDefault<DefaultHasher>> =
            (0u32..).zip(&often).map(|(number, &(_, term))| (term, number)).collect();
        let mut panel = Self {
            start: vec![0],
            terms: Vec::new(),
            share: often.iter().map(|&(n, _)| n as f32 / rows.len().max(1) as f32).collect(),
        };
        for row in per_row {
            panel.terms.extend(row.iter().filter_map(|(term, in_a)| Some((*number.get(term)?, *in_a))));
            panel.start.push(panel.terms.len());
        }
        panel
    }

    fn rows(&self) -> impl Iterator<Item = &[(u32, bool)]> {
        self.start.windows(2).map(|ends| &self.terms[ends[0]..ends[1]])
    }

    /// `SᵀX / n`, row-major `[terms, dimensions]`, for x row-major `[rows, dimensions]`.
    fn loadings(&self, x: &[f32], dimensions: usize) -> Vec<f32> {
        let n = self.start.len().max(2) - 1;
        let mut by_term: Vec<Vec<(u32, f32)>> = vec![Vec::new(); self.share.len()];
        for (row, terms) in (0u32..).zip(self.rows()) {
            for &(term, in_a) in terms {
                by_term[term as usize].push((row, if in_a { 1.0 } else { -1.0 }));
            }
        }
        let mut out = vec![0.0; by_term.len() * dimensions];
        out.par_chunks_mut(dimensions).zip(&by_term).for_each(|(sum, rows)| {
            for &(row, sign) in rows {
                let x = &x[row as usize * dimensions..][..dimensions];
                sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += sign * x);
            }
            sum.iter_mut().for_each(|sum| *sum /= n as f32);
        });
        out
    }

    /// Mean square of `S · weights` for weights `[terms, features]`.
    fn score_squares(&self, weights: &Mat<f32>) -> Vec<f64> {
        let mut sums = vec![0.0f64; weights.ncols()];
        let mut score = vec![0.0f32; weights.ncols()];
        // Row-major, so that a term's weights lie together.
        let flat: Vec<f32> =
            (0..weights.nrows()).flat_map(|t| (0..weights.ncols()).map(move |j| weights[(t, j)])).collect();
        for terms in self.rows() {
            score.fill(0.0);
            for &(term, in_a) in terms {
                let weights = &flat[term as usize * score.len()..][..score.len()];
                let sign = if in_a { 1.0 } else { -1.0 };
                score.iter_mut().zip(weights).for_each(|(score, weight)| *score += sign * weight);
            }
            sums.iter_mut().zip(&score).for_each(|(sum, &s)| *sum += f64::from(s) * f64::from(s));
        }
        let n = (self.start.len().max(2) - 1) as f64;
        sums.iter_mut().for_each(|sum| *sum /= n);
        sums
    }
}

/// Hashes of the distinct terms of a text, ascending: words in lower case, single marks, line ends;
/// all numbers are one term and so are all emoji.
fn terms(text: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut add = |term: &str| {
        let mut hash = DefaultHasher::new();
        term.hash(&mut hash);
        found.push(hash.finish());
    };
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let within = c == '\'' && !word.is_empty() && chars.peek().is_some_and(|c| c.is_alphanumeric());
        if c.is_alphanumeric() || c == '_' || within {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            add(if word.starts_with(|c: char| c.is_ascii_digit()) { "0" } else { &word });
            word.clear();
        }
        match c {
            '\u{fe0f}' => {}
            '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' => add("☺"),
            '\n' => add("\n"),
            c if c.is_whitespace() => {}
            c => add(c.encode_utf8(&mut [0; 4])),
        }
    }
    if !word.is_empty() {
        add(if word.starts_with(|c: char| c.is_ascii_digit()) { "0" } else { &word });
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Encoder rows `[features, dimensions]` for `x`, row-major `[rows, dimensions]`, whose words differ
/// as the panel says; at most `features` of them, strongest first. Empty where words tell nothing.
fn encoder(
    x: &[f32],
    dimensions: usize,
    panel: &Panel,
    features: usize,
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let n = x.len() / dimensions.max(1);
    let terms = panel.share.len();
    let features = features.min(terms).min(dimensions);
    let covariance =
        sum_blocks(x, dimensions, dimensions, dimensions, |rows| product(rows.transpose(), rows));
    fixed_order();
    let Ok(eigen) = covariance.self_adjoint_eigen(Side::Lower) else {
        return Vec::new();
    };
    if features == 0 {
        return Vec::new();
    }
    let along = eigen.U();
    let values: Vec<f32> = (0..dimensions).map(|i| (eigen.S()[i] / n as f32).max(0.0)).collect();
    let mean = values.iter().sum::<f32>() / dimensions as f32;

    // Loadings of the terms on the axes of the data, and on those lightly whitened.
    let loadings = panel.loadings(x, dimensions);
    let on_axes =
        product(Mat::from_fn(terms, dimensions, |t, d| loadings[t * dimensions + d]).as_ref(), along);
    let white: Vec<f32> = values.iter().map(|value| (value + FLOOR * mean).sqrt().recip()).collect();
    let light: Vec<f32> = (0..terms)
        .flat_map(|t| (0..dimensions).map(|i| on_axes[(t, i)] * white[i]).collect::<Vec<_>>())
        .collect();
    let (leading, _) = initial::principal_components(&light, dimensions, features, random);
    let features = leading.ncols();
    if features == 0 {
        return Vec::new();
    }
    let light = Mat::from_fn(terms, dimensions, |t, i| light[t * dimensions + i]);
    let mut tempered = product(light.as_ref(), leading.as_ref());
    for (t, share) in panel.share.iter().enumerate() {
        let by = share.powf(TEMPER);
        (0..features).for_each(|j| tempered[(t, j)] /= by);
    }
    let rotated = product(leading.as_ref(), varimax(&tempered).as_ref());

    // Directions in the axes' coordinates, with mean square one; then the terms that go with them.
    let mut first = Mat::from_fn(dimensions, features, |i, j| rotated[(i, j)] * white[i]);
    normalise(&mut first, &values);
    let mut kept = product(on_axes.as_ref(), first.as_ref());
    for j in 0..features {
        let mut sizes: Vec<f32> = (0..terms).map(|t| kept[(t, j)].abs()).collect();
        let rank = KEPT.min(terms - 1);
        let least = *sizes.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1;
        let least = if terms > KEPT { least } else { 0.0 };
        for t in 0..terms {
            kept[(t, j)] = kept[(t, j)].signum() * (kept[(t, j)].abs() - least).max(0.0);
        }
    }

    // Ridge regression of each score on the delta, in the axes' coordinates.
    let toward = product(on_axes.transpose(), kept.as_ref());
    let squares = panel.score_squares(&kept);
    let mut weights = Mat::<f32>::zeros(dimensions, features);
    for (j, &square) in squares.iter().enumerate() {
        let mut best = f64::INFINITY;
        for penalty in PENALTIES {
            let shrink = |value: f32| 1.0 / (f64::from(value) + penalty * f64::from(mean));
            let (mut rest, mut freedom) = (square, 0.0);
            for (i, &value) in values.iter().enumerate() {
                let (toward, shrink, value) = (f64::from(toward[(i, j)]), shrink(value), f64::from(value));
                rest += toward * toward * shrink * (value * shrink - 2.0);
                freedom += value * shrink;
            }
            let spare = 1.0 - freedom / n as f64;
            let score = if spare > 0.0 { rest / (spare * spare) } else { f64::INFINITY };
            // Where rows are too few for any, the strongest penalty is left.
            if score < best || best.is_infinite() {
                best = score;
                for (i, &value) in values.iter().enumerate() {
                    weights[(i, j)] = (f64::from(toward[(i, j)]) * shrink(value)) as f32;
                }
            }
        }
    }
    normalise(&mut weights, &values);

    // Strongest first: by how much of the delta goes with it.
    let strength = |j: usize| -> f64 {
        (0..dimensions).map(|i| f64::from(values[i] * weights[(i, j)]).powi(2)).sum::<f64>()
    };
    let mut order: Vec<usize> = (0..features).filter(|&j| strength(j) > 0.0).collect();
    order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
    let dense = product(along, weights.as_ref());
    order.iter().flat_map(|&j| (0..dimensions).map(|d| dense[(d, j)]).collect::<Vec<_>>()).collect()
}

/// Columns in coordinates whose mean squares are `values`, scaled so that their scores' are one.
fn normalise(columns: &mut Mat<f32>, values: &[f32]) {
    for j in 0..columns.ncols() {
        let square: f64 =
            values.iter().enumerate().map(|(i, v)| f64::from(*v) * f64::from(columns[(i, j)]).powi(2)).sum();
        let by = if square > 0.0 { square.sqrt().recip() as f32 } else { 0.0 };
        for i in 0..columns.nrows() {
            columns[(i, j)] *= by;
        }
    }
}

/// The rotation of `loadings` `[terms, features]` that makes each column's few large.
fn varimax(loadings: &Mat<f32>) -> Mat<f32> {
    let (terms, features) = (loadings.nrows(), loadings.ncols());
    let mut rotation = Mat::<f32>::identity(features, features);
    for _ in 0..100 {
        let mut turned = product(loadings.as_ref(), rotation.as_ref());
        for j in 0..features {
            let mean = (0..terms).map(|t| turned[(t, j)].powi(2)).sum::<f32>() / terms as f32;
            (0..terms).for_each(|t| turned[(t, j)] = turned[(t, j)] * (turned[(t, j)].powi(2) - mean));
        }
        let Some(next) = initial::orthogonal(product(loadings.transpose(), turned.as_ref()).as_ref()) else {
            break;
        };
        let moved = (0..features)
            .map(|j| 1.0 - (0..features).map(|i| next[(i, j)] * rotation[(i, j)]).sum::<f32>())
            .fold(0.0, f32::max);
        rotation = next;
        if moved < 1e-5 {
            break;
        }
    }
    rotation
}

/// Sets the decoder's rows from `from` on to the least squares solution for what the ones before leave of
/// the pairs `rows`, then multiplies them by the one factor between 0 and 1 that suits the pairs `unseen`.
///
/// # Errors
/// What [`Sae::activations`] reports.
pub(super) fn fit_decoder(
    sae: &mut Sae,
    from: usize,
    deltas: &dyn Deltas,
    rows: &[u32],
    unseen: &[u32],
) -> Result<(), SaeError> {
    let (features, dimensions) = (sae.features() - from, sae.dimensions());
    let mut square = Mat::<f64>::zeros(features, features);
    let mut toward = Mat::<f64>::zeros(features, dimensions);
    for rows in rows.chunks(4096) {
        let (rest, z) = sae.rest(from, &deltas.gather(rows)?)?;
        let z = faer::MatRef::from_row_major_slice(&z.values, rows.len(), features);
        let rest = faer::MatRef::from_row_major_slice(&rest.values, rows.len(), dimensions);
        let (part, onto) = (product(z.transpose(), z), product(z.transpose(), rest));
        square += Mat::from_fn(features, features, |i, j| f64::from(part[(i, j)]));
        toward += Mat::from_fn(features, dimensions, |i, j| f64::from(onto[(i, j)]));
    }
    let mean = (0..features).map(|j| square[(j, j)]).sum::<f64>() / features.max(1) as f64;
    for j in 0..features {
        square[(j, j)] += (1e-6 * mean).max(f64::MIN_POSITIVE);
    }
    fixed_order();
    let Ok(factor) = square.llt(Side::Lower) else { return Ok(()) };
    let solved = factor.solve(&toward);
    let solved = Mat::from_fn(features, dimensions, |j, d| solved[(j, d)] as f32);

    // Few pairs leave a solution that fits them alone.
    let (mut along, mut size) = (0.0, 0.0);
    for rows in unseen.chunks(4096) {
        let (rest, z) = sae.rest(from, &deltas.gather(rows)?)?;
        let guess =
            product(faer::MatRef::from_row_major_slice(&z.values, rows.len(), features), solved.as_ref());
        for (row, rest) in rest.values.chunks_exact(dimensions).enumerate() {
            for (d, &rest) in rest.iter().enumerate() {
                let guess = f64::from(guess[(row, d)]);
                along += guess * f64::from(rest);
                size += guess * guess;
            }
        }
    }
    let by = if size > 0.0 { (along / size).clamp(0.0, 1.0) as f32 } else { 1.0 };
    for j in 0..features {
        let weights = sae.decoder.row_mut(from + j);
        weights.iter_mut().enumerate().for_each(|(d, weight)| *weight = by * solved[(j, d)]);
    }
    Ok(())
}
