//! Which of two responses: asked of whole pairs, several in a call, each in both orders.
//!
//! As everywhere, the two answers are averaged, so that a taste for the first place cancels, and a pair that
//! lacks one of them is missing, not a tie.

use serde_json::{Map, json};

use super::answers;
use super::chat::{Ask, ChatModel, LanguageError, Legible, Reply, object};
use super::excerpt;
use super::prompts::Prompt;
use super::spending::UsageEstimate;
use super::tokens;
use crate::pairs::Pairs;

/// A question about pairs whose answer is one of the two responses, or neither.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    /// The pairs.
    pub pairs: &'a Pairs,
    /// What the model is told; `{{pairs}}` and `{{form}}` are filled in.
    pub prompt: &'a Prompt,
    /// What else is filled in: its place and the text.
    pub values: &'a [(&'a str, &'a str)],
    /// What the answers are for, in the list of what was spent.
    pub purpose: &'static str,
    /// Pairs in one call.
    pub pairs_per_call: usize,
}

/// What a model chose in a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The pair.
    pub pair: u32,
    /// With A first: 1 for A, −1 for B, 0 for neither, between where the model is graded; `None` where nothing
    /// could be read.
    pub a_first: Option<f32>,
    /// With B first: 1 for *B*, −1 for A.
    pub b_first: Option<f32>,
}

impl Choice {
    /// The mean of both orders: from −1 (B) over 0 (neither) to 1 (A); `None` where one is missing.
    pub fn value(&self) -> Option<f32> {
        self.a_first.zip(self.b_first).map(|(a_first, b_first)| (a_first - b_first) / 2.0)
    }
}

/// A request, with the names of its pairs.
struct Rendered {
    ask: Ask,
    names: Vec<String>,
}

impl Which<'_> {
    /// The requests about `pairs`: two for each part, A first and B first.
    fn render(&self, pairs: &[u32]) -> Vec<Rendered> {
        let parts = pairs.chunks(self.pairs_per_call.max(1));
        parts.flat_map(|part| [false, true].map(|swapped| self.one(part, swapped))).collect()
    }

    fn one(&self, pairs: &[u32], swapped: bool) -> Rendered {
        self.some(pairs, swapped, None)
    }

    /// A call, or the part of it about one of its pairs, under the same names.
    fn some(&self, pairs: &[u32], swapped: bool, only: Option<usize>) -> Rendered {
        let texts: Vec<[String; 3]> =
            pairs.iter().map(|&pair| excerpt::texts(self.pairs, pair, swapped)).collect();
        let filled = self.values.iter().map(|(_, text)| *text);
        let mark = excerpt::mark(texts.iter().flatten().map(String::as_str).chain(filled));
        let named = (1..=texts.len()).map(|number| format!("pair_{mark}_{number}"));
        let wanted = |at: usize| only.is_none_or(|only| only == at);
        let (names, texts): (Vec<String>, Vec<[String; 3]>) =
            named.zip(texts).enumerate().filter(|(at, _)| wanted(*at)).map(|(_, pair)| pair).unzip();
        let shown: Vec<String> =
            names.iter().zip(&texts).map(|(name, texts)| excerpt::named_pair(name, &mark, texts)).collect();
        let blanks: Vec<String> = names.iter().map(|name| format!("\"{name}\": \"?\"")).collect();
        let form = format!("{{{}}}", blanks.join(", "));
        let shown = shown.join("\n");
        let mut values = self.values.to_vec();
        values.extend([("pairs", shown.trim_end()), ("form", form.as_str())]);
        let choice = || json!({ "type": "string", "enum": ["A", "B", "tie"] });
        let schema: Map<String, _> = names.iter().map(|name| (name.clone(), choice())).collect();
        let ask = Ask {
            purpose: self.purpose,
            system: self.prompt.system().to_owned(),
            user: self.prompt.user(&values),
            version: self.prompt.version().to_owned(),
            schema: Some(object(schema)),
            graded: true,
            room: 12 * names.len(),
        };
        Rendered { ask, names }
    }

    /// What asking about `pairs` costs where nothing is cached.
    pub fn forecast(&self, pairs: &[u32]) -> UsageEstimate {
        let rendered = self.render(pairs);
        UsageEstimate::of(rendered.iter().map(|rendered| {
            let answer = rendered.names.iter().map(|name| tokens::estimate(name) + 6).sum::<u64>() + 2;
            (&rendered.ask, answer)
        }))
    }

    /// What the model chooses in `pairs`, in their order. `progress` hears how many calls are done.
    ///
    /// # Errors
    /// The model's; its answers so far are in the cache.
    pub fn ask(
        &self,
        model: &mut ChatModel,
        pairs: &[u32],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Choice>, LanguageError> {
        let rendered = self.render(pairs);
        let asks: Vec<Ask> = rendered.iter().map(|rendered| rendered.ask.clone()).collect();
        let read = |index: usize, reply: &Reply| -> Vec<Option<f32>> {
            let names: Vec<&str> = rendered[index].names.iter().map(String::as_str).collect();
            let found = answers::choices(&reply.text, &names);
            found.into_iter().map(|said| said.map(|(said, at)| reply.grade(said, at))).collect()
        };
        let readable = |index: usize, part: Option<usize>, reply: &Reply| {
            let read = read(index, reply);
            let of_part = |(at, _): &(usize, &Option<f32>)| part.is_none_or(|part| part == *at);
            Legible::of(read.iter().enumerate().filter(of_part).map(|(_, said)| said.is_some()))
        };
        let size = self.pairs_per_call.max(1);
        // Two requests a part: A first and B first.
        let parts = |index: usize| -> Vec<Ask> {
            let part = pairs.chunks(size).nth(index / 2).unwrap_or_default();
            (0..part.len()).map(|at| self.some(part, index % 2 == 1, Some(at)).ask).collect()
        };
        let replies = model.ask_in_parts(&asks, &parts, &readable, progress)?;
        let read: Vec<Vec<Option<f32>>> =
            replies.iter().enumerate().map(|(index, reply)| read(index, reply)).collect();
        let mut choices = Vec::with_capacity(pairs.len());
        for (part, both) in pairs.chunks(self.pairs_per_call.max(1)).zip(read.chunks(2)) {
            for (place, &pair) in part.iter().enumerate() {
                let of = |order: usize| both.get(order).and_then(|read| read.get(place)).copied().flatten();
                choices.push(Choice { pair, a_first: of(0), b_first: of(1) });
            }
        }
        Ok(choices)
    }
}
