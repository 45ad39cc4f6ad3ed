//! Values written as text: JSON, or what Python and numpy print (`repr`), as they stand in CSV cells.

use serde_json::{Map, Number, Value};

/// Marks text that this program made from a nested JSON value, so that a text which merely looks like JSON
/// is never taken for one. A noncharacter: no text for people holds it.
pub(super) const WRAPPED: char = '\u{fdd0}';

/// Deeper values are no data but an attack on the stack.
const MAX_DEPTH: usize = 64;

/// The value that a text holds, where it is a list or a record; `None` for plain text.
///
/// numpy prints no commas between elements, wraps them in `array(…)`, and cuts long lists (`...`): the latter
/// are `None`.
pub(super) fn parse(text: &str) -> Option<Value> {
    if let Some(json) = text.strip_prefix(WRAPPED) {
        return serde_json::from_str(json).ok();
    }
    let text = text.trim();
    if !looks_nested(text) {
        return None;
    }
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(value)
}

/// Whether a text begins and ends as a list or record does.
pub(super) fn looks_nested(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(WRAPPED)
        || matches!(
            (text.as_bytes().first(), text.as_bytes().last()),
            (Some(b'['), Some(b']')) | (Some(b'{'), Some(b'}'))
        )
        || (text.starts_with("array(") && text.ends_with(')'))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        for (open, close) in [("[", b']'), ("(", b')')] {
            if self.take(open) {
                return self.list(close, depth);
            }
        }
        if self.take("{") {
            return self.record(depth);
        }
        if self.take("array(") {
            return self.array(depth);
        }
        for (word, value) in [
            ("None", Value::Null),
            ("null", Value::Null),
            ("nan", Value::Null),
            ("NaN", Value::Null),
            ("<NA>", Value::Null),
            ("True", Value::Bool(true)),
            ("true", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("false", Value::Bool(false)),
        ] {
            if self.take(word) {
                return Some(value);
            }
        }
        let quote = |at: usize| matches!(self.text.as_bytes().get(at), Some(b'"' | b'\''));
        let prefixed = matches!(self.peek()?, b'u' | b'b' | b'U' | b'B') && quote(self.at + 1);
        if prefixed || quote(self.at) {
            self.at += usize::from(prefixed);
            return self.string().map(Value::String);
        }
        self.number()
    }

    /// `array([…], dtype=object)`.
    fn array(&mut self, depth: usize) -> Option<Value> {
        let value = self.value(depth + 1)?;
        self.space();
        if self.take(",") {
            let end = self.rest().find(')')?;
            self.at += end;
        }
        self.take(")").then_some(value)
    }

    /// Elements up to the closing bracket; commas may be missing.
    fn list(&mut self, close: u8, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        loop {
            self.space();
            if self.peek()? == close {
                self.at += 1;
                return Some(Value::Array(values));
            }
            values.push(self.value(depth + 1)?);
            self.space();
            self.take(",");
        }
    }

    fn record(&mut self, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        loop {
            self.space();
            if self.take("}") {
                return Some(Value::Object(fields));
            }
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            self.space();
            if !self.take(":") {
                return None;
            }
            let value = self.value(depth + 1)?;
            fields.insert(key, value);
            self.space();
            if !self.take(",") && self.peek()? != b'}' {
                return None;
            }
        }
    }

    /// A string in either kind of quotation marks.
    fn string(&mut self) -> Option<String> {
        let quote = char::from(self.peek()?);
        self.at += 1;
        let mut out = String::new();
        loop {
            let c = self.rest().chars().next()?;
            self.at += c.len_utf8();
            match c {
                _ if c == quote => return Some(out),
                '\\' => self.escape(&mut out)?,
                _ => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'a' => out.push('\u{7}'),
            'v' => out.push('\u{b}'),
            '\n' => {}
            '\\' | '\'' | '"' | '/' => out.push(c),
            'x' => self.code(2, out)?,
            'u' => self.code(4, out)?,
            'U' => self.code(8, out)?,
            other => out.extend(['\\', other]),
        }
        Some(())
    }

    /// A character by its number; the two halves of one are put together, a lone half is U+FFFD.
    fn code(&mut self, digits: usize, out: &mut String) -> Option<()> {
        let mut number = self.hex(digits)?;
        if (0xd800..0xdc00).contains(&number) && self.rest().starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            match self.hex(4) {
                Some(low) if (0xdc00..0xe000).contains(&low) => {
                    number = 0x10000 + ((number - 0xd800) << 10) + (low - 0xdc00);
                }
                _ => self.at = before,
            }
        }
        out.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(())
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let number = u32::from_str_radix(self.rest().get(..digits)?, 16).ok()?;
        self.at += digits;
        Some(number)
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let word = rest.get(..end)?;
        let value = if let Ok(whole) = word.parse::<i64>() {
            Value::Number(whole.into())
        } else {
            let number: f64 = word.parse().ok()?;
            // `inf`: no number that anything here could use.
            Number::from_f64(number).map_or(Value::Null, Value::Number)
        };
        self.at += end;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn python_numpy_and_json_say_the_same() {
        let want =
            json!([{"role": "user", "content": "it's\n\"so\" 😀"}, {"role": "assistant", "content": null}]);
        for text in [
            r#"[{"role": "user", "content": "it's\n\"so\" \ud83d\ude00"}, {"role": "assistant", "content": null}]"#,
            r#"[{'role': 'user', 'content': 'it\'s\n"so" 😀'}, {'role': 'assistant', 'content': None}]"#,
            "[{'role': 'user', 'content': 'it\\'s\\n\"so\" \\U0001f600'}\n {'role': 'assistant', 'content': nan}]",
            r#"array([{'role': 'user', 'content': 'it\'s\n"so" 😀'}, {'role': 'assistant', 'content': None}], dtype=object)"#,
        ] {
            assert_eq!(parse(text).as_ref(), Some(&want), "{text}");
        }
        assert_eq!(parse("['a' 'b']"), Some(json!(["a", "b"])));
        assert_eq!(parse("(1)"), None);
        assert_eq!(parse("[1, 2.5, -3, True, ()]"), Some(json!([1, 2.5, -3, true, []])));
        assert_eq!(parse("{'a': [array([1., 2.])]}"), Some(json!({"a": [[1.0, 2.0]]})));
    }

    #[test]
    fn texts_are_texts() {
        for text in [
            "[citation needed]",
            "{curly}",
            "[1] See the first note [2]",
            "['unfinished",
            "[{'role': 'user'} ... {'role': 'user'}]",
            "plain",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(parse(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))), None);
    }
}
