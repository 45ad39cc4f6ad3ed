//! Who speaks in a transcript, and where its prompt ends.

use polars::prelude::StringChunked;

/// How a transcript marks who speaks: the user, the assistant.
pub(super) type Marks = (&'static str, &'static str);

/// HH-RLHF's own marks first, then chat templates.
pub(super) const MARKS: [Marks; 11] = [
    ("Human:", "\n\nAssistant:"),
    ("<|im_start|>user", "<|im_start|>assistant"),
    ("<|start_header_id|>user<|end_header_id|>", "<|start_header_id|>assistant<|end_header_id|>"),
    ("<start_of_turn>user", "<start_of_turn>model"),
    ("<|prompter|>", "<|assistant|>"),
    ("<|user|>", "<|assistant|>"),
    ("[INST]", "[/INST]"),
    ("### Human:", "### Assistant:"),
    ("### Instruction:", "### Response:"),
    ("USER:", "ASSISTANT:"),
    ("User:", "\n\nAssistant:"),
];
/// What templates put behind a turn, and before the first.
const ENDS: [&str; 10] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|end|>",
    "<eos>",
    "<|end_of_text|>",
    "<s>",
    "<bos>",
];
const ASSISTANT: &str = "\n\nAssistant:";

/// The marks of most of the first transcripts.
pub(super) fn marks(transcripts: &StringChunked) -> Option<Marks> {
    let sample: Vec<&str> = transcripts.iter().flatten().take(200).collect();
    MARKS.into_iter().find(|(human, assistant)| {
        let has = |text: &&&str| {
            let at = text.find(human);
            // HH-RLHF begins with the user; templates may have a system prompt before.
            let begins = human.starts_with(['<', '[']) || text.trim_start().starts_with(human);
            begins && at.is_some_and(|at| text.get(at..).is_some_and(|rest| rest.contains(assistant)))
        };
        sample.iter().filter(has).count() * 2 > sample.len()
    })
}

/// A text without what templates put around it.
fn bare(mut text: &str, (human, _): Marks) -> &str {
    if !human.starts_with(['<', '[', '#']) {
        return text.trim();
    }
    loop {
        let before = text;
        text = text.trim();
        for end in ENDS {
            text = text.strip_suffix(end).unwrap_or(text);
            text = text.strip_prefix(end).unwrap_or(text);
        }
        if text == before {
            return text;
        }
    }
}

/// Prompt and the two responses: the transcripts part after the last `Assistant:` they share.
pub(super) fn split<'a>(
    a: &'a str,
    b: &'a str,
    (human, assistant): Marks,
) -> Option<(&'a str, &'a str, &'a str)> {
    let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    // Searching bytes: the shared part may end inside a character, never inside the ASCII marker.
    let marker = assistant.as_bytes();
    let at = a.as_bytes().get(..shared)?.windows(marker.len()).rposition(|window| window == marker)?;
    let after = at + marker.len();
    let marks = (human, assistant);
    Some((question(a.get(..at)?, marks), bare(a.get(after..)?, marks), bare(b.get(after..)?, marks)))
}

/// A single question stands for itself; a conversation keeps its speakers.
fn question(prompt: &str, marks: Marks) -> &str {
    let (human, assistant) = marks;
    let prompt = bare(prompt, marks);
    let again = |question: &str| {
        question.match_indices(human).any(|(at, _)| question.get(..at).is_some_and(|b| b.ends_with('\n')))
    };
    match prompt.strip_prefix(human) {
        Some(question) if !prompt.contains(assistant) && !again(question) => bare(question, marks),
        _ => prompt,
    }
}

/// A prompt that ends by giving the word to the assistant, without that; others stay.
pub(super) fn asked(prompt: &str) -> &str {
    let Some(before) = prompt.trim_end().strip_suffix(ASSISTANT) else { return prompt };
    if before.trim_start().starts_with(MARKS[0].0) { question(before, MARKS[0]) } else { prompt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_ends_at_the_last_shared_assistant() {
        let a = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why é?\n\nAssistant: Because é.";
        let b = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why é?\n\nAssistant: Because è.";
        let prompt = "Human: Hi\n\nAssistant: Yes?\n\nHuman: Why é?";
        assert_eq!(split(a, b, MARKS[0]), Some((prompt, "Because é.", "Because è.")));
        let question = split("\n\nHuman: Hi\n\nAssistant: A", "\n\nHuman: Hi\n\nAssistant: B", MARKS[0]);
        assert_eq!(question, Some(("Hi", "A", "B")));
    }

    #[test]
    fn templates_are_transcripts_too() {
        let of = |answer: &str| {
            format!(
                "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
            )
        };
        let (a, b) = (of("Yes"), of("No"));
        let column: StringChunked = [a.as_str(), b.as_str()].into_iter().map(Some).collect();
        let found = marks(&column).unwrap();
        let (prompt, one, other) = split(&a, &b, found).unwrap();
        assert_eq!((one, other), ("Yes", "No"));
        assert!(prompt.ends_with("user\nHi"), "{prompt:?}");
        assert_eq!(
            split("[INST] Hi [/INST] A</s>", "[INST] Hi [/INST] B</s>", MARKS[6]),
            Some(("Hi", "A", "B"))
        );
        assert_eq!(asked("\n\nHuman: Hi\n\nAssistant: "), "Hi");
        assert_eq!(asked("Say Assistant:"), "Say Assistant:");
    }

    #[test]
    fn different_beginnings_share_no_prompt() {
        assert_eq!(split("\n\nHuman: A\n\nAssistant: x", "\n\nHuman: B\n\nAssistant: y", MARKS[0]), None);
        assert_eq!(split("", "", MARKS[0]), None);
    }
}
