//! A language model as judge: calls as prompts, answers as numbers.

use serde_json::{Map, json};

use super::judging::{Answers, Call, Judge, Question};
use crate::llm::answers;
use crate::llm::chat::{Ask, ChatModel, LanguageError, Legible, Reply, object};
use crate::llm::excerpt;
use crate::llm::prompts::Prompt;
use crate::llm::spending::UsageEstimate;
use crate::llm::tokens;
use crate::pairs::Pairs;

/// What statements are called in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    /// What its answers are for, in the list of what was spent.
    pub purpose: &'static str,
    /// What stands before a pair's name, above its statements.
    pub about: &'static str,
    /// What each statement completes.
    pub lead: &'static str,
}

impl Wording {
    /// Descriptions of features, and concepts of the user's own.
    pub const DESCRIPTIONS: Self =
        Self { purpose: "judge", about: "Statements about", lead: "\"The response …\"" };
    /// Rules that say which response to prefer.
    pub const RULES: Self =
        Self { purpose: "vote", about: "Rules for", lead: "\"Prefer the response that …\"" };
}

/// A chat model that judges pairs.
pub struct ModelJudge<'a> {
    /// The model.
    pub model: &'a mut ChatModel,
    /// The pairs that calls name.
    pub pairs: &'a Pairs,
    /// What it is told.
    pub prompt: &'a Prompt,
    /// What the statements are.
    pub wording: Wording,
    /// Hears how many calls of the present batch are done.
    pub progress: &'a mut dyn FnMut(usize),
}

/// Statements about a pair beyond which the form of the answer is shown in part.
const MANY: usize = 6;

/// A call as a request, with the names of its pairs and their numbers of statements.
struct Rendered {
    ask: Ask,
    names: Vec<(String, usize)>,
}

fn render(pairs: &Pairs, prompt: &Prompt, wording: Wording, call: &Call, statements: &[String]) -> Rendered {
    render_some(pairs, prompt, wording, call, statements, None)
}

/// A call, or the part of it about one pair: under the same names, so that answers to all parts read like one.
fn render_some(
    pairs: &Pairs,
    prompt: &Prompt,
    wording: Wording,
    call: &Call,
    statements: &[String],
    only: Option<usize>,
) -> Rendered {
    let texts: Vec<[String; 3]> =
        call.questions.iter().map(|question| excerpt::texts(pairs, question.pair, call.swapped)).collect();
    let words = |question: &Question| -> Vec<&str> {
        question.statements.iter().map(|&s| statements.get(s as usize).map_or("", String::as_str)).collect()
    };
    let asked: Vec<Vec<&str>> = call.questions.iter().map(words).collect();
    let all = texts.iter().flatten().map(String::as_str).chain(asked.iter().flatten().copied());
    let mark = excerpt::mark(all);

    let mut shown = String::new();
    let mut form = Vec::new();
    let mut schema = Map::new();
    let mut names = Vec::new();
    for (at, (texts, statements)) in texts.iter().zip(&asked).enumerate() {
        if only.is_some_and(|only| only != at) {
            continue;
        }
        let name = format!("pair_{mark}_{}", at + 1);
        shown.push_str(&excerpt::named_pair(&name, &mark, texts));
        shown.push_str(&format!("{} {name} ({}):\n", wording.about, wording.lead));
        let mut blanks = Vec::new();
        let mut fields = Map::new();
        for (number, statement) in statements.iter().enumerate() {
            let id = format!("s{}", number + 1);
            shown.push_str(&format!("{id}: {statement}\n"));
            // Of many, the first two and the last say what all look like.
            if statements.len() <= MANY || number < 2 || number + 1 == statements.len() {
                blanks.push(format!("\"{id}\": \"?\""));
            }
            fields.insert(id, json!({ "type": "string", "enum": ["A", "B", "tie"] }));
        }
        shown.push('\n');
        if statements.len() > MANY {
            blanks.insert(2, "…".to_owned());
        }
        form.push(format!("\"{name}\": {{{}}}", blanks.join(", ")));
        schema.insert(name.clone(), object(fields));
        names.push((name, statements.len()));
    }
    let user = prompt.user(&[("pairs", shown.trim_end()), ("form", &format!("{{{}}}", form.join(", ")))]);
    let ask = Ask {
        purpose: wording.purpose,
        system: prompt.system().to_owned(),
        user,
        version: prompt.version().to_owned(),
        schema: Some(object(schema)),
        graded: true,
        room: names.iter().map(|(_, count)| 12 + 6 * count).sum(),
    };
    Rendered { ask, names }
}

impl Judge for ModelJudge<'_> {
    type Error = LanguageError;

    fn answer(&mut self, calls: &[Call], statements: &[String]) -> Result<Vec<Answers>, LanguageError> {
        let rendered: Vec<Rendered> = calls
            .iter()
            .map(|call| render(self.pairs, self.prompt, self.wording, call, statements))
            .collect();
        let asks: Vec<Ask> = rendered.iter().map(|rendered| rendered.ask.clone()).collect();
        let readable = |index: usize, part: Option<usize>, reply: &Reply| {
            let verdicts = answers::verdicts(&reply.text, &rendered[index].names);
            let of_part = verdicts.iter().enumerate().filter(|(at, _)| part.is_none_or(|part| part == *at));
            Legible::of(of_part.flat_map(|(_, said)| said).map(Option::is_some))
        };
        let (pairs, prompt, wording) = (self.pairs, self.prompt, self.wording);
        let parts = |index: usize| -> Vec<Ask> {
            let of = |at| render_some(pairs, prompt, wording, &calls[index], statements, Some(at)).ask;
            (0..calls[index].questions.len()).map(of).collect()
        };
        let replies = self.model.ask_in_parts(&asks, &parts, &readable, self.progress)?;
        let read = |(reply, rendered): (&Reply, &Rendered)| -> Answers {
            answers::verdicts(&reply.text, &rendered.names)
                .into_iter()
                .map(|pair| {
                    pair.into_iter().map(|said| said.map(|(said, at)| reply.grade(said, at))).collect()
                })
                .collect()
        };
        Ok(replies.iter().zip(&rendered).map(read).collect())
    }
}

/// Counts what a judge would be asked, without asking: for the bill.
#[derive(Debug)]
pub struct CountingJudge<'a> {
    /// The pairs that calls name.
    pub pairs: &'a Pairs,
    /// What the judge is told.
    pub prompt: &'a Prompt,
    /// What the statements are.
    pub wording: Wording,
    /// What was counted so far.
    pub forecast: UsageEstimate,
}

impl<'a> CountingJudge<'a> {
    /// With nothing counted yet.
    pub fn new(pairs: &'a Pairs, prompt: &'a Prompt, wording: Wording) -> Self {
        Self { pairs, prompt, wording, forecast: UsageEstimate::default() }
    }
}

impl Judge for CountingJudge<'_> {
    type Error = std::convert::Infallible;

    fn answer(&mut self, calls: &[Call], statements: &[String]) -> Result<Vec<Answers>, Self::Error> {
        use rayon::prelude::*;
        let (pairs, prompt, wording) = (self.pairs, self.prompt, self.wording);
        let counted: Vec<(u64, u64)> = calls
            .par_iter()
            .map(|call| {
                let Rendered { ask, names } = render(pairs, prompt, wording, call, statements);
                // A few for what frames the messages.
                let sent = tokens::estimate(&ask.system) + tokens::estimate(&ask.user) + 12;
                let form: u64 =
                    names.iter().map(|(name, count)| tokens::estimate(name) + 4 + 7 * *count as u64).sum();
                (sent, form)
            })
            .collect();
        self.forecast.calls += calls.len() as u64;
        self.forecast.tokens_in += counted.iter().map(|(sent, _)| sent).sum::<u64>();
        self.forecast.tokens_out += counted.iter().map(|(_, answered)| answered).sum::<u64>();
        // Nothing is known of any statement: the first ones go on, as many as would in truth.
        Ok(calls
            .iter()
            .map(|call| call.questions.iter().map(|q| vec![None; q.statements.len()]).collect())
            .collect())
    }
}
