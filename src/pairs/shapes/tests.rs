//! Every shape from a file with its published column names (tests/fixtures/shapes, made by `make.py`).
//!
//! Each response says its group and its score, `g3 s100 …`, so the texts alone tell the right label.

use std::collections::BTreeSet;

use crate::config::Pairing;
use crate::pairs::{MISSING, Pairs, ReadOptions, ReadReport, Source, read, read_all};

fn path(name: &str) -> String {
    format!("{}/tests/fixtures/shapes/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn load(name: &str, options: &ReadOptions) -> (Pairs, ReadReport) {
    read(&path(name), options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn plain() -> ReadOptions {
    ReadOptions::default()
}

fn top_vs_bottom() -> ReadOptions {
    ReadOptions { pairing: Pairing::TopVsBottom, ..plain() }
}

fn preference(name: &str) -> ReadOptions {
    ReadOptions { preference: Some(name.into()), ..plain() }
}

/// Group and score that a response names.
fn said(text: &str) -> (u32, f64) {
    let mut words = text.split_whitespace();
    let mut number = |mark| words.next().and_then(|word| word.strip_prefix(mark)?.parse::<f64>().ok());
    match (number('g'), number('s')) {
        (Some(group), Some(score)) => (group as u32, score),
        _ => panic!("{text:?} is no response"),
    }
}

/// Every label is the one that `right` gives for the two scores; groups never mix. Returns the number of labels.
fn check(pairs: &Pairs, right: impl Fn(u32, f64, f64) -> f32) -> usize {
    let judgements = &pairs.judgements;
    for (i, &pair) in judgements.pair.iter().enumerate() {
        let (a, b) = (pairs.response_a.get(pair as usize), pairs.response_b.get(pair as usize));
        let ((group_a, score_a), (group_b, score_b)) = (said(a), said(b));
        assert_eq!(group_a, group_b, "{a:?} and {b:?} answer different prompts");
        assert_eq!(judgements.label[i], right(group_a, score_a, score_b), "{a:?} against {b:?}");
    }
    judgements.pair.len()
}

fn higher(_: u32, a: f64, b: f64) -> f32 {
    if a == b { 0.5 } else { f32::from(u8::from(a > b)) }
}

fn lower(group: u32, a: f64, b: f64) -> f32 {
    1.0 - higher(group, a, b)
}

fn ids(pairs: &Pairs) -> BTreeSet<String> {
    // A pair of a chosen-first source may stand either way.
    (0..pairs.pair_id.len())
        .map(|i| {
            let (a, b) = (pairs.response_a.get(i), pairs.response_b.get(i));
            format!("{}|{}|{}", pairs.prompt.get(i), a.min(b), a.max(b))
        })
        .collect()
}

fn dropped(report: &ReadReport) -> Vec<(&str, usize)> {
    report.dropped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}

#[test]
fn shapes_whose_rows_are_pairs() {
    for (name, shape, labels) in [
        ("own.parquet", "prompt, response_A, response_B", 8),
        ("chosen_rejected.jsonl", "chosen/rejected", 8),
        ("ultrafeedback_binarized.parquet", "chosen/rejected", 8),
        ("hh_rlhf.jsonl", "chosen/rejected transcripts", 8),
        ("shp.jsonl", "SHP", 8),
        ("icai.csv", "ICAI", 8),
    ] {
        let (pairs, report) = load(name, &plain());
        assert_eq!(report.shape, shape, "{name}");
        assert_eq!(check(&pairs, higher), labels, "{name}");
        assert!((0..8).all(|i| pairs.prompt.get(i) == format!("Question {i}?")), "{name}");
        assert_eq!(report.pairs_read, report.pairs_used, "{name}");
    }
    let (pairs, report) = load("arena.parquet", &plain());
    assert_eq!(report.shape, "Arena conversations");
    assert_eq!(check(&pairs, |g, a, b| if g >= 6 { 0.5 } else { higher(g, a, b) }), 8);
    assert_eq!(pairs.annotators.len(), 3);
    let (pairs, _) = load("own.parquet", &plain());
    assert_eq!((pairs.annotators.len(), pairs.group_keys.len()), (3, 1));
}

#[test]
fn pku_wants_to_know_which_label() {
    let (pairs, report) = load("pku_saferlhf.parquet", &preference("helpful"));
    assert_eq!(report.shape, "PKU-SafeRLHF (helpful)");
    assert_eq!(check(&pairs, higher), 12);
    let (pairs, report) = load("pku_saferlhf.parquet", &preference("safe"));
    assert_eq!(report.shape, "PKU-SafeRLHF (safe)");
    assert_eq!(check(&pairs, lower), 12);
    // The source's order is kept: nothing here is chosen-first.
    assert!(pairs.judgements.swapped.iter().all(|swapped| !swapped));
    let named = ReadOptions { label_column: Some("safer_response_id".into()), ..plain() };
    assert_eq!(check(&load("pku_saferlhf.parquet", &named).0, lower), 12);

    let message = read(&path("pku_saferlhf.parquet"), &plain()).unwrap_err().to_string();
    for word in [
        "PKU-SafeRLHF",
        "`better_response_id`",
        "`safer_response_id`",
        "--preference helpful",
        "columns seen",
    ] {
        assert!(message.contains(word), "{word} is not in {message}");
    }
    let message = read(&path("pku_saferlhf.parquet"), &preference("safer")).unwrap_err().to_string();
    assert!(message.contains("did you mean `--preference safe`?"), "{message}");
    let message = read(&path("own.parquet"), &preference("safe")).unwrap_err().to_string();
    assert!(message.contains("has one label only"), "{message}");
}

#[test]
fn prism_conversations_and_utterances_are_the_same_pairs() {
    let (pairs, report) = load("prism_conversations.jsonl", &plain());
    assert_eq!(report.shape, "PRISM conversations");
    // Six first turns of four responses, nine later ones of two.
    assert_eq!(check(&pairs, higher), 6 * 3 + 9);
    assert_eq!(report.sources[0].rows, 6);
    assert_eq!(pairs.annotators.len(), 3);
    for other in ["prism_conversations.parquet", "prism_utterances.jsonl"] {
        let (again, report) = load(other, &plain());
        assert_eq!(ids(&again), ids(&pairs), "{other}");
        assert_eq!(report.pairs_used, 27, "{other}");
        assert_eq!(again.annotators.len(), 3, "{other}");
        assert_eq!(check(&again, higher), 27, "{other}");
    }
    assert_eq!(load("prism_utterances.jsonl", &plain()).1.shape, "PRISM utterances");
    for name in ["prism_conversations.jsonl", "prism_utterances.jsonl"] {
        assert_eq!(check(&load(name, &top_vs_bottom()).0, higher), 6 + 9, "{name}");
    }
    // The prompt of a later turn is what was said, with the response that was gone on with.
    for i in 0..pairs.pair_id.len() {
        let (prompt, (group, _)) = (pairs.prompt.get(i), said(pairs.response_a.get(i)));
        let (conversation, turn) = (group / 10, group % 10);
        assert!(prompt.ends_with(&format!("Question {group} from c{conversation}?")), "{prompt}");
        assert_eq!(prompt.matches("Assistant: ").count() as u32, turn, "{prompt}");
        for answer in prompt.split("Assistant: ").skip(1) {
            let (earlier, score) = said(answer);
            let alternatives = (0..pairs.pair_id.len())
                .flat_map(|j| [said(pairs.response_a.get(j)), said(pairs.response_b.get(j))])
                .filter(|(other, _)| *other == earlier);
            assert_eq!(alternatives.map(|(_, score)| score).fold(0.0, f64::max), score, "{prompt}");
        }
    }
    // Conversations stay together in the split.
    assert_eq!(pairs.group_keys[0].0, "conversation_id");
    assert_eq!(pairs.group_keys[0].1.iter().collect::<BTreeSet<_>>().len(), 6);
}

#[test]
fn community_alignment_has_up_to_four_turns_of_four() {
    let (pairs, report) = load("community_alignment.csv", &plain());
    assert_eq!(report.shape, "Community Alignment");
    assert_eq!(check(&pairs, higher), 18 * 3);
    assert_eq!(dropped(&report), [("turn after a missing one", 1), ("turn without a preferred response", 1)]);
    assert_eq!((report.pairs_read, report.sources[0].rows), (56, 8));
    assert!(report.dropped_rows.iter().all(|dropped| dropped.row == 7));
    assert_eq!(pairs.annotators.len(), 3);
    for i in 0..pairs.pair_id.len() {
        let (prompt, (group, _)) = (pairs.prompt.get(i), said(pairs.response_a.get(i)));
        assert_eq!(prompt.matches("Assistant: ").count() as u32, group % 10, "{prompt}");
        assert!(prompt.split("Assistant: ").skip(1).all(|answer| said(answer).1 == 100.0), "{prompt}");
        assert!(!pairs.response_a.get(i).contains("<|"), "a stop token is no text");
    }
    let (pairs, report) = load("community_alignment.csv", &top_vs_bottom());
    assert_eq!(check(&pairs, higher), 18);
    assert!(report.notes.iter().any(|note| note.contains("one was drawn")), "{:?}", report.notes);
}

#[test]
fn open_assistant_siblings_make_pairs() {
    let (pairs, report) = load("oasst_messages.parquet", &plain());
    assert_eq!(report.shape, "OpenAssistant trees");
    assert_eq!(check(&pairs, higher), 5 * 3);
    assert_eq!(dropped(&report), [("deleted message", 5), ("only one response", 5)]);
    assert!(pairs.annotators.is_empty(), "who wrote a message is not who ranked it");
    let (nested, report) = load("oasst_trees.jsonl", &plain());
    assert_eq!(report.shape, "OpenAssistant trees");
    assert_eq!(ids(&nested), ids(&pairs));
    assert_eq!(check(&nested, higher), 15);
    assert_eq!(check(&load("oasst_messages.parquet", &top_vs_bottom()).0, higher), 5 * 2);
    let prompts: Vec<&str> = (0..pairs.pair_id.len()).map(|i| pairs.prompt.get(i)).collect();
    assert!(prompts.contains(&"Root 0?"), "{prompts:?}");
    assert!(
        prompts
            .iter()
            .any(|p| p.starts_with("Human: Root 0?\n\nAssistant: g0 s")
                && p.ends_with("\n\nHuman: Follow-up 0?")),
        "{prompts:?}"
    );
    assert_eq!(pairs.group_keys[0].0, "message_tree_id");
}

#[test]
fn ultrafeedback_by_any_of_its_scores() {
    for name in ["ultrafeedback.parquet", "ultrafeedback.jsonl"] {
        let (pairs, report) = load(name, &plain());
        assert_eq!(report.shape, "UltraFeedback completions (overall)");
        assert_eq!(check(&pairs, higher), 24, "{name}");
        assert_eq!(check(&load(name, &preference("fine-grained")).0, higher), 24);
        assert_eq!(check(&load(name, &preference("honesty")).0, lower), 24);
        assert_eq!(check(&load(name, &preference("truthfulness")).0, |_, _, _| 0.5), 24);
        let (pairs, report) = load(name, &preference("instruction_following"));
        assert_eq!(check(&pairs, higher), 16);
        assert_eq!(dropped(&report), [("response without a rank or score", 8)]);
        assert_eq!(check(&load(name, &top_vs_bottom()).0, higher), 8);
    }
}

#[test]
fn annotated_pairs_are_read_back() {
    let (pairs, report) = load("annotated_pairs.json", &plain());
    assert_eq!(report.shape, "annotated pairs");
    assert_eq!(check(&pairs, |g, a, b| if g == 4 { 0.5 } else { higher(g, a, b) }), 12);
    assert_eq!(dropped(&report), [("missing label", 1)]);
    assert_eq!(pairs.annotators, ["ba751e7b", "human2"]);
    assert_eq!(pairs.group_keys[0].0, "conversation_id");

    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.json");
    let whole = std::fs::read(path("annotated_pairs.json")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() - 40]).unwrap();
    let message = read(&cut.to_string_lossy(), &plain()).unwrap_err().to_string();
    assert!(message.contains("cannot be read as annotated pairs"), "{message}");
}

#[test]
fn rows_of_single_responses_compete_by_prompt() {
    let (pairs, report) = load("scored_responses.jsonl", &plain());
    assert_eq!(report.shape, "scored responses, one a row");
    assert_eq!(check(&pairs, higher), 16);
    assert_eq!(check(&load("scored_responses.jsonl", &top_vs_bottom()).0, higher), 8);
}

/// The sets in widest use, as they are published and as `datasets` writes them (`make_public.py`).
#[test]
fn public_sets_read_the_same_from_every_container() {
    for (name, shape, labels, options) in [
        ("hh_rlhf", "chosen/rejected transcripts", 6, plain()),
        ("ultrafeedback_binarized", "chosen/rejected", 6, plain()),
        ("ultrafeedback", "UltraFeedback completions (overall)", 6, plain()),
        ("shp", "SHP", 6, plain()),
        ("pku_saferlhf", "PKU-SafeRLHF (helpful)", 6, preference("helpful")),
        ("helpsteer3", "HelpSteer3", 6, plain()),
        ("nectar", "ranked responses, several a row", 12, plain()),
        ("arena", "Arena conversations", 6, plain()),
        ("webgpt", "WebGPT comparisons", 6, plain()),
        ("summarize_from_feedback", "summarize-from-feedback comparisons", 6, plain()),
        ("reward_bench_2", "lists of chosen and rejected responses", 18, plain()),
        ("stack_exchange", "chosen/rejected", 6, plain()),
    ] {
        let mut first: Option<BTreeSet<String>> = None;
        for container in ["jsonl", "parquet", "saved"] {
            let name = format!("public/{name}.{container}");
            let (pairs, report) = load(&name, &options);
            assert_eq!(report.shape, shape, "{name}");
            assert_eq!(check(&pairs, higher), labels, "{name}");
            for i in 0..pairs.pair_id.len() {
                let (group, _) = said(pairs.response_a.get(i));
                assert_eq!(pairs.prompt.get(i), format!("Question {group}?"), "{name}");
            }
            assert_eq!(report.pairs_read, report.pairs_used, "{name}: {:?}", report.dropped);
            assert_eq!(first.get_or_insert_with(|| ids(&pairs)), &ids(&pairs), "{name}");
        }
    }
}

#[test]
fn several_sources_are_one_set_with_a_dataset_column() {
    let sources: Vec<Source> = ["own.parquet", "prism_utterances.jsonl", "scored_responses.jsonl"]
        .into_iter()
        .map(|name| Source::new(&path(name)))
        .collect();
    let (pairs, report) = read_all(&sources, &plain()).unwrap();
    assert_eq!(report.pairs_used, 8 + 27 + 16);
    assert_eq!(check(&pairs, higher), 51);
    assert_eq!(pairs.datasets, ["own", "prism_utterances", "scored_responses"]);
    let count = |dataset: u32| pairs.dataset.iter().filter(|of| **of == dataset).count();
    assert_eq!((count(0), count(1), count(2), count(MISSING)), (8, 27, 16, 0));
    // Rows count within their source, and people of two sources are two people.
    assert!(pairs.judgements.row[..8].iter().copied().eq(0..8));
    assert_eq!(pairs.annotators.len(), 8);
    assert_eq!(pairs.annotators[0], "own/p0");
    // The same questions stand in two of the files: one cluster each.
    let own: Vec<u32> = pairs.prompt_key[..8].to_vec();
    assert!(own.iter().all(|key| pairs.prompt_key[35..].contains(key)));
    let shapes: Vec<&str> = report.sources.iter().map(|source| source.shape.as_str()).collect();
    assert_eq!(shapes, ["prompt, response_A, response_B", "PRISM utterances", "scored responses, one a row"]);
    // The same pair in two files is one pair with what both say about it.
    let (same, _) = read_all(&[sources[0].clone(), Source::new(&path("hh_rlhf.jsonl"))], &plain()).unwrap();
    assert_eq!((same.pair_id.len(), same.judgements.pair.len()), (8, 16));
    let twice = read_all(&[sources[0].clone(), sources[0].clone()], &plain()).unwrap().1;
    assert_eq!(twice.sources[1].dataset, "own (2)");
}

#[test]
fn a_column_says_the_dataset_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.csv");
    std::fs::write(&file, "prompt,response_A,response_B,label,dataset\nq,a,b,1,x\nr,c,d,0,y\ns,e,f,1,x\n")
        .unwrap();
    let (pairs, _) = read(&file.to_string_lossy(), &plain()).unwrap();
    assert_eq!((pairs.datasets, pairs.dataset), (vec!["x".to_owned(), "y".to_owned()], vec![0, 1, 0]));
}

#[test]
fn what_does_not_fit_is_told_with_the_columns_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str, options: &ReadOptions, words: &[&str]| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let message = read(&file.to_string_lossy(), options).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{name}: {word:?} is not in {message}");
        }
        assert!(message.contains("hint:"), "{name}: {message}");
    };
    // Nearly a shape.
    refused(
        "prism.csv",
        "user_prompt,model_response,rating,conversation_id,turn\nq,a,1,c,0\n",
        &plain(),
        &[
            "nearest is PRISM utterances, which lacks `score`, `user_id`",
            "`model_response` (text)",
            "--response-a-column",
        ],
    );
    // Two at once.
    refused(
        "two.csv",
        "chosen,rejected,text_a,text_b,preferred_text\na,b,c,d,text_a\n",
        &plain(),
        &["more than one way", "chosen/rejected", "ICAI", "columns seen", "--response-a-column"],
    );
    // Flattened by somebody's script.
    refused(
        "uf.csv",
        "instruction,completions\nq,\"[{'response': 'a'}]\"\n",
        &plain(),
        &[
            "nearest is UltraFeedback completions, whose columns hold something else here",
            "`completions` (text)",
        ],
    );
    refused(
        "nofield.jsonl",
        "{\"instruction\": \"q\", \"completions\": [{\"text\": \"a\"}]}\n",
        &plain(),
        &["`completions`", "have no `response`"],
    );
    let options = ReadOptions { response_a_column: Some("model_response".into()), ..plain() };
    refused(
        "ranked.csv",
        "user_prompt,model_response,score,conversation_id,turn\nq,a,1,c,0\nq,b,2,c,0\n",
        &options,
        &["`--response-a-column` cannot be used", "PRISM utterances"],
    );
    let options = ReadOptions { label_column: Some("scor".into()), ..plain() };
    refused(
        "typo.csv",
        "user_prompt,model_response,score,conversation_id,turn\nq,a,1,c,0\nq,b,2,c,0\n",
        &options,
        &["no column `scor`", "did you mean `score`?", "columns seen"],
    );
    refused(
        "alone.csv",
        "prompt,response,score\nq,a,1\nr,b,2\n",
        &plain(),
        &["none of the 2", "only one response (2)"],
    );
}

#[test]
fn ranked_answers_that_are_records_are_their_texts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.jsonl");
    let answer = |score: u32| serde_json::json!({"score": score, "completion": {"role": "model", "parts": [{"text": format!("g0 s{score}")}]}});
    let vertex = serde_json::json!({
        "contents": [{"role": "user", "parts": [{"text": "Question 0?"}]}], "completions": [answer(0), answer(1)],
    });
    let response = |score: u32| serde_json::json!({"score": score, "response": {"text": format!("g0 s{score}"), "tokens": 2}});
    let nested = serde_json::json!({"prompt": "Question 0?", "responses": [response(0), response(1)]});
    for row in [vertex, nested] {
        std::fs::write(&file, row.to_string()).unwrap();
        let (pairs, _) = read(&file.to_string_lossy(), &plain()).unwrap();
        assert_eq!(check(&pairs, higher), 1);
        assert_eq!(pairs.prompt.get(0), "Question 0?");
    }
}

#[test]
fn answers_that_were_discarded_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.jsonl");
    let row = serde_json::json!({
        "prompt": "Question 0?", "response_1": "g0 s1", "response_2": "g0 s0",
        "preference.responses": ["response_2", "response_1"], "preference.responses.users": ["u1", "u2"],
        "preference.responses.status": ["discarded", "submitted"],
    });
    std::fs::write(&file, row.to_string()).unwrap();
    let (pairs, report) = read(&file.to_string_lossy(), &plain()).unwrap();
    assert_eq!(report.shape, "Argilla dataset");
    assert_eq!((check(&pairs, higher), pairs.annotators), (1, vec!["u2".to_owned()]));
}

#[test]
fn left_is_what_the_control_shows_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.json");
    let result = serde_json::json!([{"type": "pairwise", "to_name": "answer2,answer1", "value": {"selected": "left"}}]);
    let task = serde_json::json!([{
        "data": {"prompt": "Question 0?", "answer1": "g0 s0", "answer2": "g0 s1"}, "annotations": [{"result": result}],
    }]);
    std::fs::write(&file, task.to_string()).unwrap();
    let (pairs, report) = read(&file.to_string_lossy(), &plain()).unwrap();
    assert_eq!(report.shape, "Label Studio export");
    assert_eq!(check(&pairs, higher), 1);
    // Rows with the same names of columns are no export.
    std::fs::write(&file, "[{\"answer1\": \"x\", \"answer2\": \"y\", \"label\": \"answer1\"}]").unwrap();
    assert_eq!(read(&file.to_string_lossy(), &plain()).unwrap().1.shape, "two columns of responses");
}
