//! What names say about sides: `response_b` is about the second response, wherever it is put.

/// The one word by which two columns of responses differ, in the order of the responses.
pub(super) const SIDES: [(&str, &str); 6] =
    [("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("one", "two")];
/// Words for the response that lost.
const LOSER: [&str; 20] = [
    "loser",
    "lose",
    "loses",
    "losing",
    "lost",
    "worse",
    "worst",
    "rejected",
    "reject",
    "rejects",
    "refused",
    "dispreferred",
    "unpreferred",
    "nonpreferred",
    "unchosen",
    "nonchosen",
    "inferior",
    "weaker",
    "bad",
    "disliked",
];
/// Words for the one that won; with them beside the others, a name says neither.
const WINNER: [&str; 18] = [
    "winner",
    "win",
    "wins",
    "won",
    "winning",
    "better",
    "best",
    "chosen",
    "choose",
    "chooses",
    "preferred",
    "prefer",
    "prefers",
    "selected",
    "accepted",
    "superior",
    "stronger",
    "good",
];

/// Words that any name may have: that two columns differ by them tells nothing about a third.
const COMMON: [&str; 16] = [
    "response",
    "answer",
    "output",
    "completion",
    "text",
    "model",
    "label",
    "generation",
    "reply",
    "message",
    "human",
    "reference",
    "choice",
    "option",
    "judge",
    "is",
];

/// A name in words: `answer1`, `answer_1` and `Answer 1` are two.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in name.chars() {
        let starts = !last.is_alphanumeric()
            || last.is_ascii_digit() != c.is_ascii_digit()
            || last.is_lowercase() && c.is_uppercase();
        if c.is_alphanumeric() {
            match words.last_mut().filter(|_| !starts) {
                Some(word) => word.extend(c.to_lowercase()),
                None => words.push(c.to_lowercase().collect()),
            }
        }
        last = c;
    }
    words
}

/// Place and words by which two names differ, where that is one word.
pub(super) fn differ(one: &[String], other: &[String]) -> Option<(usize, String, String)> {
    if one.len() != other.len() {
        return None;
    }
    let mut places = one.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b);
    let (place, (a, b)) = places.next()?;
    places.next().is_none().then(|| (place, a.clone(), b.clone()))
}

/// The words by which the names of two response columns tell them apart.
pub(super) fn apart(first: &str, second: &str) -> Option<(String, String)> {
    let (one, other) = (words(first), words(second));
    if let Some((_, a, b)) = differ(&one, &other) {
        return Some((a, b));
    }
    // `text_b` and `answer_a`: the only words of either that name a side.
    let side = |words: &[String]| {
        let mut named = words.iter().filter(|word| SIDES.iter().any(|(a, b)| word == a || word == b));
        named.next().filter(|_| named.next().is_none()).cloned()
    };
    let (a, b) = (side(&one)?, side(&other)?);
    (a != b).then_some((a, b))
}

/// How the names of two response columns stand to the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// They name no sides, or the first one the first.
    Plain,
    /// The first one names the second side: somebody has put `response_b` first.
    Turned,
    /// Two of several: `answer_1` and `answer_3`.
    Some,
}

/// How the names of two response columns stand to the order in which they are read.
pub(super) fn order(first: &str, second: &str) -> Order {
    let Some((a, b)) = apart(first, second) else { return Order::Plain };
    let is = |one: &str, other: &str| SIDES.iter().any(|(x, y)| *x == one && *y == other);
    if is(&a, &b) {
        Order::Plain
    } else if is(&b, &a) {
        Order::Turned
    } else if of_several(&a) && of_several(&b) {
        Order::Some
    } else {
        Order::Plain
    }
}

/// Whether a word counts responses: a digit, or one of the first letters.
pub(super) fn of_several(word: &str) -> bool {
    matches!(word.as_bytes(), [b'0'..=b'9'] | [b'a'..=b'f'])
}

/// Whether a name is about the response that lost: `loser`, `worse_response`, `rejected_index`.
pub(super) fn is_of_loser(name: &str) -> bool {
    let words = words(name);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    has(&LOSER) && !has(&WINNER)
}

/// Which of the two responses a label column's own name is about: `b_is_better`, `p_a`, `prefers_second`.
pub(super) fn about(name: &str, responses: [&str; 2]) -> Option<usize> {
    let words = words(name);
    let judges = words.iter().any(|word| WINNER.contains(&word.as_str()));
    let [first, second] = responses;
    let telling = |word: &String| ![&COMMON[..], &WINNER, &LOSER].iter().any(|all| all.contains(&&**word));
    let own = apart(first, second).filter(|(a, b)| telling(a) && telling(b));
    let turned = order(first, second) == Order::Turned;
    let side = |word: &String| -> Option<usize> {
        let own = own.as_ref().and_then(|(a, b)| match word {
            _ if word == a => Some(0),
            _ if word == b => Some(1),
            _ => None,
        });
        let usual = SIDES.iter().find_map(|(a, b)| match word.as_str() {
            word if word == *a => Some(0),
            word if word == *b => Some(1),
            _ => None,
        });
        // A number may count the people who label; beside "better" it does not.
        let counts = word.bytes().all(|byte| byte.is_ascii_digit());
        // "First" may be the place or the name, where these differ.
        own.or(usual.filter(|_| !counts && !turned)).filter(|_| !counts || judges)
    };
    words.iter().find_map(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_in_which_order_the_responses_stand() {
        for (first, second, wanted) in [
            ("response_a", "response_b", Order::Plain),
            ("response_b", "response_a", Order::Turned),
            ("answer_2", "answer_1", Order::Turned),
            ("answer_1", "answer_0", Order::Turned),
            ("right_response", "left_response", Order::Turned),
            ("Assistant B", "Assistant A", Order::Turned),
            ("text_b", "the answer a", Order::Turned),
            ("answer_1", "answer_3", Order::Some),
            ("reply_new", "reply_old", Order::Plain),
            ("chosen", "rejected", Order::Plain),
            ("response_j", "response_k", Order::Plain),
            ("", "", Order::Plain),
        ] {
            assert_eq!(order(first, second), wanted, "{first}, {second}");
        }
    }

    #[test]
    fn a_label_may_be_named_for_one_response_or_for_the_loser() {
        let plain = ["response_a", "response_b"];
        for (name, wanted) in [
            ("b_is_better", Some(1)),
            ("prefer_b", Some(1)),
            ("p_b", Some(1)),
            ("second_wins", Some(1)),
            ("a_better", Some(0)),
            ("label", None),
            ("label_2", None),
            ("preferred", None),
        ] {
            assert_eq!(about(name, plain), wanted, "{name}");
        }
        assert_eq!(about("b_is_better", ["response_b", "response_a"]), Some(0));
        assert_eq!(about("is_2_better", ["answer_1", "answer_2"]), Some(1));
        assert_eq!(about("llama_better", ["gpt_answer", "llama_answer"]), Some(1));
        for name in ["loser", "worse_response", "rejected_index", "LosingModel"] {
            assert!(is_of_loser(name), "{name}");
        }
        for name in ["winner", "better_or_worse", "label", "rejections", "win_lose"] {
            assert!(!is_of_loser(name), "{name}");
        }
    }
}
