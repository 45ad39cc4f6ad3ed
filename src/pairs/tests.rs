//! Reading as the user meets it: files in, pairs or one clear message out.

use polars::prelude::*;
use proptest::prelude::*;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn read_file(path: &std::path::Path) -> (Pairs, ReadReport) {
    read(&path.to_string_lossy(), &ReadOptions::default()).unwrap()
}

fn texts(column: &TextColumn) -> Vec<&str> {
    (0..column.len()).map(|i| column.get(i)).collect()
}

/// The same few pairs with what CSV must quote: separators, quotes, line breaks, other scripts.
fn table() -> DataFrame {
    df!(
        "prompt" => ["Say \"hi\", please", "Zwei\nZeilen", "emoji?", "tie?"],
        "response_A" => ["a, b", "é\n\nü", "😀", "same length"],
        "response_B" => ["\"quoted\"", "two", "none", "also equal"],
        "label" => [Some(1.0), Some(0.0), Some(0.25), None],
        "annotator_id" => ["ann", "bob", "ann", "bob"]
    )
    .unwrap()
}

#[test]
fn every_container_gives_the_same_pairs() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let file = |name: &str| std::fs::File::create(at(name)).unwrap();
    ParquetWriter::new(file("t.parquet")).finish(&mut table()).unwrap();
    IpcWriter::new(file("t.arrow")).finish(&mut table()).unwrap();
    CsvWriter::new(file("t.csv")).finish(&mut table()).unwrap();
    CsvWriter::new(file("t.tsv")).with_separator(b'\t').finish(&mut table()).unwrap();
    CsvWriter::new(file("semicolon.csv")).with_separator(b';').finish(&mut table()).unwrap();
    JsonWriter::new(file("t.jsonl")).with_json_format(JsonFormat::JsonLines).finish(&mut table()).unwrap();
    JsonWriter::new(file("t.json")).with_json_format(JsonFormat::Json).finish(&mut table()).unwrap();
    let csv = std::fs::read(at("t.csv")).unwrap();
    std::fs::write(at("bom.csv"), [b"\xef\xbb\xbf".as_slice(), &csv].concat()).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file("t.csv.gz"), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &csv).unwrap();
    gz.finish().unwrap();
    // A name that says nothing: the content decides.
    std::fs::copy(at("t.parquet"), at("noextension")).unwrap();

    let (expected, _) = read_file(&at("t.parquet"));
    assert_eq!(expected.judgements.label, [1.0, 0.0, 0.25, 0.5]);
    assert_eq!(texts(&expected.response_a), ["a, b", "é\n\nü", "😀", "same length"]);
    for name in [
        "t.arrow",
        "t.csv",
        "t.tsv",
        "semicolon.csv",
        "t.jsonl",
        "t.json",
        "bom.csv",
        "t.csv.gz",
        "noextension",
    ] {
        let (pairs, report) = read_file(&at(name));
        // An empty cell of a text says nothing; a missing number of a typed column is a tie.
        let used = if name.contains("sv") { 3 } else { 4 };
        let labelled: Vec<&String> = expected.pair_id.iter().take(used).collect();
        assert!(labelled.iter().all(|id| pairs.pair_id.contains(id)), "{name}");
        assert_eq!(pairs.judgements.label, expected.judgements.label[..used], "{name}");
        assert_eq!(pairs.annotators, expected.annotators, "{name}");
        assert_eq!((report.pairs_read, report.pairs_used), (4, used), "{name}");
    }
}

#[test]
fn shards_are_one_dataset() {
    let dir = folder();
    for (shard, range) in [("part-0.parquet", 0..2), ("part-1.parquet", 2..4)] {
        let mut part = table().slice(range.start as i64, 2);
        ParquetWriter::new(std::fs::File::create(dir.path().join(shard)).unwrap()).finish(&mut part).unwrap();
    }
    std::fs::write(dir.path().join("README.md"), "shards").unwrap();
    let by_folder = read_file(dir.path());
    let by_glob = read_file(&dir.path().join("part-*.parquet"));
    assert_eq!(by_folder.0.pair_id, by_glob.0.pair_id);
    assert_eq!(by_folder.0.pair_id.len(), 4);
    assert_eq!(by_folder.0.judgements.row, [0, 1, 2, 3]);
}

#[test]
fn what_cannot_be_used_is_counted_and_named() {
    let dir = folder();
    let path = dir.path().join("t.jsonl");
    let rows = [
        (Some("x"), Some("y"), "1"),
        (Some(""), Some("y"), "1"),
        (Some("  \n"), Some("y"), "1"),
        (None, Some("y"), "1"),
        (Some("same"), Some("same "), "1"),
        (Some("x"), Some("y"), "1"),
        (Some("y"), Some("x"), "0"),
        (Some("y"), Some("x"), "1"),
        (Some("p"), Some("q"), ""),
        (Some("p"), Some("q"), "tie"),
    ];
    let lines: Vec<String> = rows
        .iter()
        .map(|(a, b, label)| {
            serde_json::json!({"prompt": "q", "response_A": a, "response_B": b, "label": label}).to_string()
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let (pairs, report) = read_file(&path);
    let count = |reason: &str| report.dropped.get(reason).copied().unwrap_or(0);
    assert_eq!(count("empty response"), 2);
    assert_eq!(count("missing or unreadable response"), 1);
    assert_eq!(count("identical responses"), 1);
    assert_eq!(count("missing label"), 1);
    assert_eq!(report.pairs_read, report.pairs_used + report.dropped_rows.len());
    // (x, y) was judged four times by nobody in particular: 1, 1, and turned round 0 and 1.
    assert_eq!(pairs.pair_id.len(), 2);
    assert_eq!(count("conflicting labels merged"), 3);
    assert_eq!(pairs.judgements.label, [0.75, 0.5]);
}

#[test]
fn every_annotator_keeps_a_voice_and_orders_do_not_matter() {
    let dir = folder();
    let rows = [("a", "b", 1, "ann"), ("b", "a", 1, "bob"), ("a", "b", 0, "cid"), ("c", "d", 1, "ann")];
    let write = |name: &str, order: &[usize]| {
        let lines: Vec<String> = order
            .iter()
            .map(|&i| {
                let (a, b, label, who) = rows[i];
                serde_json::json!({"prompt": "q", "response_A": a, "response_B": b, "label": label, "annotator_id": who})
                    .to_string()
            })
            .collect();
        let path = dir.path().join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        read_file(&path).0
    };
    let said = |pairs: &Pairs| -> Vec<(String, String, f32)> {
        let j = &pairs.judgements;
        let mut all: Vec<_> = (0..j.pair.len())
            .map(|i| {
                let who = pairs.annotators[j.annotator[i] as usize].clone();
                (pairs.pair_id[j.pair[i] as usize].clone(), who, j.label[i])
            })
            .collect();
        all.sort_by(|x, y| x.partial_cmp(y).unwrap());
        all
    };
    let (one, other) = (write("one.jsonl", &[0, 1, 2, 3]), write("other.jsonl", &[3, 2, 1, 0]));
    assert_eq!(one.pair_id.len(), 2);
    assert_eq!(one.judgements.pair.len(), 4);
    assert_eq!(said(&one), said(&other));
}

#[test]
fn chosen_first_sources_are_shuffled_by_the_seed() {
    let dir = folder();
    let path = dir.path().join("t.jsonl");
    let lines: Vec<String> = (0..400)
        .map(|i| {
            serde_json::json!({"prompt": format!("q{i}"), "chosen": format!("good {i}"), "rejected": format!("bad {i}")})
                .to_string()
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let with =
        |seed| read(&path.to_string_lossy(), &ReadOptions { seed, ..ReadOptions::default() }).unwrap().0;
    let (one, again, other) = (with(1), with(1), with(2));
    assert_eq!(one.pair_id, again.pair_id);
    assert_ne!(one.pair_id, other.pair_id);
    let first: f32 = one.judgements.label.iter().sum::<f32>() / 400.0;
    assert!((0.4..0.6).contains(&first), "{first} of the preferred responses stand first");
    for pair in 0..400 {
        let preferred = if one.judgements.label[pair] == 1.0 { &one.response_a } else { &one.response_b };
        assert!(preferred.get(pair).starts_with("good"));
    }
}

/// Pairs with nothing but keys.
fn keyed(prompts: &[u32], groups: &[u32]) -> Pairs {
    Pairs {
        prompt_key: prompts.to_vec(),
        group_keys: vec![("conversation_id".into(), groups.to_vec())],
        ..Pairs::default()
    }
}

/// The number of the component of each pair, by relabelling until nothing changes: slow and plain.
fn components(prompts: &[u32], groups: &[u32]) -> Vec<usize> {
    let mut number: Vec<usize> = (0..prompts.len()).collect();
    loop {
        let before = number.clone();
        for i in 0..prompts.len() {
            for j in 0..prompts.len() {
                let same = |keys: &[u32]| keys[i] != MISSING && keys[i] == keys[j];
                if same(prompts) || same(groups) {
                    let least = number[i].min(number[j]);
                    (number[i], number[j]) = (least, least);
                }
            }
        }
        if before == number {
            return number;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_split_keeps_components_whole_and_shares_within_one_of_them(
        keys in prop::collection::vec((0u32..40, 0u32..60), 3..120),
        missing in prop::collection::vec(any::<bool>(), 120),
        seed in 0u64..5,
    ) {
        let key = |i: usize, key: u32| if missing[i] { MISSING } else { key };
        let prompts: Vec<u32> = keys.iter().enumerate().map(|(i, (p, _))| key(i, *p)).collect();
        let groups: Vec<u32> = keys.iter().map(|(_, g)| if *g > 30 { MISSING } else { *g }).collect();
        let shares = [0.35, 0.2, 0.45];
        let (sides, notes) = split(&keyed(&prompts, &groups), shares, seed).unwrap();
        prop_assert_eq!(sides.len(), prompts.len());
        let drawn_alone = notes.iter().any(|note| note.contains("pair by pair"));
        let number = components(&prompts, &groups);
        let mut sizes = vec![0usize; prompts.len()];
        number.iter().for_each(|c| sizes[*c] += 1);
        let largest = if drawn_alone { 1 } else { *sizes.iter().max().unwrap() };
        if !drawn_alone {
            for i in 0..sides.len() {
                prop_assert_eq!(sides[i], sides[number[i]], "component {} is torn", number[i]);
            }
        }
        for (side, share) in [Split::Train, Split::Validation, Split::Test].into_iter().zip(shares) {
            let found = sides.iter().filter(|s| **s == side).count() as f64;
            let asked = share * sides.len() as f64;
            // One component can be larger than a side; what it takes too much, others have to lack.
            prop_assert!((found - asked).abs() <= largest as f64 + 1.0 || largest as f64 > 0.2 * sides.len() as f64,
                "{:?}: {} where {} were asked, largest component {}", side, found, asked, largest);
        }
        let again = split(&keyed(&prompts, &groups), shares, seed).unwrap().0;
        prop_assert_eq!(sides, again);
    }

    #[test]
    fn swapping_a_and_b_turns_labels_and_nothing_else(
        rows in prop::collection::vec(("[a-c]{1,2}", "[a-c]{1,2}", 0u8..3, 0u8..3), 1..25),
    ) {
        let dir = folder();
        let write = |name: &str, turned: bool| {
            let lines: Vec<String> = rows.iter().map(|(a, b, label, who)| {
                let label = f64::from(*label) / 2.0;
                let (a, b, label) = if turned { (b, a, 1.0 - label) } else { (a, b, label) };
                serde_json::json!({"prompt": "q", "response_A": a, "response_B": b, "label": label, "annotator_id": who.to_string()}).to_string()
            }).collect();
            let path = dir.path().join(name);
            std::fs::write(&path, lines.join("\n")).unwrap();
            read(&path.to_string_lossy(), &ReadOptions::default())
        };
        match (write("plain.jsonl", false), write("turned.jsonl", true)) {
            (Ok((plain, _)), Ok((turned, _))) => {
                prop_assert_eq!(plain.judgements.pair.len(), turned.judgements.pair.len());
                for i in 0..plain.pair_id.len() {
                    let same = plain.response_a.get(i) == turned.response_a.get(i);
                    // A pair that the source has in both orders stands the same way in both files.
                    prop_assert!(same || plain.response_a.get(i) == turned.response_b.get(i));
                }
                for j in 0..plain.judgements.label.len() {
                    let pair = plain.judgements.pair[j] as usize;
                    let same = plain.response_a.get(pair) == turned.response_a.get(pair);
                    let expected = if same { turned.judgements.label[j] } else { 1.0 - turned.judgements.label[j] };
                    prop_assert!((plain.judgements.label[j] - expected).abs() < 1e-6);
                }
            }
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "one way is refused, the other not"),
        }
    }

    /// Whatever stands in the labels of a file: each row with a label counts, or nothing is read and the user is asked.
    #[test]
    fn no_file_is_read_with_a_part_of_its_label_codes(
        labels in prop::collection::vec(prop::sample::select(vec![
            "\"A\"", "\"B\"", "\"tie\"", "1", "0", "2", "3", "-1", "-3", "0.5", "1.5", "75", "\"yes\"", "\"1\"", "\"response_1\"",
            "\"model_b\"", "true", "false", "\"A>>B\"", "\"\"", "null", "\"great\"",
        ]), 1..7),
        csv in any::<bool>(),
        names in prop::sample::select(vec![["response_A", "response_B"], ["output_1", "output_2"]]),
    ) {
        let dir = folder();
        let path = dir.path().join(if csv { "t.csv" } else { "t.jsonl" });
        let [first, second] = names;
        let mut text = if csv { format!("prompt,{first},{second},label\n") } else { String::new() };
        for (i, label) in labels.iter().enumerate() {
            text += &match csv {
                true => format!("q{i},a{i},b{i},{}\n", if *label == "null" { "" } else { label.trim_matches('"') }),
                false => format!("{{\"prompt\":\"q{i}\",\"{first}\":\"a{i}\",\"{second}\":\"b{i}\",\"label\":{label}}}\n"),
            };
        }
        std::fs::write(&path, text).unwrap();
        let given = labels.iter().filter(|label| !matches!(**label, "\"\"" | "null")).count();
        match read(&path.to_string_lossy(), &ReadOptions::default()) {
            Ok((pairs, report)) => {
                let read = pairs.judgements.label.iter().filter(|label| !label.is_nan()).count();
                prop_assert!(read >= given, "{read} of {given} labels: {labels:?}");
                prop_assert!(report.dropped.keys().all(|reason| reason == "missing label"), "{:?}", report.dropped);
            }
            Err(PairsError::Labels { hint, .. }) => prop_assert!(hint.contains("--label-"), "{hint}"),
            Err(PairsError::NothingLeft { .. }) => prop_assert_eq!(given, 0),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// Rows as CSV: several annotators, a repeated row, prompts that differ in white space alone.
fn rows_of_a_set() -> Vec<String> {
    (0..60)
        .flat_map(|i| {
            let space = if i % 2 == 0 { " " } else { "  " };
            let row = move |who: usize| {
                format!(
                    "what{space}is {}?,yes {i},\"no, {i}\",{},w{}",
                    i / 3,
                    (i + who) % 2,
                    (i * 7 + who) % 5
                )
            };
            if i % 4 == 0 { vec![row(0), row(1), row(0)] } else { vec![row(0)] }
        })
        .collect()
}

/// Everything that an analysis sees of a set but where its rows stand.
fn seen(pairs: &Pairs) -> impl PartialEq + std::fmt::Debug + use<> {
    let pairs = canonical(pairs.clone());
    let (sides, _) = split(&pairs, [0.6, 0.2, 0.2], 5).unwrap();
    (
        (pairs.pair_id.clone(), pairs.prompt_key.clone(), pairs.length_delta.clone(), sides),
        (pairs.judgements.pair.clone(), pairs.judgements.label.clone(), pairs.judgements.annotator.clone()),
        (texts(&pairs.prompt).join("|"), texts(&pairs.response_a).join("|"), pairs.annotators.clone()),
        (pairs.repeats.judgement.clone(), pairs.repeats.label.clone()),
    )
}

#[test]
fn the_order_of_rows_their_files_and_their_format_do_not_matter() {
    let dir = folder();
    let header = "prompt,response_A,response_B,label,annotator_id\n";
    let write = |name: &str, rows: &[String]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{header}{}\n", rows.join("\n"))).unwrap();
        path
    };
    let rows = rows_of_a_set();
    let (plain, _) = read_file(&write("plain.csv", &rows));
    let mut shuffled = rows.clone();
    shuffled.sort_by_key(|row| crate::rng::of_content(3, "shuffle", &[row]));
    assert_ne!(rows, shuffled);
    let (other, _) = read_file(&write("shuffled.csv", &shuffled));
    // As read, they stand in the rows' order; that is what is undone.
    assert_ne!(plain.pair_id, other.pair_id);
    let expected = seen(&plain);
    assert_eq!(seen(&other), expected);
    write("shards/a.csv", &shuffled[..30]);
    write("shards/b.csv", &shuffled[30..]);
    let (shards, _) = read_file(&dir.path().join("shards"));
    assert_eq!(seen(&shards), expected);
    let mut frame = CsvReadOptions::default()
        .try_into_reader_with_file_path(Some(dir.path().join("shuffled.csv")))
        .unwrap()
        .finish()
        .unwrap();
    let parquet = dir.path().join("shuffled.parquet");
    ParquetWriter::new(std::fs::File::create(&parquet).unwrap()).finish(&mut frame).unwrap();
    assert_eq!(seen(&read_file(&parquet).0), expected);
}

/// What the judgements of a set rest on: the texts and the label of each, and its row.
fn judged(pairs: &Pairs) -> Vec<(String, f32, u32)> {
    let judgements = &pairs.judgements;
    let one = |at: usize| {
        let (pair, turned) = (judgements.pair[at] as usize, judgements.swapped[at]);
        let (mut a, mut b) = (pairs.response_a.get(pair), pairs.response_b.get(pair));
        let mut label = judgements.label[at];
        if turned {
            (a, b, label) = (b, a, 1.0 - label);
        }
        (format!("{}|{a}|{b}", pairs.prompt.get(pair)), label, judgements.row[at])
    };
    (0..judgements.pair.len()).map(one).collect()
}

#[test]
fn of_more_pairs_than_asked_for_those_with_the_lowest_hashes_are_taken_whole() {
    let dir = folder();
    // Each pair twice, by two people, the second time the other way round; its vectors say its number.
    let row = |at: usize| (at / 2, at % 2 == 1);
    let texts = |which: usize, rows: &[usize]| -> Vec<String> {
        let text = |at: &usize| match row(*at) {
            (pair, turned) if turned == (which == 1) => format!("yes {pair}"),
            (pair, _) => format!("no {pair}"),
        };
        rows.iter().map(text).collect()
    };
    let frame = |rows: &[usize]| {
        let vector = |sign: f32| -> Column {
            let list: ListChunked = (rows.iter())
                .map(|at| Some(Series::new(PlSmallStr::EMPTY, [row(*at).0 as f32 * sign, 1.0])))
                .collect();
            list.with_name(if sign > 0.0 { "va" } else { "vb" }.into()).into_column()
        };
        let mut table = df!(
            "prompt" => rows.iter().map(|at| format!("What of {}?", row(*at).0 / 3)).collect::<Vec<_>>(),
            "response_A" => texts(0, rows),
            "response_B" => texts(1, rows),
            "label" => rows.iter().map(|at| f64::from(u8::from(at % 5 < 2))).collect::<Vec<_>>(),
            "annotator_id" => rows.iter().map(|at| format!("w{}", at % 2)).collect::<Vec<_>>(),
        )
        .unwrap();
        table.with_column(vector(1.0)).unwrap();
        table.with_column(vector(-1.0)).unwrap();
        table
    };
    let write = |name: &str, rows: &[usize]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        ParquetWriter::new(file).with_row_group_size(Some(37)).finish(&mut frame(rows)).unwrap();
        path
    };
    let rows: Vec<usize> = (0..600).collect();
    let mut shuffled = rows.clone();
    shuffled.sort_by_key(|at| crate::rng::of_content(4, "shuffle", &[&at.to_string()]));
    let options = ReadOptions {
        embedding_columns: Some(("va".into(), "vb".into())),
        max_pairs: 50,
        ..ReadOptions::default()
    };
    let read = |path: &std::path::Path| read(&path.to_string_lossy(), &options).unwrap();
    let (one, report) = read(&write("one.parquet", &rows));
    assert_eq!((one.pair_id.len(), one.judgements.pair.len()), (50, 100));
    assert_eq!((report.sources[0].rows, report.pairs_read, report.pairs_used), (600, 100, 100));
    assert_eq!(report.layout.rows, [600]);
    assert!(report.notes.iter().any(|note| note.contains("50 pairs") && note.contains("600 rows")));
    // Each judgement stands in the row of the file that it is from.
    for (texts, label, row) in judged(&one) {
        let own = frame(&[row as usize]);
        let cell = |name: &str| own.column(name).unwrap().str().unwrap().get(0).unwrap().to_owned();
        assert_eq!(texts, format!("{}|{}|{}", cell("prompt"), cell("response_A"), cell("response_B")));
        assert_eq!(f64::from(label), own.column("label").unwrap().f64().unwrap().get(0).unwrap());
    }
    let deltas = one.own_deltas.as_ref().unwrap();
    for pair in 0..50 {
        let number: f32 = one.response_a.get(pair).rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(deltas.row(pair)[0].abs(), 2.0 * number);
    }
    write("shards/a.parquet", &shuffled[..250]);
    write("shards/b.parquet", &shuffled[250..]);
    let (other, report) = read(&dir.path().join("shards"));
    assert_eq!(report.layout.rows, [250, 350]);
    assert_eq!(seen(&other), seen(&one));
    for (texts, _, row) in judged(&other) {
        let own = frame(&[shuffled[row as usize]]);
        let first = own.column("response_A").unwrap().str().unwrap().get(0).unwrap().to_owned();
        assert_eq!(texts.split('|').nth(1), Some(first.as_str()));
    }
    // As many as there are: all, and nothing is said.
    let options = ReadOptions { max_pairs: 300, ..options.clone() };
    let (all, report) = super::read(&dir.path().join("one.parquet").to_string_lossy(), &options).unwrap();
    assert_eq!(all.pair_id.len(), 300);
    assert!(report.notes.iter().all(|note| !note.contains("max-pairs")));
}

#[test]
fn prompts_that_differ_in_white_space_alone_are_one() {
    let dir = folder();
    let path = dir.path().join("x.csv");
    std::fs::write(
        &path,
        format!("prompt,response_A,response_B,label,annotator_id\n{}\n", rows_of_a_set().join("\n")),
    )
    .unwrap();
    let pairs = canonical(read_file(&path).0);
    let prompts: std::collections::HashSet<u32> = pairs.prompt_key.iter().copied().collect();
    assert_eq!((pairs.pair_id.len(), prompts.len()), (60, 20));
    let (sides, _) = split(&pairs, [0.6, 0.2, 0.2], 1).unwrap();
    for (key, side) in pairs.prompt_key.iter().zip(&sides) {
        let all = pairs.prompt_key.iter().zip(&sides).filter(|(other, _)| *other == key);
        assert!(all.into_iter().all(|(_, other)| other == side), "one prompt stands on two sides");
    }
}

#[test]
fn labels_that_all_prefer_one_side_are_refused() {
    let dir = folder();
    let path = dir.path().join("x.csv");
    let rows = |label: &dyn Fn(usize) -> usize, columns: &str| {
        let rows: Vec<String> = (0..40).map(|i| format!("p{i},good {i},bad {i},{}", label(i))).collect();
        std::fs::write(&path, format!("{columns}\n{}\n", rows.join("\n"))).unwrap();
        let (pairs, report) = read_file(&path);
        refuse_one_sided(&pairs, &report.path)
    };
    let columns = "prompt,response_A,response_B,label";
    let error = rows(&|_| 1, columns).unwrap_err();
    assert!(matches!(error, PairsError::OneSided { labels: 40, side: "A", .. }), "{error}");
    assert!(error.to_string().contains("hint: ") && error.to_string().contains("`chosen`"), "{error}");
    assert!(matches!(rows(&|_| 0, columns), Err(PairsError::OneSided { side: "B", .. })));
    // One label on the other side is enough to tell place from preference.
    rows(&|i| usize::from(i > 0), columns).unwrap();
    // Columns that say which was chosen are shuffled, and a label that says it again is no news.
    rows(&|_| 1, "prompt,chosen,rejected,score").unwrap();
}

/// Rows of JSON, a line each, in a file of their own.
fn lines(dir: &tempfile::TempDir, name: &str, rows: &[serde_json::Value]) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    path
}

fn refused(path: &std::path::Path, options: &ReadOptions, words: &[&str]) {
    let message = read(&path.to_string_lossy(), options).unwrap_err().to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn columns_put_the_other_way_round_take_their_labels_with_them() {
    use serde_json::json;
    let dir = folder();
    let by_hand = |a: &str, b: &str, label: Option<&str>| ReadOptions {
        response_a_column: Some(a.into()),
        response_b_column: Some(b.into()),
        label_column: label.map(str::to_owned),
        ..ReadOptions::default()
    };
    let one = |more: serde_json::Value| {
        let mut row = json!({"prompt": "q", "response_a": "worse", "response_b": "better"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    for (more, label) in [
        (json!({"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}), Some("winner_model_a")),
        (json!({"reward_a": -1.0, "reward_b": 2.0}), None),
        (json!({"score_b": 10, "score_a": 9}), None),
        (json!({"winner": "model_b"}), None),
        (json!({"model_a": "llama", "model_b": "gpt", "winner": "gpt"}), Some("winner")),
    ] {
        let path = lines(&dir, "t.jsonl", &[one(more.clone())]);
        for (a, b, share) in [("response_a", "response_b", 0.0), ("response_b", "response_a", 1.0)] {
            let (pairs, _) = read(&path.to_string_lossy(), &by_hand(a, b, label)).unwrap();
            assert_eq!(pairs.judgements.label, [share], "{a} is A: {more}");
        }
    }
    let web =
        json!({"question": "q", "answer_0": "worse", "score_0": -0.5, "answer_1": "better", "score_1": 0.5});
    let path = lines(&dir, "web.jsonl", &[web]);
    let (pairs, _) = read(&path.to_string_lossy(), &by_hand("answer_1", "answer_0", None)).unwrap();
    assert_eq!((texts(&pairs.response_a), pairs.judgements.label), (vec!["better"], vec![1.0]));
}

#[test]
fn an_answer_that_is_json_stays_the_answer_and_messages_are_messages() {
    use serde_json::json;
    let dir = folder();
    let read_one = |chosen: String, rejected: String| {
        let path = lines(&dir, "t.jsonl", &[json!({"prompt": "q", "chosen": chosen, "rejected": rejected})]);
        let (pairs, report) = read_file(&path);
        let mut both = [texts(&pairs.response_a)[0].to_owned(), texts(&pairs.response_b)[0].to_owned()];
        both.sort();
        (both, texts(&pairs.prompt)[0].to_owned(), report.notes)
    };
    for (chosen, rejected) in [
        (r#"["a", "b"]"#, "a"),
        (r#"["a"]"#, "a"),
        ("['a', 'b']", "['c']"),
        (r#"{"text": "a", "reason": "r"}"#, r#"{"text": "a", "reason": "s"}"#),
        (r#"{"answer": "a"}"#, r#"{"answer": "b"}"#),
        (r#"[{"name": "a", "content": "x"}]"#, r#"[{"name": "b", "content": "x"}]"#),
    ] {
        let (both, prompt, _) = read_one(chosen.into(), rejected.into());
        let mut wanted = [chosen.to_owned(), rejected.to_owned()];
        wanted.sort();
        assert_eq!((both, prompt.as_str()), (wanted, "q"));
    }
    let said = |answer: &str| {
        json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer}]).to_string()
    };
    let (both, prompt, _) = read_one(said("a"), said("b"));
    assert_eq!((both.clone(), prompt.as_str()), (["a", "b"].map(str::to_owned), "hi"));
    let twice = |answer: &str| json!(said(answer)).to_string();
    let (again, prompt, notes) = read_one(twice("a"), twice("b"));
    assert_eq!((again, prompt.as_str()), (both, "hi"));
    assert!(notes.iter().any(|note| note.contains("JSON in JSON")), "{notes:?}");
    // Kaggle's Arena: turns as JSON lists beside a column per outcome.
    let row = json!({
        "prompt": "[\"hi\"]", "response_a": "[\"a\"]", "response_b": "[\"b\"]", "winner_model_a": 1, "winner_model_b": 0,
        "winner_tie": 0,
    });
    let (pairs, _) = read_file(&lines(&dir, "arena.jsonl", &[row]));
    assert_eq!((texts(&pairs.prompt), texts(&pairs.response_a)), (vec!["hi"], vec!["a"]));
}

#[test]
fn a_part_of_a_dataset_is_not_read_as_the_whole() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str| {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        IpcWriter::new(std::fs::File::create(at(name)).unwrap()).finish(&mut table()).unwrap();
    };
    write("saved/data-00000-of-00002.arrow");
    let state = r#"{"_data_files": [{"filename": "data-00000-of-00002.arrow"}, {"filename": "data-00001-of-00002.arrow"}]}"#;
    std::fs::write(at("saved/state.json"), state).unwrap();
    let plain = ReadOptions::default();
    refused(&at("saved"), &plain, &["data-00001-of-00002.arrow", "state.json", "hint:"]);
    write("splits/train/data-00000-of-00001.arrow");
    let state = r#"{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}"#;
    std::fs::write(at("splits/train/state.json"), state).unwrap();
    std::fs::write(at("splits/dataset_dict.json"), r#"{"splits": ["train", "test"]}"#).unwrap();
    refused(&at("splits"), &plain, &["splits/test", "dataset_dict.json"]);
    std::fs::write(at("splits/dataset_dict.json"), r#"{"splits": ["train"]}"#).unwrap();
    assert_eq!(read_file(&at("splits")).1.pairs_read, 4);
    // Numbered files without their list are read with a word on the missing one.
    write("hub/data/train-00000-of-00002.arrow");
    let note = |notes: &[String]| notes.iter().any(|note| note.contains("train-00001-of-00002.arrow"));
    assert!(note(&read_file(&at("hub")).1.notes));
    assert!(note(&read_file(&at("hub/data/train-*")).1.notes));
    write("hub/data/train-00001-of-00002.arrow");
    assert!(!note(&read_file(&at("hub")).1.notes));
}

#[test]
fn classes_are_named_by_the_card_of_a_clone() {
    use serde_json::json;
    let dir = folder();
    let card = "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': \
                response_a\n          '1': response_b\n---\n";
    let row = |label: i64| json!({"prompt": format!("q{label}"), "response_a": "x", "response_b": "y", "label": label});
    let path = lines(&dir, "data/train.jsonl", &[row(0), row(1)]);
    assert_eq!(read_file(&path).0.judgements.label, [0.0, 1.0]);
    std::fs::write(dir.path().join("README.md"), card).unwrap();
    for path in [&path, dir.path()] {
        let (pairs, report) = read_file(path);
        assert_eq!(pairs.judgements.label, [1.0, 0.0], "{:?}", report.notes);
    }
}

#[test]
fn columns_of_other_types_matter_where_they_are_read_alone() {
    let path = format!("{}/tests/fixtures/shapes/float16.parquet", env!("CARGO_MANIFEST_DIR"));
    let (pairs, report) = read_file(std::path::Path::new(&path));
    assert_eq!(pairs.judgements.label, [1.0, 0.0]);
    let types: Vec<&str> = report.sources[0].columns.iter().map(|column| column.r#type.as_str()).collect();
    assert!(types.contains(&"a type that is not read"), "{types:?}");
    let named = ReadOptions { label_column: Some("half".into()), ..ReadOptions::default() };
    refused(std::path::Path::new(&path), &named, &["column `half` is of a type that is not read", "hint:"]);
}

#[test]
fn what_a_question_is_about_stands_behind_it() {
    use serde_json::json;
    let dir = folder();
    for (question, about) in
        [("question", "context"), ("query", "context"), ("prompt", "context"), ("instruction", "article")]
    {
        let row = |i: usize| json!({question: "Which?", about: format!("text {i}"), "response_1": "x", "response_2": "y", "label": "response_1"});
        let path = lines(&dir, "t.jsonl", &[row(0), row(1)]);
        let (pairs, report) = read_file(&path);
        assert_eq!(texts(&pairs.prompt), ["Which?\n\ntext 0", "Which?\n\ntext 1"], "{question}");
        assert_eq!(report.shape, "two columns of responses");
        let alone = ReadOptions { prompt_column: Some(question.into()), ..ReadOptions::default() };
        let (pairs, _) = read(&path.to_string_lossy(), &alone).unwrap();
        assert_eq!(texts(&pairs.prompt), ["Which?"]);
    }
}

#[test]
fn where_nothing_can_be_read_the_hint_can_be_followed() {
    use serde_json::json;
    let dir = folder();
    let plain = ReadOptions::default();
    let kto = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "label": true});
    refused(&lines(&dir, "kto.jsonl", &[kto]), &plain, &["unpaired", "`completion`"]);
    let lists = json!({"prompt": "q", "responses": ["a", "b"], "chosen_idx": 0});
    let path = lines(&dir, "lists.jsonl", &[lists]);
    refused(&path, &plain, &["several responses in `responses`", "`scores`"]);
    assert!(
        !read(&path.to_string_lossy(), &plain)
            .unwrap_err()
            .to_string()
            .contains("--response-b-column responses")
    );
    for (name, value) in [("chosen_index", json!(0)), ("a_better", json!(true)), ("rank_a", json!(1))] {
        let row = json!({"prompt": "q", "response_a": "x", "response_b": "y", name: value});
        let (_, report) = read_file(&lines(&dir, "t.jsonl", &[row]));
        let note = format!("`{name}` may be one");
        assert!(report.notes.iter().any(|found| found.contains(&note)), "{:?}", report.notes);
    }
    let page = json!({
        "rows": [{"row_idx": 0, "row": {"prompt": "q", "chosen": "x", "rejected": "y"}, "truncated_cells": ["chosen"]}],
        "num_rows_total": 600, "partial": true,
    });
    let path = dir.path().join("page.json");
    std::fs::write(&path, page.to_string()).unwrap();
    let (_, report) = read_file(&path);
    for word in ["1 of 600 rows", "partial", "1 rows whose texts are cut short"] {
        assert!(report.notes[0].contains(word), "{:?}", report.notes);
    }
}

/// Found by fuzzing: each claimed so many bytes that asking for them ended the process.
#[test]
fn what_a_damaged_file_claims_is_not_believed() {
    let names = [
        "claims.parquet",
        "page_claims.parquet",
        "footer_claims.parquet",
        "footer_types.parquet",
        "claims.arrow",
        "cut_claims.arrow",
        "claims_stream.arrow",
        "cut_stream.arrow",
    ];
    for name in names {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz").join(name);
        assert!(read(&path.to_string_lossy(), &ReadOptions::default()).is_err(), "{name}");
        let file = std::fs::File::open(&path).unwrap();
        let bytes = match name.ends_with(".arrow") {
            true => super::arrow_size::arrow_bytes(file),
            false => crate::limits::parquet_bytes(file),
        };
        assert!(
            // What is not understood is refused as well.
            bytes.is_none_or(|bytes| crate::limits::UNPACKED.check(bytes).is_err()),
            "{name}: {bytes:?}"
        );
    }
}
