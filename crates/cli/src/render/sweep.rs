//! A sweep's table, for a terminal or a pipe.

use std::fmt::Write;

use wimhf::Sweep;
use wimhf::config::SaeSettings;
use wimhf::effects::Estimate;
use wimhf::report::text::{signed, thousands};

/// What to type for a setting.
pub fn arguments(settings: &SaeSettings) -> String {
    let mut text = format!("--sae-mode {}", settings.mode.name());
    for (name, value) in [("features", settings.features), ("active", settings.active)] {
        text += &value.map_or(String::new(), |value| format!(" --{name} {value}"));
    }
    text
}

/// The table and what it says, as text that ends with a newline; `run` is where the files lie.
pub fn render(sweep: &Sweep, run: &str, colour: bool) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut out, sweep, run, colour);
    out
}

fn render_into(out: &mut String, sweep: &Sweep, run: &str, colour: bool) -> std::fmt::Result {
    let seeds = sweep.rows.first().map_or(0, |row| row.seeds);
    writeln!(
        out,
        "{}: {} settings × {seeds} seed{}. Learned from {} pairs, described on {}, measured on {} ({} labels);\nthe {} \
         held-out pairs of an analysis were not looked at.",
        sweep.dataset,
        sweep.rows.len(),
        if seeds == 1 { "" } else { "s" },
        thousands(sweep.pairs_learned),
        thousands(sweep.pairs_chosen),
        thousands(sweep.pairs_measured),
        thousands(sweep.labels_measured),
        thousands(sweep.pairs_apart),
    )?;
    writeln!(out)?;
    let figure = |figure: Option<Estimate>| match figure {
        Some(f) => format!("{:.3} [{:.3}, {:.3}]", f.value, f.low, f.high),
        None => "–".into(),
    };
    let share = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
    let mut lines: Vec<[String; 11]> = vec![
        [
            "",
            "mode",
            "M/K",
            "kept",
            "distinct",
            "AUC, learned",
            "behind the best",
            "+ known",
            "NMSE",
            "halves",
            "seeds",
        ]
        .map(str::to_owned),
    ];
    for (at, row) in sweep.rows.iter().enumerate() {
        let behind = match row.behind {
            Some(f) if f.value == 0.0 => "best".into(),
            Some(f) => format!("{} [{}, {}]", signed(f.value), signed(f.low), signed(f.high)),
            None => "–".into(),
        };
        lines.push([
            if sweep.suggested == Some(at) { "▸".into() } else { String::new() },
            row.settings.mode.name().into(),
            format!("{}/{}", row.settings.features.unwrap_or(0), row.settings.active.unwrap_or(0)),
            format!("{:.1}", row.kept.mean),
            match seeds {
                0 | 1 => format!("{:.0}", row.distinct.mean),
                _ => format!("{:.1} ± {:.1}", row.distinct.mean, row.distinct.sd),
            },
            figure(row.auc_learned),
            behind,
            row.auc_learned_and_known.map_or("–".into(), |f| format!("{:.3}", f.value)),
            format!("{:.3}", row.nmse.mean),
            share(row.stability.map(|stability| stability.mean)),
            share(row.recurrence),
        ]);
    }
    let widths: Vec<usize> = (0..11)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for (at, line) in lines.iter().enumerate() {
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 | 1 => write!(text, "{cell:<width$}  ")?,
                _ => write!(text, "{cell:>width$}  ")?,
            }
        }
        let text = text.trim_end();
        match colour && sweep.suggested.map(|row| row + 1) == Some(at) {
            true => writeln!(out, "\u{1b}[1m{text}\u{1b}[0m")?,
            false => writeln!(out, "{text}")?,
        }
    }
    writeln!(out)?;
    if let Some(f) = sweep.auc_embedding {
        writeln!(out, "Embedding probe on the same labels: {:.3} [{:.3}, {:.3}].", f.value, f.low, f.high)?;
    }
    writeln!(
        out,
        "kept: words hold; distinct: of these, what no other feature and no known\n\
         concept says; halves, seeds: how well features come back from half of the pairs, and kept ones with another\n\
         seed on the same pairs; means over the seeds (± their standard deviation), 95 % intervals over the pairs."
    )?;
    match sweep.suggested.and_then(|at| sweep.rows.get(at)) {
        Some(row) => {
            let others =
                sweep.rows.iter().filter(|row| row.behind.is_some_and(|behind| behind.high < 0.0)).count();
            writeln!(
                out,
                "▸ keeps most distinct features among the settings whose AUC is not shown to be behind the best \
                 ({others} of {} are).\nTo go on with it, the same command without `--sweep` and with: {}",
                sweep.rows.len(),
                arguments(&row.settings)
            )?;
        }
        None => writeln!(out, "No usable labels on the measured pairs, so no setting is suggested.")?,
    }
    writeln!(out, "Read on: {run}/sweep.json, {run}/sweep.csv")
}
