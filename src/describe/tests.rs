//! Planted sentences through everything that needs no labels.

use polars::prelude::{NewChunkedArray, StringChunked};
use rand::RngExt;

use super::known::ConceptBank;
use super::sentence_features::{SentenceMaterial, SentenceModels};
use super::*;
use crate::context::{Cancel, Context, Observer};
use crate::embed::{BundledEmbedder, Embedder};
use crate::pairs::Split;
use crate::pairs::TextColumn;
use crate::rng;
use crate::sae::{Compute, Control};
use crate::sentences::SentenceTable;
use crate::statistics::correlation::pearson;
use crate::store::Grading;

struct Silent;

impl Observer for Silent {}

const TOPICS: [[&str; 4]; 6] = [
    [
        "Knead the dough until it is smooth.",
        "Let it rise in a warm place.",
        "Bake it until the crust is golden.",
        "Mix flour, water and salt.",
    ],
    [
        "Water the roots and not the leaves.",
        "Tie the stems to a stake.",
        "Pick the fruit when it is red.",
        "Plant the seedlings deep in the soil.",
    ],
    [
        "Build up the distance slowly.",
        "Rest between the hard days.",
        "Buy shoes that fit.",
        "Drink enough on long runs.",
    ],
    [
        "Clean and oil the chain.",
        "Check the brake pads for wear.",
        "Patch the hole in the tube.",
        "Tighten the loose bolts.",
    ],
    [
        "Bring a pawn to the centre.",
        "Castle early in the game.",
        "Connect the rooks.",
        "Develop the knights before the bishops.",
    ],
    [
        "Listen before you give advice.",
        "Agree on a few clear rules.",
        "Respect their privacy.",
        "Eat together when you can.",
    ],
];
const NAUTICAL: [&str; 4] = [
    "Trim the sails of the ship.",
    "The crew of the ship sails at high tide.",
    "Sail the ship past the harbour and the sea.",
    "The ship sets sail with its crew.",
];
const SORRY: [&str; 4] = [
    "I am sorry about that.",
    "I apologize for the confusion.",
    "My apologies for the trouble.",
    "I'm so sorry.",
];

/// Pairs, and which response has either plant, A − B.
fn planted(count: usize) -> (Pairs, [Vec<f64>; 2]) {
    let mut random = rng::stream(3, "planted");
    let mut texts: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let mut truth = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let topic = TOPICS[random.random_range(0..TOPICS.len())];
        let mut difference = [0.0; 2];
        for (side, texts) in texts.iter_mut().enumerate() {
            let mut said: Vec<&str> = (0..3).map(|_| topic[random.random_range(0..4)]).collect();
            for (plant, phrases) in [NAUTICAL, SORRY].into_iter().enumerate() {
                if random.random_range(0..3) == 0 {
                    said.insert(random.random_range(0..said.len()), phrases[random.random_range(0..4)]);
                    difference[plant] += if side == 0 { 1.0 } else { -1.0 };
                }
            }
            texts.push(said.join(" "));
        }
        truth.iter_mut().zip(difference).for_each(|(truth, value)| truth.push(value));
    }
    let column = |texts: &[String]| {
        TextColumn(StringChunked::from_iter_values("t".into(), texts.iter().map(String::as_str)))
    };
    let length = |text: &String| text.split_whitespace().count() as f32;
    let pairs = Pairs {
        pair_id: (0..count).map(|i| format!("{i:05}")).collect(),
        length_delta: texts[0].iter().zip(&texts[1]).map(|(a, b)| length(a) - length(b)).collect(),
        prompt: column(&vec![String::new(); count]),
        response_a: column(&texts[0]),
        response_b: column(&texts[1]),
        ..Pairs::default()
    };
    (pairs, truth)
}

#[test]
fn planted_sentences_are_found_named_and_true() {
    let (pairs, truth) = planted(900);
    let embedder = BundledEmbedder::load().unwrap();
    let table = SentenceTable::of_pairs(&pairs);
    let material = SentenceMaterial::new(&table, &embedder, 1, &Context::default(), &mut Silent).unwrap();
    // Fewer features than sentences, so that what belongs together has to share one.
    let config = material.config(Some(20), Some(2), 1);
    let learned = material.learn(&config, &Compute::cpu(), &mut |_| Control::Continue).unwrap();
    assert_eq!(learned.report.stability.len(), learned.model.features());
    let models = SentenceModels { learned: Some(learned.model), dictionary: None, grading: Grading::Total };
    let firing = models.fire(table, &embedder, &Context::default(), &mut Silent).unwrap();

    let bank = ConceptBank::boxed().unwrap();
    let known = bank.measure(&pairs, &mut |_| {});
    let words = BundledEmbedder::vocabulary();
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let vocabulary = Vocabulary::new(words.clone(), embedder.embed(&texts).unwrap());
    let sides: Vec<Split> =
        (0..900).map(|i| [Split::Train, Split::Validation, Split::Test][usize::min(i % 4, 2)]).collect();
    let describe_config = DescribeConfig::default();
    let cancel = Cancel::default();
    let setting = Setting {
        pairs: &pairs,
        sides: &sides,
        bank: &bank,
        config: &describe_config,
        redundant_above: 0.7,
        cancel: &cancel,
    };
    let found = Found {
        firing: &firing,
        learned: models.learned_features(),
        dictionary: &[],
        decoder: &models.learned.as_ref().unwrap().decoder,
        difference: &Matrix::zeros(900, 0),
        stability: &learned.report.stability,
        difference_stability: &[],
        known: &known,
        vocabulary: &vocabulary,
    };
    let described = describe(&setting, &found).unwrap();
    assert_eq!(described.activations.cols, described.features.len());
    assert_eq!(described.presence.cols, described.features.len());

    let learned = || (0..described.features.len()).filter(|&f| described.features[f].source.is_found());
    let r = |f: usize, truth: &[f64]| {
        let z: Vec<f64> = described.activations.column(f).into_iter().map(f64::from).collect();
        pearson(&z, truth).r
    };
    // Nobody has a detector for the sea: what is said is quoted, and the words are true on held-out pairs.
    let sea = learned().max_by(|&a, &b| r(a, &truth[0]).total_cmp(&r(b, &truth[0]))).unwrap();
    let feature = &described.features[sea];
    assert!(r(sea, &truth[0]) > 0.5, "{}", r(sea, &truth[0]));
    assert_eq!(feature.describer, "phrases", "{feature:?}");
    // Every phrase stands in what was planted, and in nothing else.
    let named = feature.description.split(" (as in").next().unwrap();
    let phrases: Vec<&str> = named.split(['“', '”']).skip(1).step_by(2).collect();
    assert!(!phrases.is_empty(), "{named}");
    let stands = |texts: &[&str], phrase: &str| texts.iter().any(|text| text.to_lowercase().contains(phrase));
    for phrase in phrases {
        let elsewhere = TOPICS.iter().any(|texts| stands(texts, phrase)) || stands(&SORRY, phrase);
        assert!(stands(&NAUTICAL, phrase) && !elsewhere, "{phrase}: {named}");
    }
    assert!(NAUTICAL.iter().any(|text| feature.description.contains(text)), "{}", feature.description);
    assert!(feature.kept && feature.fidelity.unwrap().r > 0.3, "{feature:?}");
    // Apologies are a known act: the feature has its name, and is left to the detector where they are the same.
    let sorry = learned().max_by(|&a, &b| r(a, &truth[1]).total_cmp(&r(b, &truth[1]))).unwrap();
    let feature = &described.features[sorry];
    assert!(r(sorry, &truth[1]) > 0.5, "{}", r(sorry, &truth[1]));
    let known = feature.concept.as_deref() == Some("apologises")
        || feature.redundant_with.as_deref() == Some("known_apologises");
    assert!(known, "{feature:?}");
    assert!(!feature.speaks() || feature.redundant_with.is_none());
}

#[test]
fn the_order_of_rows_changes_no_bit() {
    let (pairs, _) = planted(200);
    let texts: Vec<&str> =
        (0..200).flat_map(|pair| [pairs.response_a.get(pair), pairs.response_b.get(pair)]).collect();
    let embedder = BundledEmbedder::load().unwrap();
    let learn = |texts: &[&str]| {
        let table = SentenceTable::of_texts(texts.len(), |at| texts[at]);
        let material = SentenceMaterial::new(&table, &embedder, 1, &Context::default(), &mut Silent).unwrap();
        let config = material.config(Some(16), Some(2), 1);
        material.learn(&config, &Compute::cpu(), &mut |_| Control::Continue).unwrap()
    };
    let first = learn(&texts);
    let mut turned = texts;
    turned.reverse();
    let second = learn(&turned);
    assert_eq!(first.model, second.model);
    assert_eq!(first.report.stability, second.report.stability);
}

#[test]
fn what_is_little_but_length_is_said_once_as_length() {
    let (mut pairs, _) = planted(300);
    pairs.length_delta = (0..300).map(|i| ((i * 37) % 41) as f32 - 20.0).collect();
    let feature = |id: &str, source: FeatureSource, concept: Option<&str>| Feature {
        feature_id: id.into(),
        source,
        concept: concept.map(str::to_owned),
        kept: true,
        ..Feature::default()
    };
    let mut described = Described {
        features: vec![
            feature("learned_000", FeatureSource::Learned, None),
            feature("learned_001", FeatureSource::Learned, None),
            feature("known_longer", FeatureSource::Known, Some("longer")),
        ],
        ..Described::default()
    };
    let row = |i: usize| [pairs.length_delta[i] * 0.5, if i.is_multiple_of(2) { 1.0 } else { -1.0 }, 0.0];
    described.activations = Matrix { values: (0..300).flat_map(row).collect(), cols: 3 };
    described.presence =
        Matrix { values: described.activations.values.iter().map(|z| z.signum()).collect(), cols: 3 };
    let among: Vec<u32> = (0..300).collect();
    described.mark_redundant(&pairs, &among, 0.7, &Cancel::default()).unwrap();
    assert_eq!(described.features[0].redundant_with.as_deref(), Some("known_longer"));
    assert!(!described.features[0].speaks() && described.features[1].speaks());
}
