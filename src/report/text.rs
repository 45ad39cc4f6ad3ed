//! Numbers and sentences that several readers share: the page and the terminal.

pub use crate::limits::thousands;

/// The beginning of a text on one line, without control characters.
pub fn excerpt(text: &str, characters: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * characters {
            break;
        }
    }
    match line.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or("").trim_end()),
        None => line,
    }
}

/// A share as signed percentage points without decimals: `+31 %`, `−4 %`, `0 %`.
pub fn points(share: f64) -> String {
    let rounded = (share * 100.0).round();
    if rounded > 0.0 {
        format!("+{rounded:.0}")
    } else if rounded < 0.0 {
        format!("−{:.0}", -rounded)
    } else {
        "0".into()
    }
}

/// An estimate in points with its interval: `+31 [+25, +36]`.
pub fn interval(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match (value, low, high) {
        (Some(value), Some(low), Some(high)) => {
            format!("{} [{}, {}]", points(value), points(low), points(high))
        }
        _ => "–".into(),
    }
}

/// "3,104 rows read, 2,950 labels on 2,870 pairs used (own shape); left out: 98 duplicate, 12 empty response".
pub fn dataset_line(manifest: &crate::store::Manifest) -> String {
    let data = &manifest.dataset;
    // A row of some sources is several pairs, and several rows of others are one.
    let rows: usize = data.sources.iter().map(|source| source.rows).sum();
    let read = match rows {
        0 => format!("{} rows", thousands(data.pairs_read)),
        rows if rows == data.pairs_read => format!("{} rows", thousands(rows)),
        rows => format!("{} pairs of {} rows", thousands(data.pairs_read), thousands(rows)),
    };
    let mut line = format!(
        "{read} read as {}, {} used ({} distinct pairs",
        data.shape,
        thousands(data.pairs_used),
        thousands(data.pairs_unique),
    );
    if data.annotators > 0 {
        line += &format!(", {} annotators", thousands(data.annotators));
    }
    line.push(')');
    if !data.dropped.is_empty() {
        let reasons: Vec<String> =
            data.dropped.iter().map(|(reason, count)| format!("{} {reason}", thousands(*count))).collect();
        line += &format!("; left out: {}", reasons.join(", "));
    }
    line
}

/// The rungs of the ladder, with what they are called for people.
pub const FEATURE_SETS: [(&str, &str); 9] = [
    ("length", "length alone"),
    ("top5", "the five strongest properties"),
    ("top10", "the ten strongest properties"),
    ("learned", "all learned properties"),
    ("known", "all known concepts"),
    ("learned_and_known", "learned and known together"),
    ("all", "everything, themes of words as well"),
    ("tfidf", "counts of words and word pairs"),
    ("embedding", "a black box that reads the texts"),
];

/// Words of the terminal and the page that not everybody has met, each in a sentence.
pub const TERMS: [(&str, &str); 12] = [
    (
        "label",
        "What an annotator said about a pair: which of its two responses is better. Ties are left aside.",
    ),
    (
        "wins more often",
        "Take the pairs whose two responses differ in a property: the share in which the response with more of it is \
         preferred, minus the share in which the other one is, in percentage points. +30 means 65 against 35 of 100.",
    ),
    (
        "[25, 36]",
        "The 95 % interval: the same count on other labels of the same kind would be expected in there. It counts labels of \
         one prompt or one annotator as the related labels that they are.",
    ),
    (
        "by chance",
        "How many datasets without any such preference would look as much like having one, with every property that was \
         tried counted. 1 in 20 is the most that is let through.",
    ),
    (
        "length held fixed",
        "Responses of different length are compared as if they had the same, so that a property is not credited with what \
         length does. It cannot be done for a property that is about length.",
    ),
    (
        "others held fixed",
        "The same for all the other properties in the list: what is left is what this one adds to them. Where nothing is left \
         that shows, the line is marked *: such properties go together, and the labels cannot say which of them counts.",
    ),
    (
        "picks the right one",
        "Take two labels of which one went to the first response and one to the second. How many times in 100 a fit on other \
         labels tells which is which: 50 is guessing, 100 perfect. Statisticians call it AUC.",
    ),
    (
        "measured by",
        "A fixed rule: the program looks for it in the text, and what it finds is what is said. Its own words: those words \
         are counted. Fits r = 0.6: the words were put to something learned, and agree with it as closely as 0 (not at \
         all) to 1 (exactly) says.",
    ),
    (
        "safety risk",
        "The labels reward the less safe side: what protects is punished, or what may do harm is rewarded. Read the pairs \
         before training on them.",
    ),
    (
        "size unclear",
        "That the property matters is confirmed; the labels that took no part in finding that out are too few to say how much.",
    ),
    (
        "held out",
        "Pairs that were put aside before anything was looked at, so that figures from them are not flattered.",
    ),
    (
        "unexplained",
        "Something learned from the texts that no words fit well enough. Its sentences are shown, and no name is guessed.",
    ),
];

/// What stands where no principle does: what was tested, the best lead, what could have been seen, and what the
/// features do together.
pub fn nothing_confirmed(findings: &crate::constitution::Findings, labels: usize) -> String {
    let Some(looked) = &findings.looked else {
        return format!("No principle is confirmed ({} labels).", thousands(labels));
    };
    let prompts = match looked.prompts {
        0 => String::new(),
        n => format!(" from {} prompts", thousands(n)),
    };
    // Length is a hypothesis of its own, and what it does stands beside this.
    let none = if looked.length.p.is_some_and(|p| p < 0.01) { "Beyond length, no" } else { "No" };
    let mut text = format!(
        "{none} principle is confirmed among {} properties tested on {} labels{prompts}.",
        thousands(looked.features),
        thousands(looked.labels)
    );
    if let Some(lead) = &looked.lead {
        let size = match lead.win_delta {
            Some(_) => {
                format!(" ({}, length held fixed)", interval(lead.win_delta, lead.win_low, lead.win_high))
            }
            None => String::new(),
        };
        let p = looked.lead_p_holm.unwrap_or(1.0);
        let in_100 = if p < 0.005 { "fewer than 1".into() } else { format!("{:.0}", p.min(1.0) * 100.0) };
        // Beyond chance on all labels together, and no part of them says so to the others.
        let apart = if p < 0.05 { ", and it does not hold when the labels are taken apart" } else { "" };
        text += &format!(
            " The best lead: “{}”{size}; with so many tried, {in_100} of 100 datasets without any preference would show \
             as much{apart}.",
            lead.text
        );
    }
    if let (Some(size), Some(share)) = (looked.detectable, looked.detectable_prevalence) {
        text += &format!(
            " A difference of {:.0} points would have been confirmed in four cases of five for a property that {:.0} % of \
             the pairs differ in; smaller ones may be there.",
            size * 100.0,
            share * 100.0
        );
    }
    if let Some(minus) = looked.together_minus_length {
        let verdict = if minus.low > 0.0 {
            "together the properties tell more than length does"
        } else {
            "together the properties tell no more than length does, as far as can be seen"
        };
        text += &format!(
            " Many small differences may add up: {verdict} (beside length alone, of 100 times that two opposite labels are to be \
             told apart, {} [{}, {}] are told rightly in addition).",
            tenths(minus.value * 100.0),
            tenths(minus.low * 100.0),
            tenths(minus.high * 100.0)
        );
    }
    text
}

/// One decimal with a sign: `+1.3`, `−0.4`.
fn tenths(value: f64) -> String {
    match format!("{value:+.1}").as_str() {
        "+0.0" | "-0.0" => "0".into(),
        text => text.replace('-', "−"),
    }
}

/// An AUC as times in 100 with its interval: `71 times in 100 [69, 73]`.
pub fn times_in_100(figure: &crate::store::Estimate) -> String {
    format!(
        "{:.0} times in 100 [{:.0}, {:.0}]",
        figure.value * 100.0,
        figure.low * 100.0,
        figure.high * 100.0
    )
}

/// How well everything measured tells labels, beside length and the black box, in a sentence.
pub fn picks_right(metrics: &crate::store::Metrics) -> Option<String> {
    let figure = |rung: &str| metrics.auc.get(rung).copied().flatten();
    let all = figure("all").or(figure("learned_and_known"))?;
    let beside = |rung: &str, name: &str| {
        figure(rung).map_or(String::new(), |f| {
            format!("{name} {:.0} [{:.0}, {:.0}], ", f.value * 100.0, f.low * 100.0, f.high * 100.0)
        })
    };
    Some(format!(
        "Of two opposite labels, all of it picks the right one {} ({}{}guessing 50).",
        times_in_100(&all),
        beside("length", "length alone"),
        beside("embedding", "a black box")
    ))
}

/// All features against the embedding probe, as a sentence. `None` where the probe finds no signal.
pub fn explained_in_words(metrics: &crate::store::Metrics) -> Option<String> {
    let probe = metrics.auc.get("embedding").copied().flatten()?;
    (probe.low > 0.5).then_some(())?;
    let gap = &metrics.auc_minus_embedding;
    let gap = gap.get("all").or_else(|| gap.get("learned_and_known"))?;
    let figure = format!(
        "{} [{}, {}] in 100",
        tenths(gap.value * 100.0),
        tenths(gap.low * 100.0),
        tenths(gap.high * 100.0)
    );
    // The features read markup, prompts and lengths, which the vectors may not hold: the probe is no ceiling.
    Some(if gap.high < 0.0 {
        format!(
            "A black box that reads the texts does better ({figure} for what has words): that much is left unexplained."
        )
    } else if gap.low > 0.0 {
        format!("All of it does better than a black box that reads the texts ({figure}).")
    } else {
        format!(
            "A black box that reads the texts is not shown to do better or worse ({figure} for what has words)."
        )
    })
}

/// Length by itself, in a sentence: it is always said, confirmed or not.
pub fn length_in_words(length: &crate::effects::table::LengthEffect) -> Option<String> {
    let share = length.longer_wins?;
    // What is tested is how much longer it is, which may matter where being longer at all does not.
    let verdict = match length.p {
        Some(p) if p < 0.05 => "how much longer it is matters",
        _ => "length is not shown to matter",
    };
    Some(format!(
        "The longer response wins {:.0} [{:.0}, {:.0}] of 100; {verdict}.",
        share.value * 100.0,
        share.low * 100.0,
        share.high * 100.0
    ))
}

/// How often chance alone would show as much: `< 1 in 1,000`, `1 in 45`.
pub fn by_chance(p: f64) -> String {
    if p.is_nan() {
        "–".into()
    } else if p < 0.001 {
        "< 1 in 1,000".into()
    } else {
        // Downwards, so that it is never said to be surer than it is.
        format!("1 in {}", thousands((1.0 / p.min(1.0)).floor() as usize))
    }
}

/// What follows "the response that" in a statement.
pub fn clause(principle: &crate::constitution::Principle) -> &str {
    let statement = &principle.statement;
    statement.split_once(" the response that ").map_or(statement.as_str(), |(_, clause)| clause)
}

/// Whether nothing that shows is left of it with the others held fixed: it goes together with some of them.
pub fn goes_along(principle: &crate::constitution::Principle) -> bool {
    match (principle.win_low_joint, principle.win_high_joint) {
        (Some(low), Some(high)) => low <= 0.0 && high >= 0.0,
        _ => false,
    }
}

/// Who says what a principle is about.
pub fn measured_by(principle: &crate::constitution::Principle) -> String {
    let read = match principle.reading.filter(|reading| reading.n > 0) {
        Some(reading) => format!("; readers agreed {} of {} times", reading.right, reading.n),
        None => String::new(),
    };
    let measured: String = match principle.describer.as_str() {
        "detector" => "a fixed rule".into(),
        "dictionary" => "sentences like those it was named from".into(),
        "words" => "its own words".into(),
        _ => match (principle.fidelity, principle.fidelity_low, principle.fidelity_high) {
            (Some(r), Some(low), Some(high)) => format!("words that fit, r = {r:.2} [{low:.2}, {high:.2}]"),
            _ => "words whose fit is not known".into(),
        },
    };
    measured + &read
}

/// A finding's words; what has none is said to have none, with its id once.
pub fn finding_words(finding: &crate::constitution::Finding) -> String {
    if finding.text.is_empty() || finding.text == finding.feature_id {
        "no words fit it, and no sentence shows it by itself".into()
    } else {
        finding.text.clone()
    }
}

/// Columns of a terminal that a text takes: pictures and East Asian signs take two.
pub fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
            0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

/// The text in at most so many columns, cut after a word with an ellipsis.
pub fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut line = String::new();
    for word in text.split_whitespace() {
        let space = usize::from(!line.is_empty());
        if columns(&line) + space + columns(word) + 1 > width {
            break;
        }
        if space > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.is_empty() {
        // One word that is too long by itself: better its beginning than nothing.
        line = text.chars().take(width.saturating_sub(1)).collect();
    }
    format!("{}…", line.trim_end_matches([',', ';', ':', '–', '-', '(', '“']).trim_end())
}

/// The text in lines of at most so many columns, broken between words; every line but the first begins with `indent`
/// spaces. A word that is too long stands on a line of its own, whole.
pub fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fresh = line.trim().is_empty();
        if !fresh && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if !fresh {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.trim().is_empty() {
        lines.push(line);
    }
    lines
}

/// Whether weights of one's own are worth it, in a sentence. `None` where it was not measured.
pub fn personal_worth(evaluation: &crate::personalize::Evaluation) -> Option<String> {
    // Eight labels are about what somebody new can be asked for; else the next number that was measured.
    let gains = || evaluation.gains.iter().filter(|gain| gain.choice == "random" && gain.weights == "shrunk");
    let gain = gains().find(|gain| gain.k >= 8).or_else(|| gains().next_back())?;
    let figure = &gain.auc_gain;
    let verdict = if figure.low <= 0.0 && figure.high >= 0.0 {
        "not shown to be worth it"
    } else if figure.value < 0.0 {
        "worse than everybody's weights"
    } else if figure.value < 0.01 {
        "hardly worth it"
    } else {
        "worth it"
    };
    Some(format!(
        "Weights of their own are {verdict}: after {} labels of an annotator they pick the right one of two opposite labels \
         {} [{}, {}] times more in 100 ({} annotators).",
        gain.k,
        tenths(figure.value * 100.0),
        tenths(figure.low * 100.0),
        tenths(figure.high * 100.0),
        thousands(gain.annotators)
    ))
}

/// To three digits, with a sign.
pub fn signed(value: f64) -> String {
    format!("{value:+.3}").replace('-', "−")
}

/// A coefficient to two digits with a sign: `+0.31`, `−0.04`; `–` for NaN.
pub fn coefficient(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    let text = format!("{:.2}", value.abs());
    match text.as_str() {
        "0.00" => text,
        _ if value > 0.0 => format!("+{text}"),
        _ => format!("−{text}"),
    }
}

/// A p-value to four digits: `.0123`, `< .0001`.
pub fn p_value(p: f64) -> String {
    if p.is_nan() {
        "–".into()
    } else if p >= 0.99995 {
        "1".into()
    } else if p < 0.0001 {
        "< .0001".into()
    } else {
        format!("{p:.4}").trim_start_matches('0').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_compared_with_an_interval() {
        let figure = |value, low, high| crate::store::Estimate { value, low, high, n: 100 };
        let said = |probe_low: f64, low: f64, high: f64| {
            explained_in_words(&crate::store::Metrics {
                auc: [("embedding".to_owned(), Some(figure(0.7, probe_low, 0.8)))].into(),
                auc_minus_embedding: [("all".to_owned(), figure((low + high) / 2.0, low, high))].into(),
                ..Default::default()
            })
        };
        assert!(said(0.6, -0.03, -0.01).unwrap().contains("left unexplained"));
        assert!(said(0.6, -0.03, 0.01).unwrap().contains("better or worse (−1.0 [−3.0, +1.0] in 100"));
        assert!(said(0.6, 0.01, 0.03).unwrap().contains("better than a black box"));
        assert_eq!(said(0.45, 0.01, 0.03), None, "the probe finds nothing");
    }

    #[test]
    fn texts_are_cut_and_broken_between_words() {
        assert_eq!(shortened("refuses or declines, to answer", 40), "refuses or declines, to answer");
        assert_eq!(shortened("refuses or declines, to answer", 22), "refuses or declines…");
        assert_eq!(shortened("Donaudampfschifffahrt", 8), "Donauda…");
        let text = "one two three four five six seven";
        let lines = wrapped(text, 12, 2);
        assert_eq!(lines, ["one two", "  three four", "  five six", "  seven"].map(str::to_owned));
        assert_eq!(wrapped("averyveryverylongword x", 5, 0), ["averyveryverylongword", "x"]);
        assert_eq!(wrapped("", 5, 0), Vec::<String>::new());
        assert_eq!(columns("a😀é漢"), 6);
        assert!(columns(&shortened("😀 😀 😀 😀", 6)) <= 6);
    }

    #[test]
    fn chance_is_never_said_to_be_smaller_than_it_is() {
        assert_eq!(
            [0.0004, 0.001, 0.022, 0.04, 0.6, 1.0].map(by_chance),
            ["< 1 in 1,000", "1 in 1,000", "1 in 45", "1 in 25", "1 in 1", "1 in 1"]
        );
        assert_eq!(by_chance(f64::NAN), "–");
    }

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(thousands));
        assert_eq!(["+31", "−4", "0", "0"], [0.312, -0.04, 0.001, -0.001].map(points));
    }
}
