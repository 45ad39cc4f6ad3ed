//! `wimhf personalize`: planted differences between annotators come out, and none where there are none.

use std::path::Path;

use rand::RngExt;
use wimhf::describe::{Described, Feature};
use wimhf::matrix::Matrix;
use wimhf::personalize::{Allowed, Names, Options, Personalization, personalize};
use wimhf::run::{Run, Source};

use crate::planted::names;
use crate::util::{self, copy_of_sample_run, json, parquet, root, sample_run, stderr, stdout, wimhf};

fn options(source: &Source) -> Options {
    Options {
        by: Names::annotators(&source.pairs),
        by_name: "annotator_id".into(),
        groups: Vec::new(),
        allowed: Allowed::Subjective,
        min_pairs: 8,
        alpha: 0.05,
        evaluate: true,
        seed: 1,
        redundant_above: 0.7,
        cancel: wimhf::Cancel::default(),
    }
}

fn run_on(source: &Source, described: &Described, options: &Options) -> Personalization {
    personalize(&source.pairs, described, options).unwrap()
}

/// The planted attributes in the place of the features, `[pairs, attributes]`.
fn truth_as_features(source: &Source, truth: &serde_json::Value) -> Described {
    let table = parquet(&root().join("data/sample_attributes.parquet"));
    let attributes = truth["attributes"].as_array().unwrap();
    let mut activations = Matrix::zeros(source.pairs.pair_id.len(), attributes.len());
    let mut features = Vec::new();
    for (column, attribute) in attributes.iter().enumerate() {
        let name = attribute["name"].as_str().unwrap();
        let side = |side: &str| {
            let column = table.column(&format!("{name}_{side}")).unwrap().bool().unwrap().clone();
            column.iter().map(|v| f32::from(u8::from(v.unwrap_or(false)))).collect::<Vec<f32>>()
        };
        let (a, b) = (side("A"), side("B"));
        let judgements = &source.pairs.judgements;
        for (at, &pair) in judgements.pair.iter().enumerate() {
            let row = judgements.row[at] as usize;
            let turn = if judgements.swapped[at] { -1.0 } else { 1.0 };
            activations.row_mut(pair as usize)[column] = turn * (a[row] - b[row]);
        }
        features.push(Feature {
            feature_id: format!("true_{name}"),
            source: wimhf::describe::FeatureSource::Known,
            description: attribute["description"].as_str().unwrap().into(),
            short: name.into(),
            clause: name.into(),
            describer: "detector".into(),
            kept: true,
            ..Feature::default()
        });
    }
    let signs = activations.values.iter().map(|z| if *z == 0.0 { 0.0 } else { z.signum() }).collect();
    let presence = Matrix { values: signs, cols: activations.cols };
    Described { features, activations, presence, flipped: Vec::new(), offers: Vec::new() }
}

#[test]
fn planted_differences_are_found_and_worth_half_of_what_the_truth_is() {
    let truth = json(&root().join("data/sample_truth.json"));
    let run = Run::open(sample_run()).unwrap();
    let source = run.source().unwrap();
    let found = run_on(&source, &run.described().unwrap(), &options(&source));
    let oracle = run_on(&source, &truth_as_features(&source, &truth), &options(&source));
    let planted: Vec<&serde_json::Value> = truth["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|attribute| attribute["subjective_sd"].as_f64().unwrap() > 0.0)
        .collect();
    for (of, result) in [("features", &found), ("truth", &oracle)] {
        let subjective: Vec<_> = result.tests.iter().filter(|test| test.subjective).collect();
        for attribute in &planted {
            let test = subjective.iter().find(|test| names(&test.description, attribute));
            let test = test.unwrap_or_else(|| panic!("{of}: {attribute:#} is not in {subjective:#?}"));
            // The spread of the offsets that were drawn, in units of the feature's size.
            let sd = attribute["subjective_sd"].as_f64().unwrap() * test.scale;
            if of == "truth" {
                assert!(test.tau_low < sd && sd < test.tau_high, "{sd} outside of {test:#?}");
            }
        }
        // What is shown to a user: nothing beside what was planted.
        if of == "features" {
            assert_eq!(subjective.len(), planted.len(), "{subjective:#?}");
        }
    }
    let gain = |result: &Personalization, k| result.evaluation.gain(k, "random", "shrunk").unwrap().auc_gain;
    let (ours, best) = (gain(&found, 16), gain(&oracle, 16));
    assert!(best.value > 0.0, "{best:?}");
    assert!(ours.low > 0.0 && ours.value >= 0.45 * best.value, "{ours:?} where the truth gains {best:?}");
    assert!(gain(&found, 32).value > gain(&found, 2).value);
    // Without shrinkage a few labels do harm.
    let unshrunk = found.evaluation.gain(8, "random", "unshrunk_all").unwrap().auc_gain;
    assert!(unshrunk.high < 0.0, "{unshrunk:?}");
    // Predicted and observed shares agree.
    for bin in &found.evaluation.calibration {
        assert!(
            bin.predicted > bin.observed.low - 0.06 && bin.predicted < bin.observed.high + 0.06,
            "{bin:?}"
        );
    }
}

#[test]
fn no_differences_and_no_groups_are_invented() {
    let run = Run::open(sample_run()).unwrap();
    let mut source = run.source().unwrap();
    let described = run.described().unwrap();
    let mut random = wimhf::rng::stream(11, "shuffled annotators");
    let (mut invented, mut grouped, repetitions) = (0, 0, 20);
    for _ in 0..repetitions {
        let who = &mut source.pairs.judgements.annotator;
        for at in (1..who.len()).rev() {
            who.swap(at, random.random_range(0..=at));
        }
        let group: Vec<Option<String>> =
            who.iter().map(|&who| Some(format!("group {}", who.wrapping_mul(7) % 3))).collect();
        let mut options = options(&source);
        options.evaluate = false;
        options.groups = vec![("group".into(), Names::from_values(&group))];
        let found = run_on(&source, &described, &options);
        invented += usize::from(found.tests.iter().any(|test| test.subjective || test.personal));
        grouped += usize::from(found.groups.iter().any(|test| test.p_holm < 0.05));
        assert!(!found.groups.is_empty());
    }
    // At 5 % four or more of twenty happen in 1.6 % of such tests.
    assert!(invented <= 3 && grouped <= 3, "{invented} and {grouped} of {repetitions}");
}

fn command(run: &Path, arguments: &[&str]) -> std::process::Output {
    wimhf(run.parent().unwrap()).arg("personalize").arg(run).args(arguments).output().unwrap()
}

#[test]
fn weights_are_written_for_everybody_and_can_be_applied() {
    let dir = tempfile::tempdir().unwrap();
    let run = copy_of_sample_run(dir.path());
    let output =
        command(&run, &["--features", "lists,emoji,refuses", "--min-pairs", "40", "--no-evaluation"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = parquet(&run.join("annotator_weights.parquet"));
    let wanted = [
        "annotator",
        "feature_id",
        "description",
        "population_weight",
        "personal_weight",
        "sd",
        "n",
        "shrinkage",
    ];
    for name in wanted {
        assert!(table.column(name).is_ok(), "{name} is missing");
    }
    let scorer = json(&run.join("scorer.json"));
    let annotators = scorer["annotators"].as_object().unwrap();
    assert_eq!(table.height(), 3 * annotators.len());
    let column = |name: &str| table.column(name).unwrap().f64().unwrap().clone();
    let (own, population, shrinkage) =
        (column("personal_weight"), column("population_weight"), column("shrinkage"));
    let n = table.column("n").unwrap().u32().unwrap().clone();
    let (mut fell_back, mut own_weights) = (0, 0);
    for at in 0..table.height() {
        if n.get(at).unwrap() < 40 {
            fell_back += 1;
            assert_eq!((own.get(at), shrinkage.get(at)), (population.get(at), Some(1.0)));
        } else {
            own_weights += 1;
            assert!((0.0..=1.0).contains(&shrinkage.get(at).unwrap()));
        }
    }
    assert!(fell_back > 0 && own_weights > 0);
    let with_label = csv_rows(&run.join("annotator_weights.csv"));
    assert_eq!(with_label, table.height());
    assert!(scorer["formula"].as_str().unwrap().contains("length_weight"));
    // New labels of one annotator move its weights, and nobody else's: somebody who always takes the list.
    let features: Vec<&str> =
        scorer["features"].as_array().unwrap().iter().map(|f| f["feature_id"].as_str().unwrap()).collect();
    let mut new = format!("annotator_id,label,length_delta,{}\n", features.join(","));
    for row in 0..40 {
        let lists = if row % 2 == 0 { 1 } else { -1 };
        new += &format!("annotator_01,{},0", u8::from(lists > 0));
        for feature in &features {
            new += &format!(",{}", if *feature == "known_lists" { lists } else { 0 });
        }
        new.push('\n');
    }
    std::fs::write(dir.path().join("new.csv"), new).unwrap();
    let output = command(&run, &["--update", "new.csv"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("40 labels added to 1 annotators, 0 of them new"),
        "{}",
        stdout(&output)
    );
    let after = json(&run.join("scorer.json"));
    let weight = |scorer: &serde_json::Value, who: &str| {
        scorer["annotators"][who]["weights"]["known_lists"].as_f64().unwrap()
    };
    assert!(weight(&after, "annotator_01") > weight(&scorer, "annotator_01"));
    assert_eq!(weight(&after, "annotator_02"), weight(&scorer, "annotator_02"));
    std::fs::write(dir.path().join("bad.csv"), "annotator_id,label\na,1\n").unwrap();
    let output = command(&run, &["--update", "bad.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("length_delta"), "{}", stderr(&output));
    // A dry run changes nothing.
    let before = util::contents(&run);
    let output = command(&run, &["--dry-run", "--no-evaluation"]);
    assert!(output.status.success() && stdout(&output).contains("between annotators"));
    assert_eq!(util::contents(&run), before);
}

fn csv_rows(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count() - 1
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_nearest_name() {
    let run = sample_run();
    for (arguments, said) in [
        (&["--features", "emojy"][..], "emoji"),
        (&["--by", "anotator_id"][..], "annotator_id"),
        (&["--groups", "prompt_topik"][..], "prompt_topic"),
    ] {
        let output = command(run, &[arguments, &["--dry-run"]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let dir = tempfile::tempdir().unwrap();
    util::small(&dir.path().join("nobody.parquet"), 300, |i| f64::from(u8::from(i % 3 > 0)));
    let analysed = util::analyze(dir.path(), &["nobody.parquet", "--out", "run", "--features", "8"]);
    assert!(analysed.status.success(), "{}", stderr(&analysed));
    let output = command(&dir.path().join("run"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--by"), "{}", stderr(&output));
}
