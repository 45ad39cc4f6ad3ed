//! What is left: groups of words that go with the labels and that nothing else explains.
//!
//! Known concepts name what somebody thought of, learned features what moves the embedding most. What
//! neither finds still shows in the words, but thinly: fifteen ways to speak of ships are fifteen rare
//! words. So the words' associations with what is left of the labels are added up over words of like
//! meaning:
//!
//! ```text
//! r_p   = Σ (y − p̂) over the explore labels of pair p, p̂ from the features that predict them so far
//! z_t   = Σ_p d_tp·r_p / √(Σ_p d_tp²·v_p)        d_tp: word t in A − in B; v_p: Σ p̂(1 − p̂)
//! s_t   = Σ_u K_tu·z_u / √(Σ_u K_tu²)            K_tu: how far the cosine of two words exceeds .3
//! ```
//!
//! The word with the largest |s_t| and the words near it that point the same way are a theme. It is
//! added to what predicts the labels, and the search goes on with the new residuals. Only `train` and
//! `describe` labels take part; what comes out is a feature like any other, with nothing said yet: its
//! effect and its confirmation come from `held_out` labels.

use rayon::prelude::*;

use serde::{Deserialize, Serialize};

use crate::context::Cancel;
use crate::describe::{Described, Feature, FeatureSource, beside, contrast, strongest};
use crate::effects::{Control, Sample, unexplained};
use crate::embed::{EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};

/// Labelled pairs whose words are counted.
const PAIRS: usize = 20_000;
/// Most frequent words that are looked at.
const WORDS: usize = 4_096;
/// Cosine from which on two words count as of like meaning.
const LIKE: f64 = 0.30;
/// |s| that a theme begins with: among some thousand words, chance gets this far in one dataset of ten.
const LEAST: f64 = 4.3;
/// z in the theme's direction that a word needs to belong to it.
const SAME_WAY: f64 = 0.5;
/// Words of a theme, at most.
const MOST_WORDS: usize = 40;
/// Themes, at most.
const MOST: usize = 24;
/// Share of the labelled pairs that a theme must differ in.
const SPREAD: f64 = 0.01;
/// Words of a description.
const NAMED: usize = 5;

/// A theme: a feature that counts words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Theme {
    /// Its words, the most telling first.
    pub words: Vec<String>,
}

/// What some features leave unexplained of some labels.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// `[pairs, features]`
    pub matrix: &'a Matrix,
    /// The columns that predict so far.
    pub inside: &'a [usize],
    /// What is held fixed beside them.
    pub control: Control,
    /// The labels.
    pub sample: &'a Sample,
}

/// Finds themes in what is left of the labels.
///
/// # Errors
/// Where the embedder fails, or somebody wants it to stop.
pub fn find<E: Embedder + ?Sized>(
    pairs: &Pairs,
    left: &Left<'_>,
    embedder: &E,
    cancel: &Cancel,
) -> Result<Vec<Theme>, EmbedError> {
    let &Left { matrix, inside, control, sample } = left;
    let mut judged: Vec<u32> = sample.row().to_vec();
    judged.sort_unstable();
    judged.dedup();
    // The columns that predict so far, of the judged pairs: themes are added to them.
    let mut known = Matrix { values: Vec::with_capacity(judged.len() * inside.len()), cols: inside.len() };
    for &pair in &judged {
        let row = matrix.row(pair as usize);
        known.values.extend(inside.iter().map(|&feature| row[feature]));
    }
    let all_judged = judged.clone();
    let sample = &sample.with_rows(|pair| all_judged.binary_search(&pair).map_or(u32::MAX, |at| at as u32));
    // Evenly spread over the source, which may be sorted.
    if judged.len() > PAIRS {
        judged = (0..PAIRS).map(|i| judged[i * judged.len() / PAIRS]).collect();
    }
    let words = contrast::Words::new(pairs, &judged, WORDS);
    if words.terms.is_empty() {
        return Ok(Vec::new());
    }
    cancel.check()?;
    let near = neighbours(&words.terms, embedder, cancel)?;
    let everywhere = words.in_pairs(pairs, &all_judged);
    cancel.check()?;
    // Of each judged pair, its place among those whose words choose.
    let place: Vec<Option<usize>> = all_judged.iter().map(|pair| judged.binary_search(pair).ok()).collect();

    let mut themes: Vec<Theme> = Vec::new();
    let mut used = vec![false; words.terms.len()];
    while themes.len() < MOST {
        cancel.check()?;
        let all: Vec<usize> = (0..known.cols).collect();
        let Some((residual, curvature)) = unexplained(&known, &all, sample, control) else { break };
        let mut left = vec![(0.0, 0.0); judged.len()];
        for ((row, r), v) in sample.row().iter().zip(&residual).zip(&curvature) {
            if let Some(&Some(at)) = place.get(*row as usize) {
                left[at].0 += r;
                left[at].1 += v;
            }
        }
        let z = words.associations(&left);
        let smoothed = |term: usize| {
            let (sum, square) = near[term]
                .iter()
                .filter(|(other, _)| !used[*other as usize])
                .fold((0.0, 0.0), |(sum, square), (other, k)| (sum + k * z[*other as usize], square + k * k));
            if square > 0.0 { sum / f64::sqrt(square) } else { 0.0 }
        };
        let best = (0..words.terms.len())
            .filter(|&term| !used[term])
            .map(|term| (term, smoothed(term)))
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()).then(b.0.cmp(&a.0)));
        let Some((seed, strength)) = best.filter(|(_, strength)| strength.abs() > LEAST) else { break };
        let sign = strength.signum();
        let mut members: Vec<(usize, f64)> = near[seed]
            .iter()
            .map(|&(other, k)| (other as usize, k))
            .filter(|&(other, _)| !used[other] && z[other] * sign > SAME_WAY)
            .collect();
        // The nearest belong to it; the most telling of them are named first.
        members.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        members.truncate(MOST_WORDS);
        used[seed] = true;
        members.iter().for_each(|&(member, _)| used[member] = true);
        if members.is_empty() {
            continue;
        }
        let telling = |&(member, k): &(usize, f64)| k * z[member].abs();
        members.sort_by(|a, b| telling(b).total_cmp(&telling(a)).then(a.0.cmp(&b.0)));
        let theme = Theme { words: members.iter().map(|&(member, _)| words.terms[member].clone()).collect() };
        let members: Vec<usize> = members.iter().map(|&(member, _)| member).collect();
        let column = Matrix { values: everywhere.counts(&members), cols: 1 };
        let differ = (place.iter().zip(&column.values))
            .filter(|(place, count)| place.is_some() && **count != 0.0)
            .count();
        if (differ as f64) < SPREAD * judged.len() as f64 {
            continue;
        }
        known = beside(&known, &column);
        themes.push(theme);
    }
    Ok(themes)
}

/// For every word the words of like meaning, itself included, with how far the cosine exceeds [`LIKE`].
fn neighbours<E: Embedder + ?Sized>(
    terms: &[String],
    embedder: &E,
    cancel: &Cancel,
) -> Result<Vec<Vec<(u32, f64)>>, EmbedError> {
    let texts: Vec<&str> = terms.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&texts)?;
    (0..terms.len())
        .into_par_iter()
        .map(|term| -> Result<_, EmbedError> {
            cancel.check()?;
            let own = vectors.row(term);
            let mut near = vec![(term as u32, 1.0 - LIKE)];
            for other in (0..terms.len()).filter(|&other| other != term) {
                let cosine: f32 = own.iter().zip(vectors.row(other)).map(|(a, b)| a * b).sum();
                if f64::from(cosine) > LIKE {
                    near.push((other as u32, f64::from(cosine) - LIKE));
                }
            }
            Ok(near)
        })
        .collect()
}

impl Described {
    /// With themes as further features; their activation is the number of their words in A minus that in B.
    #[must_use]
    pub fn with_themes(self, pairs: &Pairs, sides: &[Split], themes: &[Theme]) -> Self {
        let mut all = self;
        if themes.is_empty() {
            return all;
        }
        let lists: Vec<Vec<String>> = themes.iter().map(|theme| theme.words.clone()).collect();
        let counts = contrast::read(pairs, &lists);
        let held_out: Vec<u32> =
            (0u32..).zip(sides).filter(|(_, side)| **side == Split::Test).map(|(pair, _)| pair).collect();
        for (index, theme) in themes.iter().enumerate() {
            let mut feature = theme.feature(index);
            feature.examples = strongest(&counts.column(index), &held_out, 10);
            all.features.push(feature);
        }
        all.activations = beside(&all.activations, &counts);
        let signs = counts.values.iter().map(|z| if *z == 0.0 { 0.0 } else { z.signum() }).collect();
        all.presence = beside(&all.presence, &Matrix { values: signs, cols: counts.cols });
        all
    }
}

impl Theme {
    /// The theme as feature number `index`.
    pub fn feature(&self, index: usize) -> Feature {
        let mut named: Vec<String> = Vec::new();
        for word in &self.words {
            // "grandmother" and "grandmothers" are one word to a reader.
            let stem = |word: &str| word.chars().take(5).collect::<String>();
            if named.len() < NAMED && named.iter().all(|other| stem(other) != stem(word)) {
                named.push(word.clone());
            }
        }
        let description = match self.words.len() > named.len() {
            true => format!("{} and the like", contrast::phrase(&named).replace(" or ", " and ")),
            false => contrast::phrase(&named),
        };
        Feature {
            feature_id: format!("theme_{index:02}"),
            source: FeatureSource::Theme,
            clause: description.clone(),
            short: named.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            description,
            describer: "words".into(),
            kept: true,
            terms: self.words.clone(),
            ..Feature::default()
        }
    }
}
