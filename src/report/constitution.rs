//! The inverse constitution: `constitution.md`, the text for a system prompt, and the terminal.

use std::fmt::Write;
use std::path::Path;

use super::text::{self, points, thousands};
use crate::constitution::Findings;
use crate::constitution::agreement::Agreement;
use crate::constitution::executed::ByModel;
use crate::constitution::execution::Execution;
use crate::constitution::icai::Icai;
use crate::constitution::reconstruct::{ConstitutionPrinciple, Reconstruction};
use crate::store::{Estimate, StoreError, write_bytes, write_json};

/// The three files that `wimhf constitution` writes.
pub const FILES: [&str; 3] = ["constitution.md", "constitution.json", "constitution.prompt.txt"];

/// Writes the constitution to read, to compute with, and to put into a system prompt; returns the names of the files.
///
/// Without a rule there is nothing to put into a prompt: no such file is written, and one of an earlier list, which the
/// labels no longer confirm, goes.
///
/// # Errors
/// Where a file cannot be written.
pub fn write(folder: &Path, found: &Reconstruction) -> Result<Vec<&'static str>, StoreError> {
    let [markdown_file, json, prompt_file] = FILES;
    write_json(&folder.join(json), found)?;
    write_bytes(&folder.join(markdown_file), markdown(found).as_bytes())?;
    match prompt(found) {
        Some(text) => {
            write_bytes(&folder.join(prompt_file), text.as_bytes())?;
            Ok(FILES.to_vec())
        }
        None => {
            let path = folder.join(prompt_file);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(StoreError::Io { action: "remove", path, source })
                }
                _ => Ok(vec![markdown_file, json]),
            }
        }
    }
}

/// Whether a rule is about an accident of the text's form, such as where it was cut: nothing to tell a model.
fn artefact(principle: &ConstitutionPrinciple) -> bool {
    let has = |name: &str| principle.flags.iter().any(|flag| flag == name);
    has("artefact") && !has("pinned")
}

/// A share in per cent with its interval: `78.1 % [76.0, 80.2]`.
pub fn share(figure: &Estimate) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", figure.value * 100.0, figure.low * 100.0, figure.high * 100.0)
}

/// A difference in percentage points with one decimal: `+1.2 [+0.3, +2.1]`.
pub fn change(figure: &Estimate) -> String {
    let one = |value: f64| {
        let value = (value * 1000.0).round() / 10.0;
        if value > 0.0 {
            format!("+{value:.1}")
        } else if value < 0.0 {
            format!("−{:.1}", -value)
        } else {
            "0".to_owned()
        }
    };
    format!("{} [{}, {}]", one(figure.value), one(figure.low), one(figure.high))
}

/// How often the principle is right when it speaks, in per cent with its interval.
pub fn accuracy(agreement: &Agreement) -> String {
    match (agreement.accuracy_low, agreement.accuracy_high) {
        (Some(low), Some(high)) => {
            format!("{:.0} % [{:.0}, {:.0}]", agreement.accuracy * 100.0, low * 100.0, high * 100.0)
        }
        _ => "–".into(),
    }
}

/// Right minus wrong over all labels, in points with its interval.
pub fn strength(agreement: &Agreement) -> String {
    text::interval(Some(agreement.strength), agreement.strength_low, agreement.strength_high)
}

fn name(baseline: &str) -> &str {
    match baseline {
        "majority" => "always the more frequent side",
        "length" => "length only",
        "all_features" => "every feature (linear)",
        "embedding" => "embedding probe (black box)",
        "random_linear" => "as many random principles, linear",
        "random_vote" => "as many random principles, vote",
        other => other,
    }
}

/// The rows of the table of agreement: name, agreement, distance.
pub fn rows(found: &Reconstruction) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let n = found.principles.len();
    let own = |executor: &str| if found.executor == executor { " ◂" } else { "" };
    for (executor, figure) in [("linear", &found.linear), ("vote", &found.vote)] {
        let figure = figure.as_ref().map_or("–".into(), share);
        let these = if n == 1 { "the principle".to_owned() } else { format!("the {n} principles") };
        rows.push([format!("{these}, {executor}{}", own(executor)), figure, String::new()]);
    }
    for baseline in &found.baselines {
        let above = match (&baseline.constitution_above, baseline.as_good) {
            (Some(figure), _) => change(figure),
            (None, Some(as_good)) => format!("{:.0} % of them as good", as_good * 100.0),
            _ => String::new(),
        };
        let agreement = baseline.agreement.as_ref().map_or("–".into(), share);
        rows.push([name(&baseline.name).to_owned(), agreement, above]);
    }
    rows
}

/// The rows of the table of what a model makes of the list: who, agreement, how far our list by the model is above.
pub fn model_rows(found: &Reconstruction, by_model: &ByModel) -> Vec<[String; 3]> {
    let these =
        |n: usize, one: &str, more: &str| if n == 1 { one.to_owned() } else { format!("the {n} {more}") };
    let own = these(found.principles.len(), "the principle", "principles");
    let figure = |figure: &Option<Estimate>| figure.as_ref().map_or("–".into(), share);
    let above = |figure: &Option<Estimate>| figure.as_ref().map_or(String::new(), change);
    let mut rows = vec![
        [format!("{own}, {}", by_model.model), figure(&by_model.list.agreement), String::new()],
        [format!("{own}, linear"), figure(&by_model.linear), above(&by_model.above_linear)],
        [format!("{own}, vote"), figure(&by_model.vote), above(&by_model.above_vote)],
    ];
    if let Some(icai) = &by_model.icai {
        let theirs = these(icai.statements().len(), "ICAI's rule", "rules of ICAI");
        let agreement = icai.list.as_ref().and_then(|list| list.agreement);
        rows.push([format!("{theirs}, {}", by_model.model), figure(&agreement), above(&icai.ours_above)]);
    }
    rows
}

/// What stands above that table.
pub fn model_title(by_model: &ByModel) -> String {
    format!(
        "A language model that sees only the constitution ({} at {}), on {} labels of {} held-out pairs, each asked in both \
         orders",
        by_model.model,
        by_model.server,
        thousands(by_model.list.labels),
        thousands(by_model.list.pairs),
    )
}

/// Sentences about a model's answers.
pub fn model_sentences(by_model: &ByModel) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let answers = |who: &str, list: &Execution| {
        let mut said = format!(
            "{who}: the answer is the same in both orders in {} of the pairs, and even in {}",
            percent(list.same_in_both_orders),
            percent(list.undecided)
        );
        if list.missing > 0 {
            said += &format!("; {} pairs could not be read and are missing", thousands(list.missing));
        }
        said + &format!(" ({} calls)", thousands(list.calls as usize))
    };
    let mut said = vec![answers("The constitution", &by_model.list)];
    if let Some(icai) = &by_model.icai {
        said.push(format!(
            "ICAI's list: {} different rules proposed for {} pairs, {} voted on in {} pairs, {} kept ({} calls)",
            thousands(icai.proposed),
            icai.proposed_for,
            icai.rules.len(),
            icai.voted_on,
            icai.statements().len(),
            thousands(icai.calls as usize)
        ));
        match &icai.list {
            Some(list) => said.push(answers("ICAI's list, executed", list)),
            None => said.push("Of ICAI's rules none is on the labels' side often enough".into()),
        }
    }
    said
}

/// Sentences about the set as a whole.
pub fn sentences(found: &Reconstruction) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(coverage) = &found.coverage {
        let random = found.coverage_random.map_or(String::new(), |random| {
            format!(", {:.1} % for as many random principles", random * 100.0)
        });
        said.push(format!(
            "Coverage: {} of the labels have a principle on their side; {:.1} % would against coin flips{random}",
            share(coverage),
            found.coverage_floor * 100.0
        ));
    }
    if let Some(redundancy) = &found.redundancy {
        said.push(format!(
            "Redundancy: {} of the votes that explain a label repeat another principle's",
            share(redundancy)
        ));
    }
    said.push(format!(
        "No principle speaks on {:.1} % of the labels; the votes are evenly split on {:.1} %, where the order decides",
        found.silent * 100.0,
        found.vote_split * 100.0
    ));
    for (executor, left) in [("linear", &found.left_unexplained), ("vote", &found.left_unexplained_vote)] {
        let Some(left) = left else { continue };
        let by = &found.left_unexplained_by;
        said.push(if left.value > 0.0 {
            format!(
                "Left unexplained by the {executor} executor: {by} agrees with {} points more of the labels",
                change(left)
            )
        } else {
            format!(
                "Left unexplained by the {executor} executor: nothing that shows ({by} is at {} points)",
                change(left)
            )
        });
    }
    for conflict in found.conflicts.iter().take(5) {
        let wins = conflict.first_wins.as_ref().map_or(String::new(), |wins| {
            format!("; there the label follows “{}” in {} of {}", conflict.first_short, share(wins), wins.n)
        });
        said.push(format!(
            "Conflict: “{}” and “{}” meet on {} labels and pull apart on {:.0} % of them{wins}",
            conflict.first_short,
            conflict.second_short,
            thousands(conflict.meetings),
            conflict.opposed * 100.0
        ));
    }
    let repeats: Vec<String> = (found.repetitions.iter())
        .map(|twin| format!("“{}” (as “{}”, r = {:.2})", twin.short, twin.same_as_short, twin.r))
        .collect();
    if !repeats.is_empty() {
        said.push(format!("Left out as repetition: {}", repeats.join(", ")));
    }
    if !found.not_confirmed.is_empty() && !found.principles.is_empty() {
        let names: Vec<String> = found.not_confirmed.iter().map(|rule| format!("“{}”", rule.short)).collect();
        said.push(format!(
            "Chosen and left out, since held-out labels do not confirm it: {}",
            names.join(", ")
        ));
    }
    let form: Vec<String> = (found.principles.iter())
        .filter(|rule| artefact(rule))
        .map(|rule| format!("“{}”", rule.short))
        .collect();
    if !form.is_empty() {
        said.push(format!(
            "Not in the text for a system prompt, since it is an accident of the text's form: {}",
            form.join(", ")
        ));
    }
    if let Some(asked) = found.asked_for.filter(|asked| *asked > found.principles.len()) {
        said.push(format!(
            "{asked} principles were asked for; the labels support no more than {}",
            found.principles.len()
        ));
    }
    said
}

/// Why there is no rule.
pub fn none_holds(found: &Reconstruction) -> String {
    match found.not_confirmed.len() {
        0 => format!(
            "no principle is supported by the {} labels it is chosen on",
            thousands(found.labels_explore)
        ),
        n => format!(
            "{n} rule{} chosen on {} labels, and none is confirmed on the {} others",
            if n == 1 { " was" } else { "s were" },
            thousands(found.labels_explore),
            thousands(found.labels_held_out)
        ),
    }
}

/// The constitution for a system prompt: words only, without rules about accidents of form. `None` where no rule is left.
pub fn prompt(found: &Reconstruction) -> Option<String> {
    let rules: Vec<&ConstitutionPrinciple> = found.principles.iter().filter(|rule| !artefact(rule)).collect();
    if rules.is_empty() {
        return None;
    }
    let mut text = String::from(
        "When you compare or write responses, follow these principles. They stand in order of importance: where they pull \
         apart, most of them decide, and where that is even, the one that stands first.\n\n",
    );
    for (rule, number) in rules.into_iter().zip(1..) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{number}. {}.", rule.statement.trim_end_matches('.'));
        for condition in &rule.by_context {
            let _ = writeln!(text, "   {}.", condition.trim_end_matches('.'));
        }
    }
    Some(text)
}

/// `constitution.md`.
pub fn markdown(found: &Reconstruction) -> String {
    let mut text = String::new();
    let _ = markdown_into(&mut text, found);
    text
}

/// Every principle on a line, and what is claimed of it by kind of request below.
fn principles_into(out: &mut String, found: &Reconstruction) -> std::fmt::Result {
    for principle in &found.principles {
        let risk =
            if principle.flags.iter().any(|flag| flag == "safety_risk") { " **Safety risk.**" } else { "" };
        writeln!(
            out,
            "{}. {}. ({:.0} %; {}; {}){risk}",
            principle.rank,
            principle.statement.trim_end_matches('.'),
            principle.agreement.relevance * 100.0,
            accuracy(&principle.agreement),
            points(principle.agreement.strength),
        )?;
        for condition in &principle.by_context {
            writeln!(out, "   - {}. (The figures above leave this out.)", condition.trim_end_matches('.'))?;
        }
    }
    Ok(())
}

fn markdown_into(out: &mut String, found: &Reconstruction) -> std::fmt::Result {
    writeln!(out, "# The constitution that the labels of {} follow\n", found.dataset)?;
    if found.principles.is_empty() {
        writeln!(out, "No constitution: {}.\n", none_holds(found))?;
    } else {
        writeln!(
            out,
            "Chosen for the {} executor on {} labels. In brackets, on {} other labels: how often the principle speaks, how \
             often it is right when it does (95 % interval), and its strength (right minus wrong over all labels, in points). \
             Associations, not causes.\n",
            found.executor,
            thousands(found.labels_explore),
            thousands(found.labels_held_out)
        )?;
    }
    principles_into(out, found)?;
    writeln!(out, "\n## How well it reconstructs held-out labels\n")?;
    writeln!(out, "| executor or baseline | agreement, 95 % interval | constitution above, points |")?;
    writeln!(out, "|---|---|---|")?;
    for [name, figure, above] in rows(found) {
        writeln!(out, "| {} | {figure} | {above} |", name.replace(" ◂", ""))?;
    }
    writeln!(out, "\nFor random principles the brackets hold 95 % of 100 lists.\n")?;
    for sentence in sentences(found) {
        writeln!(out, "- {sentence}.")?;
    }
    if let Some(by_model) = &found.by_model {
        writeln!(out, "\n## What a language model makes of it\n")?;
        writeln!(out, "{}.\n", model_title(by_model))?;
        writeln!(
            out,
            "| list, executor | agreement, 95 % interval | our list by the model, above it, points |\n|---|---|---|"
        )?;
        for row in model_rows(found, by_model) {
            writeln!(out, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
        }
        writeln!(out)?;
        for sentence in model_sentences(by_model) {
            writeln!(out, "- {sentence}.")?;
        }
        let kept = |icai: &'_ Icai| {
            icai.rules.iter().filter(|rule| rule.rank.is_some()).cloned().collect::<Vec<_>>()
        };
        let rules = by_model.icai.as_ref().map(kept).unwrap_or_default();
        if !rules.is_empty() {
            writeln!(out, "\nICAI's list, with the votes on the labels' side and on the other:\n")?;
        }
        for rule in rules {
            writeln!(
                out,
                "{}. {}. ({} for, {} against)",
                rule.rank.unwrap_or(0),
                rule.statement,
                rule.supporting,
                rule.against
            )?;
        }
    }
    if !found.edits.is_empty() {
        writeln!(out, "\n## What each edit changes by itself\n")?;
        writeln!(out, "| edit | linear, points | vote, points |\n|---|---|---|")?;
        for edit in &found.edits {
            let words = edit.edit.replace('|', "\\|");
            writeln!(out, "| {words} | {} | {} |", change(&edit.linear), change(&edit.vote))?;
        }
    }
    Ok(())
}

/// `constitution.md`: the principles to read and to hand on.
pub fn write_constitution(
    path: &Path,
    dataset: &str,
    n: usize,
    findings: &Findings,
) -> Result<(), StoreError> {
    let mut text = format!("# What the labels of {dataset} reward\n\n");
    if findings.principles.is_empty() {
        text += "No principle is confirmed on held-out labels.\n";
    } else {
        text += &format!(
            "Associated with the preferred response on {} held-out labels, strongest first. In brackets: the difference in win \
             rate in percentage points with its 95 % interval, and the share of labels it applies to. Response length is held \
             fixed, and so are the other principles where no * stands. Associations, not causes.\n\n",
            thousands(n)
        );
    }
    for principle in &findings.principles {
        let risk =
            if principle.flags.iter().any(|flag| flag == "safety_risk") { " **Safety risk.**" } else { "" };
        text += &format!(
            "{}. {}. ({} [{}, {}]{}; {:.0} %){risk}\n",
            principle.rank,
            principle.statement,
            points(principle.win_delta),
            points(principle.win_low),
            points(principle.win_high),
            if principle.basis == "alone" { "*" } else { "" },
            principle.prevalence * 100.0,
        );
    }
    write_bytes(path, text.as_bytes())
}
