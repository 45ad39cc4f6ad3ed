//! Whether words are true of a feature, asked of a judge: which candidate to choose, and how true it is.
//!
//! A judge sees a pair and some statements and says of each whether it is truer of the one response or of
//! the other. The reference asks 300 pairs for each candidate of each feature, one question a call
//! (48,000 calls for 32 features × 5 candidates), and reports the best candidate's figure on the pairs it
//! was chosen on. Here:
//!
//! - a call holds several pairs, and of each pair all statements about the features that are active in it;
//! - every pair is asked in both orders and the answers are averaged, so what the judge thinks of the
//!   first place cancels in each pair, and what that taste drowns is made up for ([`fidelity`]); an answer
//!   without its counterpart is missing, not a tie;
//! - candidates are dropped in rounds (successive halving): four go on after the first, two after the second,
//!   so that most of what is asked is about those that may win;
//! - choosing is done on `describe` pairs, the fidelity is measured once on fresh `held_out` pairs.
//!
//! Which pairs are asked, and in how many calls, depends on the activations alone, not on any answer: the
//! bill is known before the first call ([`Plan`]), and no figure is stopped at a moment that flatters it.

use crate::matrix::Matrix;
use crate::statistics::correlation::{Correlation, pearson};
use rand::seq::SliceRandom;

/// A pair and the statements it is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Index into the pairs.
    pub pair: u32,
    /// Indices into the statements.
    pub statements: Vec<u32>,
}

/// What a judge is asked at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The questions, independent of one another.
    pub questions: Vec<Question>,
    /// Response B is shown first.
    pub swapped: bool,
}

/// For each question of a call an answer per statement: 1 where it is truer of the response *shown first*,
/// −1 of the other, 0 for a tie, between where the judge is graded; `None` where nothing could be read.
pub type Answers = Vec<Vec<Option<f32>>>;

/// Somebody who reads pairs.
pub trait Judge {
    /// Why judging had to stop.
    type Error;

    /// The answers to the calls, in their order. A call that got no answer at all gives empty answers.
    ///
    /// # Errors
    /// Where it makes no sense to go on; answers so far are lost to the caller, not to the judge's cache.
    fn answer(&mut self, calls: &[Call], statements: &[String]) -> Result<Vec<Answers>, Self::Error>;
}

/// How judging is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Pairs in one call.
    pub pairs_per_call: usize,
    /// Active pairs per feature on which its candidates are compared, at most.
    pub choose: usize,
    /// Active pairs per feature on which its fidelity is measured.
    pub measure: usize,
    /// Rounds of choosing; half of the candidates are dropped between them.
    pub rounds: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { pairs_per_call: 5, choose: 340, measure: 300, rounds: 4 }
    }
}

/// A description that might be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Index into the statements.
    pub statement: u32,
    /// 1 where it describes the side with z > 0, −1 the other.
    pub sign: f64,
}

/// The candidate that was chosen for a feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// Index into the feature's candidates.
    pub candidate: usize,
    /// Its correlation on the pairs it was chosen on: too high, as every best of several.
    pub on_chosen: Correlation,
}

/// What choosing and measuring cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls.
    pub calls: usize,
    /// Answers that could be read, one a statement and order.
    pub answers: usize,
    /// Answers that could not.
    pub missing: usize,
}

/// The questions and what is known of them so far.
struct Notebook<'a, J: Judge> {
    judge: &'a mut J,
    statements: &'a [String],
    pairs_per_call: usize,
    /// By statement.
    readings: Vec<Vec<Reading>>,
    spent: Spent,
    /// Sum of all readable answers, the first place being 1, and their number.
    taste: (f64, usize),
}

/// A statement read in a pair, in both orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The pair.
    pub pair: u32,
    /// With A first: 1 where it is truer of A.
    pub a_first: f32,
    /// With B first: 1 where it is truer of B.
    pub b_first: f32,
}

/// A mean of both orders that is nearer to 0 than this is no verdict: half an answer of one of them.
pub const CLEAR: f32 = 0.25;

/// How much more often a judge names the first response than the second, from −1 to 1; 0 without readings.
pub fn taste_of(readings: &[Reading]) -> f64 {
    let sum: f64 = readings.iter().map(|r| f64::from(r.a_first) + f64::from(r.b_first)).sum();
    if readings.is_empty() { 0.0 } else { sum / (2 * readings.len()) as f64 }
}

/// How true a description is: the correlation of its feature's activation with one reading by a judge
/// that has no taste for a place.
///
/// The mean of the two orders is a = (`a_first` − `b_first`) / 2. A judge that names the first response in a
/// share b of its answers, whatever is there, leaves (1 − b) of a reading t: cov(z, a) = (1 − b)·cov(z, t), and
/// it says "the second" in (1 − b) of the cases that deserve it, so that var(t) = 2·second/(1 − b) − mean(t)².
/// Both are known once b is, and b is how much more often it names the first than the second. Graded
/// answers (from probabilities) are shifted by such a taste, not replaced: there the mean is all it takes.
/// The interval is the jackknife's over pairs, on Fisher's scale; the p-value is that of the plain
/// correlation of z and a.
pub fn fidelity(z: &[f64], readings: &[Reading], taste: f64) -> Correlation {
    let n = z.len().min(readings.len());
    let undefined = Correlation { r: f64::NAN, low: f64::NAN, high: f64::NAN, p: f64::NAN, n };
    let (z, readings) = (&z[..n], &readings[..n]);
    let left = 1.0 - taste.clamp(0.0, 0.8);
    let a: Vec<f64> = readings.iter().map(|r| (f64::from(r.a_first) - f64::from(r.b_first)) / 2.0).collect();
    let second: Vec<f64> =
        readings.iter().map(|r| f64::from((-r.a_first).max(0.0) + (-r.b_first).max(0.0)) / 2.0).collect();
    let plain = pearson(z, &a);
    if n < 4 || !plain.r.is_finite() {
        return undefined;
    }
    let graded = |answer: f32| answer != 0.0 && answer.abs() != 1.0;
    if readings.iter().any(|reading| graded(reading.a_first) || graded(reading.b_first)) {
        return plain;
    }
    // Sums that a leave-one-out figure is made from without a second pass.
    let sums = |of: &dyn Fn(usize) -> f64| (0..n).map(of).sum::<f64>();
    let (sz, szz, sa, sza, ss) = (
        sums(&|i| z[i]),
        sums(&|i| z[i] * z[i]),
        sums(&|i| a[i]),
        sums(&|i| z[i] * a[i]),
        sums(&|i| second[i]),
    );
    let figure = |m: f64, sz: f64, szz: f64, sa: f64, sza: f64, ss: f64| {
        let covariance = (sza / m - sz / m * sa / m) / left;
        let mean = sa / m / left;
        let spread = (2.0 * ss / m / left - mean * mean) * (szz / m - (sz / m).powi(2));
        if spread > 0.0 { (covariance / spread.sqrt()).clamp(-1.0, 1.0) } else { f64::NAN }
    };
    let m = n as f64;
    let r = figure(m, sz, szz, sa, sza, ss);
    if !r.is_finite() {
        return undefined;
    }
    let without: Vec<f64> = (0..n)
        .map(|i| {
            let less = [sz - z[i], szz - z[i] * z[i], sa - a[i], sza - z[i] * a[i], ss - second[i]];
            figure(m - 1.0, less[0], less[1], less[2], less[3], less[4])
        })
        .collect();
    let mean = without.iter().sum::<f64>() / m;
    let variance = (m - 1.0) / m * without.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
    let inside = r.clamp(-0.999, 0.999);
    let half = 1.959_963_984_540_054 * variance.sqrt() / (1.0 - inside * inside);
    if !half.is_finite() {
        return Correlation { r, low: -1.0, high: 1.0, p: plain.p, n };
    }
    Correlation {
        r,
        low: (inside.atanh() - half).tanh(),
        high: (inside.atanh() + half).tanh(),
        p: plain.p,
        n,
    }
}

impl<'a, J: Judge> Notebook<'a, J> {
    fn new(judge: &'a mut J, statements: &'a [String], pairs_per_call: usize) -> Self {
        Self {
            judge,
            statements,
            pairs_per_call: pairs_per_call.max(1),
            readings: vec![Vec::new(); statements.len()],
            spent: Spent::default(),
            taste: (0.0, 0),
        }
    }

    /// Asks in both orders and notes the mean of what can be read in both.
    fn ask(&mut self, questions: &[Question]) -> Result<(), J::Error> {
        let calls: Vec<Call> = questions
            .chunks(self.pairs_per_call)
            .flat_map(|part| [false, true].map(|swapped| Call { questions: part.to_vec(), swapped }))
            .collect();
        let answers = self.judge.answer(&calls, self.statements)?;
        self.spent.calls += calls.len();
        for (call, both) in calls.chunks(2).zip(answers.chunks(2)) {
            let [first, second] = both else { continue };
            for (place, question) in
                call.iter().flat_map(|call| &call.questions).take(call[0].questions.len()).enumerate()
            {
                for (at, &statement) in question.statements.iter().enumerate() {
                    let read = |answers: &Answers| answers.get(place)?.get(at).copied().flatten();
                    let (there, back) = (read(first), read(second));
                    for answer in [there, back] {
                        *if answer.is_some() { &mut self.spent.answers } else { &mut self.spent.missing } +=
                            1;
                    }
                    if let (Some(there), Some(back)) = (there, back)
                        && let Some(known) = self.readings.get_mut(statement as usize)
                    {
                        known.push(Reading { pair: question.pair, a_first: there, b_first: back });
                        self.taste = (self.taste.0 + f64::from(there) + f64::from(back), self.taste.1 + 2);
                    }
                }
            }
        }
        Ok(())
    }

    /// How much more often the judge names the first response than the second.
    fn position_bias(&self) -> f64 {
        if self.taste.1 == 0 { 0.0 } else { self.taste.0 / self.taste.1 as f64 }
    }

    /// z and the readings of a candidate on the pairs it was asked about and where its feature is active.
    fn points(&self, z: &Matrix, feature: usize, candidate: Candidate) -> (Vec<f64>, Vec<Reading>) {
        let known = self.readings.get(candidate.statement as usize).map_or(&[][..], Vec::as_slice);
        known
            .iter()
            .map(|reading| (candidate.sign * f64::from(z.row(reading.pair as usize)[feature]), *reading))
            .filter(|(z, _)| *z != 0.0)
            .unzip()
    }

    fn correlation(&self, z: &Matrix, feature: usize, candidate: Candidate) -> Correlation {
        let (x, readings) = self.points(z, feature, candidate);
        fidelity(&x, &readings, self.position_bias())
    }
}

/// Draws pairs, in the order given, until every feature that wants some has enough active ones.
///
/// A pair with several such features counts for all of them. Returns the pairs with the features that
/// they were drawn for, and marks the pairs as used.
fn draw(z: &Matrix, order: &[u32], used: &mut [bool], wanted: &mut [usize]) -> Vec<(u32, Vec<usize>)> {
    let mut drawn = Vec::new();
    let mut open: usize = wanted.iter().filter(|count| **count > 0).count();
    for &pair in order {
        if open == 0 {
            break;
        }
        if used[pair as usize] {
            continue;
        }
        let row = z.row(pair as usize);
        let features: Vec<usize> =
            (0..wanted.len()).filter(|&feature| wanted[feature] > 0 && row[feature] != 0.0).collect();
        if features.is_empty() {
            continue;
        }
        used[pair as usize] = true;
        for &feature in &features {
            wanted[feature] -= 1;
            open -= usize::from(wanted[feature] == 0);
        }
        drawn.push((pair, features));
    }
    drawn
}

/// The questions about drawn pairs, `about(feature)` giving the statements.
fn questions(drawn: Vec<(u32, Vec<usize>)>, about: impl Fn(usize) -> Vec<u32>) -> Vec<Question> {
    drawn
        .into_iter()
        .map(|(pair, features)| {
            let mut statements: Vec<u32> = features.into_iter().flat_map(&about).collect();
            statements.sort_unstable();
            statements.dedup();
            Question { pair, statements }
        })
        .collect()
}

/// Chooses one of each feature's candidates.
///
/// `z` is `[pairs, features]`, `pairs` the ones to choose on, `candidates` one list a feature (empty lists
/// are left alone). `None` where nothing could be read about any candidate.
///
/// # Errors
/// The judge's.
pub fn choose<J: Judge>(
    judge: &mut J,
    statements: &[String],
    z: &Matrix,
    pairs: &[u32],
    candidates: &[Vec<Candidate>],
    plan: &Plan,
    random: &mut impl rand::Rng,
) -> Result<(Vec<Option<Chosen>>, Spent), J::Error> {
    let mut notebook = Notebook::new(judge, statements, plan.pairs_per_call);
    let mut order = pairs.to_vec();
    order.shuffle(random);
    let mut used = vec![false; z.rows()];
    let mut alive: Vec<Vec<usize>> = candidates.iter().map(|list| (0..list.len()).collect()).collect();
    for round in 0..plan.rounds.max(1) {
        let share = plan.choose / plan.rounds.max(1);
        // A single candidate needs no choosing.
        let mut wanted: Vec<usize> =
            candidates.iter().map(|list| if list.len() > 1 { share } else { 0 }).collect();
        let drawn = draw(z, &order, &mut used, &mut wanted);
        if drawn.is_empty() {
            break;
        }
        notebook.ask(&questions(drawn, |feature| {
            alive[feature].iter().map(|&at| candidates[feature][at].statement).collect()
        }))?;
        if round + 1 < plan.rounds {
            for (feature, alive) in alive.iter_mut().enumerate() {
                let of = |at: usize| notebook.correlation(z, feature, candidates[feature][at]).r;
                keep_best(alive, round, of);
            }
        }
    }
    let chosen = alive
        .iter()
        .enumerate()
        .map(|(feature, alive)| {
            let of = |at: usize| notebook.correlation(z, feature, candidates[feature][at]);
            let best = alive.iter().copied().max_by(|&a, &b| {
                let value = |at| Some(of(at).r).filter(|r| r.is_finite()).unwrap_or(-2.0);
                value(a).total_cmp(&value(b)).then(b.cmp(&a))
            })?;
            Some(Chosen { candidate: best, on_chosen: of(best) })
        })
        .collect();
    Ok((chosen, notebook.spent))
}

/// Candidates that go on after the first round, the second …; however many there were, so that the bill hardly
/// depends on how many different descriptions were written.
const STAY: [usize; 2] = [4, 2];

/// Keeps the best candidates after a round (from 0), in their old order.
fn keep_best(alive: &mut Vec<usize>, round: usize, r: impl Fn(usize) -> f64) {
    let stay = STAY.get(round).copied().unwrap_or(2);
    let mut scored: Vec<(usize, f64)> = alive
        .iter()
        .map(|&at| (at, r(at)))
        .map(|(at, r)| (at, if r.is_finite() { r } else { -2.0 }))
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    *alive = scored.into_iter().take(stay).map(|(at, _)| at).collect();
    alive.sort_unstable();
}

/// Measures how true each chosen description is, on pairs that took no part in writing or choosing it.
///
/// `chosen` holds each feature's candidate, or `None`.
///
/// # Errors
/// The judge's.
pub fn measure<J: Judge>(
    judge: &mut J,
    statements: &[String],
    z: &Matrix,
    pairs: &[u32],
    chosen: &[Option<Candidate>],
    plan: &Plan,
    random: &mut impl rand::Rng,
) -> Result<(Vec<Option<Correlation>>, Spent), J::Error> {
    let mut notebook = Notebook::new(judge, statements, plan.pairs_per_call);
    let mut order = pairs.to_vec();
    order.shuffle(random);
    let mut used = vec![false; z.rows()];
    let mut wanted: Vec<usize> =
        chosen.iter().map(|candidate| if candidate.is_some() { plan.measure } else { 0 }).collect();
    let drawn = draw(z, &order, &mut used, &mut wanted);
    notebook.ask(&questions(drawn, |feature| {
        chosen[feature].iter().map(|candidate| candidate.statement).collect()
    }))?;
    let measured = chosen
        .iter()
        .enumerate()
        .map(|(feature, candidate)| {
            let found = notebook.correlation(z, feature, (*candidate)?);
            Some(found).filter(|found| found.r.is_finite())
        })
        .collect();
    Ok((measured, notebook.spent))
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Answers by the truth, which it knows, with a taste for the first place.
    struct Known {
        /// By statement and pair.
        truth: Vec<Vec<f32>>,
        /// Added to every answer.
        shift: f32,
        /// Share of answers that are "the first", whatever is there.
        taste: f32,
        unreadable: Option<u32>,
        asked: Vec<Call>,
    }

    impl Judge for Known {
        type Error = String;

        fn answer(&mut self, calls: &[Call], _: &[String]) -> Result<Vec<Answers>, String> {
            self.asked.extend_from_slice(calls);
            Ok(calls
                .iter()
                .map(|call| {
                    call.questions
                        .iter()
                        .map(|question| {
                            question
                                .statements
                                .iter()
                                .map(|&statement| {
                                    let truth = self.truth[statement as usize][question.pair as usize];
                                    let seen = if call.swapped { -truth } else { truth };
                                    // Drawn by hashing, so that the order of calls does not matter.
                                    let coin = question.pair.wrapping_mul(2_654_435_761)
                                        ^ statement.wrapping_mul(40_503)
                                        ^ (u32::from(call.swapped) << 13);
                                    let coin =
                                        (coin.wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 24) as f32;
                                    let said = if coin < self.taste { 1.0 } else { seen + self.shift };
                                    (self.unreadable != Some(statement)).then_some(said)
                                })
                                .collect()
                        })
                        .collect()
                })
                .collect())
        }
    }

    #[allow(clippy::needless_range_loop)] // Both tables are written at the same pair.
    fn world(features: usize, pairs: usize) -> (Matrix, Vec<Vec<f32>>) {
        let mut random = crate::rng::stream(3, "judging test");
        let mut z = Matrix::zeros(pairs, features);
        let mut truth = vec![vec![0.0; pairs]; 3 * features];
        for pair in 0..pairs {
            for feature in 0..features {
                if random.random::<f32>() < 0.25 {
                    let value = random.random_range(-1.0..1.0f32);
                    z.row_mut(pair)[feature] = value;
                    // A good description, a fair one, and one about something else.
                    truth[3 * feature][pair] = value.signum();
                    truth[3 * feature + 1][pair] =
                        if random.random::<f32>() < 0.6 { value.signum() } else { 0.0 };
                    truth[3 * feature + 2][pair] = if random.random::<bool>() { 1.0 } else { -1.0 };
                }
            }
        }
        (z, truth)
    }

    fn lists(features: usize) -> Vec<Vec<Candidate>> {
        (0..features as u32)
            .map(|feature| (0..3).map(|c| Candidate { statement: 3 * feature + c, sign: 1.0 }).collect())
            .collect()
    }

    #[test]
    fn the_best_candidate_is_chosen_and_position_moves_nothing() {
        let (z, truth) = world(8, 3_000);
        let statements = vec![String::new(); 24];
        let (choose_on, measure_on): (Vec<u32>, Vec<u32>) = (0..3_000).partition(|pair| pair % 2 == 0);
        let mut figures = Vec::new();
        for (shift, taste) in [(0.0, 0.0), (0.4, 0.0), (0.0, 0.2)] {
            let mut judge = Known { truth: truth.clone(), shift, taste, unreadable: None, asked: Vec::new() };
            let mut random = crate::rng::stream(4, "plan");
            let plan = Plan::default();
            let (chosen, _) =
                choose(&mut judge, &statements, &z, &choose_on, &lists(8), &plan, &mut random).unwrap();
            assert!(chosen.iter().all(|c| c.unwrap().candidate == 0), "{chosen:?}");
            let winners: Vec<Option<Candidate>> = lists(8).iter().map(|list| Some(list[0])).collect();
            let (found, spent) =
                measure(&mut judge, &statements, &z, &measure_on, &winners, &plan, &mut random).unwrap();
            assert!(found.iter().all(|f| f.unwrap().n >= plan.measure), "{found:?}");
            assert!(spent.missing == 0 && spent.calls > 0);
            // Choosing and measuring share no pair, and each pair is asked in both orders.
            let pairs = |even: bool| {
                judge.asked.iter().flat_map(|c| &c.questions).filter(|q| (q.pair % 2 == 0) == even).count()
            };
            assert!(pairs(true) > 0 && pairs(false) > 0);
            let swapped = judge.asked.iter().filter(|call| call.swapped).count();
            assert_eq!(2 * swapped, judge.asked.len());
            figures.push(found.iter().map(|f| f.unwrap().r).collect::<Vec<f64>>());
        }
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        for (plain, shifted) in figures[0].iter().zip(&figures[1]) {
            assert!((plain - shifted).abs() < 0.05, "{plain} and {shifted}");
        }
        // What the taste drowns is random; on average it moves nothing.
        assert!((mean(&figures[0]) - mean(&figures[2])).abs() < 0.03, "{figures:?}");
    }

    #[test]
    fn what_cannot_be_read_is_missing() {
        let (z, truth) = world(2, 2_000);
        let statements = vec![String::new(); 6];
        let pairs: Vec<u32> = (0..2_000).collect();
        let mut judge = Known { truth, shift: 0.0, taste: 0.0, unreadable: Some(0), asked: Vec::new() };
        let mut random = crate::rng::stream(5, "plan");
        let plan = Plan::default();
        let winners =
            [Some(Candidate { statement: 0, sign: 1.0 }), Some(Candidate { statement: 5, sign: 1.0 })];
        let (found, spent) =
            measure(&mut judge, &statements, &z, &pairs, &winners, &plan, &mut random).unwrap();
        assert_eq!(found[0], None, "no answer is no tie");
        assert!(spent.missing > 0);
        assert!(found[1].unwrap().r.abs() < 0.2, "a statement about something else");
        let (chosen, _) = choose(&mut judge, &statements, &z, &pairs, &lists(2), &plan, &mut random).unwrap();
        assert_eq!(chosen[0].unwrap().candidate, 1, "the best that can be read");
    }

    #[test]
    fn what_is_asked_depends_on_no_answer() {
        let (z, truth) = world(6, 3_000);
        let statements = vec![String::new(); 18];
        let pairs: Vec<u32> = (0..3_000).collect();
        let plan = Plan { choose: 120, measure: 100, ..Plan::default() };
        let mut asked = Vec::new();
        for (truth, unreadable) in [(truth.clone(), None), (vec![vec![0.0; 3_000]; 18], Some(3))] {
            let mut judge = Known { truth, shift: 0.0, taste: 0.3, unreadable, asked: Vec::new() };
            let mut random = crate::rng::stream(7, "plan");
            let (chosen, _) =
                choose(&mut judge, &statements, &z, &pairs, &lists(6), &plan, &mut random).unwrap();
            let winners: Vec<Option<Candidate>> =
                chosen.iter().zip(lists(6)).map(|(c, list)| Some(list[c.unwrap().candidate])).collect();
            measure(&mut judge, &statements, &z, &pairs, &winners, &plan, &mut random).unwrap();
            let of = |call: &Call| call.questions.iter().map(|q| (q.pair, q.statements.len())).collect();
            asked.push(judge.asked.iter().map(of).collect::<Vec<Vec<(u32, usize)>>>());
        }
        assert_eq!(asked[0], asked[1], "the same pairs in the same calls, with as many statements");
    }

    #[test]
    fn a_description_of_the_other_side_counts_turned() {
        let (z, mut truth) = world(1, 1_500);
        truth[0].iter_mut().for_each(|t| *t = -*t);
        let pairs: Vec<u32> = (0..1_500).collect();
        let mut judge = Known { truth, shift: 0.0, taste: 0.0, unreadable: None, asked: Vec::new() };
        let mut random = crate::rng::stream(6, "plan");
        let winners = [Some(Candidate { statement: 0, sign: -1.0 })];
        let (found, _) =
            measure(&mut judge, &vec![String::new(); 3], &z, &pairs, &winners, &Plan::default(), &mut random)
                .unwrap();
        assert!(found[0].unwrap().r > 0.8);
    }
}
