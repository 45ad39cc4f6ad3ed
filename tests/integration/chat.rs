//! How a model behind the server of a test reads a request and answers it.

use serde_json::{Value, json};

use crate::server::Request;

/// What stands between a fence's two marks.
pub fn fenced<'a>(part: &'a str, name: &str) -> &'a str {
    let Some(start) = part.find(&format!("<<{name} ")) else { return "" };
    let rest = &part[start..];
    let (head, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let mark = head.rsplit(' ').next().unwrap_or("");
    body.split(&format!("\n{mark} {name}>>")).next().unwrap_or("")
}

/// What the user says in a request.
pub fn user_of(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).expect("a request is JSON");
    body["messages"][1]["content"].as_str().expect("a request has what the user says").to_owned()
}

/// An answer of `content` to `prompt`.
pub fn whole(content: &str, prompt: &str) -> String {
    // Tokens as a plain tokenizer counts them: four characters each.
    json!({
        "choices": [{ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": prompt.len() / 4, "completion_tokens": content.len() / 4 },
    })
    .to_string()
}
