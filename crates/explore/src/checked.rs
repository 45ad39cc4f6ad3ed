//! Are the figures of an answer those of the tools? Every number that an answer says is looked for in what the tools returned.

use serde_json::Value;

/// A number as it stands in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// As it is written, with its sign and per cent.
    pub text: String,
    value: f64,
    /// Digits after the point.
    digits: usize,
}

/// The numbers of a text. Those that are part of a name (`learned_042`, ids of pairs, `gpt-4`) are no figures.
pub fn figures(text: &str) -> Vec<Figure> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
        let begins = is_digit(at) || (chars[at] == '.' && is_digit(at + 1));
        if !begins {
            at += 1;
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let mut end = at;
        let mut number = String::new();
        let mut digits = None;
        while let Some(&c) = chars.get(end) {
            match c {
                _ if c.is_ascii_digit() => {
                    number.push(c);
                    digits = digits.map(|count: usize| count + 1);
                }
                // 1,234 is one number; "1, 2" are two.
                ',' | '\u{202f}'
                    if digits.is_none() && (1..4).all(|more| is_digit(end + more)) && !is_digit(end + 4) => {}
                '.' if digits.is_none() && is_digit(end + 1) => {
                    number.push('.');
                    digits = Some(0);
                }
                _ => break,
            }
            end += 1;
        }
        let after = chars.get(end).copied();
        let of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let hyphened = before == Some('-') && at.checked_sub(2).is_some_and(|at| chars[at].is_alphanumeric());
        if !of_name(before) && !of_name(after) && !hyphened {
            let sign = before.filter(|c| matches!(c, '+' | '-' | '−' | '–'));
            let is_range = sign == Some('–')
                || sign == Some('-')
                    && at
                        .checked_sub(2)
                        .is_some_and(|at| chars[at] == ' ' && at > 0 && chars[at - 1].is_ascii_digit());
            let sign = sign.filter(|_| !is_range);
            let rest: String = chars[end..].iter().take(2).collect();
            let percent = if rest.starts_with('%') {
                "%"
            } else if rest == " %" {
                " %"
            } else {
                ""
            };
            if let Ok(value) = number.parse::<f64>() {
                let text = format!(
                    "{}{}{percent}",
                    sign.map_or(String::new(), String::from),
                    chars[at..end].iter().collect::<String>()
                );
                let value = if matches!(sign, Some('-' | '−')) { -value } else { value };
                found.push(Figure { text, value, digits: digits.unwrap_or(0) });
            }
        }
        at = end.max(at + 1);
    }
    found
}

/// Fields with words of the dataset: a number that somebody wrote into a prompt is no figure of the run's.
const TEXTS: [&str; 8] = ["prompt", "a", "b", "first", "second", "preferred", "other", "examples"];

/// All numbers of some JSON, those in its sentences included, and the lengths of its lists.
pub fn numbers(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Number(number) => into.extend(number.as_f64()),
        Value::String(text) => into.extend(figures(text).iter().map(|figure| figure.value)),
        Value::Array(all) => {
            into.push(all.len() as f64);
            all.iter().for_each(|one| numbers(one, into));
        }
        Value::Object(fields) => {
            let own = fields.iter().filter(|(name, _)| !TEXTS.contains(&name.as_str()));
            own.for_each(|(_, one)| numbers(one, into));
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Figures of `answer` that are in none of `known`: neither as they stand nor as a share of one in points, rounded as written,
/// and not in the question either. A sign may be said in words ("12 points less").
pub fn unsupported(answer: &str, known: &[f64], question: &str) -> Vec<String> {
    let asked: Vec<f64> = figures(question).iter().map(|figure| figure.value).collect();
    let supported = |figure: &Figure| {
        let half = 0.5 * 10f64.powi(-(figure.digits as i32)) + 1e-9;
        let near = |value: f64| (value.abs() - figure.value.abs()).abs() <= half;
        // What counts up to ten is said about lists and ranks, and means nothing by itself: "two of the 3".
        let signed = figure.text.starts_with(['+', '-', '−']);
        let fits = |value: &f64| {
            let same_sign =
                !signed || *value == 0.0 || (*value > 0.0) == (figure.value > 0.0) || figure.value == 0.0;
            same_sign && (near(*value) || near(value * 100.0))
        };
        known.iter().any(fits) || asked.iter().any(fits)
    };
    // The usual interval is no finding.
    let is_level = |figure: &Figure| figure.value == 95.0 && figure.text.ends_with('%');
    let mut found: Vec<String> = Vec::new();
    for figure in figures(answer) {
        if !is_level(&figure) && !supported(&figure) && !found.contains(&figure.text) {
            found.push(figure.text);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(text: &str) -> Vec<String> {
        figures(text).into_iter().map(|figure| figure.text).collect()
    }

    #[test]
    fn figures_are_found_and_names_are_not() {
        assert_eq!(
            texts("It wins 31.5 % more (95 % CI 12% to +40 %, n = 1,234)."),
            ["31.5 %", "95 %", "12%", "+40 %", "1,234"]
        );
        assert_eq!(texts("learned_042, gpt-4, a3b3bcf8, v2, 7 of them"), ["7"]);
        assert_eq!(texts("−12 points, -0.5, .25 and 3."), ["−12", "-0.5", ".25", "3"]);
        assert_eq!(texts("12–15 points, 1, 2 and 3"), ["12", "15", "1", "2", "3"]);
        assert!(texts("日本 é no numbers").is_empty());
    }

    #[test]
    fn what_no_tool_said_is_caught() {
        let mut known = Vec::new();
        numbers(
            &json!({"prompt": "there are 77 of them", "win": {"value": -0.4320309, "n": 893}, "rows": [1.5, {"text": "about 12 % of 70"}]}),
            &mut known,
        );
        let bad = |answer: &str| unsupported(answer, &known, "the top 5?");
        assert!(bad("Refusals win 43 % less (n = 893), or −43.2 points; 12 % of 70; the top 5").is_empty());
        assert_eq!(bad("They win 44 % less, 77 times"), ["44 %", "77"]);
        assert_eq!(bad("They win +43 % more"), ["+43 %"], "the sign is wrong");
        assert_eq!(bad("43.20 %, 43.21 %, 43.3 %"), ["43.21 %", "43.3 %"]);
        assert_eq!(bad("in 1,893 of 894 pairs, 95 % CI"), ["1,893", "894"]);
    }
}
