//! The phrases that a feature's sentences go by: a name that a reader can check word for word.
//!
//! A feature fires in sentences; a phrase of one to three words stands in a response or does not. The few phrases are
//! taken of which one stands in most responses that have the feature and in few that have not: one after the other, as
//! long as the correlation of "has one of them" with "has the feature" (φ) grows by [`WORTH`]. They are chosen on pairs
//! that are not held out. How true they are is the same comparison on those that are, pair by pair, over all of them:
//! a phrase that stands everywhere fits what has the feature and everything else as well, and says nothing.
//!
//! Where a feature is about something that has many words, no four of them tell it. Then it is named by its topic: the words
//! near its direction in the embedder's space that stand in its responses more than in others, as many of them as tell it
//! best (φ); a response mentions the topic where one of them stands.

use std::collections::HashMap;

use rayon::prelude::*;

use super::contrast::stopwords;
use super::presence::Firing;
use super::wording::{each, hash};
use crate::statistics::correlation::{Correlation, pearson};

/// Phrases of a name, at most.
const MOST: usize = 4;
/// Responses that a phrase must stand in.
const RESPONSES: usize = 4;
/// Phrases that are tried beside those that are taken: the best by themselves.
const TRIED: usize = 100;
/// What another phrase must add to φ.
const WORTH: f64 = 0.03;
/// Least cosines of a topic's words to the feature's direction that are tried.
const NEAR: [f32; 7] = [0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25];
/// Share of the responses with a word of a topic that must have the feature, and how many of them.
const PURE: f64 = 0.2;
const SHARED: usize = 3;
/// Different words that make a topic, at least.
const TOPIC: usize = 3;

/// The phrases of some pairs' responses.
pub(super) struct Phrases {
    /// How each is shown, `[phrases]`.
    shown: Vec<String>,
    /// The number of each by its hash.
    number: HashMap<u64, u32>,
    /// The responses that each stands in, ascending, by their place among those that are read, `[phrases]`.
    places: Vec<Vec<u32>>,
    /// The phrases of each sentence that is read, `[sentences]`; empty for the others.
    in_sentence: Vec<Vec<u32>>,
    /// The responses that are read, as slots of [`Firing`]: A and B of each pair, those that choose first.
    slots: Vec<u32>,
    /// How many of them choose.
    choosing: usize,
}

impl Phrases {
    /// The phrases of the pairs `choose`, and where they stand in those and in `held_out`.
    pub(super) fn new(firing: &Firing, choose: &[u32], held_out: &[u32]) -> Self {
        let sides = |&pair: &u32| [pair, firing.pairs() as u32 + pair];
        let slots: Vec<u32> = choose.iter().chain(held_out).flat_map(sides).collect();
        let choosing = 2 * choose.len();
        let stop = stopwords();

        let mut wanted = vec![false; firing.table.len()];
        let mut chooses = vec![false; firing.table.len()];
        for (place, &slot) in slots.iter().enumerate() {
            for &sentence in firing.table.of(slot as usize) {
                wanted[sentence as usize] = true;
                chooses[sentence as usize] |= place < choosing;
            }
        }
        // A phrase is its hash until it is known to be common: most stand in one sentence alone.
        let hashes: Vec<Vec<u64>> = (0..firing.table.len())
            .into_par_iter()
            .map(|sentence| {
                let mut found = Vec::new();
                if wanted[sentence] {
                    each(firing.table.text(sentence), &stop, |phrase| found.push(hash(phrase)));
                    found.sort_unstable();
                    found.dedup();
                }
                found
            })
            .collect();
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for &slot in &slots[..choosing] {
            // Twice in one response counts twice here: it only decides what is looked at.
            for &sentence in firing.table.of(slot as usize) {
                hashes[sentence as usize].iter().for_each(|&hash| *counts.entry(hash).or_default() += 1);
            }
        }
        counts.retain(|_, count| *count as usize >= RESPONSES);

        let mut shown: Vec<String> = Vec::new();
        let mut number: HashMap<u64, u32> = HashMap::new();
        for sentence in (0..firing.table.len()).filter(|&sentence| chooses[sentence]) {
            if hashes[sentence].iter().any(|hash| counts.contains_key(hash) && !number.contains_key(hash)) {
                each(firing.table.text(sentence), &stop, |phrase| {
                    let hash = hash(phrase);
                    if counts.contains_key(&hash) && !number.contains_key(&hash) {
                        number.insert(hash, shown.len() as u32);
                        shown.push(phrase.to_owned());
                    }
                });
            }
        }
        let in_sentence: Vec<Vec<u32>> = hashes
            .into_par_iter()
            .map(|hashes| hashes.iter().filter_map(|hash| number.get(hash).copied()).collect())
            .collect();
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); shown.len()];
        for (place, &slot) in (0u32..).zip(&slots) {
            for &phrase in
                firing.table.of(slot as usize).iter().flat_map(|&sentence| &in_sentence[sentence as usize])
            {
                let places = &mut places[phrase as usize];
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        Self { shown, number, places, in_sentence, slots, choosing }
    }

    /// Which of the responses that choose have one of these sentences.
    fn having(&self, firing: &Firing, fires: &[u32]) -> Vec<bool> {
        let mut clear = vec![false; firing.table.len()];
        fires.iter().for_each(|&sentence| clear[sentence as usize] = true);
        self.slots[..self.choosing]
            .iter()
            .map(|&slot| firing.table.of(slot as usize).iter().any(|&sentence| clear[sentence as usize]))
            .collect()
    }

    /// The words of a feature's topic, those that tell it best first, and the φ that they reach together: `fires` are its clear sentences,
    /// `near` the words near its direction with their cosines, the nearest first. None where they are no topic.
    pub(super) fn topic(&self, firing: &Firing, fires: &[u32], near: &[(f32, &str)]) -> (Vec<u32>, f64) {
        let has = self.having(firing, fires);
        let scale = Phi::new(&has);
        let telling: Vec<(f32, u32, (usize, usize))> = near
            .iter()
            .filter_map(|(cosine, word)| Some((*cosine, *self.number.get(&hash(word))?)))
            .map(|(cosine, word)| (cosine, word, self.more(word, &has, &[])))
            .filter(|(_, _, (all, both))| *both >= SHARED && *both as f64 >= PURE * *all as f64)
            .collect();
        let (mut best, mut reached) = (0, 0.0);
        let mut covered = vec![false; self.choosing];
        let (mut so_far, mut taken) = ((0, 0), 0);
        for least in NEAR {
            while let Some((_, word, _)) = telling.get(taken).filter(|(cosine, ..)| *cosine >= least) {
                let more = self.more(*word, &has, &covered);
                so_far = (so_far.0 + more.0, so_far.1 + more.1);
                self.chosen(*word).iter().for_each(|&place| covered[place as usize] = true);
                taken += 1;
            }
            let phi = scale.of(so_far);
            if phi > reached {
                (best, reached) = (taken, phi);
            }
        }
        let mut words = telling;
        words.truncate(best);
        // "drink" and "drinks" are one word to a reader.
        let stems: std::collections::HashSet<String> =
            words.iter().map(|(_, word, _)| stem(self.shown(*word))).collect();
        if stems.len() < TOPIC {
            return (Vec::new(), 0.0);
        }
        let tells = |(all, both): (usize, usize)| (both * both) as f64 / all.max(1) as f64;
        words.sort_by(|a, b| {
            tells(b.2).total_cmp(&tells(a.2)).then_with(|| self.shown(a.1).cmp(self.shown(b.1)))
        });
        (words.into_iter().map(|(_, word, _)| word).collect(), reached)
    }

    /// The phrases that a feature goes by, best first, and the φ that they reach together: `fires` are its clear sentences.
    pub(super) fn for_feature(&self, firing: &Firing, fires: &[u32]) -> (Vec<u32>, f64) {
        let has = self.having(firing, fires);
        let mut seen: Vec<u32> =
            fires.iter().flat_map(|&sentence| &self.in_sentence[sentence as usize]).copied().collect();
        seen.sort_unstable();
        seen.dedup();
        let scale = Phi::new(&has);
        // Ties by the phrase itself, so that the order of the rows decides nothing.
        let mut tried: Vec<(f64, u32)> =
            seen.into_iter().map(|phrase| (scale.of(self.more(phrase, &has, &[])), phrase)).collect();
        tried.sort_by(|a, b| {
            b.0.total_cmp(&a.0).then_with(|| self.shown[a.1 as usize].cmp(&self.shown[b.1 as usize]))
        });
        tried.truncate(TRIED);

        let mut taken: Vec<u32> = Vec::new();
        let mut covered = vec![false; self.choosing];
        let (mut so_far, mut reached) = ((0, 0), 0.0);
        while taken.len() < MOST {
            let with = |phrase: u32| {
                let more = self.more(phrase, &has, &covered);
                (so_far.0 + more.0, so_far.1 + more.1)
            };
            let best = tried
                .iter()
                .map(|&(_, phrase)| (scale.of(with(phrase)), phrase))
                .reduce(|best, next| if next.0 > best.0 { next } else { best });
            let Some((phi, phrase)) = best.filter(|(phi, _)| *phi >= reached + WORTH) else { break };
            (so_far, reached) = (with(phrase), phi);
            self.chosen(phrase).iter().for_each(|&place| covered[place as usize] = true);
            taken.push(phrase);
        }
        (taken, reached)
    }

    /// How a phrase is shown.
    pub(super) fn shown(&self, phrase: u32) -> &str {
        &self.shown[phrase as usize]
    }

    /// Whether a sentence has one of the phrases.
    pub(super) fn stands_in(&self, phrases: &[u32], sentence: u32) -> bool {
        self.in_sentence[sentence as usize].iter().any(|phrase| phrases.contains(phrase))
    }

    /// How well the phrases go with a feature on the held-out pairs that were read (`held_out`), pair by pair: where its
    /// activation `column` (`[pairs]`) is not 0, and over all of them. Before that the share of those where it is not 0 in
    /// which one of the phrases stands on its side alone.
    pub(super) fn fidelity(
        &self,
        phrases: &[u32],
        column: &[f32],
        held_out: &[u32],
    ) -> (f64, [Correlation; 2]) {
        let mut has = vec![false; self.slots.len() - self.choosing];
        for &place in phrases.iter().flat_map(|&phrase| &self.places[phrase as usize]) {
            if let Some(has) = (place as usize).checked_sub(self.choosing).and_then(|at| has.get_mut(at)) {
                *has = true;
            }
        }
        let read =
            has.chunks_exact(2).map(|pair| f64::from(u8::from(pair[0])) - f64::from(u8::from(pair[1])));
        let all: Vec<(f64, f64)> =
            held_out.iter().map(|&pair| f64::from(column[pair as usize])).zip(read).collect();
        let of = |pairs: Vec<(f64, f64)>| {
            let (z, read): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            pearson(&z, &read)
        };
        let with: Vec<(f64, f64)> = all.iter().copied().filter(|(z, _)| *z != 0.0).collect();
        let right = with.iter().filter(|(z, read)| z * read > 0.0).count() as f64 / with.len().max(1) as f64;
        (right, [of(with), of(all)])
    }

    /// The responses that choose and have the phrase.
    fn chosen(&self, phrase: u32) -> &[u32] {
        let places = &self.places[phrase as usize];
        &places[..places.partition_point(|&place| (place as usize) < self.choosing)]
    }

    /// Responses that the phrase adds to those `covered` (none where that is empty), and how many of them have it.
    fn more(&self, phrase: u32, has: &[bool], covered: &[bool]) -> (usize, usize) {
        let new = self.chosen(phrase).iter().filter(|&&place| covered.get(place as usize) != Some(&true));
        new.fold((0, 0), |(all, both), &place| (all + 1, both + usize::from(has[place as usize])))
    }
}

/// The beginning of a word, which its forms share.
pub(super) fn stem(word: &str) -> String {
    let single = word.strip_suffix('s').filter(|rest| rest.len() > 2).unwrap_or(word);
    single.chars().take(5).collect()
}

/// φ of two properties of responses, one of them given.
struct Phi {
    n: f64,
    has: f64,
}

impl Phi {
    fn new(has: &[bool]) -> Self {
        Self { n: has.len() as f64, has: has.iter().filter(|has| **has).count() as f64 }
    }

    /// With a property that `all` responses have, `both` of them beside the given one.
    fn of(&self, (all, both): (usize, usize)) -> f64 {
        let (all, both) = (all as f64, both as f64);
        let spread = (self.has * (self.n - self.has) * all * (self.n - all)).sqrt();
        if spread > 0.0 { (self.n * both - self.has * all) / spread } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::SparseRows;
    use crate::sentences::SentenceTable;

    const DRINKS: [&str; 6] = ["water", "juice", "beer", "wine", "tea", "teas"];

    /// Eighty pairs: A speaks of a drink in three of four, B of the weather; a feature fires in what is said of drinks.
    fn drinks() -> (Firing, Vec<u32>) {
        let first = |at: usize| match at % 4 {
            3 => format!("The table number {at} is green."),
            _ => format!("You could pour some {} for guest {at}.", DRINKS[at % 6]),
        };
        let texts: Vec<String> =
            (0..80).map(first).chain((0..80).map(|at| format!("It rains on day {at}."))).collect();
        let table = SentenceTable::of_texts(texts.len(), |slot| &texts[slot]);
        let mut z = SparseRows { cols: 1, indptr: vec![0], ..SparseRows::default() };
        let mut fires = Vec::new();
        for sentence in 0..table.len() {
            if table.text(sentence).starts_with("You could") {
                z.index.push(0);
                z.value.push(1.0);
                fires.push(sentence as u32);
            }
            z.indptr.push(z.index.len());
        }
        (Firing { table, z, faint: None }, fires)
    }

    #[test]
    fn a_topic_is_the_words_near_it_that_its_responses_have() {
        let (firing, fires) = drinks();
        let choose: Vec<u32> = (0..80).collect();
        let phrases = Phrases::new(&firing, &choose, &[]);
        let mut near: Vec<(f32, &str)> = DRINKS.iter().map(|word| (0.5, *word)).collect();
        // Near, and nothing of it: in other responses, or in none.
        near.extend([(0.4, "rains"), (0.4, "vodka"), (0.3, "table")]);
        let (topic, phi) = phrases.topic(&firing, &fires, &near);
        let mut words: Vec<&str> = topic.iter().map(|&word| phrases.shown(word)).collect();
        words.sort_unstable();
        let mut all = DRINKS.to_vec();
        all.sort_unstable();
        assert_eq!(words, all);
        assert!(phi > 0.99, "{phi}");
        // Two words of which one is a form of the other are no topic.
        let few = [(0.5, "tea"), (0.5, "teas"), (0.5, "beer")];
        assert!(phrases.topic(&firing, &fires, &few).0.is_empty());
        assert!(phrases.topic(&firing, &fires, &[]).0.is_empty());
    }
}
