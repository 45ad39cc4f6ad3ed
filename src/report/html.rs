//! A page that needs nothing else: style, script and data in one file, under a policy that forbids the rest.

use base64::Engine;
use sha2::{Digest, Sha256};

/// A page. Everything but `body` is text; `body` is HTML whose texts went through [`escape`].
#[derive(Debug, Default)]
pub struct Document<'a> {
    /// Of the window.
    pub title: &'a str,
    /// CSS.
    pub style: &'a str,
    /// The one script, ours; it reads the data block `data`. Empty for none.
    pub script: &'a str,
    /// What the script reads.
    pub data: Option<&'a serde_json::Value>,
    /// Between `<body>` and its end.
    pub body: &'a str,
}

impl Document<'_> {
    /// The whole file.
    ///
    /// The content policy names our style and our script by their hashes and forbids everything else: no
    /// other script, no request to anywhere, no form.
    pub fn render(&self) -> String {
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
            hash(self.style),
            if self.script.is_empty() { "'none'".to_owned() } else { hash(self.script) },
        );
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}\n",
            escape(self.title),
            self.style,
            self.body
        );
        if let Some(data) = self.data {
            page += "<script type=\"application/json\" id=\"data\">";
            page += &inert(&data.to_string());
            page += "</script>\n";
        }
        if !self.script.is_empty() {
            page += "<script>";
            page += self.script;
            page += "</script>\n";
        }
        page += "</body>\n</html>\n";
        page
    }
}

/// A policy's name for a script or style.
fn hash(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
}

/// JSON that cannot end its script element, whatever the texts in it say.
pub fn inert(json: &str) -> String {
    let mut safe = String::with_capacity(json.len() + json.len() / 64);
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text as HTML text or attribute value. What would be invisible becomes visible.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if unseen(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Controls, and signs that turn the direction of what follows: a text must not look like another one.
/// Right-to-left scripts need none of them, since every text is set in its own direction.
pub fn unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escape("<script>alert('x')</script>\0&\""),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\u{fffd}&amp;&quot;"
        );
        let json = serde_json::json!({"t": "</script><!--<script>\u{2028}"});
        let safe = inert(&json.to_string());
        assert!(!safe.contains(['<', '>', '\u{2028}']));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), json);
    }

    #[test]
    fn the_policy_names_what_is_there() {
        let page = Document { title: "t", style: "a{}", script: "1", ..Document::default() }.render();
        // printf 'a{}' | openssl dgst -sha256 -binary | base64
        assert!(page.contains("style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='"), "{page}");
        assert!(page.contains("default-src 'none'"));
    }
}
