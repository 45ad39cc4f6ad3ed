//! What a dataset holds, before anything is run on it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use whatlang::Lang;

use super::dedup::words;
use super::{MISSING, Pairs};

/// Responses whose language is looked at: the interval of a share is then about two points to each side.
const LANGUAGE_SAMPLE: usize = 2000;
/// Characters of a text in an example.
const EXAMPLE_CHARACTERS: usize = 200;
/// Shorter texts give no language away.
const LANGUAGE_WORDS: usize = 5;

/// Counts over the pairs of a dataset and the labels given to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// Distinct pairs.
    pub pairs: usize,
    /// Labels by what they say.
    pub labels: LabelCounts,
    /// Of the pairs with several labels.
    pub agreement: Option<Agreement>,
    /// Word counts.
    pub lengths: Lengths,
    /// Who labelled.
    pub annotators: Annotators,
    /// Prompts and how often they come back.
    pub prompts: Prompts,
    /// Languages of the responses.
    pub languages: Languages,
    /// Pairs per dataset, where there are several.
    pub datasets: BTreeMap<String, usize>,
    /// What embedding them takes.
    pub texts: TextCounts,
    /// Three pairs as they were understood, from the beginning, the middle and the end.
    pub examples: Vec<Example>,
}

/// A pair as it was understood; long texts are cut.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Example {
    /// Row in the source, from 0.
    pub row: u32,
    /// The prompt.
    pub prompt: String,
    /// Response A.
    pub a: String,
    /// Response B.
    pub b: String,
    /// Share of preference for A; `None`: no label.
    pub label: Option<f32>,
}

/// Labels, one per annotator and pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelCounts {
    /// All of them.
    pub labels: usize,
    /// A is preferred, more or less.
    pub a: usize,
    /// B is preferred, more or less.
    pub b: usize,
    /// Neither is.
    pub ties: usize,
    /// Of those for A or B, how many are shares between 0 and 1.
    pub soft: usize,
    /// Rows without a label.
    pub none: usize,
}

/// How far several people agree on the same pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Pairs with two labels or more.
    pub pairs: usize,
    /// Two labels of the same pair, drawn at random, say the same.
    pub share: f64,
    /// Comparisons of two labels behind it.
    pub n: usize,
}

/// Word counts of responses, and which side is the longer one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// Words of a response: 5th, 25th, 50th, 75th and 95th of a hundred.
    pub words: [usize; 5],
    /// The longest.
    pub words_max: usize,
    /// Median of the longer minus the shorter response, in words.
    pub difference_median: usize,
    /// Share of labels without ties that prefer the longer response.
    pub longer_preferred: Option<f64>,
    /// Labels behind it.
    pub longer_n: usize,
    /// Median words of the preferred minus the other response.
    pub preferred_minus_other_median: Option<i64>,
}

/// Who labelled how much.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Annotators {
    /// With an id.
    pub annotators: usize,
    /// Labels of somebody with an id.
    pub labels: usize,
    /// Labels per annotator: least, median, most.
    pub labels_each: [usize; 3],
    /// Annotators with 20 labels or more.
    pub with_20: usize,
}

/// Prompts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Prompts {
    /// Distinct ones.
    pub distinct: usize,
    /// Pairs without one.
    pub missing: usize,
    /// Prompts with more than one pair.
    pub repeated: usize,
    /// Pairs that share their prompt with another.
    pub pairs_on_repeated: usize,
    /// Pairs of the prompt with most of them.
    pub most_pairs: usize,
}

/// Languages as detected.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Languages {
    /// Responses looked at.
    pub sample: usize,
    /// Name in English and number of responses, most frequent first.
    pub found: Vec<(String, usize)>,
    /// Too short or mixed to tell.
    pub unknown: usize,
}

/// What an embedder will have to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TextCounts {
    /// Distinct responses: each is embedded once.
    pub distinct: usize,
    /// Their characters.
    pub characters: u64,
    /// Their tokens, about: a token is some four letters of English, and one or two signs of other scripts.
    pub tokens: u64,
    /// Tokens of each, about.
    #[serde(skip)]
    pub lengths: Vec<u32>,
}

/// Counts everything; embeds and trains nothing. Linear in the pairs.
pub fn inspect(pairs: &Pairs) -> Inspection {
    let count = pairs.pair_id.len();
    let word_counts: Vec<(usize, usize)> =
        (0..count).map(|i| (words(pairs.response_a.get(i)), words(pairs.response_b.get(i)))).collect();
    Inspection {
        pairs: count,
        labels: label_counts(&pairs.judgements.label),
        agreement: agreement(pairs),
        lengths: lengths(pairs, &word_counts),
        annotators: annotators(pairs),
        prompts: prompts(&pairs.prompt_key),
        languages: languages(pairs),
        datasets: datasets(pairs),
        texts: texts(pairs),
        examples: examples(pairs),
    }
}

fn examples(pairs: &Pairs) -> Vec<Example> {
    let judgements = &pairs.judgements;
    let count = judgements.pair.len();
    let mut places = vec![0, count / 2, count.saturating_sub(1)];
    places.dedup();
    let cut = |text: &str| {
        let mut short: String = text.chars().take(EXAMPLE_CHARACTERS).collect();
        if text.chars().nth(EXAMPLE_CHARACTERS).is_some() {
            short.push('…');
        }
        short
    };
    let example = |at: usize| {
        let pair = *judgements.pair.get(at)? as usize;
        Some(Example {
            row: *judgements.row.get(at)?,
            prompt: cut(pairs.prompt.get(pair)),
            a: cut(pairs.response_a.get(pair)),
            b: cut(pairs.response_b.get(pair)),
            label: judgements.label.get(at).copied().filter(|label| !label.is_nan()),
        })
    };
    places.into_iter().filter_map(example).collect()
}

fn label_counts(labels: &[f32]) -> LabelCounts {
    let mut counts = LabelCounts::default();
    for &label in labels {
        if label.is_nan() {
            counts.none += 1;
            continue;
        }
        counts.labels += 1;
        match label {
            label if label > 0.5 => counts.a += 1,
            label if label < 0.5 => counts.b += 1,
            _ => counts.ties += 1,
        }
        counts.soft += usize::from(label != 0.5 && label > 0.0 && label < 1.0);
    }
    counts
}

/// Over all pairs of labels of the same pair of responses; a tie agrees with a tie.
fn agreement(pairs: &Pairs) -> Option<Agreement> {
    let mut of_pair: HashMap<u32, [usize; 3]> = HashMap::new();
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        if !label.is_nan() {
            let side = if label > 0.5 {
                0
            } else if label < 0.5 {
                1
            } else {
                2
            };
            of_pair.entry(pair).or_default()[side] += 1;
        }
    }
    let (mut several, mut same, mut all) = (0, 0, 0);
    for sides in of_pair.values() {
        let n: usize = sides.iter().sum();
        if n > 1 {
            several += 1;
            all += n * (n - 1) / 2;
            same += sides.iter().map(|k| k * k.saturating_sub(1) / 2).sum::<usize>();
        }
    }
    (several > 0).then(|| Agreement { pairs: several, share: same as f64 / all as f64, n: all })
}

fn lengths(pairs: &Pairs, word_counts: &[(usize, usize)]) -> Lengths {
    let mut all: Vec<usize> = word_counts.iter().flat_map(|(a, b)| [*a, *b]).collect();
    all.sort_unstable();
    let mut differences: Vec<usize> = word_counts.iter().map(|(a, b)| a.abs_diff(*b)).collect();
    differences.sort_unstable();
    let (mut longer, mut n) = (0usize, 0usize);
    let mut preferred: Vec<i64> = Vec::new();
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        let Some(&(a, b)) = word_counts.get(pair as usize) else { continue };
        if label.is_nan() || label == 0.5 {
            continue;
        }
        let difference = if label > 0.5 { a as i64 - b as i64 } else { b as i64 - a as i64 };
        preferred.push(difference);
        if difference != 0 {
            n += 1;
            longer += usize::from(difference > 0);
        }
    }
    preferred.sort_unstable();
    let at = |sorted: &[usize], share: f64| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0)
    };
    Lengths {
        words: [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| at(&all, share)),
        words_max: all.last().copied().unwrap_or(0),
        difference_median: at(&differences, 0.5),
        longer_preferred: (n > 0).then(|| longer as f64 / n as f64),
        longer_n: n,
        preferred_minus_other_median: preferred.get(preferred.len().saturating_sub(1) / 2).copied(),
    }
}

fn annotators(pairs: &Pairs) -> Annotators {
    let mut each = vec![0usize; pairs.annotators.len()];
    for (&annotator, &label) in pairs.judgements.annotator.iter().zip(&pairs.judgements.label) {
        if !label.is_nan()
            && let Some(count) = each.get_mut(annotator as usize)
        {
            *count += 1;
        }
    }
    each.sort_unstable();
    let at = |i: usize| each.get(i).copied().unwrap_or(0);
    Annotators {
        annotators: each.len(),
        labels: each.iter().sum(),
        labels_each: [at(0), at(each.len() / 2), at(each.len().saturating_sub(1))],
        with_20: each.iter().filter(|count| **count >= 20).count(),
    }
}

fn prompts(keys: &[u32]) -> Prompts {
    let mut pairs_of: HashMap<u32, usize> = HashMap::new();
    let mut missing = 0;
    for &key in keys {
        if key == MISSING {
            missing += 1;
        } else {
            *pairs_of.entry(key).or_default() += 1;
        }
    }
    Prompts {
        distinct: pairs_of.len(),
        missing,
        repeated: pairs_of.values().filter(|count| **count > 1).count(),
        pairs_on_repeated: pairs_of.values().filter(|count| **count > 1).sum(),
        most_pairs: pairs_of.values().copied().max().unwrap_or(0),
    }
}

fn languages(pairs: &Pairs) -> Languages {
    let count = pairs.pair_id.len();
    let mut found: HashMap<Lang, usize> = HashMap::new();
    let mut languages = Languages::default();
    // Evenly over the dataset, each pair at most once, a response of A and of B in turn.
    let take = count.min(LANGUAGE_SAMPLE);
    for i in 0..take {
        let pair = i * count / take;
        let (one, other) = (pairs.response_a.get(pair), pairs.response_b.get(pair));
        let (one, other) = if i % 2 == 0 { (one, other) } else { (other, one) };
        languages.sample += 1;
        // Where a response is too short to tell, the other one, to the same prompt, helps.
        let lang = language(one).or_else(|| language(&format!("{one}\n{other}")));
        match lang {
            Some(lang) => *found.entry(lang).or_default() += 1,
            None => languages.unknown += 1,
        }
    }
    languages.found = found.into_iter().map(|(lang, count)| (lang.eng_name().to_owned(), count)).collect();
    languages.found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    languages
}

/// The language of the beginning of a text, where it is long enough and not mixed.
fn language(text: &str) -> Option<Lang> {
    let cut: String = text.chars().take(1000).collect();
    let enough = words(&cut) >= LANGUAGE_WORDS || !cut.is_ascii();
    whatlang::detect(&cut).filter(|info| enough && info.is_reliable()).map(|info| info.lang())
}

fn datasets(pairs: &Pairs) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for &dataset in &pairs.dataset {
        if let Some(name) = pairs.datasets.get(dataset as usize) {
            *counts.entry(name.clone()).or_default() += 1;
        }
    }
    counts
}

fn texts(pairs: &Pairs) -> TextCounts {
    let mut seen: HashSet<&str> = HashSet::with_capacity(2 * pairs.pair_id.len());
    let mut counts = TextCounts::default();
    for column in [&pairs.response_a, &pairs.response_b] {
        for i in 0..column.len() {
            let text = column.get(i);
            if seen.insert(text) {
                let characters = text.chars().count();
                let plain = text.bytes().filter(u8::is_ascii).count();
                counts.distinct += 1;
                counts.characters += characters as u64;
                let tokens = ((plain as f64 / 4.0) + (characters - plain) as f64 / 1.5).ceil();
                counts.tokens += tokens as u64;
                counts.lengths.push(tokens as u32);
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{Labels, TextColumn};

    fn column(texts: &[&str]) -> TextColumn {
        TextColumn(texts.iter().map(|text| Some(*text)).collect())
    }

    /// Three pairs on two prompts; counted by hand.
    fn made() -> Pairs {
        Pairs {
            pair_id: vec!["x".into(), "y".into(), "z".into()],
            prompt: column(&["p", "p", "q"]),
            response_a: column(&["one two three", "one", "four words are here"]),
            response_b: column(&["one", "one two three", "a b"]),
            prompt_key: vec![0, 0, 1],
            annotators: vec!["ann".into(), "bob".into()],
            judgements: Labels {
                pair: vec![0, 0, 1, 1, 2],
                row: vec![0, 1, 2, 3, 4],
                swapped: vec![false; 5],
                label: vec![1.0, 0.0, 0.25, 0.5, f32::NAN],
                annotator: vec![0, 1, 0, 1, 0],
            },
            ..Pairs::default()
        }
    }

    #[test]
    fn counts_are_those_made_by_hand() {
        let found = inspect(&made());
        assert_eq!(found.labels, LabelCounts { labels: 4, a: 1, b: 2, ties: 1, soft: 1, none: 1 });
        assert_eq!(found.agreement, Some(Agreement { pairs: 2, share: 0.0, n: 2 }));
        // Preferred minus other: 2, −2, 2; the longer one won two of three.
        assert_eq!((found.lengths.longer_n, found.lengths.longer_preferred), (3, Some(2.0 / 3.0)));
        assert_eq!(found.lengths.preferred_minus_other_median, Some(2));
        assert_eq!((found.lengths.words_max, found.lengths.difference_median), (4, 2));
        assert_eq!(found.annotators.labels_each, [2, 2, 2]);
        assert_eq!(
            found.prompts,
            Prompts { distinct: 2, missing: 0, repeated: 1, pairs_on_repeated: 2, most_pairs: 2 }
        );
        assert_eq!(found.texts.distinct, 4);
        assert_eq!(found.languages.sample, 3);
    }

    #[test]
    fn nothing_is_counted_of_nothing() {
        let found = inspect(&Pairs::default());
        assert_eq!((found.pairs, found.lengths.longer_preferred, found.agreement), (0, None, None));
    }
}
