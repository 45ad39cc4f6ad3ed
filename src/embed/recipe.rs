//! What of a pair is embedded.

use std::borrow::Cow;

use super::{EmbedError, Embedder};
use crate::config::What;

/// The template of each way.
fn template_of(what: What) -> &'static str {
    match what {
        What::Response => "{response}",
        What::PromptResponse => "User: {prompt}\nAssistant: {response}",
        What::Instructed => {
            "Represent this user-assistant exchange for predicting which assistant response humans would prefer, \
             focusing on helpfulness, correctness, harmlessness, relevance, and style.\n\
             User: {prompt}\nAssistant: {response}"
        }
    }
}

/// A template and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    template: String,
    /// What stands before, between and after.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Prompt,
    Response,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { template: template_of(What::Response).to_owned(), parts: vec![Part::Response] }
    }
}

impl Recipe {
    /// The template of `what`, or the user's own.
    ///
    /// # Errors
    /// [`EmbedError::Template`] for one without a response.
    pub fn new(what: What, own: Option<&str>) -> Result<Self, EmbedError> {
        let template = own.unwrap_or(template_of(what));
        let refused =
            |message| Err(EmbedError::Template { template: template.chars().take(200).collect(), message });
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let name = ["{prompt}", "{response}"].into_iter().find(|name| rest[open..].starts_with(name));
            // Any other brace stands for itself: templates may hold code.
            let end = open + name.map_or(1, str::len);
            let text = if name.is_some() { &rest[..open] } else { &rest[..end] };
            match parts.last_mut() {
                Some(Part::Text(before)) => before.push_str(text),
                _ if text.is_empty() => {}
                _ => parts.push(Part::Text(text.to_owned())),
            }
            match name {
                Some("{prompt}") => parts.push(Part::Prompt),
                Some(_) => parts.push(Part::Response),
                None => {}
            }
            rest = &rest[end..];
        }
        match parts.last_mut() {
            Some(Part::Text(before)) => before.push_str(rest),
            _ if rest.is_empty() => {}
            _ => parts.push(Part::Text(rest.to_owned())),
        }
        match parts.iter().filter(|part| **part == Part::Response).count() {
            0 => return refused("it has no {response}, so both sides of a pair would be the same text"),
            1 => {}
            _ => return refused("it has {response} more than once"),
        }
        if parts.iter().filter(|part| **part == Part::Prompt).count() > 1 {
            return refused("it has {prompt} more than once");
        }
        Ok(Self { template: template.to_owned(), parts })
    }

    /// The template as it is.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether the prompt is in it.
    pub fn has_prompt(&self) -> bool {
        self.parts.contains(&Part::Prompt)
    }

    /// The text to embed.
    ///
    /// Where the embedder reads only so many tokens, a long prompt loses its beginning: the response, which is what the
    /// two sides differ in, keeps at least half of the room. The response itself is cut by the embedder.
    pub fn render<'a>(&self, prompt: &str, response: &'a str, embedder: &dyn Embedder) -> Cow<'a, str> {
        if self.parts == [Part::Response] {
            return Cow::Borrowed(response);
        }
        let prompt = if self.has_prompt() { self.fitting(prompt, response, embedder) } else { "" };
        let mut text = String::with_capacity(self.template.len() + prompt.len() + response.len());
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(own) => own,
                Part::Prompt => prompt,
                Part::Response => response,
            });
        }
        Cow::Owned(text)
    }

    /// As much of the prompt's end as there is room for.
    fn fitting<'a>(&self, prompt: &'a str, response: &str, embedder: &dyn Embedder) -> &'a str {
        let Some(most) = embedder.max_tokens() else { return prompt };
        // Surely short enough: a token has a byte at least.
        if self.template.len() + prompt.len() + response.len() <= most {
            return prompt;
        }
        let own: usize = self
            .parts
            .iter()
            .map(|part| if let Part::Text(text) = part { embedder.tokens(text) } else { 0 })
            .sum();
        let room = most.saturating_sub(own);
        let response = embedder.tokens(response).min(room.div_ceil(2));
        let left = room.saturating_sub(response);
        if embedder.tokens(prompt) <= left { prompt } else { embedder.tail(prompt, left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::BundledEmbedder;

    #[test]
    fn templates_are_filled_and_other_braces_stand() {
        let boxed = BundledEmbedder::load().unwrap();
        let recipe = Recipe::new(What::Response, Some("{x} Q: {prompt} {{A}}: {response}!")).unwrap();
        assert_eq!(recipe.render("why", "{prompt}", &boxed), "{x} Q: why {{A}}: {prompt}!");
        let alone = Recipe::new(What::Response, None).unwrap();
        assert!(matches!(alone.render("why", "because", &boxed), Cow::Borrowed("because")));
        assert!(
            Recipe::new(What::Instructed, None)
                .unwrap()
                .render("why", "because", &boxed)
                .ends_with("User: why\nAssistant: because")
        );
        for wrong in ["{prompt}", "", "{response} {response}", "{prompt}{prompt}{response}"] {
            assert!(Recipe::new(What::Response, Some(wrong)).is_err(), "{wrong}");
        }
    }

    /// Reads ten tokens, words for tokens.
    struct Ten;

    impl Embedder for Ten {
        fn identity(&self) -> String {
            "ten".into()
        }
        fn dimensions(&self) -> Option<usize> {
            None
        }
        fn embed(&self, _: &[&str]) -> Result<crate::matrix::Matrix, EmbedError> {
            Ok(Default::default())
        }
        fn cached(&self) -> bool {
            false
        }
        fn max_tokens(&self) -> Option<usize> {
            Some(10)
        }
        fn tokens(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }
        fn tail<'a>(&self, text: &'a str, tokens: usize) -> &'a str {
            let words = text.split_whitespace().count();
            let mut rest = text;
            for _ in tokens..words {
                rest = rest.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
            }
            rest
        }
    }

    #[test]
    fn a_long_prompt_leaves_half_of_the_room_to_the_response() {
        let recipe = Recipe::new(What::Response, Some("user {prompt} says {response}")).unwrap();
        let render = |prompt: &str, response: &str| recipe.render(prompt, response, &Ten).into_owned();
        // Eight tokens of room: four for the response if it needs them.
        assert_eq!(render("1 2 3 4 5 6 7 8 9", "a b c d e f g h"), "user 6 7 8 9 says a b c d e f g h");
        assert_eq!(render("1 2 3 4 5 6 7 8 9", "a b"), "user 4 5 6 7 8 9 says a b");
        assert_eq!(render("1 2", "a b c d e f g h"), "user 1 2 says a b c d e f g h");
    }
}
