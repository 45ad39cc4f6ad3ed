//! Answers that say 200 and are no JSON, or nearly: what can be read all the same, and what the rest is.

/// What helps where something answers that is no API.
const ADDRESS_HINT: &str = "something else than the API answers at this address: does the base URL end in `/v1`, as it usually does?";

/// What helps where a server streams.
const STREAM_HINT: &str = "the server streams its answers, which is not read here: switch that off at the server, or with `--param stream=false`";

/// Bytes of an odd answer that a message quotes, in characters.
const QUOTED: usize = 80;

/// The text without the mark of a byte order that some servers put before it.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// JSON with `null` for the numbers that JSON does not have and Python writes all the same: `NaN`, `Infinity`,
/// `-Infinity`; `None` where there are none.
pub(super) fn without_nan(body: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut clean = Vec::with_capacity(body.len());
    let (mut at, mut is_text, mut is_changed) = (0, false, false);
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match rest {
            [b'\\', _, ..] if is_text => 2,
            [b'"', ..] => {
                is_text = !is_text;
                1
            }
            _ if is_text => 1,
            _ => match WORDS.iter().find(|word| rest.starts_with(word)) {
                Some(word) => {
                    clean.extend_from_slice(b"null");
                    is_changed = true;
                    at += word.len();
                    continue;
                }
                None => 1,
            },
        };
        clean.extend_from_slice(rest.get(..length).unwrap_or(rest));
        at += length;
    }
    is_changed.then_some(clean)
}

/// The title of a page; `None` where this is no page or has none.
pub(super) fn title(body: &[u8]) -> Option<String> {
    if !is_page(body) {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    // Lower case of ASCII alone: other letters may change their length.
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</title")?;
    Some(text.get(start..end)?.trim().to_owned()).filter(|title| !title.is_empty())
}

fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// What came in place of JSON, for a message ("… gave a web page"), and what helps; empty where nobody knows.
pub(super) fn what_it_is(kind: &str, body: &[u8], error: &str) -> (String, &'static str) {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return ("an empty answer".to_owned(), ADDRESS_HINT);
    }
    if is_page(body) || (kind.contains("html") && !matches!(start.first(), Some(b'{' | b'['))) {
        let title = title(body).map(|title| format!(" (“{}”)", super::one_line(&title, QUOTED)));
        return (format!("a web page{} and no JSON", title.unwrap_or_default()), ADDRESS_HINT);
    }
    if kind.contains("event-stream") || start.starts_with(b"data:") || start.starts_with(b"event:") {
        return ("a stream of events (SSE) and no JSON".to_owned(), STREAM_HINT);
    }
    // What looks like JSON was meant to be it.
    if matches!(start.first(), Some(b'{' | b'[')) {
        return (format!("an answer that is not JSON: {error}"), "");
    }
    let quoted = super::one_line(&String::from_utf8_lossy(start), QUOTED);
    (format!("an answer that is not JSON (“{quoted}”)"), ADDRESS_HINT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_become_null_and_texts_stay() {
        for (body, clean) in [
            (r#"[NaN, -Infinity,Infinity]"#, Some("[null, null,null]")),
            (r#"{"NaN": "say \"NaN\" \\", "x": NaN}"#, Some(r#"{"NaN": "say \"NaN\" \\", "x": null}"#)),
            (r#"{"a": "NaN, Infinity"}"#, None),
            ("", None),
            ("\"\\", None),
        ] {
            assert_eq!(without_nan(body.as_bytes()), clean.map(|clean| clean.as_bytes().to_vec()), "{body}");
        }
    }

    #[test]
    fn what_came_is_said() {
        let page = "\n<!DOCTYPE html><html><HEAD><Title lang=en>Open WebUI </title></head></html>";
        for (kind, body, said, hint) in [
            ("text/html", page, "a web page (“Open WebUI”) and no JSON", ADDRESS_HINT),
            ("", "<html></html>", "a web page and no JSON", ADDRESS_HINT),
            ("text/event-stream", "data: {}\n\n", "a stream of events (SSE) and no JSON", STREAM_HINT),
            ("", "", "an empty answer", ADDRESS_HINT),
            ("", "Ollama is running", "an answer that is not JSON (“Ollama is running”)", ADDRESS_HINT),
            ("application/json", "{\"a\":", "an answer that is not JSON: why", ""),
        ] {
            assert_eq!(what_it_is(kind, body.as_bytes(), "why"), (said.to_owned(), hint), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (without_nan(&bytes), title(&bytes), what_it_is("", &bytes, ""));
        }

        /// JSON is never changed, whatever its texts hold.
        #[test]
        fn good_json_stays(text in "\\PC{0,40}(NaN|Infinity|\")\\PC{0,40}") {
            let body = serde_json::to_vec(&text).unwrap();
            prop_assert_eq!(without_nan(&body), None);
        }
    }
}
