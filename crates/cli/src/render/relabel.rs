//! What relabelling does, in the terminal.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use wimhf::pairs::Pairs;
use wimhf::pairs::rewrite::{Action, Undone, Written};
use wimhf::relabel::decisions::Confirmation;
use wimhf::relabel::evaluate::Table;
use wimhf::relabel::preview::Preview;
use wimhf::relabel::{Decision, Decisions};
use wimhf::report::text::{excerpt, interval, thousands};
use wimhf::{Relabelled, Review};

/// Examples shown.
const EXAMPLES: usize = 10;
/// Characters of a text shown.
const SHOWN: usize = 160;

/// What is marked, why, and what would change; text that ends with a newline.
pub fn render(decisions: &Decisions, preview: &Preview, pairs: &Pairs, proposed: bool) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut out, decisions, preview, pairs, proposed);
    out
}

/// How many labels a judge would be asked about; `None` where some are marked by a rule of the user's own, which stand
/// whatever it says.
pub fn to_ask(decisions: &Decisions) -> Option<String> {
    let own = |decision: &Decision| decision.rules.iter().any(|rule| rule != "safety");
    (!decisions.marked.is_empty() && !decisions.marked.iter().any(own)).then(|| {
        format!(
            "{} of {} labels with a preference would be asked about. Only those would be marked in which the judge finds the \
             response that lost safer, in both orders.\n",
            thousands(decisions.marked.len()),
            thousands(decisions.labels)
        )
    })
}

/// What was found and done, for programs.
pub fn value(done: &Relabelled) -> serde_json::Value {
    let trl = done.trl.as_ref().map(|(file, rows, ties)| json!({"file": file, "rows": rows, "ties": ties}));
    json!({
        "decisions": done.decisions,
        "preview": done.preview,
        "cost": done.cost,
        "evaluation": done.evaluation,
        "files": done.written.as_ref().map(|written| &written.files),
        "rows": done.written.as_ref().map(|written| written.rows),
        "trl": trl,
        "review": done.review.as_ref().map(|review| json!({"table": review.table, "page": review.page})),
    })
}

/// What was restored, for programs.
pub fn undone_value(undone: &[Undone]) -> serde_json::Value {
    let one = |file: &Undone| json!({"file": file.file, "rows": file.rows, "changed": file.changed, "exact": file.exact});
    undone.iter().map(one).collect()
}

fn left_out(out: &mut String, decisions: &Decisions) -> std::fmt::Result {
    match decisions.left_out {
        0 => Ok(()),
        count => writeln!(
            out,
            "{} more go against a rule and are left out (`--top`, or a score below `--min-score`).",
            thousands(count)
        ),
    }
}

/// Marks of the preset that are not changed unread.
fn unsure(out: &mut String, decisions: &Decisions) -> std::fmt::Result {
    if decisions.unsure == 0 {
        return Ok(());
    }
    let known = decisions.precision.map(|precision| format!(" {}", precision.said())).unwrap_or_default();
    writeln!(
        out,
        "The preset has {} marks that are not sure enough to be changed unread.{known} Leave `--action` out to read them, \
         have a model confirm them (`--judge MODEL`), or say `--min-score S` to change them all the same.",
        thousands(decisions.unsure)
    )
}

fn render_into(
    out: &mut String,
    decisions: &Decisions,
    preview: &Preview,
    pairs: &Pairs,
    proposed: bool,
) -> std::fmt::Result {
    let marked = &decisions.marked;
    if marked.is_empty() {
        let stands = if decisions.confirmation.is_some() { "that the judge confirms" } else { "" };
        writeln!(
            out,
            "Nothing to change: none of the {} labels {}{}{stands}.",
            thousands(decisions.labels),
            if decisions.undecided.is_some() {
                "has a decision that changes it"
            } else {
                "goes against a rule"
            },
            if stands.is_empty() { "" } else { " " },
        )?;
        left_out(out, decisions)?;
        unsure(out, decisions)?;
        if decisions.harmless > 0 {
            writeln!(
                out,
                "In {} of them a refusal lost to a response that does not read as harmful.",
                thousands(decisions.harmless)
            )?;
        }
        if let Some(confirmation) = &decisions.confirmation {
            judged(out, confirmation)?;
        }
        return Ok(());
    }
    let share = marked.len() as f64 / decisions.labels.max(1) as f64;
    writeln!(
        out,
        "{} of {} labels with a preference ({:.1} %) {}, in {} of {} rows.",
        thousands(marked.len()),
        thousands(decisions.labels),
        share * 100.0,
        if decisions.undecided.is_some() { "are changed as decided" } else { "go against a rule" },
        thousands(preview.rows),
        thousands(preview.rows_read)
    )?;
    if preview.rows_unread > 0 {
        writeln!(
            out,
            "The run took a sample: the labels of {} further rows stay as they are. `wimhf relabel RUN DATA` reads all rows of DATA.",
            thousands(preview.rows_unread)
        )?;
    }
    for (rule, count) in &decisions.by_rule {
        writeln!(out, "  · {rule}: {}", thousands(*count))?;
    }
    let mut actions: Vec<(Action, usize)> = Vec::new();
    for decision in marked {
        match actions.iter_mut().find(|(action, _)| *action == decision.action) {
            Some((_, count)) => *count += 1,
            None => actions.push((decision.action, 1)),
        }
    }
    let said: Vec<String> =
        actions.iter().map(|(action, n)| format!("{} {}", action.name(), thousands(*n))).collect();
    match decisions.undecided {
        Some(open) => writeln!(
            out,
            "Decided: {}; {} rejected, {} without a decision: those labels stay.",
            said.join(", "),
            thousands(decisions.rejected.unwrap_or(0)),
            thousands(open)
        )?,
        None => writeln!(out, "{}: {}.", if proposed { "Proposed" } else { "Action" }, said.join(", "))?,
    }
    left_out(out, decisions)?;
    unsure(out, decisions)?;
    if decisions.harmless > 0 {
        writeln!(
            out,
            "Left alone: {} labels where a refusal lost to a response that does not read as harmful.",
            thousands(decisions.harmless)
        )?;
    }
    if let Some(confirmation) = &decisions.confirmation {
        judged(out, confirmation)?;
    }
    if let Some(precision) = decisions.precision.as_ref().filter(|_| decisions.unsure == 0) {
        writeln!(out, "{}", precision.said())?;
    }

    writeln!(out, "\nExamples, from the clearest to the least clear:")?;
    let shown = marked.len().min(EXAMPLES);
    for place in 0..shown {
        let decision = &marked[if shown > 1 { place * (marked.len() - 1) / (shown - 1) } else { 0 }];
        example(out, decision, pairs)?;
    }

    writeln!(out, "\nWhat {}", if proposed { "would change if all were accepted" } else { "changes" })?;
    if let Some([before, after]) = preview.first_preferred {
        writeln!(
            out,
            "  Labels that prefer the first response: {:.1} % → {:.1} % ({} → {} labels).",
            before * 100.0,
            after * 100.0,
            thousands(preview.labels[0]),
            thousands(preview.labels[1])
        )?;
    } else {
        writeln!(
            out,
            "  Labels with a preference: {} → {}.",
            thousands(preview.labels[0]),
            thousands(preview.labels[1])
        )?;
    }
    if preview.principles.is_empty() {
        writeln!(out, "  The run has no principles whose effects could move.")?;
    } else {
        writeln!(
            out,
            "  Δ win rate of every principle by itself, in points with a 95 % interval, length held fixed, held-out labels ({} → {}):",
            thousands(preview.held_out[0]),
            thousands(preview.held_out[1])
        )?;
        for shift in &preview.principles {
            let text = |figure: Option<[f64; 3]>| match figure {
                Some([value, low, high]) => interval(Some(value), Some(low), Some(high)),
                None => "–".into(),
            };
            writeln!(
                out,
                "  {:>3}. {:<64} {:>16} → {}",
                shift.rank,
                excerpt(&shift.statement, 64),
                text(shift.before),
                text(shift.after)
            )?;
        }
    }
    Ok(())
}

/// What the judge said.
fn judged(out: &mut String, confirmation: &Confirmation) -> std::fmt::Result {
    write!(
        out,
        "{} was asked about {} labels that might prefer the more harmful response ({} calls): {} confirmed, {} not confirmed by the judge and left \
         alone",
        confirmation.model,
        thousands(confirmation.asked),
        thousands(confirmation.calls as usize),
        thousands(confirmation.confirmed),
        thousands(confirmation.not_confirmed.len()),
    )?;
    if confirmation.contradicted > 0 {
        write!(out, " (in {} it finds the other response safer)", thousands(confirmation.contradicted))?;
    }
    if confirmation.missing > 0 {
        write!(out, ", {} of them without a readable answer", thousands(confirmation.missing))?;
    }
    writeln!(out, ".")
}

fn example(out: &mut String, decision: &Decision, pairs: &Pairs) -> std::fmt::Result {
    let at = decision.pair as usize;
    let label = pairs.judgements.label[decision.judgement as usize];
    let (a, b) = (pairs.response_a.get(at), pairs.response_b.get(at));
    let (won, lost) = if label > 0.5 { (a, b) } else { (b, a) };
    writeln!(
        out,
        "  row {} · score {:.2} · {}: {}",
        pairs.judgements.row[decision.judgement as usize],
        decision.score,
        decision.rules.join(", "),
        decision.reason
    )?;
    let prompt = pairs.prompt.get(at);
    // The end of a conversation is what the responses answer.
    let end: String = prompt.chars().rev().take(SHOWN).collect::<Vec<_>>().into_iter().rev().collect();
    let dots = if end.len() < prompt.len() { "…" } else { "" };
    writeln!(out, "      prompt: {dots}{}", excerpt(&end, SHOWN))?;
    writeln!(out, "      won:    {}", excerpt(won, SHOWN))?;
    writeln!(out, "      lost:   {}", excerpt(lost, SHOWN))
}

/// Accuracies of the probes, set by set.
pub fn evaluation(tables: &[Table]) -> String {
    let mut out = String::new();
    let _ = evaluation_into(&mut out, tables);
    out
}

fn evaluation_into(out: &mut String, tables: &[Table]) -> std::fmt::Result {
    writeln!(
        out,
        "\nReward probes, trained on the labels before and after: agreement in % with a 95 % interval (change in points, paired)"
    )?;
    for table in tables {
        write!(out, "  {} — {} labels", excerpt(&table.name, 48), thousands(table.labels))?;
        if table.overlapping > 0 {
            write!(
                out,
                ", {} of them about prompts of the dataset, judged by probes that never saw those",
                thousands(table.overlapping)
            )?;
        }
        writeln!(out)?;
        for row in &table.rows {
            let done = match row.action {
                None => "original labels".to_owned(),
                Some(action) => format!("{} {}", action.name(), thousands(row.changed)),
            };
            let percent = |share: f64| format!("{:.1}", share * 100.0);
            let a = row.accuracy;
            write!(
                out,
                "    {:<10} {done:<18} {:>5} [{}, {}]",
                row.probe,
                percent(a.value),
                percent(a.low),
                percent(a.high)
            )?;
            if let Some(c) = row.change {
                let signed = |share: f64| format!("{:+.1}", share * 100.0).replace('-', "−");
                write!(out, "  ({} [{}, {}])", signed(c.value), signed(c.low), signed(c.high))?;
            }
            writeln!(out)?;
        }
        for probe in ["embedding", "features"] {
            let rows = || table.rows.iter().filter(|row| row.probe == probe);
            let Some(original) = rows().find(|row| row.action.is_none()) else { continue };
            for action in [Action::Flip, Action::Drop] {
                // The last row of an action changes every marked label.
                let Some(row) = rows().rfind(|row| row.action == Some(action)) else { continue };
                let (low, high) = (original.accuracy.low, original.accuracy.high);
                let place = if row.accuracy.value > high {
                    "above"
                } else if row.accuracy.value < low {
                    "below"
                } else {
                    "inside"
                };
                writeln!(
                    out,
                    "    → {probe}, {} {}: {place} the original's interval",
                    action.name(),
                    thousands(row.changed)
                )?;
            }
        }
    }
    Ok(())
}

/// What was written, and how to take it back.
pub fn written(written: &Written, trl: Option<(&Path, usize, usize)>) -> String {
    let mut out = String::new();
    let files: Vec<String> = written.files.iter().map(|file| file.display().to_string()).collect();
    let changed: Vec<String> =
        written.changed.iter().map(|(action, n)| format!("{} {}", action.name(), thousands(*n))).collect();
    let what = if changed.is_empty() { "nothing changed".to_owned() } else { changed.join(", ") };
    out.push('\n');
    if !files.is_empty() {
        let _ = writeln!(out, "Wrote {} ({} rows; {what}).", files.join(", "), thousands(written.rows));
    }
    if let Some((path, rows, ties)) = trl {
        let _ = write!(out, "Wrote {} ({} rows of prompt, chosen, rejected", path.display(), thousands(rows));
        if ties > 0 {
            let _ = write!(out, "; {} ties left out", thousands(ties));
        }
        let _ = writeln!(out, ").");
    }
    if let Some(first) = written.files.first() {
        let whole = if written.files.len() > 1 { first.parent().unwrap_or(first) } else { first };
        let _ = writeln!(out, "Take it back: wimhf relabel --undo {}", whole.display());
    }
    out
}

/// Where the marks are read and decided.
pub fn review(review: &Review, run: &Path, marks: usize) -> String {
    let mut out = String::from("\n");
    if marks > 0 {
        let _ = writeln!(out, "Nothing was changed. Read the marks and decide:");
        let _ = writeln!(out, "  {}    to read and click, a key each", review.page.display());
        let _ =
            writeln!(out, "  {}     the same as a table, with a column `decision`", review.table.display());
        if review.kept > 0 {
            let _ =
                writeln!(out, "  ({} decisions that were in the table are kept.)", thousands(review.kept));
        }
        let _ = writeln!(out, "Then: wimhf relabel {} --decisions FILE --out CLEANED", run.display());
    }
    out
}

/// What was restored.
pub fn undone(undone: &[Undone]) -> String {
    let mut out = String::new();
    for file in undone {
        let how = if file.exact {
            "byte by byte the original"
        } else {
            "the original's rows, columns and values; its bytes are not kept, since the original file is gone or changed"
        };
        let _ = writeln!(
            out,
            "Restored {} ({} rows, {} of them had been changed): {how}.",
            file.file.display(),
            thousands(file.rows),
            thousands(file.changed)
        );
    }
    out
}
