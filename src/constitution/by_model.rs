//! The third executor: a language model that sees the constitution, one pair at a time, and nothing else.
//!
//! How well it reconstructs held-out labels says whether the *words* suffice, where the offline executors
//! say whether the features do. It is asked about a sample of the held-out pairs, each in both orders, and
//! the offline executors are measured again on those same pairs, so that the distances are paired. What it
//! could not read in one order or both is missing, for everybody.

use std::collections::{HashMap, HashSet};

use super::executed::ByModel;
use super::execution::{ByModelError, Execution, Progress};
use super::executor::{Executor, Linear, Vote, agrees, difference, mean};
use super::icai::{self};
use super::reconstruct::Reconstruction;
use super::select::Tested;
use crate::context::Cancel;
use crate::describe::Described;
use crate::describe::judging::Reading;
use crate::describe::user_concepts;
use crate::effects::Sample;
use crate::effects::table::LabelledSample;
use crate::llm::chat::{ChatModel, LanguageError};
use crate::llm::prompts::Prompts;
use crate::llm::spending::UsageEstimate;
use crate::llm::which::{Choice, Which};
use crate::pairs::{Pairs, Split};
use crate::rng;

/// What a model is asked, known before it is asked anything.
pub struct Asking<'a> {
    pairs: &'a Pairs,
    sides: &'a [Split],
    prompts: &'a Prompts,
    pairs_per_call: usize,
    /// The held-out pairs.
    asked: Vec<u32>,
    /// What the baseline is made from.
    icai: Option<icai::Draw>,
}

impl<'a> Asking<'a> {
    /// Draws `count` of the held-out pairs that have a label, and what the baseline needs, by the run's seed.
    pub fn new(
        pairs: &'a Pairs,
        sides: &'a [Split],
        prompts: &'a Prompts,
        count: usize,
        pairs_per_call: usize,
        with_icai: bool,
        run_seed: u64,
    ) -> Self {
        let mut held_out = LabelledSample::on(pairs, sides, &[Split::Test]).sample.row().to_vec();
        held_out.sort_unstable();
        held_out.dedup();
        Self {
            pairs,
            sides,
            prompts,
            pairs_per_call,
            asked: rng::sample(run_seed, "pairs for the model executor", &held_out, count),
            icai: with_icai.then(|| icai::Draw::new(pairs, sides, run_seed)),
        }
    }

    /// What it costs where nothing is cached, by purpose. The calls are exact; where the baseline keeps no
    /// rule at all, it has none to execute, and those calls fall away.
    pub fn forecast(&self, found: &Reconstruction) -> Vec<(&'static str, UsageEstimate)> {
        if found.principles.is_empty() {
            return Vec::new();
        }
        let statements = statements(found);
        let mut bill = vec![(EXECUTE, self.bill(&statements, EXECUTE))];
        if let Some(draw) = &self.icai {
            bill.extend(draw.forecast(self.pairs, self.prompts, self.pairs_per_call));
            let blank = vec![format!("Prefer the response that {}", icai::BLANK); statements.len()];
            bill.push((icai::EXECUTE, self.bill(&blank, icai::EXECUTE)));
        }
        bill
    }

    fn bill(&self, statements: &[String], purpose: &'static str) -> UsageEstimate {
        let list = listed(statements);
        let prompt = self.prompts.get("execute");
        self.which(&prompt, &[("constitution", &list)], purpose).forecast(&self.asked)
    }

    fn which<'b>(
        &'b self,
        prompt: &'b crate::llm::prompts::Prompt,
        values: &'b [(&'b str, &'b str)],
        purpose: &'static str,
    ) -> Which<'b> {
        Which { pairs: self.pairs, prompt, values, purpose, pairs_per_call: self.pairs_per_call }
    }

    /// Has the model apply `statements`.
    fn execute(
        &self,
        statements: &[String],
        purpose: &'static str,
        model: &mut ChatModel,
        progress: &mut Progress<'_>,
    ) -> Result<(Execution, Vec<Choice>), LanguageError> {
        let list = listed(statements);
        let prompt = self.prompts.get("execute");
        let values = [("constitution", list.as_str())];
        let which = self.which(&prompt, &values, purpose);
        let calls = which.forecast(&self.asked).calls;
        progress(purpose, 0, calls);
        let choices = which.ask(model, &self.asked, &mut |done| progress(purpose, done as u64, calls))?;
        Ok((self.measure(calls, &choices), choices))
    }

    /// The labels of some pairs, with the clusters of their intervals.
    fn labels(&self, read: &HashSet<u32>) -> Sample {
        let side = |(pair, side): (u32, &Split)| if read.contains(&pair) { *side } else { Split::Train };
        let sides: Vec<Split> = (0u32..).zip(self.sides).map(side).collect();
        LabelledSample::on(self.pairs, &sides, &[Split::Test]).sample
    }

    fn measure(&self, calls: u64, choices: &[Choice]) -> Execution {
        let readings: Vec<Reading> = choices
            .iter()
            .filter_map(|choice| {
                let (a_first, b_first) = choice.a_first.zip(choice.b_first)?;
                Some(Reading { pair: choice.pair, a_first, b_first })
            })
            .collect();
        let values = values(choices);
        let sample = self.labels(&values.keys().copied().collect());
        let right = agrees(&decisions(&values, &sample), sample.y());
        let even = values.values().filter(|value| **value == 0.0).count();
        Execution {
            calls,
            pairs: values.len(),
            missing: choices.len() - values.len(),
            labels: sample.len(),
            agreement: (!sample.is_empty()).then(|| mean(&right, sample.clusters(), 0.0)),
            undecided: even as f64 / values.len().max(1) as f64,
            same_in_both_orders: user_concepts::with_itself(&readings).same,
            position_bias: user_concepts::position_bias(&readings),
        }
    }

    /// Asks the model, and measures the offline executors on the same labels. An empty constitution is not worth
    /// asking about.
    ///
    /// # Errors
    /// The model's; its answers so far are in the cache.
    pub fn ask(
        &self,
        found: &Reconstruction,
        described: &Described,
        model: &mut ChatModel,
        progress: &mut Progress<'_>,
    ) -> Result<ByModel, ByModelError> {
        let ours = statements(found);
        let (list, choices) = self.execute(&ours, EXECUTE, model, progress)?;
        let ours_chose = values(&choices);
        let sample = self.labels(&ours_chose.keys().copied().collect());
        let mut by_model = ByModel {
            model: model.name().to_owned(),
            prompt: self.prompts.get("execute").version().to_owned(),
            asked: self.asked.len(),
            list,
            ..ByModel::default()
        };
        if !sample.is_empty() {
            let tested = Tested::new(described, &Cancel::default());
            let explore =
                LabelledSample::on(self.pairs, self.sides, &[Split::Train, Split::Validation]).sample;
            let right = agrees(&decisions(&ours_chose, &sample), sample.y());
            let against = |executor: &dyn Executor| {
                let theirs = agrees(&executor.decide(&found.articles, &sample), sample.y());
                let clusters = sample.clusters();
                (Some(mean(&theirs, clusters, 0.0)), Some(difference(&right, &theirs, clusters)))
            };
            (by_model.linear, by_model.above_linear) =
                against(&Linear { columns: &tested.columns, explore: &explore });
            (by_model.vote, by_model.above_vote) = against(&Vote { columns: &tested.columns });
        }
        if let Some(draw) = &self.icai {
            let mut icai =
                draw.rules(self.pairs, self.prompts, self.pairs_per_call, ours.len(), model, progress)?;
            let theirs = icai.statements();
            if !theirs.is_empty() {
                let (execution, choices) = self.execute(&theirs, icai::EXECUTE, model, progress)?;
                let they_chose = values(&choices);
                let both = ours_chose.keys().copied().filter(|pair| they_chose.contains_key(pair)).collect();
                let sample = self.labels(&both);
                if !sample.is_empty() {
                    let right = |chose| agrees(&decisions(chose, &sample), sample.y());
                    icai.ours_above =
                        Some(difference(&right(&ours_chose), &right(&they_chose), sample.clusters()));
                }
                icai.list = Some(execution);
            }
            by_model.icai = Some(icai);
        }
        Ok(by_model)
    }
}

/// What the constitution's answers are for, in the list of what was spent.
const EXECUTE: &str = "execute";

/// What stands in the constitution, without what was measured of it.
fn statements(found: &Reconstruction) -> Vec<String> {
    found.principles.iter().map(|principle| principle.statement.clone()).collect()
}

/// Numbered lines.
fn listed(statements: &[String]) -> String {
    let line = |(at, words): (usize, &String)| format!("{}. {}.", at + 1, words.trim_end_matches('.'));
    statements.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// What was chosen in the pairs that were read in both orders, from −1 (B) to 1 (A).
fn values(choices: &[Choice]) -> HashMap<u32, f64> {
    choices.iter().filter_map(|choice| Some((choice.pair, f64::from(choice.value()?)))).collect()
}

/// The same as confidence that A is preferred, for every label; ½ where it stays even.
fn decisions(values: &HashMap<u32, f64>, sample: &Sample) -> Vec<f64> {
    let confidence = |pair: &u32| 0.5 + values.get(pair).copied().unwrap_or(0.0) / 2.0;
    sample.row().iter().map(confidence).collect()
}
