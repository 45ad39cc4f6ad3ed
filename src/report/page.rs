//! `report.html`: the same findings for the eyes, in one file that needs nothing else.
//!
//! Every text of the dataset is hostile until escaped; there is no script on the page at all, and
//! the content policy forbids any.

use std::collections::HashMap;
use std::fmt::Write;

use super::terminal::dataset_line;
use super::{RUNGS, explained, fidelity, interval, thousands};
use crate::analyze::Analysis;
use crate::constitution::{Finding, Principle};
use crate::pairs::Pairs;

/// Characters of a prompt or response that the page shows; the rest is counted.
const SHOWN: usize = 1_500;

/// The page. `pairs` supplies the texts of the evidence.
pub fn render(analysis: &Analysis, pairs: &Pairs) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut page, analysis, pairs);
    page
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6472;--line:#d8dde5;--back:#fff;--card:#f6f8fa;--good:#1a7f4b;--bad:#b3261e;--mark:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#a2abb8;--line:#39414d;--back:#14181e;--card:#1c222b;--good:#5cc58e;--bad:#ff8a80;--mark:#e0b050}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2.2rem}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.wide{overflow-x:auto}
.prefer{color:var(--good)}.avoid{color:var(--bad)}.flag{color:var(--mark);font-size:.85rem;border:1px solid;border-radius:.3rem;padding:0 .3rem;margin-left:.3rem;white-space:nowrap}
details{background:var(--card);border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0;padding:.3rem .7rem}summary{cursor:pointer}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.8rem;margin:.4rem 0 1rem}.pair>div{border:1px solid var(--line);border-radius:.4rem;padding:.5rem;min-width:0}
.pair .won{border-color:var(--good);border-width:2px}.text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;font-size:.92rem}
@media(max-width:40rem){.pair{grid-template-columns:1fr}}@media print{details{break-inside:avoid}}
";

fn render_into(out: &mut String, analysis: &Analysis, pairs: &Pairs) -> std::fmt::Result {
    let manifest = &analysis.manifest;
    let (data, metrics, findings) = (&manifest.dataset, &manifest.metrics, &analysis.findings);
    let index: HashMap<&str, usize> =
        pairs.pair_id.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>What the labels of {title} reward</title><style>{STYLE}</style></head><body><main>\n\
         <h1>What the labels of {title} reward</h1><p class=\"soft\">{line}.</p>\n",
        title = escape(&data.path),
        line = escape(&dataset_line(analysis)),
    )?;
    for note in &manifest.notes {
        writeln!(out, "<p class=\"soft\">Note: {}.</p>", escape(note))?;
    }

    writeln!(out, "<h2>Principles</h2>")?;
    if metrics.judgements_held_out == 0 {
        writeln!(out, "<p>The dataset has no usable labels, so no effects could be measured.</p>")?;
    } else if findings.principles.is_empty() {
        writeln!(
            out,
            "<p>None confirmed: nothing measured here is associated with the label beyond chance ({} held-out labels).</p>",
            thousands(metrics.judgements_held_out)
        )?;
    } else {
        writeln!(
            out,
            "<p>Each one was found on other pairs and confirmed on {} held-out labels. Δ is the difference in win rate, in \
             percentage points with a 95 % interval, between the response with more of it and the one with less; response length is \
             held fixed, and in the first of the two columns the other principles as well. In bold is what was tested: where \
             principles overlap, the labels do not say which of them it is. These are associations in the labels, not causes.</p><div class=\"wide\"><table><thead><tr><th class=\"n\">#</th>\
             <th>Principle</th><th class=\"n\">Δ, others fixed</th><th class=\"n\">Δ by itself</th><th class=\"n\">β per SD</th>\
             <th class=\"n\">applies to</th><th class=\"n\">fidelity</th></tr></thead><tbody>",
            thousands(metrics.judgements_held_out)
        )?;
        for principle in &findings.principles {
            principle_row(out, principle)?;
        }
        writeln!(
            out,
            "</tbody></table></div>\n<h2>Evidence</h2><p class=\"soft\">Held-out pairs, the clearest first; the preferred response is framed.</p>"
        )?;
        for principle in &findings.principles {
            evidence(out, principle, pairs, &index, analysis)?;
        }
    }

    ladder(out, analysis)?;
    list(
        out,
        "Measurable, and not rewarded either way",
        "The whole interval lies within ±10 percentage points.",
        &findings.indifferent,
    )?;
    list(
        out,
        "Did not hold up",
        "Associated with the label on the pairs used for exploring, but not confirmed on held-out labels or explained by a principle above.",
        &findings.not_confirmed,
    )?;
    list(
        out,
        "Left unexplained",
        "Learned features that no description fits, or that half of the pairs do not bring back; the terms that separate their strongest pairs are hints, not names.",
        &findings.unexplained,
    )?;

    writeln!(
        out,
        "<h2>How this was made</h2><p class=\"soft\">wimhf {} · embedder {} · {} ({}) · seed {} · M = {}, K = {} · pairs: {} train, {} describe, {} held out",
        escape(&manifest.version),
        escape(&manifest.embedder),
        escape(&manifest.device),
        escape(&manifest.backend),
        manifest.seed,
        manifest.config.sae.features,
        manifest.config.sae.active,
        thousands(metrics.pairs_train),
        thousands(metrics.pairs_describe),
        thousands(metrics.pairs_held_out)
    )?;
    if let (Some(nmse), Some(active), Some(dead)) = (metrics.nmse, metrics.active_mean, metrics.dead) {
        write!(
            out,
            " · autoencoder on held-out pairs: NMSE {nmse:.3}, {active:.2} features active per pair, {dead} dead"
        )?;
    }
    writeln!(out, ".</p></main></body></html>")
}

fn flags(principle: &Principle) -> String {
    principle
        .flags
        .iter()
        .map(|flag| format!("<span class=\"flag\">{}</span>", escape(&flag.replace('_', " "))))
        .collect()
}

fn principle_row(out: &mut String, p: &Principle) -> std::fmt::Result {
    let tested =
        |basis: &str, text: String| if p.basis == basis { format!("<strong>{text}</strong>") } else { text };
    writeln!(
        out,
        "<tr><td class=\"n\">{}</td><td><span class=\"{}\">{}</span>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{:.2} ± {:.2}</td><td class=\"n\">{:.0} %</td><td class=\"n\">{}</td></tr>",
        p.rank,
        escape(&p.direction),
        escape(&p.statement),
        flags(p),
        tested("joint", interval(p.win_delta_joint, p.win_low_joint, p.win_high_joint)),
        tested("alone", interval(p.win_delta_alone, p.win_low_alone, p.win_high_alone)),
        p.beta,
        1.96 * p.beta_se,
        p.prevalence * 100.0,
        fidelity(p),
    )
}

fn evidence(
    out: &mut String,
    principle: &Principle,
    pairs: &Pairs,
    index: &HashMap<&str, usize>,
    analysis: &Analysis,
) -> std::fmt::Result {
    writeln!(
        out,
        "<details><summary>{}. {}{}</summary>",
        principle.rank,
        escape(&principle.statement),
        flags(principle)
    )?;
    for (title, ids) in
        [("Pairs for it", &principle.evidence.supporting), ("Pairs against it", &principle.evidence.against)]
    {
        writeln!(out, "<h3>{title} ({} shown)</h3>", ids.len())?;
        for id in ids {
            let Some(&at) = index.get(id.as_str()) else { continue };
            let label = analysis.mean_labels.get(at).copied().unwrap_or(f32::NAN);
            writeln!(
                out,
                "<div class=\"soft text\">{}</div><div class=\"pair\">",
                shown(pairs.prompt.get(at))
            )?;
            for (name, text, won) in
                [("A", pairs.response_a.get(at), label > 0.5), ("B", pairs.response_b.get(at), label < 0.5)]
            {
                let (class, mark) = if won { ("won", " · preferred") } else { ("", "") };
                writeln!(
                    out,
                    "<div class=\"{class}\"><strong>{name}{mark}</strong><div class=\"text\">{}</div></div>",
                    shown(text)
                )?;
            }
            writeln!(out, "</div>")?;
        }
    }
    writeln!(out, "</details>")
}

fn ladder(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    let metrics = &analysis.manifest.metrics;
    if metrics.auc.values().all(Option::is_none) {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>How much of the labels this explains</h2><div class=\"wide\"><table><thead><tr><th>Predicts held-out labels with</th>\
         <th class=\"n\">AUC</th><th class=\"n\">95 % interval</th><th class=\"n\">labels</th></tr></thead><tbody>"
    )?;
    for (rung, name) in RUNGS {
        match metrics.auc.get(rung) {
            Some(Some(f)) => writeln!(
                out,
                "<tr><td>{name}</td><td class=\"n\">{:.3}</td><td class=\"n\">{:.3} – {:.3}</td><td class=\"n\">{}</td></tr>",
                f.value,
                f.low,
                f.high,
                thousands(f.n)
            )?,
            Some(None) => writeln!(
                out,
                "<tr><td>{name}</td><td class=\"n\">–</td><td colspan=\"2\">{}</td></tr>",
                escape(metrics.auc_missing.get(rung).map_or("", String::as_str))
            )?,
            None => {}
        }
    }
    writeln!(out, "</tbody></table></div>")?;
    if let Some(share) = explained(&metrics.auc) {
        writeln!(
            out,
            "<p>All features together carry {:.0} % of the signal that a black-box probe finds in the same embeddings.</p>",
            share * 100.0
        )?;
    }
    Ok(())
}

fn list(out: &mut String, title: &str, what: &str, findings: &[Finding]) -> std::fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>{title}</h2><p class=\"soft\">{what}</p><div class=\"wide\"><table><thead><tr><th>Feature</th><th class=\"n\">Δ win rate</th>\
         <th class=\"n\">applies to</th><th>overlaps with</th></tr></thead><tbody>"
    )?;
    for finding in findings {
        let effect = interval(finding.win_delta, finding.win_low, finding.win_high);
        writeln!(
            out,
            "<tr><td>{} <span class=\"soft\">{}</span></td><td class=\"n\">{effect}</td><td class=\"n\">{:.0} %</td><td class=\"soft\">{}</td></tr>",
            escape(&finding.text),
            escape(&finding.feature_id),
            finding.prevalence * 100.0,
            escape(finding.overlaps.as_deref().unwrap_or(""))
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// The beginning of a text, escaped, with what is left out counted.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => escape(text),
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            format!("{}… <em>({} more characters)</em>", escape(&text[..end]), thousands(rest))
        }
    }
}

/// Text as HTML text or attribute value. Control characters, which HTML forbids, become visible.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let text = shown(&format!("<script>alert('x')</script>\0{}", "é".repeat(SHOWN)));
        assert!(!text.contains('<') || text.matches('<').count() == 2, "only our own <em>: {text}");
        assert!(text.contains("&lt;script&gt;") && text.contains("more characters") && !text.contains('\0'));
    }
}
