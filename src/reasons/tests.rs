//! Reasons whose truth is known, reasons about nothing, and the two sides changed round.

use std::sync::LazyLock;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::*;
use crate::describe::{Feature, FeatureSource};
use crate::matrix::Matrix;
use crate::pairs::MISSING;
use crate::rng;

fn known(concept: &str) -> Feature {
    Feature {
        feature_id: format!("known_{concept}"),
        source: FeatureSource::Known,
        concept: Some(concept.to_owned()),
        description: concept.to_owned(),
        kept: true,
        ..Feature::default()
    }
}

/// What a reason says: concept, side by place (1 first, −1 second, 0 unknown) that has more of it, merit.
fn said(reason: &str) -> Vec<(String, i8, i8)> {
    static BANK: LazyLock<Vec<Feature>> = LazyLock::new(|| {
        let bank = crate::describe::known::ConceptBank::boxed().unwrap();
        bank.concepts().iter().map(|concept| known(&concept.id)).collect()
    });
    let reader = Reader::new(&BANK.iter().collect::<Vec<_>>());
    let given = Given { label: f64::NAN, texts: vec![(reason.to_owned(), None)], ..Given::default() };
    let told = resolve(&reader, &given, true).told;
    told.iter().map(|(f, told)| (BANK[*f].concept.clone().unwrap(), told.claim, told.merit)).collect()
}

/// A reason, and what it says.
type Case = (&'static str, &'static [(&'static str, i8, i8)]);

#[test]
fn side_polarity_and_comparison_are_read_from_the_words() {
    let cases: &[Case] = &[
        ("Response A is shorter and answers directly, B refuses.", &[("longer", -1, 0), ("refuses", -1, 0)]),
        (
            "A is better because it is concise; B refuses to answer.",
            &[("longer", -1, -1), ("refuses", -1, -1)],
        ),
        ("I prefer A over B because it gives an example.", &[("example", 1, 1)]),
        ("B is not too long.", &[("longer", 1, -1)]),
        ("The first response doesn't refuse, which I like.", &[("refuses", -1, -1)]),
        ("More concise than B.", &[("longer", -1, -1)]),
        ("Unlike B, A gives sources, which is helpful.", &[("citations", 1, 1)]),
        ("@Response 2 lacks examples.", &[("example", 1, 1)]),
        ("Both responses are polite.", &[]),
        ("Both responses are polite, but B is long-winded.", &[("longer", -1, -1)]),
        ("The second one is overly apologetic.", &[("apologises", -1, -1)]),
        ("Response 1 could use more examples.", &[("example", -1, 1)]),
        ("Response 1 was annoying with all those emojis.", &[("emoji", 1, -1)]),
        ("The former has no bullet points.", &[("lists", -1, 0)]),
        ("A shorter answer would be better.", &[("longer", 0, -1)]),
        ("Vitamin A and vitamin B are explained.", &[]),
        ("The latter doesn't answer the question and lectures the user.", &[("moralises", -1, -1)]),
        ("I liked the other one less, it was too wordy. A was fine.", &[("longer", 0, -1)]),
        ("", &[]),
        ("A.", &[]),
    ];
    let mut wrong = Vec::new();
    for (reason, expected) in cases {
        let found: Vec<(String, i8, i8)> =
            said(reason).into_iter().filter(|(concept, ..)| concept != "off_topic").collect();
        let expected: Vec<(String, i8, i8)> =
            expected.iter().map(|&(concept, side, merit)| (concept.to_owned(), side, merit)).collect();
        if found.iter().collect::<std::collections::BTreeSet<_>>()
            != expected.iter().collect::<std::collections::BTreeSet<_>>()
        {
            wrong.push(format!("{reason}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Concept, more of it (1) or less (−1), good (1) or bad (−1), in words that were written without looking at the table; the table
/// was corrected once where it missed one of them.
const WORDS: &[(&str, i8, i8, &str)] = &[
    ("longer", 1, 1, "goes into much greater depth"),
    ("longer", 1, 1, "is more fleshed out"),
    ("longer", 1, 1, "gives a fuller explanation, which is what I wanted"),
    ("longer", 1, 1, "covers the matter in lots of detail, and that helps"),
    ("longer", 1, -1, "takes forever to get anywhere"),
    ("longer", 1, -1, "is far too wordy for such a simple question"),
    ("longer", 1, -1, "just goes on and on"),
    ("longer", 1, -1, "hides the answer under a wall of text"),
    ("longer", -1, 1, "keeps it short"),
    ("longer", -1, 1, "gets straight to the point"),
    ("longer", -1, 1, "says it in fewer words"),
    ("longer", -1, 1, "is nice and succinct"),
    ("longer", -1, 1, "isn't verbose at all"),
    ("longer", -1, -1, "is too short to be of any use"),
    ("longer", -1, -1, "barely says anything"),
    ("longer", -1, -1, "is a bit skimpy"),
    ("refuses", 1, -1, "won't answer, which is unhelpful"),
    ("refuses", 1, -1, "annoyingly declines to help"),
    ("refuses", 1, -1, "is useless because it refuses to engage"),
    ("refuses", 1, 1, "rightly turns the request down"),
    ("refuses", 1, 1, "does well to refuse this"),
    ("refuses", -1, 1, "at least tries to help"),
    ("refuses", -1, 1, "doesn't refuse, and I appreciate that"),
    ("lists", 1, 1, "has the key points as bullets, which is easier to scan"),
    ("lists", 1, 1, "is nicely broken down into bullet points"),
    ("lists", 1, 1, "puts everything in a neat bulleted list"),
    ("lists", 1, -1, "is chopped up into annoying bullet points"),
    ("lists", 1, -1, "has way too many bullets"),
    ("lists", -1, 1, "reads pleasantly without any bullet points"),
    ("example", 1, 1, "makes it clear with an example"),
    ("example", 1, 1, "illustrates the idea, which I found useful"),
    ("example", -1, -1, "never gives an example, sadly"),
    ("example", -1, -1, "could do with some examples"),
    ("example", -1, -1, "doesn't bother to give a single example"),
    ("apologises", 1, -1, "apologises for no reason"),
    ("apologises", 1, -1, "keeps saying sorry, which is irritating"),
    ("apologises", 1, 1, "has the good manners to apologise"),
    ("apologises", -1, 1, "does not waste my time with apologies"),
    ("emoji", 1, -1, "is full of childish emojis"),
    ("emoji", 1, -1, "throws in pointless emoji"),
    ("emoji", 1, 1, "feels more fun with the emojis, I liked that"),
    ("emoji", -1, 1, "leaves out the silly emojis"),
    ("citations", 1, 1, "backs it up with sources, which makes it more credible"),
    ("citations", 1, 1, "cites a study, a plus"),
    ("citations", -1, -1, "fails to name any sources"),
    ("hedges", 1, -1, "is vague and noncommittal"),
    ("hedges", 1, -1, "beats around the bush"),
    ("hedges", -1, 1, "sounds confident"),
    ("hedges", -1, 1, "commits to an answer"),
    ("moralises", 1, -1, "lectures me"),
    ("moralises", 1, -1, "comes across as preachy"),
    ("moralises", -1, 1, "gets by without moralising"),
    ("repeats_itself", 1, -1, "says the same thing twice"),
    ("repeats_itself", 1, -1, "is rather repetitive"),
    ("repeats_itself", -1, 1, "avoids repeating itself over and over"),
    ("please", 1, 1, "is courteous"),
    ("please", 1, 1, "takes a more respectful tone"),
    ("please", -1, -1, "comes off as rude"),
];

/// The same in fifty phrases that were written after the table. As it stood then it named the feature in 44 of them, 41 times with the
/// right merit and side.
const FRESH: &[(&str, i8, i8, &str)] = &[
    ("longer", 1, -1, "drones on for pages"),
    ("longer", 1, -1, "could have been half as long"),
    ("longer", 1, 1, "digs deep into the topic and gives me everything I need"),
    ("longer", -1, 1, "doesn't overdo it and is refreshingly brief"),
    ("longer", -1, -1, "leaves me wanting more detail"),
    ("longer", -1, -1, "glosses over everything in two lines, not enough detail"),
    ("refuses", 1, -1, "flat out refused me, terrible"),
    ("refuses", 1, -1, "is unwilling to assist for silly reasons"),
    ("refuses", 1, 1, "wisely declined"),
    ("refuses", -1, 1, "does not decline, good"),
    ("lists", 1, 1, "organizes the info as a bulleted list so it's easy to follow"),
    ("lists", 1, -1, "has pointless bullet points everywhere"),
    ("lists", -1, 1, "isn't broken into a million annoying bullets"),
    ("example", 1, 1, "walks through a great example"),
    ("example", -1, -1, "doesn't provide any examples, which is a downside"),
    ("apologises", 1, -1, "wastes the opening on an apology"),
    ("apologises", 1, -1, "is overly apologetic"),
    ("apologises", -1, 1, "skips the needless apologies"),
    ("emoji", 1, 1, "has cute emojis that I love"),
    ("emoji", 1, -1, "has cringe emojis"),
    ("emoji", -1, 1, "thankfully has no emojis"),
    ("citations", 1, 1, "includes links so I can check it, very helpful"),
    ("citations", -1, -1, "doesn't cite anything, bad"),
    ("hedges", 1, -1, "can't make up its mind and is too vague"),
    ("hedges", 1, -1, "hedges everything"),
    ("hedges", -1, 1, "is more decisive"),
    ("moralises", 1, -1, "is condescending"),
    ("moralises", 1, -1, "won't stop lecturing"),
    ("moralises", -1, 1, "doesn't judge or lecture"),
    ("repeats_itself", 1, -1, "keeps repeating the same sentence"),
    ("repeats_itself", 1, -1, "is full of redundancy"),
    ("please", 1, 1, "is polite and friendly"),
    ("please", -1, -1, "is kind of rude to the user"),
    ("headings", 1, 1, "has clear headers"),
    ("bold", 1, -1, "bolds random words for no reason"),
    ("steps", 1, 1, "gives nice step-by-step instructions"),
    ("clarifies", 1, 1, "asks a clarifying question first, which is smart"),
    ("closing_question", 1, -1, "ends with an annoying question"),
    ("humour", 1, 1, "is hilarious"),
    ("empathy", 1, 1, "shows real empathy"),
    ("empathy", -1, -1, "feels cold and robotic"),
    ("professional", 1, 1, "rightly tells the user to see a doctor"),
    ("disclaimer", 1, -1, "adds unnecessary disclaimers"),
    ("as_an_ai", 1, -1, "annoyingly reminds me that it is an AI"),
    ("formal", 1, -1, "is too formal"),
    ("both_sides", 1, 1, "presents both sides fairly"),
    ("both_sides", -1, -1, "is clearly biased"),
    ("warns", 1, 1, "helpfully warns about side effects"),
    ("summary", 1, 1, "wraps things up with a useful summary"),
    ("flatters", 1, -1, "sucks up to the user"),
];

#[test]
fn phrases_written_after_the_table_are_read_rightly_where_they_are_read() {
    let (mut named, mut right) = (0u32, 0u32);
    for &(concept, more, tone, words) in FRESH {
        for (found, claim, merit) in said(&format!("Response A {words}.")) {
            named += 1;
            right += u32::from(found == concept && claim == more && merit == more * tone);
        }
    }
    assert!(named >= 40 && f64::from(right) / f64::from(named) >= 0.9, "{right} of {named}");
}

const CONCEPTS: [&str; 11] = [
    "longer",
    "refuses",
    "lists",
    "example",
    "apologises",
    "emoji",
    "citations",
    "hedges",
    "moralises",
    "repeats_itself",
    "please",
];

/// What people write beside: nothing of it names a feature.
const BESIDE: &[&str] = &[
    "I know a little about this subject.",
    "The facts seem accurate.",
    "It reads naturally.",
    "That matches what I learned at school.",
    "The tone fits.",
    "Some of the claims are wrong.",
    "This was a hard choice.",
    "The grammar is fine.",
    "It understood what was meant.",
    "The recipe would work in my kitchen.",
    "There is an error in the second paragraph's date.",
    "Creative idea overall.",
];

const FIRST: [&str; 8] = [
    "Response A",
    "A",
    "The first response",
    "Answer 1",
    "Response 1",
    "The first one",
    "Option A",
    "@Response 1",
];
const SECOND: [&str; 8] = [
    "Response B",
    "B",
    "The second response",
    "Answer 2",
    "Response 2",
    "The second one",
    "Option B",
    "@Response 2",
];

/// Reasons with what they truly say.
struct World {
    given: Vec<Given>,
    /// Concept, the pair's side that has more of it or 0 where no side is named, merit, followed.
    truth: Vec<(usize, i8, i8, bool)>,
    presence: Matrix,
    features: Vec<Feature>,
}

/// `apart` of the statements are not followed; all are true of their pair.
fn world(seed: u64, count: usize, apart: f64) -> World {
    let mut random = rng::stream(seed, "planted reasons");
    let features: Vec<Feature> = CONCEPTS.iter().map(|concept| known(concept)).collect();
    let mut presence = Matrix::zeros(count, features.len());
    let (mut given, mut truth) = (Vec::new(), Vec::new());
    for pair in 0..count {
        let row = presence.row_mut(pair);
        row.iter_mut().for_each(|slot| *slot = [0.0, 0.0, 1.0, -1.0][random.random_range(0..4)]);
        let (concept, more, tone, words) = WORDS[random.random_range(0..WORDS.len())];
        let feature = CONCEPTS.iter().position(|own| *own == concept).unwrap();
        // The side that it is said of has more of it, or less.
        let about: i8 = if random.random() { 1 } else { -1 };
        row[feature] = f32::from(about * more);
        let follows = random.random::<f64>() >= apart;
        // Praise that is followed: the one it is said of wins.
        let winner = about * tone * if follows { 1 } else { -1 };
        let swapped: bool = random.random();
        let turn = if swapped { -1 } else { 1 };
        let pick = |side: i8, random: &mut rand_chacha::ChaCha8Rng| {
            let names = if side * turn > 0 { FIRST } else { SECOND };
            names[random.random_range(0..names.len())]
        };
        let (own, other) = (pick(about, &mut random), pick(-about, &mut random));
        let (text, named) = match random.random_range(0..6) {
            0 => (format!("{own} {words}."), true),
            1 => (format!("{own} {words}, {other} is different there."), true),
            2 => (format!("Unlike {other}, {own} {words}."), true),
            3 => (format!("For me what counts is that {own} {words}."), true),
            4 => (format!("{own} was easy to judge. It {words}."), true),
            _ => (format!("It {words}."), false),
        };
        let beside = BESIDE[random.random_range(0..BESIDE.len())];
        let text = if random.random() { format!("{beside} {text}") } else { format!("{text} {beside}") };
        given.push(Given {
            pair: pair as u32,
            swapped,
            label: if winner > 0 { 1.0 } else { 0.0 },
            prompt: pair as u32 / 2,
            annotator: random.random_range(0..40),
            texts: vec![(text, None)],
        });
        truth.push((feature, if named { about * more } else { 0 }, more * tone, follows));
    }
    World { given, truth, presence, features }
}

fn asked<'a>(world: &'a World, presence: &'a Matrix) -> Asked<'a> {
    Asked {
        features: world.features.iter().collect(),
        columns: (0..world.features.len()).collect(),
        presence,
        principles: vec![
            Sign { sign: -1, features: vec![0] },
            Sign { sign: -1, features: vec![1] },
            Sign { sign: 1, features: vec![3] },
        ],
        ordered: true,
        seed: 1,
    }
}

fn found(world: &World) -> Reasons {
    measure(&world.given, &asked(world, &world.presence), |pair| pair.to_string())
}

fn claims(found: &Reasons) -> usize {
    let significant = |p: Option<f64>| p.is_some_and(|p| p < ALPHA);
    found
        .features
        .iter()
        .filter(|row| {
            significant(row.true_p_holm) || significant(row.followed_p_holm) || significant(row.tells_p_holm)
        })
        .count()
}

#[test]
fn features_sides_and_merits_are_named_rightly_in_made_reasons() {
    let world = world(3, 3000, 0.3);
    let all: Vec<&Feature> = world.features.iter().collect();
    let reader = Reader::new(&all);
    let (mut named, mut right, mut sided, mut sides, mut merits, mut missed) = (0, 0, 0, 0, 0, 0);
    let mut wrong = std::collections::BTreeMap::<String, usize>::new();
    for (given, truth) in world.given.iter().zip(&world.truth) {
        let read = resolve(&reader, given, true);
        missed += usize::from(!read.told.contains_key(&truth.0));
        for (feature, told) in &read.told {
            named += 1;
            let same = *feature == truth.0;
            right += usize::from(same);
            let merit = told.merit == truth.2;
            merits += usize::from(same && merit);
            if truth.1 != 0 && told.claim != 0 {
                sided += 1;
                sides += usize::from(same && told.claim == truth.1);
            }
            if !same || !merit || (truth.1 != 0 && told.claim != truth.1) {
                *wrong
                    .entry(format!("{} → {} {told:?} of {truth:?}", given.texts[0].0, CONCEPTS[*feature]))
                    .or_default() += 1;
            }
        }
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    let sample: Vec<&String> = wrong.keys().take(30).collect();
    println!(
        "named {named}, right {:.3}, side right {:.3} of {sided}, merit right {:.3}, missed {:.3}\n{sample:#?}",
        share(right, named),
        share(sides, sided),
        share(merits, named),
        share(missed, world.given.len())
    );
    assert!(share(right, named) >= 0.9 && share(merits, named) >= 0.9 && share(sides, sided) >= 0.9);
    assert!(share(missed, world.given.len()) < 0.3);
}

#[test]
fn three_tenths_that_are_not_followed_are_found_within_the_interval() {
    let mut inside = 0;
    for seed in 0..20 {
        let world = world(seed + 50, 1500, 0.3);
        let found = found(&world);
        let followed = found.followed.unwrap();
        inside += usize::from(followed.low <= 0.7 && 0.7 <= followed.high);
        assert!(followed.n > 700 && followed.high - followed.low < 0.08, "{followed:?}");
        // What is said is true of the pair, and seen to be.
        assert!(found.is_true.unwrap().low > 0.9, "{:?}", found.is_true);
    }
    assert!(inside >= 17, "{inside} of 20");
    let found = found(&world(7, 4000, 0.3));
    let longer = found.features.iter().find(|row| row.feature_id == "known_longer").unwrap();
    assert_eq!(longer.verdict, Some(Verdict::Followed));
    assert!(longer.true_p_holm.unwrap() < ALPHA && !longer.not_followed.is_empty());
    let [merit, fault] = [longer.wins.merit.unwrap(), longer.wins.fault.unwrap()];
    assert!(merit.low > 0.5 && fault.high < 0.5, "{merit:?} {fault:?}");
}

#[test]
fn the_listed_pairs_are_those_that_were_not_followed() {
    let world = world(11, 2000, 0.3);
    let found = found(&world);
    let (mut right, mut all) = (0u32, 0u32);
    for row in &found.features {
        for pair in &row.not_followed {
            let truth = world.truth[pair.parse::<usize>().unwrap()];
            all += 1;
            right += u32::from(!truth.3);
        }
    }
    assert!(all > 100 && f64::from(right) / f64::from(all) > 0.9, "{right} of {all}");
}

#[test]
fn labels_by_coin_and_reasons_of_other_pairs_claim_nothing() {
    let mut claiming = 0;
    let rounds = 100;
    for seed in 0..rounds {
        let mut world = world(seed + 1000, 600, 0.5);
        // Reasons of other pairs: what they say is true by chance, what the labels follow is a coin.
        let mut texts: Vec<_> = world.given.iter().map(|given| given.texts.clone()).collect();
        texts.shuffle(&mut rng::stream(seed, "handed round"));
        world.given.iter_mut().zip(texts).for_each(|(given, texts)| given.texts = texts);
        claiming += usize::from(claims(&found(&world)) > 0);
    }
    assert!(claiming <= 9, "{claiming} of {rounds}");
}

#[test]
fn where_labels_follow_a_feature_the_reasons_of_other_pairs_tell_nothing_of_it() {
    let (mut claiming, mut floors) = (0, 0);
    let rounds = 100;
    for seed in 0..rounds {
        let mut world = world(seed + 3000, 600, 0.5);
        let mut random = rng::stream(seed, "labels that prefer what is shorter");
        for given in &mut world.given {
            let s = world.presence.row(given.pair as usize)[0];
            let shorter =
                if s == 0.0 { random.random() } else { (s < 0.0) == (random.random::<f64>() < 0.8) };
            given.label = f64::from(u8::from(shorter));
        }
        let mut texts: Vec<_> = world.given.iter().map(|given| given.texts.clone()).collect();
        texts.shuffle(&mut random);
        world.given.iter_mut().zip(texts).for_each(|(given, texts)| given.texts = texts);
        let found = found(&world);
        let significant = |p: Option<f64>| p.is_some_and(|p| p < ALPHA);
        let claims = |row: &ReasonRow| significant(row.true_p_holm) || significant(row.tells_p_holm);
        claiming += usize::from(found.features.iter().any(claims));
        let (own, floor) = (found.coverage.coverage.unwrap().value, found.coverage.coverage_floor.unwrap());
        floors += usize::from(floor.low <= own && own <= floor.high);
    }
    assert!(claiming <= 9, "{claiming} of {rounds}");
    // Their coverage is that of reasons handed round.
    assert!(floors >= 88, "{floors} of {rounds}");
}

#[test]
fn reasons_about_other_things_name_no_feature() {
    let mut world = world(5, 500, 0.3);
    for (at, given) in world.given.iter_mut().enumerate() {
        given.texts = vec![(BESIDE[at % BESIDE.len()].to_owned(), None)];
    }
    let found = found(&world);
    assert!(found.naming.unwrap().value < 0.1, "{:?}", found.naming);
    assert_eq!(claims(&found), 0);
    // What they say instead shows as themes, with its words.
    assert!(
        found
            .themes
            .iter()
            .any(|theme| theme.words[0] == "accurate" || theme.words.contains(&"facts".into()))
    );
    assert!(found.features.iter().filter(|row| row.principle.is_some()).all(|row| row.never_stated));
}

#[test]
fn the_sides_changed_round_turn_every_claim_and_change_no_figure() {
    let world = world(9, 800, 0.3);
    let one = found(&world);
    // The pair seen from B: its A is the row's other response, everything is negated.
    let turned = World {
        given: world
            .given
            .iter()
            .map(|given| Given { swapped: !given.swapped, label: 1.0 - given.label, ..given.clone() })
            .collect(),
        truth: world.truth.clone(),
        presence: Matrix {
            values: world.presence.values.iter().map(|s| -s).collect(),
            cols: world.presence.cols,
        },
        features: world.features.clone(),
    };
    assert_eq!(found(&turned).features, one.features);
    assert_eq!(found(&turned).coverage.coverage, one.coverage.coverage);
    let all: Vec<&Feature> = world.features.iter().collect();
    let reader = Reader::new(&all);
    for (given, other) in world.given.iter().zip(&turned.given) {
        let (own, other) = (resolve(&reader, given, true), resolve(&reader, other, true));
        for (feature, told) in &own.told {
            let against = Told { claim: -told.claim, merit: told.merit, speaks_for: -told.speaks_for };
            assert_eq!(other.told[feature], against);
        }
    }
    // Labels turned alone: what was followed is not.
    let mut opposite = world;
    opposite.given.iter_mut().for_each(|given| given.label = 1.0 - given.label);
    let against = found(&opposite);
    let (a, b) = (one.followed.unwrap(), against.followed.unwrap());
    assert!((a.value + b.value - 1.0).abs() < 1e-12 && (a.low + b.high - 1.0).abs() < 1e-9);
}

#[test]
fn critiques_of_one_response_each_are_about_that_one() {
    let features = [known("refuses"), known("longer")];
    let all: Vec<&Feature> = features.iter().collect();
    let given = Given {
        swapped: true,
        label: 1.0,
        annotator: MISSING,
        texts: vec![
            ("It refuses to answer, which is unhelpful.".into(), Some(Who::First)),
            ("Detailed. Better than the other one.".into(), Some(Who::Second)),
        ],
        ..Given::default()
    };
    // The order that people saw does not matter here.
    let told = resolve(&Reader::new(&all), &given, false).told;
    assert_eq!(told[&0], Told { claim: -1, merit: -1, speaks_for: 1 });
    assert_eq!(told[&1], Told { claim: 1, merit: 1, speaks_for: 1 });
}

#[test]
fn a_found_feature_is_named_by_its_phrases_or_all_words_of_its_label() {
    let phrases =
        Feature { phrases: vec!["not sure".into()], short: "“not sure”".into(), ..Feature::default() };
    let label = Feature { short: "vegetarian cooking tips".into(), ..Feature::default() };
    let all = [&phrases, &label];
    let reader = Reader::new(&all);
    let names = |text: &str| -> Vec<usize> {
        reader.read(text, None).iter().flat_map(|read| read.says.iter().map(|s| s.feature)).collect()
    };
    assert_eq!(names("B says “I'm not sure”, bad"), [0]);
    // What a response says stands in many a reason by itself.
    assert!(names("I'm not sure which one is better").is_empty());
    assert_eq!(names("A has tips for vegetarians who cook"), [1]);
    assert!(names("A has tips for cooks").is_empty());
}
