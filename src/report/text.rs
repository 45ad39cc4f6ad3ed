//! Numbers and sentences that several readers share: the page and the terminal.

/// `12345` as `12,345`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

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

/// A principle's fidelity with its interval, or that there is a detector and nothing to measure.
pub fn fidelity(principle: &crate::constitution::Principle) -> String {
    match (principle.fidelity, principle.fidelity_low, principle.fidelity_high) {
        (Some(r), Some(low), Some(high)) => format!("{r:.2} [{low:.2}, {high:.2}]"),
        _ if principle.describer == "detector" => "detector".into(),
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
    ("length", "both lengths only"),
    ("top5", "top 5 features"),
    ("top10", "top 10 features"),
    ("learned", "all learned features"),
    ("known", "all known concepts"),
    ("learned_and_known", "learned + known"),
    ("all", "learned + known + themes"),
    ("tfidf", "TF-IDF of words and word pairs"),
    ("embedding", "embedding probe"),
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
    let mut text = format!(
        "No principle is confirmed among {} features tested on {} labels{prompts}.",
        thousands(looked.features),
        thousands(looked.labels)
    );
    if let Some(lead) = &looked.lead {
        let (p, holm) = (looked.lead_p.unwrap_or(1.0), looked.lead_p_holm.unwrap_or(1.0));
        let size = match lead.win_delta {
            Some(_) => format!(" ({})", interval(lead.win_delta, lead.win_low, lead.win_high)),
            None => String::new(),
        };
        let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
        text += &format!(" The best lead: “{}”{size}, {p}, corrected for all of them {holm:.2}.", lead.text);
    }
    if let (Some(size), Some(share)) = (looked.detectable, looked.detectable_prevalence) {
        text += &format!(
            " An effect of {:.0} points would have been confirmed in four cases of five for a feature that {:.0} % of the \
             pairs differ in; smaller ones may be there.",
            size * 100.0,
            share * 100.0
        );
    }
    if let Some(minus) = looked.together_minus_length {
        let verdict = if minus.low > 0.0 {
            "together the features predict held-out labels better than length does"
        } else {
            "together the features do not predict held-out labels better than length, as far as can be seen"
        };
        text += &format!(
            " Many small differences may add up: {verdict} (AUC {:+.3} [{:+.3}, {:+.3}]).",
            minus.value, minus.low, minus.high
        );
    }
    text
}

/// All features against the embedding probe, as a sentence. `None` where the probe finds no signal.
pub fn explained_in_words(metrics: &crate::store::Metrics) -> Option<String> {
    let probe = metrics.auc.get("embedding").copied().flatten()?;
    (probe.low > 0.5).then_some(())?;
    let gap = &metrics.auc_minus_embedding;
    let gap = gap.get("all").or_else(|| gap.get("learned_and_known"))?;
    let figure =
        format!("difference in AUC {} [{}, {}]", signed(gap.value), signed(gap.low), signed(gap.high));
    // The features read markup, prompts and lengths, which the vectors may not hold: the probe is no ceiling.
    Some(if gap.high < 0.0 {
        format!(
            "A black-box probe of the embeddings predicts better than all features together ({figure}): that much is \
             left unexplained."
        )
    } else if gap.low > 0.0 {
        format!("All features together predict better than a black-box probe of the embeddings ({figure}).")
    } else {
        format!(
            "All features together and a black-box probe of the embeddings cannot be told apart ({figure})."
        )
    })
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
        assert!(
            said(0.6, -0.03, 0.01)
                .unwrap()
                .contains("told apart (difference in AUC −0.010 [−0.030, +0.010])")
        );
        assert!(said(0.6, 0.01, 0.03).unwrap().contains("predict better"));
        assert_eq!(said(0.45, 0.01, 0.03), None, "the probe finds nothing");
    }

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(thousands));
        assert_eq!(["+31", "−4", "0", "0"], [0.312, -0.04, 0.001, -0.001].map(points));
    }
}
