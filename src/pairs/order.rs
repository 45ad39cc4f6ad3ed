//! One order of the pairs, whatever the order of the rows: shuffled, sharded, CSV or Parquet, it is the same set.

use std::collections::HashMap;

use super::{Labels, MISSING, Pairs, PairsError, Repeats, TextColumn};
use crate::matrix::Matrix;
use crate::rng;

/// Puts the pairs into the order of their ids, which are hashes of their texts, the labels into that of their
/// pairs and annotators, and numbers prompts, keys and annotators accordingly. Everything after it, down to the
/// last bit of a sum, then depends on what is in the dataset and not on where it stands.
///
/// Prompts that differ in white space alone are one prompt from here on.
pub fn canonical(pairs: Pairs) -> Pairs {
    let count = pairs.pair_id.len();
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_by(|&a, &b| pairs.pair_id[a as usize].cmp(&pairs.pair_id[b as usize]));
    let mut place = vec![0_u32; count];
    for (new, &old) in order.iter().enumerate() {
        place[old as usize] = new as u32;
    }

    let (people, annotators) = by_name(&pairs.annotators);
    let (judgements, moved) = judgements(&pairs.judgements, &place, &people);
    let repeats = repeats(&pairs.repeats, &moved);
    let text =
        |column: &TextColumn| TextColumn(order.iter().map(|&at| Some(column.get(at as usize))).collect());
    let (prompt, response_a, response_b) =
        (text(&pairs.prompt), text(&pairs.response_a), text(&pairs.response_b));
    let mut prompts: HashMap<String, u32> = HashMap::new();
    let prompt_key = (0..count)
        .map(|at| match rng::plain(prompt.get(at)) {
            empty if empty.is_empty() => MISSING,
            plain => {
                let next = prompts.len() as u32;
                *prompts.entry(plain).or_insert(next)
            }
        })
        .collect();
    let keys = |keys: &Vec<u32>| {
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        pick(keys, &order)
            .into_iter()
            .map(|key| {
                let next = numbers.len() as u32;
                if key == MISSING { MISSING } else { *numbers.entry(key).or_insert(next) }
            })
            .collect()
    };
    Pairs {
        prompt_key,
        group_keys: pairs.group_keys.iter().map(|(name, column)| (name.clone(), keys(column))).collect(),
        length_delta: pick(&pairs.length_delta, &order),
        log_length_ratio: pick(&pairs.log_length_ratio, &order),
        own_deltas: pairs.own_deltas.as_ref().map(|deltas: &Matrix| deltas.select_rows(&order)),
        dataset: pick(&pairs.dataset, &order),
        pair_id: order.iter().map(|&at| pairs.pair_id[at as usize].clone()).collect(),
        prompt,
        response_a,
        response_b,
        datasets: pairs.datasets,
        annotators,
        judgements,
        repeats,
    }
}

/// Labels from which on it is no accident that all of them are on one side: one in half a million.
const NO_ACCIDENT: usize = 20;

/// Refuses labels that all prefer the same side: the order of the two responses then *is* the label, and every
/// difference between them would be lost in the intercept.
///
/// # Errors
/// [`PairsError::OneSided`].
pub fn refuse_one_sided(pairs: &Pairs, path: &str) -> Result<(), PairsError> {
    let sided = |label: &&f32| !label.is_nan() && **label != 0.5;
    let (mut a, mut b) = (0_usize, 0_usize);
    for label in pairs.judgements.label.iter().filter(sided) {
        *(if *label > 0.5 { &mut a } else { &mut b }) += 1;
    }
    let (labels, side, place) = match (a, b) {
        (a, 0) => (a, "A", "first"),
        (0, b) => (b, "B", "second"),
        _ => return Ok(()),
    };
    if labels < NO_ACCIDENT {
        return Ok(());
    }
    Err(PairsError::OneSided { path: path.to_owned(), labels, side, place })
}

/// A column in another order; one that is empty stays so.
fn pick<T: Copy>(column: &[T], order: &[u32]) -> Vec<T> {
    order.iter().filter_map(|&at| column.get(at as usize)).copied().collect()
}

/// New number of every name, and the names in order.
fn by_name(names: &[String]) -> (Vec<u32>, Vec<String>) {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| names[a].cmp(&names[b]));
    let mut number = vec![0_u32; names.len()];
    for (new, &old) in order.iter().enumerate() {
        number[old] = new as u32;
    }
    (number, order.into_iter().map(|at| names[at].clone()).collect())
}

/// The labels by pair and annotator, and where each of them went.
fn judgements(found: &Labels, place: &[u32], people: &[u32]) -> (Labels, Vec<u32>) {
    let who = |at: usize| {
        let annotator = found.annotator.get(at).copied().unwrap_or(MISSING);
        people.get(annotator as usize).copied().unwrap_or(MISSING)
    };
    let mut order: Vec<usize> = (0..found.pair.len()).collect();
    // The same annotator speaks once per pair, so the row decides nothing but is there.
    order.sort_by_key(|&at| (place[found.pair[at] as usize], who(at), found.row.get(at).copied()));
    let mut moved = vec![0_u32; order.len()];
    let mut new = Labels::default();
    for (now, &at) in order.iter().enumerate() {
        moved[at] = now as u32;
        new.pair.push(place[found.pair[at] as usize]);
        new.row.extend(found.row.get(at));
        new.swapped.extend(found.swapped.get(at));
        new.label.extend(found.label.get(at));
        new.annotator.push(who(at));
    }
    (new, moved)
}

fn repeats(found: &Repeats, moved: &[u32]) -> Repeats {
    let mut order: Vec<usize> = (0..found.judgement.len()).collect();
    let to = |at: usize| moved.get(found.judgement[at] as usize).copied().unwrap_or(0);
    order.sort_by_key(|&at| (to(at), found.row.get(at).copied()));
    Repeats {
        judgement: order.iter().map(|&at| to(at)).collect(),
        row: order.iter().filter_map(|&at| found.row.get(at)).copied().collect(),
        swapped: order.iter().filter_map(|&at| found.swapped.get(at)).copied().collect(),
        label: order.iter().filter_map(|&at| found.label.get(at)).copied().collect(),
    }
}
