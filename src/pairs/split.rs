//! Sides of the split: pairs that share a prompt or another key never stand on different ones.

use rand::seq::SliceRandom;

use super::error::PairsError;
use super::{MISSING, Pairs, Split};
use crate::rng;

/// A component with more than this share of the pairs is placed before all others.
const LARGE: f64 = 0.05;

/// Splits pairs into sides of the given shares (`train`, `describe`, `held_out`; they add up to 1).
///
/// Returns the side of each pair, `[pairs]`, and notes for the user (a component larger than a side).
///
/// Connected components over [`Pairs::prompt_key`] and all [`Pairs::group_keys`] stay whole; a
/// missing key joins nothing. Components are shuffled with `seed` and each goes to the side that lacks
/// most, so every side ends within one (the largest) component of what was asked. Linear in pairs.
///
/// # Errors
/// [`PairsError::Shares`] when the shares are negative, not finite or do not add up to 1.
pub fn split(pairs: &Pairs, shares: [f64; 3], seed: u64) -> Result<(Vec<Split>, Vec<String>), PairsError> {
    if shares.iter().any(|share| !share.is_finite() || *share < 0.0)
        || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6
    {
        return Err(PairsError::Shares { shares });
    }
    let columns: Vec<&[u32]> = std::iter::once(pairs.prompt_key.as_slice())
        .chain(pairs.group_keys.iter().map(|(_, keys)| keys.as_slice()))
        .collect();
    let count = pairs.prompt_key.len();
    let (sides, notes) = split_keys(count, &columns, shares, seed);
    let missing = |sides: &[Split]| {
        let needed = [(Split::Train, shares[0]), (Split::Test, shares[2])];
        needed.iter().any(|(side, share)| *share > 0.0 && !sides.contains(side))
    };
    if missing(&sides) {
        // One prompt for everything, say: sides of single pairs are better than no answer, if said so.
        let (alone, _) = split_keys(count, &[], shares, seed);
        if !missing(&alone) {
            let note = "all pairs hang together by prompt or key, so the sides were drawn pair by pair: figures for \
                        other prompts may be lower"
                .to_owned();
            return Ok((alone, vec![note]));
        }
    }
    Ok((sides, notes))
}

/// [`split`] over plain key columns.
fn split_keys(count: usize, columns: &[&[u32]], shares: [f64; 3], seed: u64) -> (Vec<Split>, Vec<String>) {
    let component = components(count, columns);
    let number = component.iter().max().map_or(0, |max| *max as usize + 1);
    let mut sizes = vec![0usize; number];
    for &c in &component {
        if let Some(size) = sizes.get_mut(c as usize) {
            *size += 1;
        }
    }
    let largest = sizes.iter().copied().max().unwrap_or(0);

    let mut order: Vec<(u32, usize)> = sizes.iter().enumerate().map(|(c, size)| (c as u32, *size)).collect();
    order.shuffle(&mut rng::stream(seed, "split"));
    // The few large ones first, as nothing could make up for them later.
    let (mut large, small): (Vec<_>, Vec<_>) =
        order.into_iter().partition(|(_, size)| *size as f64 > LARGE * count as f64);
    large.sort_by_key(|(_, size)| std::cmp::Reverse(*size));

    let mut lacking = shares.map(|share| share * count as f64);
    let mut side_of = vec![Split::Train; number];
    let mut place = |order: &[(u32, usize)], lacking: &mut [f64; 3]| {
        for &(c, size) in order {
            // The later side wins a draw: held-out pairs are what every figure stands on.
            let [train, describe, held_out] = *lacking;
            let side = if held_out >= train && held_out >= describe {
                Split::Test
            } else if train >= describe {
                Split::Train
            } else {
                Split::Validation
            };
            if let Some(slot) = side_of.get_mut(c as usize) {
                *slot = side;
            }
            let [train, describe, held_out] = lacking;
            *match side {
                Split::Train => train,
                Split::Validation => describe,
                Split::Test | Split::Apart => held_out,
            } -= size as f64;
        }
    };
    place(&large, &mut lacking);
    // What a large component took too much of one side is taken from the others in proportion, so that
    // none of them starves.
    let rest: f64 = small.iter().map(|(_, size)| *size as f64).sum();
    let open: f64 = lacking.iter().map(|x| x.max(0.0)).sum();
    if open > 0.0 {
        lacking = lacking.map(|x| x.max(0.0) * rest / open);
    }
    place(&small, &mut lacking);

    let sides: Vec<Split> = component.iter().filter_map(|c| side_of.get(*c as usize)).copied().collect();
    let mut notes = Vec::new();
    let smallest = shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
    if largest as f64 > (smallest * count as f64).max(1.0) {
        let size = |side: Split| sides.iter().filter(|other| **other == side).count();
        notes.push(format!(
            "{largest} of {count} pairs hang together by prompt or key, more than the {:.0} asked for one side: \
             the split is {} train, {} describe, {} held out",
            smallest * count as f64,
            size(Split::Train),
            size(Split::Validation),
            size(Split::Test),
        ));
    }
    (sides, notes)
}

/// Number of the component of each of `count` pairs; pairs with a key in common are connected.
fn components(count: usize, columns: &[&[u32]]) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..count as u32).collect();
    for keys in columns {
        let top = keys.iter().copied().filter(|key| *key != MISSING).max().map_or(0, |max| max as usize + 1);
        let mut first = vec![MISSING; top];
        for (pair, key) in keys.iter().enumerate() {
            let Some(slot) = first.get_mut(*key as usize) else { continue };
            if *slot == MISSING {
                *slot = pair as u32;
            } else {
                union(&mut parents, *slot, pair as u32);
            }
        }
    }
    let mut number = vec![MISSING; count];
    let mut next = 0;
    (0..count as u32)
        .map(|pair| {
            let root = find(&mut parents, pair);
            match number.get_mut(root as usize) {
                Some(slot) if *slot == MISSING => {
                    *slot = next;
                    next += 1;
                    next - 1
                }
                Some(slot) => *slot,
                None => 0,
            }
        })
        .collect()
}

/// The representative of `x`; paths are halved on the way.
pub(super) fn find(parents: &mut [u32], mut x: u32) -> u32 {
    while let Some(&parent) = parents.get(x as usize) {
        let above = parents.get(parent as usize).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(x as usize) {
            *slot = above;
        }
        if parent == above {
            return parent;
        }
        x = above;
    }
    x
}

/// Joins the sets of `x` and `y`; the smaller representative stays, whatever the order of the calls.
pub(super) fn union(parents: &mut [u32], x: u32, y: u32) {
    let (x, y) = (find(parents, x), find(parents, y));
    if let Some(slot) = parents.get_mut(x.max(y) as usize) {
        *slot = x.min(y);
    }
}

/// The pairs on a side, in order.
pub fn on(sides: &[Split], side: Split) -> Vec<u32> {
    (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
}
