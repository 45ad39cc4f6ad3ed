//! What reasons say that no feature covers: words that many of them have, quoted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::clauses::{content, stem};
use super::resolved::Loose;
use crate::store::Estimate;

/// Themes that are shown.
const MOST: usize = 12;
/// Reasons below which a word is no theme, at least; and as a share of the reasons.
const FEWEST: usize = 5;
const SHARE: f64 = 0.01;
/// Further words of a theme, each in so many of its clauses.
const BESIDE: usize = 3;
const BESIDE_SHARE: f64 = 0.2;
/// Clauses that are quoted.
const QUOTED: usize = 3;

/// Something that reasons say and no feature covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unnamed {
    /// Its word, and those that often stand beside it.
    pub words: Vec<String>,
    /// Share of the reasons that say anything.
    pub reasons: Estimate,
    /// Clauses that praise with it.
    pub praise: usize,
    /// Clauses that complain with it.
    pub complaints: usize,
    /// Clauses in which it stands.
    pub quotes: Vec<String>,
}

/// A clause with its reason and its words.
struct Part<'a> {
    reason: usize,
    loose: &'a Loose,
    stems: BTreeSet<String>,
}

/// The themes of what is left over, the most frequent first; `share` makes the interval from a flag for each reason.
pub(super) fn themes(loose: &[&[Loose]], share: impl Fn(&[f64]) -> Option<Estimate>) -> Vec<Unnamed> {
    let mut shown: HashMap<String, BTreeMap<String, usize>> = HashMap::new();
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (reason, clauses) in loose.iter().enumerate() {
        for loose in *clauses {
            for word in loose.text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-')) {
                *shown.entry(stem(word)).or_default().entry(word.to_owned()).or_default() += 1;
            }
            parts.push(Part { reason, loose, stems: content(&loose.text).into_iter().collect() });
        }
    }
    // The form of a stem that stands most often.
    let form = |stem: &String| {
        let forms = shown.get(stem);
        let best = forms.and_then(|forms| forms.iter().max_by(|x, y| x.1.cmp(y.1).then(y.0.cmp(x.0))));
        best.map_or_else(|| stem.clone(), |(word, _)| word.clone())
    };
    let least = FEWEST.max((SHARE * loose.len() as f64).ceil() as usize);
    let mut themes = Vec::new();
    while themes.len() < MOST {
        let mut reasons: BTreeMap<&String, BTreeSet<usize>> = BTreeMap::new();
        for part in &parts {
            part.stems.iter().for_each(|stem| {
                reasons.entry(stem).or_default().insert(part.reason);
            });
        }
        let Some((word, holding)) =
            reasons.iter().max_by(|x, y| x.1.len().cmp(&y.1.len()).then(y.0.cmp(x.0)))
        else {
            break;
        };
        if holding.len() < least {
            break;
        }
        let word = (*word).clone();
        let flags: Vec<f64> = (0..loose.len()).map(|at| f64::from(u8::from(holding.contains(&at)))).collect();
        let (own, rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.stems.contains(&word));
        if let Some(reasons) = share(&flags) {
            themes.push(Unnamed { words: words(&own, &word, &form), reasons, ..quoted(&own) });
        }
        parts = rest;
    }
    themes
}

/// A theme's word and those that often stand beside it.
fn words(own: &[Part<'_>], word: &String, form: &dyn Fn(&String) -> String) -> Vec<String> {
    let mut beside: BTreeMap<&String, usize> = BTreeMap::new();
    own.iter().flat_map(|part| &part.stems).filter(|stem| *stem != word).for_each(|stem| {
        *beside.entry(stem).or_default() += 1;
    });
    let mut beside: Vec<(&String, usize)> =
        beside.into_iter().filter(|(_, n)| *n as f64 >= BESIDE_SHARE * own.len() as f64 && *n > 1).collect();
    beside.sort_by(|x, y| y.1.cmp(&x.1).then(x.0.cmp(y.0)));
    std::iter::once(form(word)).chain(beside.iter().take(BESIDE).map(|(stem, _)| form(stem))).collect()
}

/// Its praise, its complaints, and short clauses that show it, each once.
fn quoted(own: &[Part<'_>]) -> Unnamed {
    let count = |tone: i8| own.iter().filter(|part| part.loose.tone == tone).count();
    let mut quotes: Vec<&str> = own.iter().map(|part| part.loose.quote.as_str()).collect();
    // The middle in length says most in few words; by the text, so that the order of the rows does not matter.
    quotes.sort_by_key(|quote| (quote.chars().count().abs_diff(45), *quote));
    quotes.dedup();
    let none = Estimate { value: 0.0, low: 0.0, high: 0.0, n: 0 };
    Unnamed {
        words: Vec::new(),
        reasons: none,
        praise: count(1),
        complaints: count(-1),
        quotes: quotes.into_iter().take(QUOTED).map(str::to_owned).collect(),
    }
}
