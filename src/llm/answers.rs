//! Reading what a model answered: tolerant of its form, never of its content.
//!
//! An answer that cannot be read is missing, not a tie. Verdicts are read only where they stand beside
//! names that no dataset text can know (see [`super::excerpt::mark`]), or where the whole answer is one
//! word; so nothing that a response says about itself is ever taken for the judge's word.

use std::sync::LazyLock;

use regex::Regex;

/// What a judge said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The first response.
    A,
    /// The second.
    B,
    /// Neither more than the other.
    Tie,
}

impl Said {
    /// 1 for the first response, −1 for the second, 0 for a tie.
    pub fn value(self) -> f32 {
        match self {
            Self::A => 1.0,
            Self::B => -1.0,
            Self::Tie => 0.0,
        }
    }

    /// A verdict in any of the usual words; `None` for anything else.
    pub fn read(word: &str) -> Option<Self> {
        let plain: String = word
            .chars()
            .filter(|c| c.is_alphanumeric() || c.is_whitespace())
            .collect::<String>()
            .trim()
            .to_lowercase();
        let plain = plain.strip_prefix("response ").unwrap_or(&plain).trim();
        match plain {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            "tie" | "tied" | "neither" | "both" | "equal" | "draw" | "same" | "none" => Some(Self::Tie),
            _ => None,
        }
    }
}

#[allow(clippy::expect_used)] // literals of this file, compiled by the tests
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of this file")
}

/// A value after a name: quoted or bare, up to what ends it.
static VALUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^\s*["'*_`]*\s*[:=\-–—>]+\s*["'*_`(\[]*\s*((?i:response\s+)?(?i:a|b|tie|tied|neither|both|equal|draw|same|none))\b"#,
    )
});

/// The answer without a thinking preamble: what follows the last end of one.
pub fn without_thinking(text: &str) -> &str {
    for end in ["</think>", "</thinking>", "</reasoning>", "<|channel|>final<|message|>"] {
        if let Some(at) = text.rfind(end) {
            return text.get(at + end.len()..).unwrap_or("");
        }
    }
    // A preamble that never ends is all there is: nothing was answered.
    if text.trim_start().starts_with("<think>") { "" } else { text }
}

/// Verdicts by pair and statement: what was said, and at which byte of `text` the word stands.
///
/// `pairs` holds each pair's name and the number of its statements, which are called `s1`, `s2`, …
pub fn verdicts(text: &str, pairs: &[(String, usize)]) -> Vec<Vec<Option<(Said, usize)>>> {
    let offset = text.len() - without_thinking(text).len();
    let body = without_thinking(text);
    if let [(_, 1)] = pairs
        && let Some((said, at)) = whole_word(body)
    {
        return vec![vec![Some((said, offset + at))]];
    }
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    let starts = parts(body, &names);
    pairs
        .iter()
        .zip(&starts)
        .map(|((_, count), start)| {
            let part = start.and_then(|start| {
                let end = starts.iter().flatten().copied().filter(|other| *other > start).min();
                Some((start, body.get(start..end.unwrap_or(body.len()))?))
            });
            (1..=*count)
                .map(|statement| {
                    let (start, part) = part?;
                    let (said, at) = named(part, &format!("s{statement}"))?;
                    Some((said, offset + start + at))
                })
                .collect()
        })
        .collect()
}

/// Verdicts about whole pairs: what stands behind each pair's name, and at which byte of `text`.
pub fn choices(text: &str, names: &[&str]) -> Vec<Option<(Said, usize)>> {
    let body = without_thinking(text);
    let offset = text.len() - body.len();
    if let [_] = names
        && let Some((said, at)) = whole_word(body)
    {
        return vec![Some((said, offset + at))];
    }
    let behind = |start: usize| {
        let value = VALUE.captures(body.get(start..)?)?.get(1)?;
        Some((Said::read(value.as_str())?, offset + start + value.start()))
    };
    parts(body, names).into_iter().map(|start| behind(start?)).collect()
}

/// Where each pair's part of an answer begins: behind its name, the last time that it is given.
fn parts(body: &str, names: &[&str]) -> Vec<Option<usize>> {
    // The name of the first pair is the beginning of the tenth's.
    let ends = |at: usize| !body.get(at..).unwrap_or("").starts_with(char::is_alphanumeric);
    let last =
        |name: &&str| body.rmatch_indices(name).map(|(at, name)| at + name.len()).find(|&end| ends(end));
    names.iter().map(last).collect()
}

/// The whole answer is one verdict: it, and where its word stands.
fn whole_word(text: &str) -> Option<(Said, usize)> {
    let body = text.trim();
    if body.len() > 40 {
        return None;
    }
    let core = body
        .trim_matches(|c: char| !c.is_alphanumeric())
        .trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ')' | ' '));
    let lower = core.to_lowercase();
    let lower = ["final answer", "answer", "verdict"]
        .iter()
        .find_map(|lead| lower.strip_prefix(lead))
        .map_or(lower.as_str(), |rest| rest.trim_start_matches([':', ' ', '"', '*', 'i', 's']).trim());
    let said = Said::read(lower)?;
    // The verdict is the last word.
    let end = text.rfind(char::is_alphanumeric).unwrap_or(0);
    let at = text
        .get(..end)
        .and_then(|b| b.rfind(|c: char| !c.is_alphanumeric()))
        .map_or(0, |at| at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    Some((said, at))
}

/// The verdict behind a statement's name in a pair's part.
fn named(part: &str, name: &str) -> Option<(Said, usize)> {
    let mut from = 0;
    while let Some(found) = part.get(from..).and_then(|rest| rest.find(name)) {
        let at = from + found;
        let end = at + name.len();
        from = end;
        let before = part.get(..at).and_then(|b| b.chars().next_back());
        let after = part.get(end..).unwrap_or("");
        let own =
            !before.is_some_and(char::is_alphanumeric) && !after.starts_with(|c: char| c.is_alphanumeric());
        if !own {
            continue;
        }
        if let Some(value) = VALUE.captures(after).and_then(|captures| captures.get(1)) {
            return Some((Said::read(value.as_str())?, end + value.start()));
        }
    }
    None
}

/// The text of one field of a JSON object that the answer holds somewhere; the last such object counts.
pub fn field(text: &str, name: &str) -> Option<String> {
    objects(without_thinking(text))
        .into_iter()
        .rev()
        .find_map(|object| object.get(name).and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// The JSON objects in a text, whatever stands around them.
pub fn objects(text: &str) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text.get(at..).and_then(|rest| rest.find('{')) {
        let start = at + open;
        let mut stream = serde_json::Deserializer::from_str(text.get(start..).unwrap_or(""))
            .into_iter::<serde_json::Map<String, serde_json::Value>>();
        match stream.next() {
            Some(Ok(object)) => {
                at = start + stream.byte_offset().max(1);
                found.push(object);
            }
            _ => at = start + 1,
        }
    }
    found
}

/// A description behind its name, where an answer gives it so and not as JSON.
static CONCEPT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?im)^[\s"'*_`#{-]*concept["'*_`]*\s*[:=][\s"'*_`]*(\S.*)$"#));

/// A description as a model wrote it, made fit to print: one line, no quotes or lead around it, not too
/// long; `None` where nothing is left or it does not answer. Words that stand under no name are none: whatever a model
/// says in place of an answer would be taken for a concept.
pub fn description(text: &str) -> Option<String> {
    let written = field(text, "concept").or_else(|| {
        let body = without_thinking(text);
        // JSON that holds something else is an answer to something else.
        if !objects(body).is_empty() {
            return None;
        }
        let named = CONCEPT.captures_iter(body).last()?.get(1)?.as_str();
        Some(named.trim_end_matches(['}', ' ', ',']).to_owned())
    })?;
    fit(&written)
}

/// The rules that a model proposes, made fit to print: what completes "Prefer the response that …".
pub fn rules(text: &str, most: usize) -> Vec<String> {
    let objects = objects(without_thinking(text));
    let listed = objects.iter().rev().find_map(|object| object.get("rules")?.as_array());
    let written = listed.into_iter().flatten().filter_map(serde_json::Value::as_str);
    let plain = written.map(|rule| {
        let rule = rule.trim();
        ["Prefer the response that ", "prefer the response that ", "Prefer the one that "]
            .iter()
            .find_map(|lead| rule.strip_prefix(lead))
            .unwrap_or(rule)
    });
    let mut rules: Vec<String> = Vec::new();
    for rule in plain.filter_map(fit) {
        if rules.len() < most && !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// Words that complete "The response …" on one line, without quotes or lead around them; `None` where
/// they are too few, too many, or a reply to us.
fn fit(written: &str) -> Option<String> {
    let mut words: String = written.split_whitespace().collect::<Vec<_>>().join(" ");
    words.retain(|c| !c.is_control());
    let mut plain = words.trim().trim_matches(['"', '\'', '“', '”', '*', '`', '.', ' ']);
    for lead in ["Concept:", "concept:", "The response ", "the response ", "It ", "Response "] {
        plain = plain.strip_prefix(lead).unwrap_or(plain).trim_start();
    }
    let count = plain.split(' ').count();
    // Not a description of a response but a reply to us: a refusal, a greeting, a question.
    let lower = plain.to_lowercase().replace('’', "'");
    let talks = [
        "i ",
        "i'm",
        "i'd",
        "i'll",
        "i've",
        "sorry",
        "as an ai",
        "unfortunately",
        "sure",
        "here is",
        "here are",
        "certainly",
        "okay",
    ];
    if talks.iter().any(|lead| lower.starts_with(lead)) || plain.ends_with('?') {
        return None;
    }
    // A placeholder copied from the prompt ("…") says nothing.
    if plain.chars().filter(|c| c.is_alphabetic()).count() < 3 || count > 30 || plain.len() > 240 {
        return None;
    }
    let mut chars = plain.chars();
    let first = chars.next()?;
    // "Uses lists" completes a sentence as "uses lists"; "AI is mentioned" keeps its capitals.
    let second_upper = chars.clone().next().is_some_and(char::is_uppercase);
    let rest = chars.as_str();
    Some(if second_upper { plain.to_owned() } else { format!("{}{rest}", first.to_lowercase()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(counts: &[usize]) -> Vec<(String, usize)> {
        counts.iter().enumerate().map(|(i, n)| (format!("pair_9f3c01d2_{}", i + 1), *n)).collect()
    }

    fn said(text: &str, counts: &[usize]) -> Vec<Vec<Option<Said>>> {
        let found = verdicts(text, &pairs(counts));
        for (said, at) in found.iter().flatten().flatten() {
            // The place is where the word stands.
            let word: String = text[*at..].chars().take_while(|c| c.is_alphabetic() || *c == ' ').collect();
            assert_eq!(
                Said::read(word.split(' ').next().unwrap_or("")).or(Said::read(&word)),
                Some(*said),
                "{text}"
            );
        }
        found.into_iter().map(|pair| pair.into_iter().map(|s| s.map(|(said, _)| said)).collect()).collect()
    }

    const A: Option<Said> = Some(Said::A);
    const B: Option<Said> = Some(Said::B);
    const T: Option<Said> = Some(Said::Tie);

    #[test]
    fn one_word_answers() {
        for text in [
            "A",
            "\"A\"",
            "A.",
            " a ",
            "**A**",
            "Answer: A",
            "Response A",
            "(A)",
            "1. A",
            "`A`",
            "The answer",
        ] {
            let expected = if text == "The answer" { None } else { A };
            assert_eq!(said(text, &[1]), [[expected]], "{text}");
        }
        assert_eq!(said("Tie.", &[1]), [[T]]);
        assert_eq!(said("neither", &[1]), [[T]]);
        assert_eq!(said("<think>Maybe A, or A.</think>\nB", &[1]), [[B]]);
        for text in [
            "",
            "C",
            "I cannot judge this",
            "A or B",
            "AB",
            "<think>A",
            "It is A because B is longer than that",
        ] {
            assert_eq!(said(text, &[1]), [[None]], "{text}");
        }
        // One word says nothing where several were asked.
        assert_eq!(said("A", &[2]), [[None, None]]);
    }

    #[test]
    fn objects_in_every_dress() {
        let plain = r#"{"pair_9f3c01d2_1": {"s1": "A", "s2": "tie"}, "pair_9f3c01d2_2": {"s1": "B"}}"#;
        let expected = [vec![A, T], vec![B]];
        assert_eq!(said(plain, &[2, 1]), expected);
        for text in [
            format!("```json\n{plain}\n```"),
            format!("Sure! Here it is:\n{plain}\nAnything else?"),
            format!("<think>pair_9f3c01d2_1 s1: B?</think>{plain}"),
            "pair_9f3c01d2_1:\n - s1: A\n - s2: Tie.\npair_9f3c01d2_2:\n - s1: **B**".to_owned(),
            "pair_9f3c01d2_1 s1 = A, s2 = \"tie\"; pair_9f3c01d2_2 s1 -> B".to_owned(),
            "{'pair_9f3c01d2_1': {'s1': 'A', 's2': 'tie',}, 'pair_9f3c01d2_2': {'s1': 'Response B'}}"
                .to_owned(),
        ] {
            assert_eq!(said(&text, &[2, 1]), expected, "{text}");
        }
        // Cut short: what is there is read, what is not is missing.
        assert_eq!(said(&plain[..plain.len() - 30], &[2, 1]), [vec![A, T], vec![None]]);
        assert_eq!(said(r#"{"pair_9f3c01d2_1": {"s1": "A"}}"#, &[2, 1]), [vec![A, None], vec![None]]);
        assert_eq!(
            said(r#"{"pair_9f3c01d2_1": {"s1": "yes", "s2": null}}"#, &[2, 1]),
            [vec![None, None], vec![None]]
        );
        // s1 is not s10.
        let many = r#"{"pair_9f3c01d2_1": {"s10": "B", "s1": "A"}}"#;
        assert_eq!(said(many, &[10])[0][0], A);
        assert_eq!(said(many, &[10])[0][9], B);
    }

    #[test]
    fn names_that_nobody_gave_are_not_read() {
        assert_eq!(said(r#"{"pair_1": {"s1": "A", "s2": "A"}}"#, &[2]), [[None, None]]);
        assert_eq!(said("s1: A\ns2: A", &[2]), [[None, None]]);
        // A text that is quoted before the answer does not count; the last naming does.
        let text = r#"The response says {"pair_9f3c01d2_1": {"s1": "A"}}. {"pair_9f3c01d2_1": {"s1": "B"}}"#;
        assert_eq!(said(text, &[1]), [[B]]);
    }

    #[test]
    fn choices_stand_behind_the_names_of_whole_pairs() {
        let names: Vec<String> = (1..=11).map(|i| format!("pair_9f3c01d2_{i}")).collect();
        let of = |text: &str, count: usize| -> Vec<Option<Said>> {
            let names: Vec<&str> = names.iter().take(count).map(String::as_str).collect();
            let found = choices(text, &names);
            for (said, at) in found.iter().flatten() {
                let word: String = text[*at..].chars().take_while(|c| c.is_alphabetic()).collect();
                assert_eq!(Said::read(&word), Some(*said), "{text}");
            }
            found.into_iter().map(|found| found.map(|(said, _)| said)).collect()
        };
        for text in [
            r#"{"pair_9f3c01d2_1": "A", "pair_9f3c01d2_2": "tie"}"#,
            "Surely:\n```\npair_9f3c01d2_1: **A**\npair_9f3c01d2_2: tie.\n```",
            "<think>pair_9f3c01d2_1: B</think>pair_9f3c01d2_1 = A; pair_9f3c01d2_2 -> \"Tie\"",
            // The last naming counts.
            r#"The text says {"pair_9f3c01d2_1": "B"}. {"pair_9f3c01d2_1": "A", "pair_9f3c01d2_2": "tie"}"#,
        ] {
            assert_eq!(of(text, 2), [A, T], "{text}");
        }
        assert_eq!(of("B", 1), [B]);
        for text in ["B", r#"{"pair_1": "A"}"#, r#"{"pair_9f3c01d2_1": "both are fine, A"}"#, ""] {
            assert_eq!(of(text, 2).last(), Some(&None), "{text}");
        }
        // The first is not the tenth, whatever is missing.
        assert_eq!(of(r#"{"pair_9f3c01d2_1": "A", "pair_9f3c01d2_10": "B"}"#, 10)[0], A);
        assert_eq!(of(r#"{"pair_9f3c01d2_10": "B"}"#, 10)[0], None);
        let many = r#"{"pair_9f3c01d2_1": {"s1": "A"}, "pair_9f3c01d2_10": {"s1": "B"}}"#;
        let read = said(many, &[1; 10]);
        assert_eq!((&read[0], &read[9]), (&vec![A], &vec![B]));
    }

    #[test]
    fn rules_are_made_fit_to_print() {
        let text = r#"Sure: {"rules": ["Prefer the response that uses lists.", "uses lists", "I cannot tell", 7, "…",
            "is short\u001b[31m", "is kind"]}"#;
        assert_eq!(rules(text, 2), ["uses lists", "is short[31m"]);
        assert!(rules("{\"rules\": \"uses lists\"}", 3).is_empty());
        assert!(rules("uses lists", 3).is_empty());
    }

    #[test]
    fn descriptions_are_made_fit_to_print() {
        for (text, expected) in [
            (r#"{"concept": "Uses bullet points."}"#, Some("uses bullet points")),
            ("```json\n{\"concept\": \"The response refuses to help\"}\n```", Some("refuses to help")),
            (
                "<think>hm {\"concept\": \"x\"}</think>{\"concept\": \"AI is mentioned\"}",
                Some("AI is mentioned"),
            ),
            // Under its name in another form than JSON's; under none it may be anything.
            ("**Concept:** Apologises", Some("apologises")),
            ("{'concept': 'uses lists'}", Some("uses lists")),
            ("{\"concept\": \"uses lists\"", Some("uses lists")),
            ("The answer is below.\nconcept = names a price", Some("names a price")),
            ("\"Apologises\"", None),
            ("Bullet points galore", None),
            ("conceptual: a map", None),
            ("", None),
            (r#"{"concept": ""}"#, None),
            ("Here are my thoughts.\nFirst, the pairs differ.", None),
            (r#"{"other": "x"}"#, None),
            ("I'm sorry, but I can't help with that.", None),
            (r#"{"concept": "I cannot tell"}"#, None),
            ("Sure! Here it is", None),
            (r#"{"concept": "is it longer?"}"#, None),
            (r#"{"concept": "…"}"#, None),
        ] {
            assert_eq!(description(text).as_deref(), expected, "{text}");
        }
        assert_eq!(description(&format!("{{\"concept\": \"{}\"}}", "long ".repeat(60))), None);
        assert_eq!(
            description("{\"concept\": \"tells\\n a\\u0000 story\"}").as_deref(),
            Some("tells a story")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,300}", counts in prop::collection::vec(1usize..4, 1..4)) {
            let found = verdicts(&text, &pairs(&counts));
            prop_assert_eq!(found.len(), counts.len());
            for (pair, count) in found.iter().zip(&counts) {
                prop_assert_eq!(pair.len(), *count);
            }
            let _ = description(&text);
            let _ = objects(&text);
        }

        #[test]
        fn what_a_text_says_of_other_names_is_never_read(text in "\\PC{0,200}") {
            let quoted = format!("{text} {{\"pair_00000000_1\": {{\"s1\": \"A\", \"s2\": \"B\"}}}} s1: A s2: B {text}");
            prop_assume!(!quoted.contains("pair_9f3c01d2_1"));
            prop_assert_eq!(verdicts(&quoted, &pairs(&[2])), vec![vec![None, None]]);
        }

        #[test]
        fn every_object_that_was_asked_for_is_read(
            wanted in prop::collection::vec(prop::collection::vec(0u8..3, 1..6), 1..5),
            before in "[a-z ]{0,40}", after in "[a-z ]{0,40}",
        ) {
            let word = |v: &u8| match v { 0 => "A", 1 => "B", _ => "tie" };
            let counts: Vec<usize> = wanted.iter().map(Vec::len).collect();
            let object: serde_json::Map<String, serde_json::Value> = pairs(&counts).into_iter().zip(&wanted).map(|((name, _), answers)| {
                let inner = answers.iter().enumerate().map(|(i, v)| (format!("s{}", i + 1), word(v).into())).collect();
                (name, serde_json::Value::Object(inner))
            }).collect();
            let text = format!("{before} {} {after}", serde_json::Value::Object(object));
            let found = said(&text, &counts);
            for (pair, answers) in found.iter().zip(&wanted) {
                let expected: Vec<Option<Said>> = answers.iter().map(|v| Said::read(word(v))).collect();
                prop_assert_eq!(pair, &expected);
            }
        }
    }
}
