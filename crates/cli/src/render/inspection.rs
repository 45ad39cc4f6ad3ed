//! What `wimhf inspect` says, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use wimhf::embed::EmbeddingEstimate;
use wimhf::pairs::{Inspection, ReadReport, SourceReport};
use wimhf::report::text::thousands;

/// Version of the JSON.
const SCHEMA_VERSION: u64 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u64,
    version: &'static str,
    data: &'a ReadReport,
    found: &'a Inspection,
    embedding: &'a [EmbeddingEstimate],
}

/// As JSON that ends with a newline.
pub fn json(inspected: &wimhf::Inspection) -> String {
    let wimhf::Inspection { read, found, embedding } = inspected;
    let document = Document {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION"),
        data: read,
        found,
        embedding,
    };
    // Plain structs of numbers and texts cannot fail to be written.
    crate::commands::in_ascii_where_odd(&serde_json::to_string_pretty(&document).unwrap_or_default()) + "\n"
}

/// As text that ends with a newline.
pub fn text(inspected: &wimhf::Inspection) -> String {
    let wimhf::Inspection { read, found, embedding } = inspected;
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = text_into(&mut out, read, found, embedding);
    out
}

/// A line with its name in front; further lines of the same name leave it empty.
fn line(out: &mut String, name: &str, text: &str) -> std::fmt::Result {
    writeln!(out, "  {name:<12} {text}")
}

fn text_into(
    out: &mut String,
    read: &ReadReport,
    found: &Inspection,
    embedding: &[EmbeddingEstimate],
) -> std::fmt::Result {
    for source in &read.sources {
        source_into(out, source)?;
    }
    if read.sources.len() > 1 {
        writeln!(out, "{} sources as one set", read.sources.len())?;
    }
    line(
        out,
        "pairs",
        &format!(
            "{} read, {} labels used, on {} distinct pairs",
            thousands(read.pairs_read),
            thousands(read.pairs_used),
            thousands(found.pairs)
        ),
    )?;
    let dropped: Vec<String> =
        read.dropped.iter().map(|(reason, count)| format!("{} {reason}", thousands(*count))).collect();
    line(out, "left out", if dropped.is_empty() { "nothing".into() } else { dropped.join(", ") }.as_str())?;
    if !found.datasets.is_empty() {
        let each: Vec<String> =
            found.datasets.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
        line(out, "datasets", &format!("{} (distinct pairs)", each.join(", ")))?;
    }
    labels_into(out, read, found)?;
    lengths_into(out, found)?;
    let people = &found.annotators;
    if people.annotators == 0 {
        line(out, "annotators", "none named")?;
    } else {
        let [least, median, most] = people.labels_each.map(thousands);
        line(
            out,
            "annotators",
            &format!(
                "{} with {} labels: {least} the least, {median} the median, {most} the most; with 20 or more: {}",
                thousands(people.annotators),
                thousands(people.labels),
                thousands(people.with_20)
            ),
        )?;
    }
    if let Some(agreement) = &found.agreement {
        line(
            out,
            "agreement",
            &format!(
                "two labels of a pair say the same in {} of {} comparisons, on {} pairs with several labels",
                percent(agreement.share),
                thousands(agreement.n),
                thousands(agreement.pairs)
            ),
        )?;
    }
    let prompts = &found.prompts;
    let mut text = format!("{} distinct", thousands(prompts.distinct));
    if prompts.repeated > 0 {
        text += &format!(
            "; {} come back, {} pairs in all, up to {} on one",
            thousands(prompts.repeated),
            thousands(prompts.pairs_on_repeated),
            thousands(prompts.most_pairs)
        );
    }
    if prompts.missing > 0 {
        text += &format!("; {} pairs without a prompt", thousands(prompts.missing));
    }
    line(out, "prompts", &text)?;
    languages_into(out, found)?;
    line(
        out,
        "embedding",
        &format!(
            "{} different responses, some {} tokens; nothing was embedded",
            thousands(found.texts.distinct),
            thousands(found.texts.tokens as usize)
        ),
    )?;
    for estimate in embedding {
        let takes = match estimate.seconds {
            Some(seconds) => duration(seconds),
            None => format!(
                "about {} calls, {} tokens",
                thousands(estimate.calls as usize),
                thousands(estimate.tokens as usize)
            ),
        };
        line(out, "", &format!("{}: {takes}", estimate.what))?;
    }
    for note in &read.notes {
        line(out, "note", note)?;
    }
    examples_into(out, found)
}

/// Three pairs as they were understood, so that a wrong reading shows.
fn examples_into(out: &mut String, found: &Inspection) -> std::fmt::Result {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for example in &found.examples {
        let label = match example.label {
            None => "no label".to_owned(),
            Some(0.5) => "a tie".to_owned(),
            Some(1.0) => "A is preferred".to_owned(),
            Some(0.0) => "B is preferred".to_owned(),
            Some(share) => format!("A is preferred in {}", percent(f64::from(share))),
        };
        let prompt = match example.prompt.trim() {
            "" => "no prompt".to_owned(),
            prompt => one_line(prompt),
        };
        line(out, &format!("row {}", example.row), &format!("{prompt} → {label}"))?;
        line(out, "", &format!("A: {}", one_line(&example.a)))?;
        line(out, "", &format!("B: {}", one_line(&example.b)))?;
    }
    Ok(())
}

fn source_into(out: &mut String, source: &SourceReport) -> std::fmt::Result {
    writeln!(out, "{}", source.path)?;
    let files = if source.files == 1 { "1 file".into() } else { format!("{} files", source.files) };
    let read_as =
        format!("{} ({files}, {}, {} rows)", source.shape, bytes(source.bytes), thousands(source.rows));
    line(out, "read as", &read_as)?;
    let (read, other): (Vec<_>, Vec<_>) = source.columns.iter().partition(|column| column.role.is_some());
    let count = read.len();
    let mut read: Vec<String> = read
        .iter()
        .map(|column| {
            format!("`{}` as {} ({})", column.name, column.role.as_deref().unwrap_or_default(), column.r#type)
        })
        .collect();
    if count > 12 {
        read.truncate(11);
        read.push(format!("and {} more", count - 11));
    }
    line(out, "columns", &read.join(", "))?;
    if !other.is_empty() {
        let mut names: Vec<String> =
            other.iter().take(20).map(|column| format!("`{}`", column.name)).collect();
        if other.len() > 20 {
            names.push(format!("and {} more", other.len() - 20));
        }
        line(out, "not read", &names.join(", "))?;
    }
    Ok(())
}

fn labels_into(out: &mut String, read: &ReadReport, found: &Inspection) -> std::fmt::Result {
    let labels = &found.labels;
    if labels.labels == 0 {
        return line(out, "labels", "none: measurable preferences only");
    }
    let share =
        |count: usize| format!("{} ({})", thousands(count), percent(count as f64 / labels.labels as f64));
    let mut text = format!(
        "{}: A preferred {}, B preferred {}, ties {}",
        thousands(labels.labels),
        share(labels.a),
        share(labels.b),
        share(labels.ties)
    );
    if labels.soft > 0 {
        text += &format!("; of these soft, between 0 and 1: {}", thousands(labels.soft));
    }
    if labels.none > 0 {
        text += &format!("; rows without: {}", thousands(labels.none));
    }
    line(out, "labels", &text)?;
    if read.sources.iter().all(|source| source.shuffled) {
        line(out, "", "the source does not say which response was shown first: A and B are our coin")?;
    }
    Ok(())
}

fn lengths_into(out: &mut String, found: &Inspection) -> std::fmt::Result {
    let lengths = &found.lengths;
    let [low, _, median, _, high] = lengths.words.map(thousands);
    line(
        out,
        "length",
        &format!(
            "median {median} words a response, nine in ten from {low} to {high}, longest {}; the two of a pair differ by {} in \
             the median",
            thousands(lengths.words_max),
            thousands(lengths.difference_median)
        ),
    )?;
    let Some(longer) = lengths.longer_preferred else { return Ok(()) };
    let mut text = format!(
        "the longer one is preferred in {} of {} labels without tie",
        percent(longer),
        thousands(lengths.longer_n)
    );
    if let Some(words) = lengths.preferred_minus_other_median {
        let sign = if words > 0 {
            "+"
        } else if words < 0 {
            "−"
        } else {
            ""
        };
        text += &format!("; preferred minus other: {sign}{} words in the median", words.unsigned_abs());
    }
    line(out, "", &text)
}

fn languages_into(out: &mut String, found: &Inspection) -> std::fmt::Result {
    let languages = &found.languages;
    if languages.sample == 0 {
        return Ok(());
    }
    let of = |count: usize| percent(count as f64 / languages.sample as f64);
    let mut shown: Vec<String> =
        languages.found.iter().take(6).map(|(name, count)| format!("{name} {}", of(*count))).collect();
    if languages.found.len() > 6 {
        let rest: usize = languages.found.iter().skip(6).map(|(_, count)| count).sum();
        shown.push(format!("{} others {}", languages.found.len() - 6, of(rest)));
    }
    if languages.unknown > 0 {
        shown.push(format!("too short or mixed to tell {}", of(languages.unknown)));
    }
    line(
        out,
        "languages",
        &format!("{} (of {} responses looked at)", shown.join(", "), thousands(languages.sample)),
    )
}

/// `57 %`; one decimal where that would round to nothing or everything.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 || percent > 99.0 && percent < 100.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "under a second".into(),
        s if s < 90.0 => format!("about {s:.0} s"),
        s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
        s => format!("about {:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_never_rounded_to_nothing() {
        assert_eq!(
            (percent(0.004), percent(0.0), percent(0.574)),
            ("0.4 %".into(), "0 %".into(), "57 %".into())
        );
        assert_eq!(percent(0.997), "99.7 %");
        assert_eq!(
            (bytes(999), bytes(803_851), bytes(1_880_055_798)),
            ("999 B".into(), "804 kB".into(), "1.9 GB".into())
        );
        assert_eq!(
            (duration(0.2), duration(42.0), duration(600.0), duration(7200.0)),
            ("under a second".into(), "about 42 s".into(), "about 10 min".into(), "about 2.0 h".into())
        );
    }
}
