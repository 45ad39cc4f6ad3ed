//! The run's tables: `pairs.parquet`, `activations.parquet`, `features.parquet`, `principles.csv`. Column names are the contract of the run directory.

use std::borrow::Cow;
use std::path::Path;

use polars::prelude::*;

use crate::constitution::Findings;
use crate::describe::Feature;
use crate::effects::table::EffectTable;
use crate::pairs::{MISSING, Pairs, ReadReport, Split};
use crate::store::{StoreError, frame, write_file, write_parquet};

/// `pairs.parquet`: one row per judgement. `pair_id` names the pair as it stands in
/// `activations.parquet`; `swapped` says that the source row has its responses the other way
/// round, and `label` and `length_delta` are already turned to the pair's orientation.
pub fn write_pairs(path: &Path, pairs: &Pairs, sides: &[Split]) -> Result<(), StoreError> {
    let judgements = &pairs.judgements;
    let at = |pair: &u32| *pair as usize;
    let ids: Vec<&str> = judgements.pair.iter().map(|p| pairs.pair_id[at(p)].as_str()).collect();
    let side: Vec<&str> = judgements.pair.iter().map(|p| sides[at(p)].name()).collect();
    let label: Vec<Option<f64>> =
        judgements.label.iter().map(|label| (!label.is_nan()).then_some(f64::from(*label))).collect();
    let annotator: Vec<Option<&str>> = judgements
        .annotator
        .iter()
        .map(
            |&code| {
                if code == MISSING { None } else { pairs.annotators.get(code as usize).map(String::as_str) }
            },
        )
        .collect();
    let length: Vec<f32> = judgements.pair.iter().map(|p| pairs.length_delta[at(p)]).collect();
    let ratio: Vec<f32> =
        judgements.pair.iter().map(|p| pairs.log_length_ratio.get(at(p)).copied().unwrap_or(0.0)).collect();
    // The same for pairs of one prompt; a pair without a prompt is one of its own.
    let prompt: Vec<String> = (judgements.pair.iter())
        .map(|p| match crate::rng::plain(pairs.prompt.get(at(p))) {
            empty if empty.is_empty() => pairs.pair_id[at(p)].clone(),
            plain => format!("{:016x}", crate::rng::of_content(0, "prompt", &[&plain])),
        })
        .collect();
    let fold: Vec<u32> =
        (judgements.pair.iter()).map(|p| u32::from(crate::effects::crossfit::fold(pairs, at(p)))).collect();
    let mut columns = vec![
        Column::new("pair_id".into(), ids),
        Column::new("row".into(), &judgements.row),
        Column::new("side".into(), side),
        Column::new("label".into(), label),
        Column::new("annotator_id".into(), annotator),
        Column::new("length_delta".into(), length),
        Column::new("length_log_ratio".into(), ratio),
        Column::new("prompt_id".into(), prompt),
        Column::new("fold".into(), fold),
        Column::new("swapped".into(), &judgements.swapped),
    ];
    if !pairs.datasets.is_empty() {
        let name = |pair: &u32| pairs.datasets.get(*pairs.dataset.get(at(pair))? as usize);
        let dataset: Vec<Option<&str>> =
            judgements.pair.iter().map(|pair| name(pair).map(String::as_str)).collect();
        columns.push(Column::new("dataset".into(), dataset));
    }
    write_parquet(path, &mut frame(path, columns)?)
}

/// `dropped.csv`: which rows of the source were left out, and why; with several sources, of which one.
pub fn write_dropped(path: &Path, read: &ReadReport) -> Result<(), StoreError> {
    let rows = read.dropped_rows.iter();
    if read.sources.len() < 2 {
        return write_csv(
            path,
            &["row", "reason"],
            rows.map(|dropped| [dropped.row.to_string(), dropped.reason.clone()]),
        );
    }
    let name =
        |source: usize| read.sources.get(source).map(|source| source.dataset.clone()).unwrap_or_default();
    write_csv(
        path,
        &["row", "reason", "dataset"],
        rows.map(|dropped| [dropped.row.to_string(), dropped.reason.clone(), name(dropped.source)]),
    )
}

/// A cell that a spreadsheet takes for text. What begins with `=`, `+`, `-`, `@`, a tab or a line break would be run
/// as a formula, which may read other cells and send them away; an apostrophe before it is the usual way out. Numbers
/// stay as they are.
pub fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula && text.trim().parse::<f64>().is_err() {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A table for spreadsheets: every cell is text or a number, never a formula.
pub(super) fn write_csv<const N: usize>(
    path: &Path,
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), StoreError> {
    write_plain_csv(path, header, rows.map(|row| row.map(|text| cell(&text).into_owned())))
}

/// A table for programs: texts as they are.
pub(super) fn write_plain_csv<const N: usize>(
    path: &Path,
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), StoreError> {
    write_file(path, |writer| {
        let mut csv = csv::Writer::from_writer(writer);
        let io = |error: csv::Error| StoreError::Io {
            action: "write",
            path: path.into(),
            source: std::io::Error::other(error),
        };
        csv.write_record(header).map_err(io)?;
        for row in rows {
            csv.write_record(&row).map_err(io)?;
        }
        csv.flush().map_err(|source| StoreError::Io { action: "write", path: path.into(), source })
    })
}

/// `features.parquet`: every feature with its words, fidelity and effect, `[features]` rows.
pub fn write_features(
    path: &Path,
    pairs: &Pairs,
    features: &[Feature],
    effects: &EffectTable,
) -> Result<(), StoreError> {
    let text = |name: &str, get: &dyn Fn(&Feature) -> &str| {
        Column::new(name.into(), features.iter().map(get).collect::<Vec<&str>>())
    };
    let number = |name: &str, get: &dyn Fn(usize) -> Option<f64>| {
        let values: Vec<Option<f64>> =
            (0..features.len()).map(|i| get(i).filter(|v| v.is_finite())).collect();
        Column::new(name.into(), values)
    };
    let count = |name: &str, get: &dyn Fn(&Feature) -> Option<u32>| {
        Column::new(name.into(), features.iter().map(get).collect::<Vec<Option<u32>>>())
    };
    let lists = |name: &str, get: &dyn Fn(&Feature) -> Vec<String>| {
        let values: Vec<Series> =
            features.iter().map(|feature| Series::new(PlSmallStr::EMPTY, get(feature))).collect();
        Column::new(name.into(), values)
    };
    let fidelity = |index: usize| features[index].fidelity;
    let row = |index: usize| effects.rows.get(index).and_then(Option::as_ref);
    let counts: Vec<u32> = (0..features.len()).map(|i| fidelity(i).map_or(0, |f| f.n as u32)).collect();
    let effect_n: Vec<u32> = (0..features.len()).map(|i| row(i).map_or(0, |e| e.n as u32)).collect();
    let twins: Vec<Option<&str>> = features.iter().map(|f| f.redundant_with.as_deref()).collect();
    let kept: Vec<bool> = features.iter().map(|f| f.kept).collect();
    let controlled: Vec<Option<bool>> =
        (0..features.len()).map(|i| row(i).map(|e| e.length_controlled)).collect();
    let notes: Vec<Option<String>> = (0..features.len())
        .map(|i| row(i).and_then(|e| e.note.clone()).or_else(|| effects.missing.get(i).cloned().flatten()))
        .collect();
    let mut table = frame(
        path,
        vec![
            text("feature_id", &|f| &f.feature_id),
            text("source", &|f| f.source.name()),
            text("description", &|f| &f.description),
            text("short", &|f| &f.short),
            text("describer", &|f| &f.describer),
            number("fidelity", &|i| fidelity(i).map(|f| f.r)),
            number("fidelity_low", &|i| fidelity(i).map(|f| f.low)),
            number("fidelity_high", &|i| fidelity(i).map(|f| f.high)),
            Column::new("fidelity_n".into(), counts),
            number("fidelity_p", &|i| fidelity(i).map(|f| f.p)),
            count("read_right", &|f| f.reading.map(|reading| reading.right)),
            count("read_n", &|f| f.reading.map(|reading| reading.n)),
            number("stability", &|i| features[i].stability),
            number("clear_level", &|i| features[i].clear_level.map(f64::from)),
            Column::new("kept".into(), kept),
            Column::new("redundant_with".into(), twins),
            number("prevalence", &|i| effects.prevalence.get(i).copied()),
            number("beta", &|i| row(i).map(|e| e.beta)),
            number("beta_se", &|i| row(i).map(|e| e.beta_se)),
            number("beta_p", &|i| row(i).map(|e| e.beta_p)),
            number("beta_se_cluster", &|i| row(i).map(|e| e.beta_se_cluster)),
            number("beta_p_cluster", &|i| row(i).map(|e| e.beta_p_cluster)),
            number("win_delta", &|i| row(i).and_then(|e| e.win_delta)),
            number("win_low", &|i| row(i).and_then(|e| e.win_low)),
            number("win_high", &|i| row(i).and_then(|e| e.win_high)),
            number("p_bonferroni", &|i| effects.bonferroni.get(i).copied().flatten()),
            number("p_holm", &|i| effects.holm.get(i).copied().flatten()),
            number("q_bh", &|i| effects.q_bh.get(i).copied().flatten()),
            Column::new("effect_n".into(), effect_n),
            Column::new("length_controlled".into(), controlled),
            Column::new("note".into(), notes),
            lists("flags", &|f| f.flags.clone()),
            lists("top_terms", &|f| f.terms.clone()),
            lists("typical", &|f| f.typical.clone()),
            lists("examples", &|f| {
                f.examples.iter().filter_map(|&pair| pairs.pair_id.get(pair as usize).cloned()).collect()
            }),
        ],
    )?;
    write_parquet(path, &mut table)
}

/// `principles.csv`: the principles for a spreadsheet.
pub fn write_principles_csv(path: &Path, findings: &Findings) -> Result<(), StoreError> {
    let header = [
        "rank",
        "direction",
        "statement",
        "win_delta",
        "win_low",
        "win_high",
        "basis",
        "win_delta_joint",
        "win_low_joint",
        "win_high_joint",
        "win_delta_alone",
        "win_low_alone",
        "win_high_alone",
        "beta",
        "beta_se",
        "p",
        "p_confirm",
        "p_bonferroni",
        "q_bh",
        "relevance",
        "accuracy",
        "kappa",
        "strength",
        "strength_low",
        "strength_high",
        "fidelity",
        "prevalence",
        "n",
        "significant",
        "flags",
        "feature_ids",
    ];
    let rows = findings.principles.iter().map(|p| {
        let optional = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
        [
            p.rank.to_string(),
            p.direction.clone(),
            p.statement.clone(),
            p.win_delta.to_string(),
            p.win_low.to_string(),
            p.win_high.to_string(),
            p.basis.clone(),
            optional(p.win_delta_joint),
            optional(p.win_low_joint),
            optional(p.win_high_joint),
            optional(p.win_delta_alone),
            optional(p.win_low_alone),
            optional(p.win_high_alone),
            p.beta.to_string(),
            p.beta_se.to_string(),
            p.p.to_string(),
            p.p_confirm.to_string(),
            p.p_bonferroni.to_string(),
            p.q_bh.to_string(),
            p.agreement.relevance.to_string(),
            p.agreement.accuracy.to_string(),
            p.agreement.kappa.to_string(),
            p.agreement.strength.to_string(),
            optional(p.agreement.strength_low),
            optional(p.agreement.strength_high),
            optional(p.fidelity),
            p.prevalence.to_string(),
            p.n.to_string(),
            p.significant.to_string(),
            p.flags.join(" "),
            p.feature_ids.join(" "),
        ]
    });
    write_csv(path, &header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for text in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "- a list", "－1"] {
            assert_eq!(cell(text), format!("'{text}"), "{text}");
        }
        for text in ["-0.5", "+3", "1e-9", "plain", "", "a=b", "'quoted"] {
            assert_eq!(cell(text), text);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        write_csv(&path, &["a", "b"], [["=HYPERLINK(\"x\")".to_owned(), "-1".to_owned()]].into_iter())
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n\"'=HYPERLINK(\"\"x\"\")\",-1\n");
    }
}
