//! A language model as writer: what do the responses with more of a feature have in common, and a last pass
//! that makes the words short.

use serde_json::{Map, Value, json};

use super::answers;
use super::chat::{Ask, ChatModel, LanguageError, object};
use super::excerpt::{self, Keep};
use super::prompts::Prompt;
use crate::pairs::Pairs;

/// Pairs from which one description is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examples {
    /// Pairs in which one response has more of the feature: the pair, and whether that is response A.
    pub with: Vec<(u32, bool)>,
    /// The sentences of that response in which the feature shows, where it shows in sentences; `[with]` or empty.
    pub shows: Vec<Vec<String>>,
    /// Pairs in which both have equally much of it.
    pub silent: Vec<u32>,
}

/// Words of a response in the examples of a writer.
const WORDS: usize = 128;
/// Words of a prompt there: only what the responses answer.
const PROMPT_WORDS: usize = 64;
/// Sentences of a response that are pointed out, and words of each.
const POINTED_OUT: usize = 3;
const SENTENCE_WORDS: usize = 40;

/// The request for one description.
pub fn ask(pairs: &Pairs, prompt: &Prompt, examples: &Examples) -> Ask {
    let cut = |pair: u32| {
        let pair = pair as usize;
        [
            excerpt::cut(pairs.prompt.get(pair), PROMPT_WORDS, Keep::End),
            excerpt::cut(pairs.response_a.get(pair), WORDS, Keep::Start),
            excerpt::cut(pairs.response_b.get(pair), WORDS, Keep::Start),
        ]
    };
    let with: Vec<[String; 3]> = examples.with.iter().map(|(pair, _)| cut(*pair)).collect();
    let silent: Vec<[String; 3]> = examples.silent.iter().map(|pair| cut(*pair)).collect();
    let shows: Vec<String> = (0..with.len())
        .map(|number| {
            let sentences =
                examples.shows.get(number).map_or(&[][..], Vec::as_slice).iter().take(POINTED_OUT);
            let lines =
                sentences.map(|text| excerpt::cut(text, SENTENCE_WORDS, Keep::Start).replace('\n', " "));
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    let mark = excerpt::mark(with.iter().chain(&silent).flatten().chain(&shows).map(String::as_str));
    let mut shown = String::new();
    for (number, ([question, a, b], (_, a_has))) in with.iter().zip(&examples.with).enumerate() {
        let (more, less) = if *a_has { (a, b) } else { (b, a) };
        shown.push_str(&format!(
            "# Pair {}\n{}\n{}\n{}\n\n",
            number + 1,
            excerpt::fence("PROMPT", &mark, question),
            excerpt::fence("WITH", &mark, more),
            excerpt::fence("WITHOUT", &mark, less),
        ));
        if let Some(sentences) = shows.get(number).filter(|sentences| !sentences.is_empty()) {
            shown.insert_str(shown.len() - 1, &format!("{}\n", excerpt::fence("SHOWS", &mark, sentences)));
        }
    }
    for (number, [question, a, b]) in silent.iter().enumerate() {
        shown.push_str(&format!(
            "# Equal pair {}\n{}\n{}\n{}\n\n",
            number + 1,
            excerpt::fence("PROMPT", &mark, question),
            excerpt::fence("EQUAL", &mark, a),
            excerpt::fence("EQUAL", &mark, b),
        ));
    }
    let fields = Map::from_iter([("concept".to_owned(), json!({ "type": "string" }))]);
    Ask {
        purpose: "write",
        system: prompt.system().to_owned(),
        user: prompt.user(&[("pairs", shown.trim_end())]),
        version: prompt.version().to_owned(),
        schema: Some(object(fields)),
        graded: false,
        room: 40,
    }
}

/// Descriptions from the examples, in their order; `None` where nothing fit to print came back.
///
/// # Errors
/// The model's.
pub fn descriptions(
    model: &mut ChatModel,
    asks: &[Ask],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Option<String>>, LanguageError> {
    let replies =
        model.ask(asks, &|_, reply| answers::description(&reply.text).is_some().into(), progress)?;
    Ok(replies.iter().map(|reply| answers::description(&reply.text)).collect())
}

/// Descriptions that one request shortens.
const AT_ONCE: usize = 16;

/// The requests that shorten these descriptions, [`AT_ONCE`] each.
pub fn shortening(prompt: &Prompt, descriptions: &[String]) -> Vec<Ask> {
    descriptions
        .chunks(AT_ONCE)
        .map(|part| {
            let mut listed = Map::new();
            let mut fields = Map::new();
            for (number, description) in part.iter().enumerate() {
                let name = format!("d{}", number + 1);
                listed.insert(name.clone(), description.as_str().into());
                fields.insert(name, json!({ "type": "string" }));
            }
            let listed = serde_json::to_string_pretty(&Value::Object(listed)).unwrap_or_default();
            Ask {
                purpose: "shorten",
                system: prompt.system().to_owned(),
                user: prompt.user(&[("descriptions", &listed)]),
                version: prompt.version().to_owned(),
                schema: Some(object(fields)),
                graded: false,
                room: 20 * part.len(),
            }
        })
        .collect()
}

/// Short forms of the descriptions, in their order; the description's own first words where none came back.
///
/// # Errors
/// The model's.
pub fn shorten(
    model: &mut ChatModel,
    prompt: &Prompt,
    descriptions: &[String],
) -> Result<Vec<String>, LanguageError> {
    let asks = shortening(prompt, descriptions);
    let named = |text: &str| answers::field(text, "d1").is_some();
    let replies = model.ask(&asks, &|_, reply| named(&reply.text).into(), &mut |_| {})?;
    let mut short = Vec::with_capacity(descriptions.len());
    for (part, reply) in descriptions.chunks(AT_ONCE).zip(&replies) {
        for (number, description) in part.iter().enumerate() {
            let written = answers::field(&reply.text, &format!("d{}", number + 1))
                .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
                .map(|text| text.trim_matches(['"', '.', ' ']).to_owned())
                .filter(|text| {
                    !text.is_empty() && text.chars().count() <= 60 && !text.contains(char::is_control)
                });
            short.push(
                written.unwrap_or_else(|| description.split(' ').take(6).collect::<Vec<_>>().join(" ")),
            );
        }
    }
    Ok(short)
}
