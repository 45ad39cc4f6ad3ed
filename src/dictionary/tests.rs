use rand::RngExt;
use rand::seq::IndexedRandom;

use super::*;
use crate::embed::BundledEmbedder;
use crate::pairs::{Pairs, TextColumn};
use crate::sae::{Compute, Control, Progress};

/// Acts with a few ways to say each; what a dictionary has to take apart.
const ACTS: [(&str, [&str; 4]); 5] = [
    (
        "sorry",
        ["I'm sorry about that.", "My apologies for it.", "Sorry for the trouble.", "I apologise for this."],
    ),
    (
        "bread",
        [
            "Knead the dough well.",
            "Bake the bread at once.",
            "Flour and yeast make dough.",
            "Let the loaf rise.",
        ],
    ),
    (
        "guns",
        [
            "A rifle needs ammunition.",
            "Load the gun with bullets.",
            "The pistol was fired.",
            "Weapons are dangerous.",
        ],
    ),
    (
        "thanks",
        ["Thank you very much.", "Thanks for asking!", "I am grateful to you.", "Many thanks to you."],
    ),
    (
        "ask",
        [
            "What would you like?",
            "Could you tell me more?",
            "Which one do you mean?",
            "Do you want me to go on?",
        ],
    ),
];

fn pairs() -> Pairs {
    let mut random = crate::rng::stream(1, "dictionary test");
    let mut response = || {
        let count = random.random_range(2..5);
        (0..count)
            .map(|_| {
                let (_, ways) = ACTS.choose(&mut random).unwrap();
                // A number makes most sentences their own, as in real data.
                format!(
                    "{} ({})",
                    ways.choose(&mut random).unwrap().trim_end_matches('.'),
                    random.random_range(0..60)
                )
            })
            .collect::<Vec<_>>()
            .join(". ")
    };
    let column = |texts: Vec<String>| TextColumn(texts.iter().map(|text| Some(text.as_str())).collect());
    let (a, b): (Vec<String>, Vec<String>) = (0..600).map(|_| (response(), response())).unzip();
    Pairs {
        pair_id: (0..600).map(|i| i.to_string()).collect(),
        prompt: column((0..600).map(|i| format!("prompt {}", i / 2)).collect()),
        response_a: column(a),
        response_b: column(b),
        ..Pairs::default()
    }
}

struct Silent;

impl Listener for Silent {
    fn embedding(&mut self, _: usize, _: usize) {}
    fn training(&mut self, _: Progress) -> Control {
        Control::Continue
    }
    fn note(&mut self, _: &str) {}
}

fn trained() -> Dictionary {
    let settings =
        Settings { features: Some(16), active: Some(2), sources: vec!["test".into()], ..Settings::default() };
    let embedder = BundledEmbedder::load().unwrap();
    train(&pairs(), &embedder, &settings, &Compute::cpu(), None, &mut Silent).unwrap().0
}

#[test]
fn acts_become_entries_that_fire_where_they_are_said() {
    let dictionary = trained();
    let embedder = BundledEmbedder::load().unwrap();
    assert_eq!(dictionary.entries.len(), dictionary.card.features);
    let mut found = 0;
    for (act, _) in ACTS {
        let rows: Vec<(bool, &str)> =
            ACTS.iter().flat_map(|(other, ways)| ways.iter().map(move |way| (*other == act, *way))).collect();
        let texts: Vec<&str> = rows.iter().map(|(_, text)| *text).collect();
        let z = dictionary.activations(&crate::embed::Embedder::embed(&embedder, &texts).unwrap()).unwrap();
        let columns = z.columns();
        // Some entries together, that fire in this act and hardly elsewhere, fire in most of its ways.
        let mut said = vec![false; rows.len()];
        for (column, entry) in columns.iter().zip(&dictionary.entries) {
            let clear: Vec<usize> = column
                .iter()
                .filter(|(_, z)| *z >= entry.clear_level * 0.5)
                .map(|&(row, _)| row as usize)
                .collect();
            let own = clear.iter().filter(|&&row| rows[row].0).count();
            if own > 0 && clear.len() <= own + 1 {
                clear.iter().filter(|&&row| rows[row].0).for_each(|&row| said[row] = true);
            }
        }
        found += said.iter().filter(|said| **said).count();
    }
    assert!(found >= 10, "{found} of 20 ways to say one of the acts");
}

#[test]
fn a_saved_dictionary_is_the_same_and_a_damaged_one_is_refused() {
    let dictionary = trained();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    dictionary.save(&path).unwrap();
    let back = Dictionary::load(&path).unwrap();
    assert_eq!(back, dictionary);
    assert_eq!(back.version().len(), 12);
    back.save(&path).unwrap();
    assert_eq!(Dictionary::load(&path).unwrap().version(), dictionary.version());
    assert!(back.expect_embedder("other").is_err());

    let entries = std::fs::read_to_string(path.join(ENTRIES_FILE)).unwrap();
    let damage = |file: &str, text: &str| {
        let whole = std::fs::read(path.join(file)).unwrap();
        std::fs::write(path.join(file), text).unwrap();
        let error = Dictionary::load(&path).unwrap_err().to_string();
        std::fs::write(path.join(file), whole).unwrap();
        error
    };
    let first = entries.lines().next().unwrap();
    assert!(damage(ENTRIES_FILE, first).contains("entries for"));
    assert!(damage(ENTRIES_FILE, &format!("{first}\n{{")).contains("line 2"));
    assert!(damage(ENTRIES_FILE, &entries.replacen("d001", "d000", 1)).contains("stands twice"));
    assert!(damage(CARD_FILE, "{}").contains(CARD_FILE));
    assert!(damage(WEIGHTS_FILE, "nothing").contains(WEIGHTS_FILE));
    std::fs::remove_file(path.join(CARD_FILE)).unwrap();
    assert!(Dictionary::load(&path).unwrap_err().to_string().contains("hint:"));
}

#[test]
fn names_are_merged_all_or_nothing() {
    let dictionary = trained();
    let path = Path::new("names.jsonl");
    let parse = |text: &str| Naming::parse(text, path);
    let text = r#"{"id":"d001","name":" apologises ","definition":"Says sorry.","examples":["Sorry!"],"kind":"act","truth":{"firing_true":9,"firing_n":10,"silent_true":0,"silent_n":10}}
{"id":"d002","name":"bread","clear_level":0.5}"#;
    let named = dictionary.named(&parse(text).unwrap(), path).unwrap();
    let entry = &named.entries[1];
    assert_eq!((entry.name.as_deref(), entry.kind), (Some("apologises"), Some(EntryKind::Act)));
    assert!(entry.speaks() && !named.entries[2].speaks() && !named.entries[0].speaks());
    assert_eq!(named.entries[2].clear_level, 0.5);
    assert_ne!(named.version(), dictionary.version());
    assert_eq!(named.search(&["sorry".into()]), [1]);
    assert_eq!(named.search(&["bread".into(), "sorry".into()]), Vec::<usize>::new());
    assert!(named.search(&[]).is_empty());
    // What is not given stays, null takes away.
    let again = named.named(&parse(r#"{"id":"d001","name":null}"#).unwrap(), path).unwrap();
    assert_eq!(
        (again.entries[1].name.as_deref(), again.entries[1].definition.as_deref()),
        (None, Some("Says sorry."))
    );
    for (wrong, part) in [
        (r#"{"id":"d01","name":"x"}"#, "did you mean"),
        (
            r#"{"id":"d001","truth":{"firing_true":11,"firing_n":10,"silent_true":0,"silent_n":0}}"#,
            "more sentences",
        ),
        (r#"{"id":"d001","clear_level":-1}"#, "clear level"),
    ] {
        let error = dictionary.named(&parse(wrong).unwrap(), path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(parse("{\"id\":\"d001\",\"nme\":\"x\"}").unwrap_err().to_string().contains("line 1"));
    // Names survive the files.
    let folder = tempfile::tempdir().unwrap();
    named.save(folder.path()).unwrap();
    assert_eq!(Dictionary::load(folder.path()).unwrap(), named);
}

#[test]
fn sentences_for_names_are_clear_or_silent_and_fresh_ones_were_not_trained_on() {
    let dictionary = trained();
    let embedder = BundledEmbedder::load().unwrap();
    let pairs = pairs();
    let get = |side: Split| {
        let settings = ExportSettings {
            context: crate::context::Context::default(),
            clear: 5,
            silent: 4,
            side,
            seed: 3,
        };
        export(&dictionary, &pairs, &embedder, &settings, &mut Silent).unwrap()
    };
    let (seen, fresh) = (get(Split::Trained), get(Split::Fresh));
    assert_eq!(seen, get(Split::Trained));
    assert_eq!(seen.len(), dictionary.entries.len());
    let texts = |all: &[Exported]| -> std::collections::HashSet<String> {
        all.iter()
            .flat_map(|one| one.clear.iter().chain(&one.silent))
            .map(|sentence| sentence.text.clone())
            .collect()
    };
    assert!(texts(&seen).is_disjoint(&texts(&fresh)));
    let embed = |text: &str| crate::embed::Embedder::embed(&embedder, &[text]).unwrap();
    for (number, one) in seen.iter().chain(&fresh).enumerate() {
        let entry = number % dictionary.entries.len();
        assert!(one.clear.is_sorted_by(|a, b| a.strength >= b.strength) && one.silent.len() == 4);
        for (sentence, clear) in
            one.clear.iter().map(|s| (s, true)).chain(one.silent.iter().map(|s| (s, false)))
        {
            let z = dictionary.activations(&embed(&sentence.text)).unwrap();
            let (index, value) = z.row(0);
            let found = index.iter().position(|&i| i as usize == entry).map_or(0.0, |at| value[at]);
            assert_eq!(found, sentence.strength);
            assert_eq!(found >= one.clear_level, clear);
        }
    }
}
