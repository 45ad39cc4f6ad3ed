//! Effects that are planted in one kind of request, and none.

use polars::prelude::{NewChunkedArray, StringChunked};
use rand::RngExt;

use super::*;
use crate::matrix::Matrix;
use crate::pairs::{Labels, TextColumn};
use crate::relabel::unsafe_content::Reader;

const TOPICS: [[&str; 3]; 6] = [
    ["baking bread", "sourdough bread", "bread dough"],
    ["repairing a bicycle", "bicycle brakes", "a bicycle chain"],
    ["chess openings", "the knight in chess", "a chess endgame"],
    ["how vaccines work", "vaccines for babies", "vaccine safety"],
    ["training a puppy", "a puppy that chews", "feeding a puppy"],
    ["saving money", "money and debt", "a budget for money"],
];
const FRAMES: [&str; 6] = [
    "How do I start with {}?",
    "What should I know about {}?",
    "Explain {} to a beginner.",
    "Tell me about {}, please.",
    "Which mistakes do people make in {}?",
    "I want to understand {} better.",
];
/// Words of the first topic.
const BREAD: [&str; 4] = ["bread", "dough", "sourdough", "baking"];

/// Pairs on six topics with twelve features, and their labels: feature 0 turns round where the topic is the first, feature
/// 1 counts there alone, both by `strength`; the others count everywhere, half as much. Without any difference where `plain`.
struct World {
    pairs: Pairs,
    described: Described,
    sides: Vec<Split>,
}

const FEATURES: usize = 12;

fn world(seed: u64, count: usize, strength: f64, plain: bool) -> World {
    let mut random = rng::stream(seed, "planted contexts");
    let (mut prompts, mut keys, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut presence = Matrix::zeros(count, FEATURES);
    let mut length = Vec::new();
    for pair in 0..count {
        let topic = random.random_range(0..TOPICS.len());
        let number = random.random_range(0..40);
        let frame = FRAMES[random.random_range(0..FRAMES.len())];
        let asked = frame.replace("{}", TOPICS[topic][random.random_range(0..3)]);
        prompts.push(format!("{asked} ({number})"));
        keys.push(prompts.last().cloned().unwrap());
        let longer: f64 = random.random_range(-30.0..30.0);
        let mut odds = 0.01 * longer;
        for feature in 0..FEATURES {
            let [a, b] = [0, 1].map(|_| random.random_range(0..10) < 3);
            let s = f64::from(u8::from(a)) - f64::from(u8::from(b));
            presence.row_mut(pair)[feature] = s as f32;
            let there = topic == 0 && !plain;
            odds += s * match feature {
                0 if there => -strength,
                1 if !there && !plain => 0.0,
                0 | 1 => strength,
                _ => strength / 2.0,
            };
        }
        length.push(longer as f32);
        labels.push(if random.random::<f64>() < 1.0 / (1.0 + (-odds).exp()) { 1.0 } else { 0.0 });
    }
    let mut number: BTreeMap<String, u32> = BTreeMap::new();
    let prompt_key = keys
        .into_iter()
        .map(|prompt| {
            let next = number.len() as u32;
            *number.entry(prompt).or_insert(next)
        })
        .collect();
    let column = |texts: &[String]| {
        TextColumn(StringChunked::from_iter_values("t".into(), texts.iter().map(String::as_str)))
    };
    let empty = vec![String::new(); count];
    let pairs = Pairs {
        pair_id: (0..count).map(|pair| format!("{pair:06}")).collect(),
        prompt: column(&prompts),
        response_a: column(&empty),
        response_b: column(&empty),
        prompt_key,
        log_length_ratio: length.iter().map(|length| length / 60.0).collect(),
        length_delta: length,
        judgements: Labels {
            pair: (0..count as u32).collect(),
            row: (0..count as u32).collect(),
            label: labels,
            annotator: vec![crate::pairs::MISSING; count],
            ..Labels::default()
        },
        ..Pairs::default()
    };
    let feature = |at: usize| Feature {
        feature_id: format!("known_{at:02}"),
        source: FeatureSource::Known,
        description: format!("does thing {at}"),
        clause: format!("does thing {at}"),
        kept: true,
        ..Feature::default()
    };
    let described = Described {
        features: (0..FEATURES).map(feature).collect(),
        activations: presence.clone(),
        presence,
        ..Described::default()
    };
    World { sides: vec![Split::Test; count], pairs, described }
}

fn question(look: Look) -> Question<'static> {
    Question { principles: &[], look }
}

fn looked_at(world: &World, seed: u64) -> Contexts {
    let cancel = Cancel::default();
    let found = found(&world.pairs, seed, &Reader::new(None).unwrap(), &cancel).unwrap();
    // A new prompt is read as the run's own were, and from what is kept of a kind.
    let kept = serde_json::from_value(serde_json::to_value(&found.contexts).unwrap()).unwrap();
    let kinds = Kinds::new(kept).unwrap();
    for pair in (0..world.pairs.pair_id.len()).step_by(50) {
        let there: Vec<bool> = found.contexts.iter().map(|kind| kind.inside[pair]).collect();
        assert_eq!(kinds.of(world.pairs.prompt.get(pair)), there, "{}", world.pairs.prompt.get(pair));
    }
    measure(&world.pairs, &world.sides, &world.described, found.contexts, question(Look::Promising), &cancel)
        .unwrap()
}

#[test]
fn what_turns_round_and_what_holds_in_one_topic_alone_is_found_with_its_words() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..10 {
        let found = looked_at(&world(seed, 5_000, 1.0, false), seed);
        let claim = |feature: &str, kinds: &[Difference]| {
            found.claims().any(|row| {
                row.feature_id == feature
                    && row.kind.is_some_and(|kind| kinds.contains(&kind))
                    && BREAD.iter().any(|word| row.context.contains(word))
            })
        };
        let planted = ["known_00", "known_01"];
        let stray: Vec<&str> = found
            .claims()
            .filter(|row| {
                !planted.contains(&row.feature_id.as_str())
                    || !BREAD.iter().any(|word| row.context.contains(word))
            })
            .map(|row| row.statement.as_str())
            .collect();
        let both = claim("known_00", &[Difference::TurnsRound])
            && claim("known_01", &[Difference::OnlyThere, Difference::Stronger]);
        if !both || !stray.is_empty() {
            let all: Vec<&str> = found.claims().map(|row| row.statement.as_str()).collect();
            println!("seed {seed}: {all:#?}");
        }
        right += usize::from(both);
        wrong += stray.len();
    }
    // Half a claim by chance in ten sets is what α allows.
    assert!(wrong <= 2, "{wrong} claims of what was not planted");
    assert!(right >= 9, "{right} of 10");
}

/// 100 worlds in the bench, fewer here: `cargo test --lib contexts -- --include-ignored` runs all.
fn claims_of_nothing(worlds: u64) -> usize {
    (0..worlds)
        .into_par_iter()
        .filter(|&seed| looked_at(&world(1_000 + seed, 2_000, 0.4, true), seed).claims().count() > 0)
        .count()
}

#[test]
fn nothing_is_claimed_where_nothing_depends() {
    assert!(claims_of_nothing(20) <= 2);
}

#[test]
#[ignore = "a minute"]
fn nothing_is_claimed_in_nineteen_of_twenty_worlds() {
    let claimed = claims_of_nothing(100);
    println!("claims in {claimed} of 100 worlds without any");
    assert!(claimed <= 5, "{claimed}");
}

/// Share of intervals that hold what is true there, the raw and the shrunk one, where nothing depends on the topic.
#[test]
fn intervals_cover() {
    let (mut raw, mut drawn, mut all) = (0, 0, 0);
    // The win rate of every feature, from many more labels of the same kind.
    let truth = truth_of(&world(9_000, 60_000, 0.5, true));
    for seed in 0..12 {
        let world = world(2_000 + seed, 2_500, 0.5, true);
        let contexts = |world: &World| -> Vec<Context> {
            (0..TOPICS.len())
                .map(|topic| Context {
                    context_id: format!("topic_{topic}"),
                    inside: (0..world.pairs.pair_id.len())
                        .map(|pair| {
                            TOPICS[topic].iter().any(|text| world.pairs.prompt.get(pair).contains(text))
                        })
                        .collect(),
                    ..Context::default()
                })
                .collect()
        };
        let of = contexts(&world);
        let found = measure(
            &world.pairs,
            &world.sides,
            &world.described,
            of,
            question(Look::All),
            &Cancel::default(),
        )
        .unwrap();
        for row in &found.rows {
            let truth = truth[usize::from(row.feature_id.as_str() > "known_01")];
            all += 1;
            raw += usize::from((row.inside.low..=row.inside.high).contains(&truth));
            drawn += usize::from((row.shrunk.low..=row.shrunk.high).contains(&truth));
        }
    }
    let share = |count: usize| count as f64 / all as f64;
    println!("{all} intervals: raw {:.3}, shrunk {:.3}", share(raw), share(drawn));
    assert!((0.92..=0.975).contains(&share(raw)), "{}", share(raw));
    assert!((0.92..=0.99).contains(&share(drawn)), "{}", share(drawn));
}

/// The win rates of the first two features and of the others: the same in all topics.
fn truth_of(world: &World) -> [f64; 2] {
    let sample = LabelledSample::on(&world.pairs, &world.sides, &ALL).sample;
    let control = crate::effects::Control::Length;
    let win =
        |feature: usize| win_influence(&world.described.presence.column(feature), &sample, control).0.value;
    [0..2, 2..FEATURES].map(|some| some.clone().map(win).sum::<f64>() / some.len() as f64)
}

#[test]
fn the_order_of_rows_and_of_the_sides_decides_nothing() {
    let world = world(5, 1_500, 0.8, false);
    let one = looked_at(&world, 3);
    // A and B changed round turn every figure and every label: what is claimed stays.
    let mut turned = world;
    for values in [
        &mut turned.described.presence.values,
        &mut turned.pairs.length_delta,
        &mut turned.pairs.log_length_ratio,
    ] {
        values.iter_mut().for_each(|value| *value = -*value);
    }
    turned.pairs.judgements.label.iter_mut().for_each(|label| *label = 1.0 - *label);
    let other = looked_at(&turned, 3);
    assert_eq!(one.rows.len(), other.rows.len());
    for (a, b) in one.rows.iter().zip(&other.rows) {
        assert_eq!((&a.feature_id, &a.context_id, a.kind), (&b.feature_id, &b.context_id, b.kind));
        assert!((a.inside.value - b.inside.value).abs() < 1e-6, "{a:?} {b:?}");
    }
}

/// Which rules find these prompts, and the words of the topics.
fn kinds_of(prompts: &[String]) -> BTreeMap<String, (String, Vec<bool>)> {
    let texts = TextColumn(StringChunked::from_iter_values("t".into(), prompts.iter().map(String::as_str)));
    let pairs = Pairs {
        pair_id: (0..prompts.len()).map(|at| at.to_string()).collect(),
        prompt: texts,
        prompt_key: (0..prompts.len() as u32).collect(),
        ..Pairs::default()
    };
    let found = found(&pairs, 0, &Reader::new(None).unwrap(), &Cancel::default()).unwrap();
    found.contexts.into_iter().map(|kind| (kind.context_id, (kind.text, kind.inside))).collect()
}

#[test]
fn a_long_message_is_read_where_it_asks() {
    let passage = "I told my people that the program of the island Java has a penal code. ".repeat(60);
    let kinds = kinds_of(&[
        format!("Who won the cup in 1966?\n\n{passage}"),
        format!("{passage}\n\nWho won the cup in 1966?"),
        "Write me a poem about rust".to_owned(),
        "How do I sort a list in Python?".to_owned(),
    ]);
    assert_eq!(kinds["facts"].1, [true, true, false, false]);
    assert_eq!(kinds["writing"].1, [false, false, true, false]);
    assert!(!kinds["code"].1[2] && kinds["code"].1[3]);
    // The words of the whole, not of what is read.
    assert!(kinds["long_message"].0.contains("more than 906"), "{}", kinds["long_message"].0);
}

#[test]
fn a_topic_is_where_its_words_stand() {
    let prompts: Vec<String> = (0..600)
        .map(|at| {
            let topic = TOPICS[at % TOPICS.len()][(at / 6) % 3];
            format!("{} ({at})", FRAMES[(at / 18) % FRAMES.len()].replace("{}", topic))
        })
        .collect();
    let kinds = kinds_of(&prompts);
    let topics: Vec<_> = kinds.iter().filter(|(id, _)| id.starts_with("topic_")).collect();
    assert!(topics.len() >= TOPICS.len(), "{topics:?}");
    for (_, (text, inside)) in topics {
        let words: Vec<&str> = text.split('“').skip(1).filter_map(|part| part.split('”').next()).collect();
        assert!(!words.is_empty() && words.len() <= 6, "{text}");
        for (prompt, inside) in prompts.iter().zip(inside) {
            let stands = words.iter().any(|word| prompt.to_lowercase().contains(word));
            assert_eq!(stands, *inside, "{text}: {prompt}");
        }
    }
}

#[test]
fn contexts_that_say_the_same_stand_once_and_columns_divide() {
    let world = world(6, 600, 0.5, true);
    let values: Vec<String> =
        (0..600).map(|pair| if pair % 3 == 0 { "medical" } else { "" }.to_owned()).collect();
    let of = [of_column("domain", &values), of_column("field", &values)].concat();
    assert_eq!(of[0].text, "`domain` is medical");
    let found =
        measure(&world.pairs, &world.sides, &world.described, of, question(Look::All), &Cancel::default())
            .unwrap();
    assert_eq!(found.contexts.len(), 1);
    assert_eq!((found.contexts[0].labels, found.tested), (200, FEATURES));
    assert!(found.claims().count() == 0, "{:?}", found.claims().next());
}

#[test]
fn least_squares_come_first_and_change_no_claim() {
    let world = world(11, 3_000, 0.8, false);
    let cancel = Cancel::default();
    let contexts = found(&world.pairs, 1, &Reader::new(None).unwrap(), &cancel).unwrap().contexts;
    let of = |look| {
        measure(&world.pairs, &world.sides, &world.described, contexts.clone(), question(look), &cancel)
            .unwrap()
    };
    let (some, all) = (of(Look::Promising), of(Look::All));
    assert!(some.claims().count() > 0 && some.rows.len() < all.rows.len() / 2);
    assert_eq!(some.tested, all.tested);
    assert_eq!(some.claims().collect::<Vec<_>>(), all.claims().collect::<Vec<_>>());
}
