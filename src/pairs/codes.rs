//! Codes → labels: how a written label says who wins, how its opposite is written, and how a tie is.
//!
//! One [`Codes`] reads every value of a column or none: a column is understood as a whole or not at all.

pub use crate::config::{LabelMap, LabelScale, Meaning};

/// How the labels of a column are written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Codes {
    /// Shares of preference for A, 0 to 1; words.
    #[default]
    Shares,
    /// −1 for B, 0, 1 for A.
    Signs,
    /// Numbers between two ends; only which side of the middle they are on counts, unless `soft`.
    Scale { first: f64, second: f64, soft: bool },
    /// Words, and numbers 0 to 1 as shares; `zero`: `response_0` is the first one.
    Words { zero: bool },
    /// 1 and 2 (and 1.5, a tie) are the responses' numbers; words beside them.
    Numbered,
    /// 0 and 1 are the numbers of the preferred response.
    Index,
    /// By hand.
    Map(Vec<(String, Meaning)>),
    /// Numbers of names, as `ClassLabel` columns are stored.
    Classes { names: Vec<String>, zero: bool },
}

/// What a written label says: a share for A, or nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Said {
    Share(f32),
    Nothing,
}

impl Codes {
    /// Reads one value; `None`: it is none of these codes.
    pub fn read(&self, text: &str) -> Option<Said> {
        let core = core(text);
        if let Codes::Map(map) = self {
            let meaning = map.iter().find(|(value, _)| *value == text.trim() || *value == core);
            let same_number = |value: &str| number(value).is_some_and(|x| Some(x) == number(core));
            let meaning = meaning.or_else(|| map.iter().find(|(value, _)| same_number(value)));
            return meaning.map(|(_, meaning)| match meaning {
                Meaning::A => Said::Share(1.0),
                Meaning::B => Said::Share(0.0),
                Meaning::Tie => Said::Share(0.5),
                Meaning::Skip => Said::Nothing,
            });
        }
        if nothing(core) {
            return Some(Said::Nothing);
        }
        let share = match (self, number(core)) {
            (Codes::Shares | Codes::Words { .. }, Some(x)) => (0.0..=1.0).contains(&x).then_some(x),
            (Codes::Signs, Some(x)) => [-1.0, 0.0, 1.0].contains(&x).then_some((x + 1.0) / 2.0),
            (Codes::Scale { first, second, soft }, Some(x)) => on_scale(x, *first, *second, *soft),
            (Codes::Numbered, Some(x)) => on_scale(x, 1.0, 2.0, true),
            (Codes::Index, Some(x)) => [0.0, 1.0].contains(&x).then_some(1.0 - x),
            // "No label" in `datasets`.
            (Codes::Classes { .. }, Some(-1.0)) => return Some(Said::Nothing),
            (Codes::Classes { names, zero }, Some(x)) => {
                let name = (x.fract() == 0.0 && x >= 0.0).then(|| names.get(x as usize)).flatten()?;
                return match class(name, *zero)? {
                    Some(share) => Some(Said::Share(share)),
                    None => Some(Said::Nothing),
                };
            }
            (Codes::Words { zero }, None) => word(core, *zero).map(f64::from),
            (Codes::Numbered | Codes::Shares, None) => word(core, false).map(f64::from),
            _ => None,
        };
        share.map(|share| Said::Share(share as f32))
    }

    /// The label that says the opposite, written the same way; `None` where there is none.
    ///
    /// A tie is its own opposite. What is read in the result is 1 − what is read in `text`.
    pub fn opposite(&self, text: &str) -> Option<String> {
        let Said::Share(share) = self.read(text)? else { return None };
        if share == 0.5 {
            return Some(text.to_owned());
        }
        let turned = self.mirrored(core(text), share)?;
        // Whatever the rules say: it must read as the opposite.
        let whole = around(text, &turned)?;
        let reads = matches!(self.read(&whole)?, Said::Share(other) if (other - (1.0 - share)).abs() < 1e-6);
        reads.then_some(whole)
    }

    fn mirrored(&self, core: &str, share: f32) -> Option<String> {
        let wanted = if share > 0.5 { Meaning::B } else { Meaning::A };
        match (self, number(core)) {
            (Codes::Map(map), _) => {
                let mut others = map.iter().filter(|(_, meaning)| *meaning == wanted);
                let (first, more) = (others.next()?, others.next());
                // Of several, the one that mirrors the word.
                let mirrored =
                    swapped(core, false).filter(|word| map.iter().any(|(v, m)| v == word && *m == wanted));
                if more.is_none() { Some(first.0.clone()) } else { mirrored }
            }
            (Codes::Classes { names, zero }, Some(x)) => {
                let name = names.get(x as usize)?;
                let says = |name: &String| class(name, *zero).flatten();
                let mirrored =
                    swapped(name, *zero).and_then(|word| names.iter().position(|other| *other == word));
                let at = mirrored.or_else(|| {
                    let mut others = names.iter().enumerate().filter(|(_, n)| says(n) == Some(1.0 - share));
                    let (only, more) = (others.next()?, others.next());
                    more.is_none().then_some(only.0)
                })?;
                Some(number_like(core, at as f64))
            }
            (Codes::Signs, Some(x)) => Some(number_like(core, -x)),
            (Codes::Scale { first, second, .. }, Some(x)) => Some(number_like(core, first + second - x)),
            (Codes::Numbered, Some(x)) => Some(number_like(core, 3.0 - x)),
            (_, Some(x)) => Some(number_like(core, 1.0 - x)),
            (Codes::Words { zero }, None) => swapped(core, *zero),
            (_, None) => swapped(core, false),
        }
    }

    /// The label that says tie where `text` says a side.
    pub fn tie(&self, text: &str) -> Option<String> {
        self.read(text)?;
        let tie = match (self, number(core(text))) {
            (Codes::Map(map), _) => map.iter().find(|(_, meaning)| *meaning == Meaning::Tie)?.0.clone(),
            (Codes::Classes { names, zero }, _) => {
                let at = names.iter().position(|name| class(name, *zero) == Some(Some(0.5)))?;
                at.to_string()
            }
            (Codes::Signs, Some(_)) => "0".into(),
            (Codes::Scale { first, second, .. }, Some(_)) => ((first + second) / 2.0).to_string(),
            (Codes::Numbered, Some(_)) => "1.5".into(),
            // The number of a response cannot say tie.
            (Codes::Index, _) => return None,
            (_, Some(_)) => "0.5".into(),
            (_, None) => "tie".into(),
        };
        matches!(self.read(&tie)?, Said::Share(share) if share == 0.5).then_some(tie)
    }
}

/// What a number on a scale says.
fn on_scale(x: f64, first: f64, second: f64, soft: bool) -> Option<f64> {
    let share = (x - second) / (first - second);
    (-1e-9..=1.0 + 1e-9).contains(&share).then(|| match (soft, share - 0.5) {
        (true, _) => share.clamp(0.0, 1.0),
        (false, by) if by.abs() < 1e-9 => 0.5,
        (false, by) => f64::from(u8::from(by > 0.0)),
    })
}

/// A label without what is written around it.
fn core(text: &str) -> &str {
    text.trim().trim_matches(['[', ']', '"', '\'']).trim()
}

/// `core` of the text replaced.
fn around(text: &str, turned: &str) -> Option<String> {
    let inner = core(text);
    let at = text.find(inner)?;
    Some(format!("{}{turned}{}", text.get(..at)?, text.get(at + inner.len()..)?))
}

/// A number, percent signs aside.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.strip_suffix('%').unwrap_or(text).trim_end().replace('−', "-");
    let first = plain.trim_start_matches(['-', '+']).bytes().next()?;
    (first.is_ascii_digit() || first == b'.').then_some(())?;
    plain.parse::<f64>().ok().filter(|x| x.is_finite())
}

/// Whether a cell says that there is no label.
pub(super) fn nothing(core: &str) -> bool {
    matches!(
        core.to_ascii_lowercase().as_str(),
        "" | "null"
            | "nan"
            | "none"
            | "na"
            | "n/a"
            | "<na>"
            | "not_applicable"
            | "not applicable"
            | "invalid"
            | "skip"
            | "skipped"
            | "unlabeled"
            | "unlabelled"
            | "not judged"
            | "missing"
            | "unknown"
            | "error"
            | "discarded"
    )
}

/// What the name of a class says; the outer `None`: not understood.
fn class(name: &str, zero: bool) -> Option<Option<f32>> {
    if nothing(core(name)) {
        return Some(None);
    }
    match number(name) {
        Some(x) => (0.0..=1.0).contains(&x).then_some(Some(x as f32)),
        None => word(core(name), zero).map(Some),
    }
}

/// `value` with as many decimals as `like` is written with, or as many as it needs.
fn number_like(like: &str, value: f64) -> String {
    let percent = if like.ends_with('%') { "%" } else { "" };
    let digits = like.trim_end_matches(['%', ' ']);
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let short = format!("{:.decimals$}", value + 0.0);
    match short.parse::<f64>() {
        Ok(same) if (same - value).abs() < 1e-12 => format!("{short}{percent}"),
        _ => format!("{value}{percent}"),
    }
}

/// Words for what is compared.
const STEMS: [&str; 19] = [
    "model",
    "response",
    "text",
    "answer",
    "output",
    "conversation",
    "assistant",
    "option",
    "completion",
    "human_ref",
    "candidate",
    "side",
    "choice",
    "summary",
    "reply",
    "generation",
    "system",
    "player",
    "message",
];

/// Which response a word names: 0 the first, 1 the second. `zero`: they are counted from 0.
fn side(word: &str, zero: bool) -> Option<usize> {
    let plain = word.trim_matches(['_', '-', ' ', '#', ':', '.', '(', ')', '*']);
    let stem = STEMS.iter().filter_map(|stem| plain.strip_prefix(stem)).min_by_key(|rest| rest.len());
    let (end, has_stem) = match stem {
        Some(rest) => (rest.trim_matches(['_', '-', ' ', '#', ':', '.', '(', ')']), true),
        None => (plain, false),
    };
    match end {
        "a" | "first" | "left" | "one" => Some(0),
        "b" | "second" | "right" | "two" => Some(1),
        // A bare number is a code of its own.
        "0" if has_stem && zero => Some(0),
        "1" if has_stem => Some(usize::from(zero)),
        "2" if has_stem && !zero => Some(1),
        _ => {
            let ordinal = plain.split_once([' ', '_', '-']);
            let (order, rest) = ordinal?;
            let order = match order {
                "first" | "left" => 0,
                "second" | "right" => 1,
                _ => return None,
            };
            STEMS.contains(&rest.trim()).then_some(order)
        }
    }
}

/// Reads a label in words: `A`, `model_b`, `response 1`, `tie`, `A>>B`, "Response A is slightly better".
pub(super) fn word(text: &str, zero: bool) -> Option<f32> {
    let text = text.trim().to_lowercase();
    match &*text {
        "true" => return Some(1.0),
        "false" => return Some(0.0),
        _ if is_tie(&text) => return Some(0.5),
        _ => {}
    }
    let share = |side: usize| 1.0 - side as f32;
    if let Some(side) = side(&text, zero) {
        return Some(share(side));
    }
    if let Some(said) = compared(&text, zero) {
        return Some(said);
    }
    sentence(&text, zero).map(share)
}

fn is_tie(text: &str) -> bool {
    let plain: String = text
        .chars()
        .map(|c| if matches!(c, '_' | '-' | '(' | ')' | ':' | ',' | '.') { ' ' } else { c })
        .collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = plain.replace("the ", "").replace("responses ", "").replace("answers ", "");
    matches!(
        &*plain,
        "tie"
            | "ties"
            | "tied"
            | "draw"
            | "equal"
            | "equally"
            | "same"
            | "both"
            | "neither"
            | "bothbad"
            | "bothgood"
            | "tie bothbad"
            | "tie both bad"
            | "tie bothgood"
            | "tie both good"
            | "tie inconsistent"
            | "both bad"
            | "both good"
            | "both are good"
            | "both are bad"
            | "both are equal"
            | "both are same"
            | "both equal"
            | "both equally good"
            | "both equally bad"
            | "equally good"
            | "equally bad"
            | "both are equally good"
            | "both are equally bad"
            | "about same"
            | "about equal"
            | "they are about same"
            | "similar"
            | "no preference"
            | "neutral"
            | "no winner"
            | "neither is better"
            | "it's a tie"
            | "it is a tie"
            | "a tie"
            | "c tie"
            | "even"
            | "roughly same"
            | "almost same"
            | "both are about same"
            | "indifferent"
            | "equivalent"
            | "is tie"
            | "tie game"
            | "about as good"
    )
}

/// `A>>B`, `B > A`, `A=B`.
fn compared(text: &str, zero: bool) -> Option<f32> {
    let text = text.replace(['≫', '»'], ">>").replace(['≪', '«'], "<<").replace(['≈', '~', '≃'], "=");
    let from = text.find(['>', '<', '='])?;
    let to = text.rfind(['>', '<', '='])? + 1;
    let (one, sign, other) = (text.get(..from)?, text.get(from..to)?, text.get(to..)?);
    let (one, other) = (side(one.trim(), zero)?, side(other.trim(), zero)?);
    let same = |c: char| sign.chars().all(|sign| sign == c);
    if one == other {
        None
    } else if same('>') {
        Some(1.0 - one as f32)
    } else if same('<') {
        Some(1.0 - other as f32)
    } else {
        same('=').then_some(0.5)
    }
}

/// "Response A is slightly better", "A is much better than B", "prefer B", "B wins".
fn sentence(text: &str, zero: bool) -> Option<usize> {
    const STRENGTH: [&str; 22] = [
        "slightly",
        "much",
        "clearly",
        "significantly",
        "marginally",
        "somewhat",
        "strongly",
        "far",
        "a",
        "bit",
        "lot",
        "little",
        "moderately",
        "considerably",
        "definitely",
        "probably",
        "way",
        "substantially",
        "is",
        "the",
        "are",
        "was",
    ];
    const BETTER: [&str; 12] = [
        "better",
        "preferred",
        "wins",
        "won",
        "winner",
        "best",
        "favored",
        "favoured",
        "superior",
        "good",
        "stronger",
        "chosen",
    ];
    const WORSE: [&str; 5] = ["worse", "worst", "inferior", "loses", "weaker"];
    let words: Vec<&str> =
        text.split([' ', '_', '-', ',', '.', ':', '!', '(', ')']).filter(|w| !w.is_empty()).collect();
    // One or two words that name a response, and one that judges.
    let (mut named, mut verdict, mut i) = (Vec::new(), None, 0);
    while let Some(&word) = words.get(i) {
        let two = words.get(i + 1).map(|next| format!("{word} {next}"));
        let pair = two
            .as_deref()
            .filter(|two| STEMS.iter().any(|stem| two.contains(stem)))
            .and_then(|two| side(two, zero));
        // "a" is an article unless it stands where a response is named.
        let article =
            word == "a" && words.get(i + 1).is_some_and(|next| ["bit", "lot", "little"].contains(next));
        if let Some(found) = pair {
            named.push(found);
            i += 2;
            continue;
        }
        match side(word, zero).filter(|_| !article) {
            Some(found) => named.push(found),
            None if BETTER.contains(&word) && verdict.is_none() => verdict = Some(true),
            None if WORSE.contains(&word) && verdict.is_none() => verdict = Some(false),
            None if ["prefer", "prefers", "prefered", "choose", "chose"].contains(&word) => {
                verdict = Some(true)
            }
            None if word == "than" || word == "over" || STRENGTH.contains(&word) => {}
            None => return None,
        }
        i += 1;
    }
    let first = *named.first()?;
    let sound = match named.as_slice() {
        [_] => !words.contains(&"than"),
        [one, other] => one != other && (words.contains(&"than") || words.contains(&"over")),
        _ => false,
    };
    let better = verdict.filter(|_| sound)?;
    Some(if better { first } else { 1 - first })
}

/// A word with the two responses' names swapped, in the same case: `model_a` → `model_b`, `A>>B` → `B>>A`.
/// `zero`: they are counted from 0.
fn swapped(core: &str, zero: bool) -> Option<String> {
    const PAIRS: [(&str, &str); 7] = [
        ("true", "false"),
        ("first", "second"),
        ("left", "right"),
        ("one", "two"),
        ("a", "b"),
        ("yes", "no"),
        ("chosen", "rejected"),
    ];
    let numbers = if zero { ("0", "1") } else { ("1", "2") };
    let lower = core.to_lowercase();
    if lower.len() != core.len() {
        return None;
    }
    let parts = |c: char| !c.is_alphanumeric();
    let has = |word: &str| lower.split(parts).any(|part| part == word);
    let (one, other) = PAIRS.into_iter().chain([numbers]).find(|(one, other)| has(one) || has(other))?;
    let mut out = String::with_capacity(core.len() + 2);
    let mut rest = core;
    while !rest.is_empty() {
        let end = rest.find(parts).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let turned = match part.to_lowercase() {
            part if part == one => Some(other),
            part if part == other => Some(one),
            _ => None,
        };
        out.push_str(&turned.map_or_else(|| part.to_owned(), |turned| in_case(turned, part)));
        let sign = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(after.get(..sign)?);
        rest = after.get(sign..)?;
    }
    (out != core).then_some(out)
}

/// A word in the case of another.
fn in_case(word: &str, like: &str) -> String {
    if like.chars().all(char::is_uppercase) {
        word.to_uppercase()
    } else if like.chars().next().is_some_and(char::is_uppercase) {
        word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_who_wins() {
        for (text, share) in [
            ("A", 1.0),
            ("b", 0.0),
            ("model_a", 1.0),
            ("response B", 0.0),
            ("text_b", 0.0),
            ("human_ref_A", 1.0),
            ("response_1", 1.0),
            ("Response 2", 0.0),
            ("answer2", 0.0),
            ("left", 1.0),
            ("Right", 0.0),
            ("first", 1.0),
            ("second response", 0.0),
            ("model 1", 1.0),
            ("A>>B", 1.0),
            ("B>A", 0.0),
            ("A=B", 0.5),
            ("A < B", 0.0),
            ("A≫B", 1.0),
            ("Response A is slightly better", 1.0),
            ("Response B is much better", 0.0),
            ("Both are equally good", 0.5),
            ("A is better than B", 1.0),
            ("B is worse than A", 1.0),
            ("assistant_b_better", 0.0),
            ("I", f32::NAN),
            ("prefer B", 0.0),
            ("model_a wins", 1.0),
            ("A is a bit better", 1.0),
            ("tie (bothbad)", 0.5),
            ("both_bad", 0.5),
            ("About the same", 0.5),
            ("no preference", 0.5),
            ("Neither is better", 0.5),
            ("A slightly better", 1.0),
            ("option A", 1.0),
            ("true", 1.0),
            ("False", 0.0),
            ("a better one", f32::NAN),
            ("maybe", f32::NAN),
            ("chosen", f32::NAN),
            ("yes", f32::NAN),
            ("A and B", f32::NAN),
            ("A, but not much better", f32::NAN),
            ("gpt-4", f32::NAN),
            ("A is not better", f32::NAN),
            ("great", f32::NAN),
            ("B is better than A but A is good", f32::NAN),
            ("good", f32::NAN),
            ("better", f32::NAN),
        ] {
            let read = word(text, false).unwrap_or(f32::NAN);
            assert!(read == share || read.is_nan() && share.is_nan(), "{text}: {read}");
        }
        assert_eq!((word("response_0", true), word("response_1", true)), (Some(1.0), Some(0.0)));
        assert_eq!(word("response_0", false), None);
    }

    #[test]
    fn an_opposite_reads_as_the_opposite_and_a_tie_as_a_tie() {
        let words = Codes::Words { zero: false };
        let map = Codes::Map("model_1=A,model_2=B,draw=tie,A=B=tie".parse::<LabelMap>().unwrap().0);
        let classes = Codes::Classes { names: ["A", "B", "tie"].map(String::from).to_vec(), zero: false };
        let scale = |first, second| Codes::Scale { first, second, soft: false };
        let all: [(&Codes, &[&str]); 9] = [
            (
                &words,
                &[
                    "A",
                    "b",
                    " B ",
                    "[[A]]",
                    "model_a",
                    "Model_B",
                    "MODEL_A",
                    "response A",
                    "text_b",
                    "true",
                    "False",
                    "FIRST",
                    "Second",
                    "left",
                    "1",
                    "0",
                    "1.0",
                    "0.25",
                    "0.125",
                    ".5",
                    "tie",
                    "tie (bothbad)",
                    "1e-3",
                    "A>>B",
                    "B>A",
                    "A=B",
                    "Response A is slightly better",
                    "response_1",
                    "Response 2",
                ],
            ),
            (&Codes::Signs, &["-1", "1", "0", "1.0"]),
            (&scale(-3.0, 3.0), &["-3", "-1", "0", "2", "3.0"]),
            (&scale(1.0, 7.0), &["1", "4", "6"]),
            (&scale(100.0, 0.0), &["75", "75%", "0 %", "50"]),
            (&Codes::Numbered, &["1", "2", "1.5", "1.0", "1.25", "response_2"]),
            (&map, &["model_1", "model_2", "draw", "A=B"]),
            (&classes, &["0", "1", "2"]),
            (&Codes::Words { zero: true }, &["response_0", "response_1"]),
        ];
        for (codes, texts) in all {
            for text in texts {
                let Some(Said::Share(share)) = codes.read(text) else { panic!("{codes:?} reads no {text}") };
                let turned =
                    codes.opposite(text).unwrap_or_else(|| panic!("{codes:?} has no opposite of {text}"));
                let Some(Said::Share(other)) = codes.read(&turned) else { panic!("{text} → {turned}") };
                assert!((other - (1.0 - share)).abs() < 1e-6, "{text} → {turned}");
                assert_eq!(codes.read(&codes.tie(text).unwrap()), Some(Said::Share(0.5)), "{text}");
            }
        }
        assert_eq!(words.opposite("1.0").as_deref(), Some("0.0"));
        assert_eq!(words.opposite("Model_B").as_deref(), Some("Model_A"));
        assert_eq!(words.opposite("[[B]]").as_deref(), Some("[[A]]"));
        assert_eq!(
            words.opposite("Response A is slightly better").as_deref(),
            Some("Response B is slightly better")
        );
        assert_eq!(Codes::Signs.opposite("1.0").as_deref(), Some("-1.0"));
        assert_eq!(Codes::Index.opposite("1").as_deref(), Some("0"));
        assert_eq!(Codes::Index.tie("1"), None);
        for text in ["", "null", "7", "maybe"] {
            assert_eq!(words.opposite(text), None, "{text}");
        }
    }

    #[test]
    fn by_hand_values_and_scales_are_written_as_they_are() {
        let map: LabelMap = "yes, clearly=A, A=B=tie,no=b,?=skip".parse().unwrap();
        let want =
            [("yes, clearly", Meaning::A), ("A=B", Meaning::Tie), ("no", Meaning::B), ("?", Meaning::Skip)];
        assert_eq!(map.0, want.map(|(v, m)| (v.to_owned(), m)));
        for text in ["", "a", "x=maybe", "x=A,x=B"] {
            assert!(text.parse::<LabelMap>().is_err(), "{text}");
        }
        assert_eq!("-3..3".parse(), Ok(LabelScale { first: -3.0, second: 3.0 }));
        assert_eq!("7..1".parse(), Ok(LabelScale { first: 7.0, second: 1.0 }));
        for text in ["3", "1..1", "a..b", "1..inf"] {
            assert!(text.parse::<LabelScale>().is_err(), "{text}");
        }
        let map = Codes::Map("1=A,2=B".parse::<LabelMap>().unwrap().0);
        assert_eq!((map.read("1.0"), map.read("3")), (Some(Said::Share(1.0)), None));
    }
}
