//! A selection of pairs as a file.

use polars::prelude::*;
use serde_json::json;
use wimhf::export::tables::cell;

use crate::error::ExploreError;
use crate::opened::Opened;
use crate::pairs::{Query, choose};

/// Pairs in one file: it is made in memory.
pub const MOST: usize = 200_000;

/// A file to be saved.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its kind, for the browser.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A pair as it is written.
struct Line<'a> {
    id: &'a str,
    prompt: String,
    a: String,
    b: String,
    label: Option<f32>,
    labels: u32,
}

/// The pairs that fit, as `csv`, `jsonl`, `trl` (prompt, chosen, rejected; ties left out) or `parquet`.
///
/// # Errors
/// Where the format is unknown, a filter cannot be used, or there are too many.
pub fn download(opened: &Opened, query: &Query, format: &str) -> Result<File, ExploreError> {
    let chosen = choose(opened, query, MOST)?;
    if chosen.pairs.len() > MOST {
        return Err(ExploreError::asked(
            format!("{} pairs are more than one file of a selection holds ({MOST})", chosen.pairs.len()),
            "narrow the filter, or write all of them: `wimhf export RUN`",
        ));
    }
    let pairs = &opened.source.pairs;
    let line = |&pair: &u32| {
        let at = pair as usize;
        let (label, labels) = opened.labels[at];
        Line {
            id: &pairs.pair_id[at],
            prompt: opened.shown(pairs.prompt.get(at)),
            a: opened.shown(pairs.response_a.get(at)),
            b: opened.shown(pairs.response_b.get(at)),
            label: (!label.is_nan()).then_some(label),
            labels,
        }
    };
    let lines: Vec<Line<'_>> = chosen.pairs.iter().map(line).collect();
    let (name, kind, bytes) = match format {
        "csv" => ("pairs.csv", "text/csv; charset=utf-8", csv(&lines)?),
        "jsonl" => ("pairs.jsonl", "application/jsonl; charset=utf-8", jsonl(&lines)),
        "trl" => ("pairs.trl.jsonl", "application/jsonl; charset=utf-8", trl(&lines)),
        "parquet" => ("pairs.parquet", "application/vnd.apache.parquet", parquet(&lines)?),
        _ => return Err(ExploreError::asked("`format` is one of csv, jsonl, trl, parquet", "")),
    };
    Ok(File { name, kind, bytes })
}

fn wrong(error: impl std::fmt::Display) -> ExploreError {
    ExploreError::asked(format!("the file cannot be made: {error}"), "")
}

fn csv(lines: &[Line<'_>]) -> Result<Vec<u8>, ExploreError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["pair_id", "prompt", "response_A", "response_B", "label", "labels"])
        .map_err(wrong)?;
    for line in lines {
        let label = line.label.map_or(String::new(), |label| label.to_string());
        let cells = [line.id, &line.prompt, &line.a, &line.b, &label, &line.labels.to_string()]
            .map(|text| cell(text).into_owned());
        writer.write_record(cells).map_err(wrong)?;
    }
    writer.into_inner().map_err(wrong)
}

fn jsonl(lines: &[Line<'_>]) -> Vec<u8> {
    let one = |line: &Line<'_>| {
        json!({
            "pair_id": line.id, "prompt": line.prompt, "response_A": line.a, "response_B": line.b,
            "label": line.label, "labels": line.labels,
        })
        .to_string()
            + "\n"
    };
    lines.iter().map(one).collect::<String>().into_bytes()
}

fn trl(lines: &[Line<'_>]) -> Vec<u8> {
    let one = |line: &Line<'_>| {
        let (chosen, rejected) = match line.label? {
            label if label > 0.5 => (&line.a, &line.b),
            label if label < 0.5 => (&line.b, &line.a),
            _ => return None,
        };
        Some(json!({"prompt": line.prompt, "chosen": chosen, "rejected": rejected}).to_string() + "\n")
    };
    lines.iter().filter_map(one).collect::<String>().into_bytes()
}

fn parquet(lines: &[Line<'_>]) -> Result<Vec<u8>, ExploreError> {
    let text = |name: &str, of: &dyn Fn(&Line<'_>) -> String| {
        Column::new(name.into(), lines.iter().map(of).collect::<Vec<String>>())
    };
    let columns = vec![
        text("pair_id", &|line| line.id.to_owned()),
        text("prompt", &|line| line.prompt.clone()),
        text("response_A", &|line| line.a.clone()),
        text("response_B", &|line| line.b.clone()),
        Column::new("label".into(), lines.iter().map(|line| line.label).collect::<Vec<_>>()),
        Column::new("labels".into(), lines.iter().map(|line| line.labels).collect::<Vec<_>>()),
    ];
    let mut frame = DataFrame::new(lines.len(), columns).map_err(wrong)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Snappy)
        .finish(&mut frame)
        .map_err(wrong)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_left_out_for_trainers_and_formulas_are_texts() {
        let line = |label: Option<f32>| Line {
            id: "x",
            prompt: "=1+1".into(),
            a: "a\n\"b\"".into(),
            b: "b".into(),
            label,
            labels: 1,
        };
        let lines = [line(Some(1.0)), line(Some(0.2)), line(Some(0.5)), line(None)];
        let text = String::from_utf8(trl(&lines)).unwrap();
        let rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0]["chosen"].as_str(), rows[1]["chosen"].as_str()), (Some("a\n\"b\""), Some("b")));
        let table = String::from_utf8(csv(&lines).unwrap()).unwrap();
        assert!(table.contains("'=1+1") && table.contains("\"a\n\"\"b\"\"\""), "{table}");
        assert_eq!(jsonl(&lines).iter().filter(|byte| **byte == b'\n').count(), 4);
        let frame = ParquetReader::new(std::io::Cursor::new(parquet(&lines).unwrap())).finish().unwrap();
        assert_eq!(frame.shape(), (4, 6));
    }
}
