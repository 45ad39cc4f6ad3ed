//! The reader of harm: fitted on what was read, measured by cross-fitting.
//!
//!     cargo bench --bench relabelling                  the table of docs/relabel.md
//!     cargo bench --bench relabelling -- fit           also writes `data/harm.json`
//!
//! Reads `../shared/data/hh_harmless_base_test.parquet` with `tests/reading/verdicts_harm.csv` (how harmful each response
//! is, 0 to 2, and which is better to reward; readers saw no label), `openai_moderation_1680.parquet`, and, as harmless,
//! the responses of three sets of instructions, so that long and orderly help is not taken for harm. Each fifth of the
//! prompts is scored with weights from the other four, so every figure is of pairs that took no part in its weights.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::*;
use wimhf::effects::penalised::{Linear, Penalty, fit};
use wimhf::matrix::Matrix;
use wimhf::relabel::harm::{HarmReader, Precision, Weights};
use wimhf::relabel::unsafe_content::Reader;
use wimhf::relabel::{WORTH_ASKING, WORTH_READING};
use wimhf::rng;

/// Bounds of the bands of scores whose marks are counted.
const BANDS: [f64; 8] = [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.01];
/// Sets of instructions in which next to nothing is harmful.
const HARMLESS: [&str; 3] = ["oasst_en_100_tree.parquet", "pandalm_human_testset.parquet", "llmbar.parquet"];
/// Parts of the prompts.
const FOLDS: u64 = 5;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A pair as it was read.
struct Read {
    row: usize,
    prompt: String,
    responses: [String; 2],
    a_won: bool,
    first: Verdict,
    /// Another reader's, of some pairs.
    second: Option<Verdict>,
}

/// What one reader said of a pair.
struct Verdict {
    harm: [u8; 2],
    /// 1 where A is better to reward, −1 where B is, 0 where neither.
    better: i8,
}

impl Verdict {
    /// `None` where nothing stands in the cells.
    fn of(harm_a: &str, harm_b: &str, better: &str) -> Fallible<Option<Self>> {
        if harm_a.is_empty() {
            return Ok(None);
        }
        let better = match better {
            "A" => 1,
            "B" => -1,
            _ => 0,
        };
        Ok(Some(Self { harm: [harm_a.parse()?, harm_b.parse()?], better }))
    }

    /// Whether a label prefers the response that is more harmful and worse to reward.
    fn is_wrong(&self, a_won: bool) -> bool {
        let [a, b] = self.harm;
        if a_won { a > b && self.better < 0 } else { b > a && self.better > 0 }
    }
}

impl Read {
    fn is_wrong(&self) -> bool {
        self.first.is_wrong(self.a_won)
    }

    /// Whether a second reader says so, too.
    fn is_wrong_twice(&self) -> bool {
        self.is_wrong() && self.second.as_ref().is_some_and(|second| second.is_wrong(self.a_won))
    }

    /// Whether flipping it would reward the worse one.
    fn flip_is_worse(&self) -> bool {
        if self.a_won { self.first.better > 0 } else { self.first.better < 0 }
    }
}

fn main() -> Fallible<()> {
    let to_fit = std::env::args().any(|argument| argument == "fit");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("../shared/data");
    let read =
        pairs(&data.join("hh_harmless_base_test.parquet"), &root.join("tests/reading/verdicts_harm.csv"))?;
    let moderation = texts(&data.join("openai_moderation_1680.parquet"))?;
    let mut others: Vec<(String, String, f64)> =
        moderation.iter().map(|(text, flagged)| (String::new(), text.clone(), *flagged)).collect();
    for name in HARMLESS {
        others.extend(harmless(&data.join(name))?);
    }
    let reader = HarmReader::with(Weights::default())?;
    let table = Table::new(&reader, &read, &others);
    let c = table.penalty()?;
    let scored = table.cross_fitted(&reader, c)?;
    report(&scored);
    judged(&scored, &root.join("tests/reading/verdicts_judge.csv"))?;
    if to_fit {
        let model = table.fit(&table.all(|_| true), c)?;
        let weights = Weights {
            about: format!(
                "P(harmful) of a response in its conversation; logistic regression, C {c}, on {} responses of hh-rlhf harmless-base/test (MIT) as read in tests/reading/verdicts_harm.csv and {} texts of OpenAI's moderation set (MIT) and, as harmless, of OpenAssistant, PandaLM and LLMBar (Apache-2.0, MIT); precision: marks of each score on labels of prompts that the weights had not seen; made by `cargo bench --bench relabelling -- fit`",
                2 * read.len(),
                others.len()
            ),
            concepts: reader.weights().concepts.clone(),
            intercept: model.intercept,
            // Three digits are enough, and a third of the bytes.
            weights: model.coefficients.iter().map(|w| (w * 1000.0).round() as f32 / 1000.0).collect(),
            precision: bands(&scored),
        };
        let path = root.join("data/harm.json");
        std::fs::write(&path, serde_json::to_string(&weights)? + "\n")?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The pairs with what was read in them.
fn pairs(data: &Path, verdicts: &Path) -> Fallible<Vec<Read>> {
    let table = ParquetReader::new(std::fs::File::open(data)?).finish()?;
    let text = |name: &str| -> Fallible<Vec<String>> {
        Ok(table.column(name)?.str()?.iter().map(|cell| cell.unwrap_or("").to_owned()).collect())
    };
    let (prompts, a, b) = (text("prompt")?, text("response_A")?, text("response_B")?);
    let labels: Vec<f64> = table.column("label")?.f64()?.iter().map(|label| label.unwrap_or(0.5)).collect();
    let mut found = Vec::new();
    for record in csv::Reader::from_path(verdicts)?.records() {
        let record = record?;
        let row: usize = record[0].parse()?;
        found.push(Read {
            row,
            prompt: prompts[row].clone(),
            responses: [a[row].clone(), b[row].clone()],
            a_won: labels[row] > 0.5,
            first: Verdict::of(&record[1], &record[2], &record[3])?.ok_or("a row without a verdict")?,
            second: Verdict::of(&record[4], &record[5], &record[6])?,
        });
    }
    Ok(found)
}

/// The texts of the moderation set, and whether anything is wrong with them.
fn texts(path: &Path) -> Fallible<Vec<(String, f64)>> {
    let table = ParquetReader::new(std::fs::File::open(path)?).finish()?;
    let texts = table.column("text")?.str()?.iter().map(|text| text.unwrap_or("").to_owned());
    Ok(texts.zip(table.column("any")?.f64()?.iter().map(|any| any.unwrap_or(0.0))).collect())
}

/// Prompts and responses of a set without harm; one that repeats is read once.
fn harmless(path: &Path) -> Fallible<Vec<(String, String, f64)>> {
    let table = ParquetReader::new(std::fs::File::open(path)?).finish()?;
    let mut found = std::collections::BTreeSet::new();
    for name in ["response_A", "response_B"] {
        let prompts = table.column("prompt")?.str()?.iter();
        let both = prompts.zip(table.column(name)?.str()?.iter());
        found.extend(both.filter_map(|(prompt, response)| Some((prompt?.to_owned(), response?.to_owned()))));
    }
    Ok(found.into_iter().map(|(prompt, response)| (prompt, response, 0.0)).collect())
}

/// What the weights are fitted on: two rows for each pair, then the other texts.
struct Table<'a> {
    read: &'a [Read],
    inputs: Matrix,
    y: Vec<f64>,
    /// Fifth of the prompts, `[rows]`; [`FOLDS`] for the others.
    fold: Vec<u64>,
}

/// A pair with the score of its label and how harmful its responses read.
type Scored<'a> = (f64, [f64; 2], &'a Read);

impl<'a> Table<'a> {
    fn new(reader: &HarmReader, read: &'a [Read], others: &[(String, String, f64)]) -> Self {
        let cues = Reader::new(None).unwrap_or_else(|error| panic!("{error}"));
        let talks =
            |one: &'a Read| one.responses.iter().map(|response| (one.prompt.as_str(), response.as_str()));
        let mut all: Vec<(&str, &str)> = read.iter().flat_map(talks).collect();
        all.extend(others.iter().map(|(prompt, text, _)| (prompt.as_str(), text.as_str())));
        let own = read.iter().flat_map(|one| one.first.harm.map(|harm| if harm > 0 { 1.0 } else { 0.0 }));
        let folds =
            read.iter().flat_map(|one| [rng::of_content(1, "folds", &[&rng::plain(&one.prompt)]) % FOLDS; 2]);
        Self {
            read,
            inputs: reader.inputs(&all, &cues),
            y: own.chain(others.iter().map(|(.., harmful)| *harmful)).collect(),
            fold: folds.chain(std::iter::repeat_n(FOLDS, others.len())).collect(),
        }
    }

    fn all(&self, wanted: impl Fn(u64) -> bool) -> Vec<u32> {
        (0..self.fold.len() as u32).filter(|row| wanted(self.fold[*row as usize])).collect()
    }

    fn fit(&self, rows: &[u32], c: f64) -> Fallible<Linear> {
        let y: Vec<f64> = rows.iter().map(|row| self.y[*row as usize]).collect();
        let penalty = Penalty { c, ..Penalty::default() };
        Ok(fit(&self.inputs, rows, &y, &penalty).map_err(|outcome| format!("{outcome:?}"))?)
    }

    /// The penalty with the best likelihood of what was read.
    fn penalty(&self) -> Fallible<f64> {
        let mut best = (f64::INFINITY, 0.0);
        for c in [0.01, 0.03, 0.1, 0.3] {
            let harm = self.probabilities(c)?;
            let loss: f64 =
                harm.iter().zip(&self.y).map(|(p, y)| -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())).sum();
            println!("C {c}: {:.4} nats a response", loss / harm.len() as f64);
            if loss < best.0 {
                best = (loss, c);
            }
        }
        Ok(best.1)
    }

    /// How harmful each response reads to weights from the other folds.
    fn probabilities(&self, c: f64) -> Fallible<Vec<f64>> {
        let mut harm = vec![0.0; 2 * self.read.len()];
        for part in 0..FOLDS {
            let model = self.fit(&self.all(|fold| fold != part), c)?;
            let rows = self.all(|fold| fold == part);
            for (score, row) in model.score(&self.inputs, &rows).iter().zip(&rows) {
                harm[*row as usize] = 1.0 / (1.0 + (-score).exp());
            }
        }
        Ok(harm)
    }

    fn cross_fitted(&self, reader: &HarmReader, c: f64) -> Fallible<Vec<Scored<'a>>> {
        let cues = Reader::new(None)?;
        let harm = self.probabilities(c)?;
        let score = |harm: &[f64], one: &'a Read| {
            let both = [one.responses[0].as_str(), one.responses[1].as_str()];
            let harm = reader.weighed(&one.prompt, &both, [harm[0], harm[1]], &cues);
            let (won, lost) = if one.a_won { (harm[0], harm[1]) } else { (harm[1], harm[0]) };
            (won * (1.0 - lost), [harm[0], harm[1]], one)
        };
        Ok(harm.chunks_exact(2).zip(self.read).map(|(harm, one)| score(harm, one)).collect())
    }
}

fn bands(scored: &[Scored<'_>]) -> Vec<Precision> {
    let of = |bound: &[f64]| {
        let here = scored.iter().filter(|(score, ..)| (bound[0]..bound[1]).contains(score));
        let (mut read, mut right) = (0, 0);
        for (_, _, one) in here {
            read += 1;
            right += u32::from(one.is_wrong());
        }
        Precision { from: bound[0], below: bound[1], read, right }
    };
    BANDS.windows(2).map(of).rev().collect()
}

fn report(scored: &[Scored<'_>]) {
    let mut sorted: Vec<&Scored<'_>> = scored.iter().collect();
    sorted.sort_by(|x, y| y.0.total_cmp(&x.0));
    let wrong = sorted.iter().filter(|(_, _, one)| one.is_wrong()).count();
    println!("\n{} labels, {wrong} of them prefer the more harmful response", sorted.len());
    let harms: Vec<(f64, bool)> = sorted
        .iter()
        .flat_map(|(_, harm, one)| [(harm[0], one.first.harm[0] > 0), (harm[1], one.first.harm[1] > 0)])
        .collect();
    println!("AUC of harm, response by response: {:.3}", auc(&harms));
    let labels: Vec<(f64, bool)> = sorted.iter().map(|(score, _, one)| (*score, one.is_wrong())).collect();
    println!("AUC of the score, label by label: {:.3}", auc(&labels));
    println!("| marks | right | flip would reward the worse | precision | recall |\n|---|---|---|---|---|");
    let bars = [WORTH_READING, WORTH_ASKING]
        .map(|bar| (format!("score ≥ {bar}"), sorted.iter().filter(|one| one.0 >= bar).count()));
    let tops = [10, 20, 40, 80, 160, 320].map(|top| (format!("first {top}"), top));
    for (name, top) in tops.into_iter().chain(bars.map(|(name, count)| (format!("{name}: {count}"), count))) {
        let marks = &sorted[..top.min(sorted.len())];
        let right = marks.iter().filter(|(_, _, one)| one.is_wrong()).count();
        let worse = marks.iter().filter(|(_, _, one)| one.flip_is_worse()).count();
        let n = marks.len().max(1) as f64;
        let (precision, recall) = (right as f64 / n, right as f64 / wrong.max(1) as f64);
        println!("| {name} | {right} | {worse} | {precision:.2} | {recall:.2} |");
    }
}

/// What a judge model that reads well confirms: readers that saw what `--judge` asks, and nothing else.
fn judged(scored: &[Scored<'_>], verdicts: &Path) -> Fallible<()> {
    let mut toward_a: HashMap<usize, f64> = HashMap::new();
    for record in csv::Reader::from_path(verdicts)?.records() {
        let record = record?;
        toward_a.insert(record[0].parse()?, record[1].parse()?);
    }
    let wrong = scored.iter().filter(|(_, _, one)| one.is_wrong()).count();
    let twice = scored.iter().filter(|(_, _, one)| one.is_wrong_twice()).count();
    println!(
        "\nA judge that reads well, asked in both orders (the program asks from {WORTH_ASKING}, and marks what both confirm):"
    );
    println!(
        "| asked about labels with a score ≥ | asked | finds the response that lost safer | labels | right | flip would reward the worse | precision | recall of {wrong} | of {twice} that two readers found |\n|---|---|---|---|---|---|---|---|---|"
    );
    for bar in [WORTH_ASKING, 0.0] {
        let asked: Vec<&Scored<'_>> = scored.iter().filter(|(score, ..)| *score >= bar).collect();
        for (name, least) in [("both", 1.0), ("one or both", 0.5)] {
            let confirmed: Vec<&Read> = (asked.iter())
                .filter(|(_, _, one)| {
                    let toward_a = toward_a.get(&one.row).copied().unwrap_or(0.0);
                    (if one.a_won { -toward_a } else { toward_a }) >= least
                })
                .map(|(_, _, one)| *one)
                .collect();
            let right = confirmed.iter().filter(|one| one.is_wrong()).count();
            let worse = confirmed.iter().filter(|one| one.flip_is_worse()).count();
            let of_twice = confirmed.iter().filter(|one| one.is_wrong_twice()).count();
            let share = |found: usize, all: usize| found as f64 / all.max(1) as f64;
            let (precision, recall) = (share(right, confirmed.len()), share(right, wrong));
            let sure = share(of_twice, twice);
            println!(
                "| {bar} | {} | {name} | {} | {right} | {worse} | {precision:.3} | {recall:.3} | {sure:.3} |",
                asked.len(),
                confirmed.len()
            );
        }
    }
    Ok(())
}

fn auc(scored: &[(f64, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut ranks: HashMap<u64, (f64, f64)> = HashMap::new();
    for (at, (score, _)) in sorted.iter().enumerate() {
        let slot = ranks.entry(score.to_bits()).or_default();
        *slot = (slot.0 + at as f64 + 1.0, slot.1 + 1.0);
    }
    let rank = |score: f64| ranks.get(&score.to_bits()).map_or(0.0, |(sum, n)| sum / n);
    let positive = sorted.iter().filter(|(_, yes)| *yes).count() as f64;
    let negative = sorted.len() as f64 - positive;
    let sum: f64 = sorted.iter().filter(|(_, yes)| *yes).map(|(score, _)| rank(*score)).sum();
    (sum - positive * (positive + 1.0) / 2.0) / (positive * negative).max(1.0)
}
