use proptest::prelude::*;

use super::super::{SentenceKind, SentenceTable};
use super::*;

fn pieces(text: &str) -> Vec<&str> {
    split(text).iter().map(|sentence| sentence.of(text)).collect()
}

fn kinds(text: &str) -> Vec<(SentenceKind, &str)> {
    split(text).iter().map(|sentence| (sentence.kind, sentence.of(text))).collect()
}

#[test]
fn sentences_end_where_a_reader_says() {
    let cases: [(&str, &[&str]); 24] = [
        ("I'm sorry. I can't help!  Really?", &["I'm sorry.", "I can't help!", "Really?"]),
        ("Dr. Smith met Mrs. Jones. They talked.", &["Dr. Smith met Mrs. Jones.", "They talked."]),
        ("It costs $3.50, i.e. 3.5 dollars. Cheap.", &["It costs $3.50, i.e. 3.5 dollars.", "Cheap."]),
        ("He lives in the U.S. The house is big.", &["He lives in the U.S.", "The house is big."]),
        ("The U.S. Senate voted. J. K. Rowling wrote.", &["The U.S. Senate voted.", "J. K. Rowling wrote."]),
        (
            "Eggs, milk, etc. Then mix. Apples etc. are fine.",
            &["Eggs, milk, etc.", "Then mix.", "Apples etc. are fine."],
        ),
        ("See No. 5 there. I said no. Then I left.", &["See No. 5 there.", "I said no.", "Then I left."]),
        ("i like it. so do you. ok", &["i like it.", "so do you.", "ok"]),
        (
            "Well... maybe. Wait… what? Hmm... Then go.",
            &["Well... maybe.", "Wait… what?", "Hmm...", "Then go."],
        ),
        (
            "See https://a.b/c?d=e.f or foo.rs!now ok. Bye",
            &["See https://a.b/c?d=e.f or foo.rs!now ok.", "Bye"],
        ),
        ("\"Why?\" he asked. “No.” She left.", &["\"Why?\" he asked.", "“No.”", "She left."]),
        ("(It works.) **Good!** Next.", &["(It works.)", "**Good!**", "Next."]),
        ("What?! No!!! Ok.", &["What?!", "No!!!", "Ok."]),
        ("今天天气好。我们走吧！好吗？", &["今天天气好。", "我们走吧！", "好吗？"]),
        ("هل أنت بخير؟ نعم.", &["هل أنت بخير؟", "نعم."]),
        ("मैं ठीक हूँ। आप कैसे हैं?", &["मैं ठीक हूँ।", "आप कैसे हैं?"]),
        ("Does that help? 😀🎉", &["Does that help?", "😀🎉"]),
        ("... and then. It ended.", &["... and then.", "It ended."]),
        (
            "It opens at 9 a.m. Monday and 5 p.m. The end.",
            &["It opens at 9 a.m. Monday and 5 p.m.", "The end."],
        ),
        ("It was 1998. Then 5. And so on.", &["It was 1998.", "Then 5.", "And so on."]),
        ("1. Mix it. 2. Bake it.", &["1. Mix it.", "2. Bake it."]),
        ("So did I. He went.", &["So did I.", "He went."]),
        ("!!!", &["!!!"]),
        ("---", &["---"]),
    ];
    for (text, expected) in cases {
        assert_eq!(pieces(text), expected, "{text:?}");
    }
}

#[test]
fn lines_are_what_they_look_like() {
    use SentenceKind::*;
    let text = "# Title\n\nSome text: here.\n\n- One. Two.\n* Three\n  1) Four\n(b) Five\n\n**Why it works:**\nBecause.\n\n\
                | a | b |\n|---|:--|\n| 1 | 2 |\n\nx | y\n--- | ---\n3 | 4\n\n> Quoted. Twice.\n\nUnder\n=====\nText\n\n---\n\
                ```python\nprint('a. b')\n\n# no heading\n```\nEnd **bold** here.";
    let expected = [
        (Heading, "# Title"),
        (Prose, "Some text: here."),
        (ListItem, "- One."),
        (ListItem, "Two."),
        (ListItem, "* Three"),
        (ListItem, "1) Four"),
        (ListItem, "(b) Five"),
        (Heading, "**Why it works:**"),
        (Prose, "Because."),
        (TableRow, "| a | b |"),
        (TableRow, "| 1 | 2 |"),
        (TableRow, "x | y"),
        (TableRow, "3 | 4"),
        (Quote, "> Quoted."),
        (Quote, "Twice."),
        (Heading, "Under"),
        (Prose, "Text"),
        (Code, "```python\nprint('a. b')\n\n# no heading\n```"),
        (Prose, "End **bold** here."),
    ];
    assert_eq!(kinds(text), expected);
    assert_eq!(kinds(&text.replace('\n', "\r\n")).len(), expected.len());
}

#[test]
fn wrapped_prose_is_joined_and_verse_is_not() {
    let wrapped = "This line was broken by an editor at about sixty columns and\ngoes on here. And here.";
    assert_eq!(
        pieces(wrapped),
        ["This line was broken by an editor at about sixty columns and\ngoes on here.", "And here."]
    );
    assert_eq!(pieces("Roses are red,\nviolets are blue"), ["Roses are red,", "violets are blue"]);
    let items = "learning french vocabulary\nlearning french pronunciation";
    assert_eq!(pieces(items).len(), 2);
}

#[test]
fn another_turn_ends_a_block_of_code() {
    let text = "Here:\n```\nls -la\n\nHuman: thanks. Bye\n\nAssistant: You're welcome.";
    assert_eq!(
        kinds(text),
        [
            (SentenceKind::Prose, "Here:"),
            (SentenceKind::Code, "```\nls -la"),
            (SentenceKind::Prose, "Human: thanks."),
            (SentenceKind::Prose, "Bye"),
            (SentenceKind::Prose, "Assistant: You're welcome."),
        ]
    );
    // An inline fence is no block.
    assert_eq!(kinds("```a``` is code. So.").len(), 2);
}

#[test]
fn long_texts_are_cut_at_clauses_else_words_else_characters() {
    let clauses = "this goes on and on; ".repeat(50);
    let cut = pieces(&clauses);
    assert!(cut.len() > 1 && cut.iter().all(|piece| piece.ends_with(';') && piece.len() <= LONGEST));
    let words = "word ".repeat(20_000);
    let cut = pieces(&words);
    assert!(cut[..cut.len() - 1].iter().all(|piece| piece.len() <= LONGEST && piece.len() > LONGEST / 2));
    let solid = "é".repeat(50_000);
    let cut = pieces(&solid);
    assert!(cut.iter().all(|piece| piece.len() == LONGEST || piece == cut.last().unwrap()));
    let code = format!("```\n{}```", "let x = 1;\n".repeat(2000));
    let cut = kinds(&code);
    assert!(
        cut.len() > 5
            && cut.iter().all(|(kind, piece)| *kind == SentenceKind::Code && piece.len() <= LONGEST_CODE)
    );
    assert!(cut[0].1.ends_with("let x = 1;"));
}

#[test]
fn work_grows_with_the_text_and_no_faster() {
    // Counted in what is handed out, and by finishing at all: quadratic work on 2 MB would take an hour.
    for unit in
        ["a", "a ", ". ", "e.g. ", "1. ", "\"", "\n", "...", "`", "| ", "a.", "Human:\n\n", "> ", "**"]
    {
        let text = unit.repeat((2 << 20) / unit.len());
        let found = split(&text);
        assert!(found.len() <= text.len());
        assert_eq!(found.is_empty(), text.trim().is_empty());
    }
}

/// Pieces that texts are made of, so that random ones reach the rules.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(vec![
            "Hello", "dr. ", "e.g. ", "3.5", ". ", "! ", "? ", "... ", "…", "\n", "\n\n", "\r\n", "- ", "1. ", "# ",
            "| a | b |\n", "|---|\n", "```\n", "```", "> ", "**", "Human: ", "。", "؟", " ", "é", "😀", "\u{2028}", "---\n",
            "===\n", "\u{a0}", "\u{200b}", "\"", "(a) ", "iv. ", "~~~\n",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => any::<char>().prop_map(String::from),
        1 => (1usize..900).prop_map(|n| "x".repeat(n)),
    ];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn spans_are_in_order_on_characters_trimmed_and_leave_no_letter_out(text in text()) {
        let found = split(&text);
        let mut at = 0;
        for sentence in &found {
            let (start, end) = (sentence.start as usize, sentence.end as usize);
            prop_assert!(at <= start && start < end && end <= text.len());
            prop_assert!(text.is_char_boundary(start) && text.is_char_boundary(end));
            let words = sentence.of(&text);
            prop_assert_eq!(words, words.trim());
            let longest = if sentence.kind == SentenceKind::Code { LONGEST_CODE } else { LONGEST };
            prop_assert!(words.len() <= longest);
            prop_assert!(!text[at..start].chars().any(char::is_alphanumeric), "left out: {:?}", &text[at..start]);
            at = end;
        }
        prop_assert!(!text[at..].chars().any(char::is_alphanumeric), "left out: {:?}", &text[at..]);
        prop_assert_eq!(found.is_empty(), text.trim().is_empty());
        prop_assert_eq!(&found, &split(&text));
    }

    #[test]
    fn a_table_holds_every_sentence_once_and_gives_every_text_back(
        texts in prop::collection::vec(text(), 0..8),
        seed in any::<u64>(),
    ) {
        let table = SentenceTable::of_texts(texts.len(), |i| &texts[i]);
        let mut seen = std::collections::HashSet::new();
        for number in 0..table.len() {
            prop_assert!(seen.insert((table.text(number), table.kind(number))));
        }
        for (i, text) in texts.iter().enumerate() {
            let found: Vec<(SentenceKind, &str)> =
                table.of(i).iter().map(|&n| (table.kind(n as usize), table.text(n as usize))).collect();
            prop_assert_eq!(found, kinds(text));
        }
        // Other rows first: the same sentences, under the same numbers, and the same of them drawn.
        let turned: Vec<&String> = texts.iter().rev().collect();
        let other = SentenceTable::of_texts(turned.len(), |i| turned[i]);
        let all: Vec<u32> = (0..table.len() as u32).collect();
        prop_assert_eq!(table.len(), other.len());
        for number in 0..table.len() {
            prop_assert_eq!(table.text(number), other.text(number));
        }
        let some = table.sample(&all, table.len() / 2, seed);
        prop_assert_eq!(some.len(), table.len() / 2);
        prop_assert_eq!(some, other.sample(&all, table.len() / 2, seed));
    }
}

#[test]
fn mentions_are_counted_and_weigh_by_their_square_root() {
    let texts = ["Yes. Yes. No.", "No."];
    let table = SentenceTable::of_texts(2, |i| texts[i]);
    let of = |text: &str| (0..table.len()).find(|&number| table.text(number) == text).unwrap();
    let (both, second) = (table.counts(|_| true), table.counts(|text| text == 1));
    assert_eq!((both[of("Yes.")], both[of("No.")]), (2, 2));
    assert_eq!((second[of("Yes.")], second[of("No.")]), (0, 1));
    assert_eq!(
        super::super::weighted([0, 1, 2, 3, 6, 7, 100]),
        [vec![1, 2, 3, 3, 4, 4, 5, 5, 5], vec![6; 10]].concat()
    );
}
