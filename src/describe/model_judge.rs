//! A language model as judge: calls as prompts, answers as numbers.

use serde_json::{Map, json};

use super::judging::{Answers, Call, Judge, Question};
use crate::language::answers::{self, Said};
use crate::language::chat::{Ask, ChatModel, LanguageError, Reply, object};
use crate::language::excerpt::{self, Keep};
use crate::language::prompts::Prompt;
use crate::language::tokens;
use crate::pairs::Pairs;

/// A chat model that judges pairs.
pub struct ModelJudge<'a> {
    /// The model.
    pub model: &'a mut ChatModel,
    /// The pairs that calls name.
    pub pairs: &'a Pairs,
    /// What it is told.
    pub prompt: &'a Prompt,
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

fn render(pairs: &Pairs, prompt: &Prompt, call: &Call, statements: &[String]) -> Rendered {
    let texts: Vec<[String; 3]> = call
        .questions
        .iter()
        .map(|question| {
            let pair = question.pair as usize;
            let a = excerpt::cut(pairs.response_a.get(pair), excerpt::WORDS, Keep::Start);
            let b = excerpt::cut(pairs.response_b.get(pair), excerpt::WORDS, Keep::Start);
            let (first, second) = if call.swapped { (b, a) } else { (a, b) };
            [excerpt::cut(pairs.prompt.get(pair), excerpt::WORDS, Keep::End), first, second]
        })
        .collect();
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
    for (at, ([question, first, second], statements)) in texts.iter().zip(&asked).enumerate() {
        let name = format!("pair_{mark}_{}", at + 1);
        shown.push_str(&format!(
            "# {name}\n{}\n{}\n{}\nStatements about {name} (\"The response …\"):\n",
            excerpt::fence("PROMPT", &mark, question),
            excerpt::fence("RESPONSE A", &mark, first),
            excerpt::fence("RESPONSE B", &mark, second),
        ));
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
        purpose: "judge",
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
        let rendered: Vec<Rendered> =
            calls.iter().map(|call| render(self.pairs, self.prompt, call, statements)).collect();
        let asks: Vec<Ask> = rendered.iter().map(|rendered| rendered.ask.clone()).collect();
        let readable = |index: usize, reply: &Reply| {
            answers::verdicts(&reply.text, &rendered[index].names).iter().flatten().any(Option::is_some)
        };
        let replies = self.model.ask(&asks, &readable, self.progress)?;
        let read = |(reply, rendered): (&Reply, &Rendered)| -> Answers {
            answers::verdicts(&reply.text, &rendered.names)
                .into_iter()
                .map(|pair| {
                    pair.into_iter().map(|said| said.map(|(said, at)| grade(reply, said, at))).collect()
                })
                .collect()
        };
        Ok(replies.iter().zip(&rendered).map(read).collect())
    }
}

/// How sure the model was of a verdict that begins at byte `at` of its text: P(A) − P(B) where its tokens'
/// probabilities are known, else the plain verdict.
fn grade(reply: &Reply, said: Said, at: usize) -> f32 {
    let mut end = 0;
    for (token, top) in &reply.tokens {
        let start = end;
        end += token.len();
        if end <= at {
            continue;
        }
        // The tokens are the text only where both say the same.
        if reply.text.get(start..end) != Some(token.as_str()) {
            return said.value();
        }
        let mut chance = [0.0_f64; 3];
        for (word, logprob) in top {
            let letters: String =
                word.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
            let place = match letters.as_str() {
                "a" => 0,
                "b" => 1,
                "t" | "ti" | "tie" | "neither" => 2,
                _ => continue,
            };
            chance[place] += logprob.exp();
        }
        let total: f64 = chance.iter().sum();
        return if total > 0.5 { ((chance[0] - chance[1]) / total) as f32 } else { said.value() };
    }
    said.value()
}

/// Counts what a judge would be asked, without asking: for the bill.
#[derive(Debug)]
pub struct CountingJudge<'a> {
    /// The pairs that calls name.
    pub pairs: &'a Pairs,
    /// What the judge is told.
    pub prompt: &'a Prompt,
    /// Calls.
    pub calls: u64,
    /// Tokens that would be sent, estimated.
    pub tokens_in: u64,
    /// Tokens that would be answered, estimated.
    pub tokens_out: u64,
}

impl Judge for CountingJudge<'_> {
    type Error = std::convert::Infallible;

    fn answer(&mut self, calls: &[Call], statements: &[String]) -> Result<Vec<Answers>, Self::Error> {
        use rayon::prelude::*;
        let (pairs, prompt) = (self.pairs, self.prompt);
        let counted: Vec<(u64, u64)> = calls
            .par_iter()
            .map(|call| {
                let Rendered { ask, names } = render(pairs, prompt, call, statements);
                // A few for what frames the messages.
                let sent = tokens::estimate(&ask.system) + tokens::estimate(&ask.user) + 12;
                let form: u64 =
                    names.iter().map(|(name, count)| tokens::estimate(name) + 4 + 7 * *count as u64).sum();
                (sent, form)
            })
            .collect();
        self.calls += calls.len() as u64;
        self.tokens_in += counted.iter().map(|(sent, _)| sent).sum::<u64>();
        self.tokens_out += counted.iter().map(|(_, answered)| answered).sum::<u64>();
        // Nothing is known of any statement: the first ones go on, as many as would in truth.
        Ok(calls
            .iter()
            .map(|call| call.questions.iter().map(|q| vec![None; q.statements.len()]).collect())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_graded_by_its_tokens() {
        let text = "{\"p\": {\"s1\": \"A\"}}";
        let at = text.find("A\"").unwrap();
        let tokens = |word: &str, top: Vec<(&str, f64)>| {
            vec![
                (text[..at].to_owned(), vec![]),
                (word.to_owned(), top.into_iter().map(|(t, p)| (t.to_owned(), p.ln())).collect()),
                ("\"}}".to_owned(), vec![]),
            ]
        };
        let reply = |tokens| Reply { text: text.into(), tokens, usage: None };
        let sure = reply(tokens("A", vec![("A", 0.7), ("B", 0.2), ("tie", 0.1)]));
        assert!((grade(&sure, Said::A, at) - 0.5).abs() < 1e-6);
        let odd = reply(tokens("X", vec![("A", 0.7)]));
        assert_eq!(grade(&odd, Said::A, at), 1.0, "tokens that are not the text are not believed");
        let other = reply(tokens("A", vec![("zebra", 0.9), ("A", 0.05)]));
        assert_eq!(grade(&other, Said::A, at), 1.0);
        assert_eq!(grade(&reply(vec![]), Said::Tie, at), 0.0);
    }
}
