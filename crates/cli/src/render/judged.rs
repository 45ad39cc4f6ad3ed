//! Concepts of the user's own, as a language model read them, in the terminal.

use std::fmt::Write;

use wimhf::describe::user_concepts::Agreement;
use wimhf::{CostEstimate, Judgement};

fn agreement(out: &mut String, name: &str, found: &Agreement) {
    let kappa = found.kappa.map_or("not defined".to_owned(), |kappa| format!("{kappa:.2}"));
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "  {name}: the same answer in {:.0} % of {} pairs (Cohen's κ {kappa})",
        100.0 * found.same,
        found.n
    );
}

/// The figures in words.
pub fn render(found: &Judgement) -> String {
    let mut out = String::new();
    let judges = &found.judges;
    let judge = judges.first().map_or("", String::as_str);
    for judged in &found.concepts {
        let _ = writeln!(out, "The response {}", judged.concept);
        let _ = writeln!(
            out,
            "  read by {judge} in {} held-out pairs, each in both orders{}",
            judged.pairs,
            match judged.missing {
                0 => String::new(),
                missing => format!("; {missing} more could not be read and are missing"),
            }
        );
        let points = |share: f64| 100.0 * share;
        let [share, low, high] = judged.prevalence;
        let _ = writeln!(
            out,
            "  tells the responses apart in {:.0} % of them [{:.0}, {:.0}]",
            points(share),
            points(low),
            points(high)
        );
        match judged.win_delta {
            Some([value, low, high]) => {
                let _ = writeln!(
                    out,
                    "  associated with {:+.0} [{:+.0}, {:+.0}] points of win rate, response length held fixed ({} labels{})",
                    points(value),
                    points(low),
                    points(high),
                    judged.win_labels,
                    judged.p.map_or(String::new(), |p| format!(", p = {p:.2e}"))
                );
            }
            None => {
                let _ = writeln!(
                    out,
                    "  no effect can be estimated: {} labels, of which {} tell the responses apart in it",
                    judged.labels, judged.win_labels
                );
            }
        }
        agreement(&mut out, "with itself, orders swapped", &judged.with_itself);
        let _ = writeln!(
            out,
            "  taste for the response shown first: {:+.0} points (cancelled by asking in both orders)",
            points(judged.position_bias)
        );
        if let Some(second) = &judged.with_second_judge {
            agreement(&mut out, &format!("with {}", judges.get(1).map_or("", String::as_str)), second);
        }
        if let Some((id, c)) = &judged.nearest_detector {
            let _ = writeln!(
                out,
                "  nearest detector of the bank: `{id}`, r = {:.2} [{:.2}, {:.2}] over {} pairs (the best of the bank, so too high)",
                c.r, c.low, c.high, c.n
            );
        }
        out.push('\n');
    }
    out
}

/// What judging will take.
pub fn forecast(costs: &[CostEstimate]) -> String {
    let mut out = String::new();
    for cost in costs {
        let dollars = cost.dollars.map_or("price not known".to_owned(), |dollars| format!("${dollars:.4}"));
        let _ = writeln!(
            out,
            "{} at {}: {} calls, about {} tokens in and {} out, {dollars}",
            cost.model, cost.server, cost.forecast.calls, cost.forecast.tokens_in, cost.forecast.tokens_out
        );
    }
    out.push_str("Nothing has been asked.\n");
    out
}
