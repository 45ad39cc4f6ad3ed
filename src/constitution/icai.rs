//! The baseline of Inverse Constitutional AI (METHOD §6), with whatever language model is at hand: rules are
//! proposed for single pairs, clustered, one of each cluster is voted on, and what holds is kept.
//!
//! Ours is a sketch of it, made so that its bill is known before the first call: a modest sample of pairs, at
//! most [`CLUSTERS`] clusters, and all rules in every call of the vote, so that the number of calls does not
//! depend on how many there are. Every vote is asked in both orders. Labels of `train` and `describe` pairs
//! only; the list is executed as the constitution is, on the same held-out pairs.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::execution::{ByModelError, Execution, Progress};
use crate::describe::judging::CLEAR;
use crate::describe::model_judge::{CountingJudge, ModelJudge, Wording};
use crate::describe::user_concepts::{self, Readings};
use crate::effects::Estimate;
use crate::effects::table::LabelledSample;
use crate::embed::{BundledEmbedder, Embedder};
use crate::llm::answers;
use crate::llm::chat::{Ask, ChatModel, Legible, Reply, object};
use crate::llm::excerpt;
use crate::llm::prompts::{Prompt, Prompts};
use crate::llm::spending::UsageEstimate;
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::rng;

/// Pairs that rules are proposed for.
const PROPOSED_FOR: usize = 40;
/// Rules for one pair.
const RULES: usize = 3;
/// Clusters of rules, and so rules that are voted on.
const CLUSTERS: usize = 20;
/// Pairs that they are voted on.
const VOTED_ON: usize = 100;
/// Share of those pairs in which a rule must be on the label's side.
const SUPPORT: f64 = 0.1;
/// Stands for a rule that is not proposed yet, when the bill is made: of usual length.
pub(crate) const BLANK: &str = "explains each point with concrete steps or examples";

/// What its proposals, its votes and its list's execution are called in the list of what was spent.
const PROPOSE: &str = "propose";
const VOTE: &str = Wording::RULES.purpose;
pub(crate) const EXECUTE: &str = "execute_icai";

/// A rule that was voted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Its place in the list; `None` where it is not in it.
    pub rank: Option<usize>,
    /// "Prefer the response that …".
    pub statement: String,
    /// Rules in its cluster.
    pub proposed: usize,
    /// Pairs in which it is on the label's side.
    #[serde(rename = "for")]
    pub supporting: usize,
    /// Pairs in which it is on the other side.
    pub against: usize,
    /// Pairs in which its vote could not be read.
    pub missing: usize,
}

/// The baseline's list, and how well it does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Icai {
    /// Pairs that rules were proposed for.
    pub proposed_for: usize,
    /// Different rules that were proposed.
    pub proposed: usize,
    /// Pairs that they were voted on.
    pub voted_on: usize,
    /// One rule of each cluster, the largest for − against first.
    pub rules: Vec<Rule>,
    /// Requests that making the list takes where nothing is cached; executing it comes on top.
    pub calls: u64,
    /// The list, executed as the constitution is; `None` where no rule was kept.
    pub list: Option<Execution>,
    /// How much the constitution is above it by the same model: paired, on the pairs that both were read in.
    pub ours_above: Option<Estimate>,
}

impl Icai {
    /// The list.
    pub fn statements(&self) -> Vec<String> {
        let kept = self.rules.iter().filter(|rule| rule.rank.is_some());
        kept.map(|rule| rule.statement.clone()).collect()
    }
}

/// The pairs that the baseline is made from.
pub struct Draw {
    /// Pairs that rules are proposed for, and whether response B is shown first.
    propose: Vec<(u32, bool)>,
    /// Pairs that are voted on.
    vote: Vec<u32>,
    /// For every pair above: above 0 where A is preferred, below 0 where B is.
    sides: Vec<(u32, f64)>,
}

impl Draw {
    /// Draws `train` and `describe` pairs that have a label.
    pub fn new(pairs: &Pairs, sides: &[Split], run_seed: u64) -> Self {
        let explore = LabelledSample::on(pairs, sides, &[Split::Train, Split::Validation]).sample;
        let mut balance: std::collections::BTreeMap<u32, f64> = std::collections::BTreeMap::new();
        for (&pair, &y) in explore.row().iter().zip(explore.y()) {
            *balance.entry(pair).or_default() += y - 0.5;
        }
        // Where annotators are split evenly, nobody preferred anything.
        balance.retain(|_, balance| *balance != 0.0);
        let all: Vec<u32> = balance.keys().copied().collect();
        let mut random = rng::stream(run_seed, "ICAI orders");
        Self {
            propose: rng::sample(run_seed, "ICAI proposals", &all, PROPOSED_FOR)
                .into_iter()
                .map(|pair| (pair, random.random()))
                .collect(),
            vote: rng::sample(run_seed, "ICAI votes", &all, VOTED_ON),
            sides: balance.into_iter().collect(),
        }
    }

    /// Whether the labels of a pair prefer A.
    fn a_won(&self, pair: u32) -> bool {
        let found = self.sides.binary_search_by_key(&pair, |(pair, _)| *pair).ok();
        found.and_then(|at| self.sides.get(at)).is_some_and(|(_, balance)| *balance > 0.0)
    }

    fn proposals(&self, pairs: &Pairs, prompt: &Prompt) -> Vec<Ask> {
        let one = |&(pair, swapped): &(u32, bool)| {
            let texts = excerpt::texts(pairs, pair, swapped);
            let mark = excerpt::mark(texts.iter().map(String::as_str));
            let shown = excerpt::named_pair("The pair", &mark, &texts);
            let preferred = if self.a_won(pair) != swapped { "response A" } else { "response B" };
            let rules = json!({ "type": "array", "items": { "type": "string" } });
            Ask {
                purpose: PROPOSE,
                system: prompt.system().to_owned(),
                user: prompt.user(&[("pair", shown.trim_end()), ("preferred", preferred)]),
                version: prompt.version().to_owned(),
                schema: Some(object(Map::from_iter([("rules".to_owned(), rules)]))),
                graded: false,
                room: 30 * RULES,
            }
        };
        self.propose.iter().map(one).collect()
    }

    /// What making the list costs where nothing is cached.
    pub fn forecast(
        &self,
        pairs: &Pairs,
        prompts: &Prompts,
        pairs_per_call: usize,
    ) -> [(&'static str, UsageEstimate); 2] {
        let asks = self.proposals(pairs, &prompts.get("propose"));
        let proposals = UsageEstimate::of(asks.iter().map(|ask| (ask, 18 * RULES as u64)));
        let prompt = prompts.get("vote");
        let mut counting = CountingJudge::new(pairs, &prompt, Wording::RULES);
        let blanks = vec![BLANK.to_owned(); CLUSTERS];
        let Ok(_) = user_concepts::read(&mut counting, &blanks, &self.vote, pairs_per_call);
        [(PROPOSE, proposals), (VOTE, counting.forecast)]
    }

    /// Has the model propose rules and vote on them; the best `most` make the list.
    ///
    /// # Errors
    /// The model's, or where the rules cannot be embedded.
    pub fn rules(
        &self,
        pairs: &Pairs,
        prompts: &Prompts,
        pairs_per_call: usize,
        most: usize,
        model: &mut ChatModel,
        progress: &mut Progress<'_>,
    ) -> Result<Icai, ByModelError> {
        let [(_, proposals), (_, votes)] = self.forecast(pairs, prompts, pairs_per_call);
        let asks = self.proposals(pairs, &prompts.get("propose"));
        progress(PROPOSE, 0, proposals.calls);
        let readable =
            |_: usize, reply: &Reply| Legible::from(!answers::rules(&reply.text, RULES).is_empty());
        let replies =
            model.ask(&asks, &readable, &mut |done| progress(PROPOSE, done as u64, proposals.calls))?;
        let mut proposed: Vec<String> = Vec::new();
        for rule in replies.iter().flat_map(|reply| answers::rules(&reply.text, RULES)) {
            if !proposed.iter().any(|other| other.eq_ignore_ascii_case(&rule)) {
                proposed.push(rule);
            }
        }
        let mut icai = Icai {
            proposed_for: self.propose.len(),
            proposed: proposed.len(),
            voted_on: self.vote.len(),
            calls: proposals.calls,
            ..Icai::default()
        };
        if proposed.is_empty() {
            return Ok(icai);
        }
        let texts: Vec<&str> = proposed.iter().map(String::as_str).collect();
        let clusters = clusters(&BundledEmbedder::load()?.embed(&texts)?, CLUSTERS);
        let chosen: Vec<String> = clusters.iter().map(|(rule, _)| proposed[*rule].clone()).collect();

        icai.calls += votes.calls;
        progress(VOTE, 0, votes.calls);
        let prompt = prompts.get("vote");
        let mut tell = |done: usize| progress(VOTE, done as u64, votes.calls);
        let mut judge =
            ModelJudge { model, pairs, prompt: &prompt, wording: Wording::RULES, progress: &mut tell };
        let readings = user_concepts::read(&mut judge, &chosen, &self.vote, pairs_per_call)?;
        let rules = chosen.iter().zip(&clusters).zip(&readings).map(|((words, (_, size)), readings)| {
            let (supporting, against) = self.count(readings);
            let statement = format!("Prefer the response that {words}");
            Rule { rank: None, statement, proposed: *size, supporting, against, missing: readings.missing }
        });
        icai.rules = ranked(rules.collect(), self.vote.len(), most);
        Ok(icai)
    }

    /// Votes on the labels' side, and on the other.
    fn count(&self, readings: &Readings) -> (usize, usize) {
        let mut votes = (0, 0);
        for reading in &readings.read {
            let value = Readings::value(reading);
            if value.abs() < CLEAR {
                continue;
            }
            if (value > 0.0) == self.a_won(reading.pair) {
                votes.0 += 1;
            } else {
                votes.1 += 1;
            }
        }
        votes
    }
}

/// The rules by for − against, with the places of the best `most` that have more for than against, and enough.
fn ranked(mut rules: Vec<Rule>, pairs: usize, most: usize) -> Vec<Rule> {
    let balance = |rule: &Rule| rule.against as i64 - rule.supporting as i64;
    rules.sort_by_key(balance);
    let holds = |rule: &Rule| {
        rule.supporting > rule.against && rule.supporting as f64 >= SUPPORT * pairs.max(1) as f64
    };
    let kept = rules.iter_mut().filter(|rule| holds(rule)).take(most);
    for (at, rule) in kept.enumerate() {
        rule.rank = Some(at + 1);
    }
    rules
}

/// At most `most` clusters of rows that point the same way, by average linkage: the row that is nearest to all
/// others of its cluster, and how many they are. In the order in which their first rows stand.
fn clusters(rows: &Matrix, most: usize) -> Vec<(usize, usize)> {
    let n = rows.rows();
    let norm = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
    let cosine = |a: usize, b: usize| {
        let (x, y) = (rows.row(a), rows.row(b));
        let size = norm(x) * norm(y);
        let dot: f32 = x.iter().zip(y).map(|(x, y)| x * y).sum();
        if size > 0.0 { f64::from(dot / size) } else { 0.0 }
    };
    let near: Vec<Vec<f64>> = (0..n).map(|a| (0..n).map(|b| cosine(a, b)).collect()).collect();
    let between = |one: &[usize], other: &[usize]| {
        let sum: f64 =
            one.iter().flat_map(|&a| other.iter().map(move |&b| (a, b))).map(|(a, b)| near[a][b]).sum();
        sum / (one.len() * other.len()) as f64
    };
    let mut groups: Vec<Vec<usize>> = (0..n).map(|row| vec![row]).collect();
    while groups.len() > most.max(1) {
        let mut best = (0, 1, f64::NEG_INFINITY);
        for first in 0..groups.len() {
            for second in first + 1..groups.len() {
                let similarity = between(&groups[first], &groups[second]);
                if similarity > best.2 {
                    best = (first, second, similarity);
                }
            }
        }
        let (first, second, _) = best;
        let joined = groups.remove(second);
        groups[first].extend(joined);
    }
    let middle = |group: &Vec<usize>| {
        let all = |row: usize| group.iter().map(|&other| near[row][other]).sum::<f64>();
        let best = group.iter().copied().max_by(|&a, &b| all(a).total_cmp(&all(b)).then(b.cmp(&a)));
        best.map(|row| (row, group.len()))
    };
    groups.iter().filter_map(middle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_kept_by_the_methods_rule() {
        let rule = |supporting, against| Rule { supporting, against, ..Rule::default() };
        // 100 pairs: half for it, too few for it, as many against, clearly for it, against it.
        let rules = [(50, 30), (9, 0), (30, 30), (40, 5), (5, 40)].map(|(s, a)| rule(s, a)).to_vec();
        let found = ranked(rules.clone(), 100, 5);
        let places: Vec<(usize, Option<usize>)> = found.iter().map(|r| (r.supporting, r.rank)).collect();
        assert_eq!(places, [(40, Some(1)), (50, Some(2)), (9, None), (30, None), (5, None)]);
        assert_eq!(ranked(rules, 100, 1).iter().filter(|rule| rule.rank.is_some()).count(), 1);
    }

    #[test]
    fn clusters_hold_what_points_the_same_way() {
        let values = vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9, 0.05, 0.95, 0.0, 0.0];
        let rows = Matrix { values, cols: 2 };
        let mut found = clusters(&rows, 3);
        found.sort_unstable();
        assert_eq!(found.iter().map(|(_, size)| *size).sum::<usize>(), 6);
        assert!(found.contains(&(4, 3)), "the middle one stands for its cluster: {found:?}");
        assert_eq!(clusters(&rows, 10).len(), 6);
        assert!(clusters(&Matrix { values: vec![], cols: 2 }, 3).is_empty());
    }
}
