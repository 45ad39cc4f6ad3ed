//! Do they do what they say? People's own words about the pairs of a run, beside their labels.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::describe::contrast::stopwords;
use crate::describe::{Feature, FeatureSource};
use crate::export::reasons as tables;
use crate::pairs::{self, MISSING, PairsError};
use crate::reasons::{self, Asked, Given, Reasons, Sign, Who};
use crate::run::{Run, RunError, Source};
use crate::store::{StoreError, write_json};

/// Where people's own words stand.
#[derive(Debug, Clone, Default)]
pub struct ReasonsRequest {
    /// Columns of the run's dataset with reasons, one text for a row each.
    pub reason_columns: Vec<String>,
    /// Two columns with critiques: of the row's first response and of its second.
    pub critique_columns: Option<(String, String)>,
    /// The folder to write to; `RUN/reasons` where none is given.
    pub out: Option<PathBuf>,
    /// Replace files of another kind.
    pub force: bool,
}

/// What came out, and where it was written.
#[derive(Debug, Clone)]
pub struct ReasonsFound {
    /// What is stated, and what is done.
    pub found: Reasons,
    /// The columns that were read.
    pub columns: Vec<String>,
    /// `reasons.json` and `reasons.csv`.
    pub files: Vec<PathBuf>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum ReasonsError {
    /// No column.
    #[error(
        "nothing says where the reasons stand\nhint: `--reason-column COLUMN` with people's own words about a pair, or `--critique-columns FIRST,SECOND` with a text about each response"
    )]
    NoColumn,
    /// The columns are not in one file on disk.
    #[error(
        "reasons are read from columns of one dataset on disk, and this run has several sources or one on the Hub\nhint: put them into one file, or download the dataset"
    )]
    Sources,
    /// A column without texts.
    #[error(
        "`{column}` is empty in every row that the run uses ({lost} rows that it does not use have a text)\nhint: a reason is what a person wrote about the two responses"
    )]
    Empty { column: String, lost: usize },
    /// A column with one text.
    #[error(
        "`{0}` says the same in every row, so it says nothing about any pair\nhint: a reason is what a person wrote about the two responses"
    )]
    Constant(String),
    /// A column of numbers or names.
    #[error(
        "`{column}` holds values such as `{value}`, which are no reasons in words\nhint: `--reason-column` wants texts; a column with labels is for `wimhf audit`"
    )]
    NoText { column: String, value: String },
    /// Another language.
    #[error(
        "{foreign} of {of} longer texts in `{column}` are not in English, and reasons are read in English only\nhint: translate them into a column of their own"
    )]
    Language { column: String, foreign: usize, of: usize },
    /// Too few to say anything.
    #[error(
        "{found} reasons stand on pairs of the run, which is too few ({lost} more on rows that it does not use)\nhint: {FEWEST} are needed"
    )]
    Few { found: usize, lost: usize },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reasons below which nothing is read.
const FEWEST: usize = reasons::FEWEST;

/// Holds reasons against pairs and labels.
///
/// # Errors
/// See [`ReasonsError`].
pub fn reasons(run: &Run, request: &ReasonsRequest) -> Result<ReasonsFound, ReasonsError> {
    let folder = request.out.clone().unwrap_or_else(|| run.path.join("reasons"));
    let names = ["reasons.json", "reasons.csv"];
    // Before the work; where there is no folder yet, nothing can be replaced.
    if folder.exists() {
        run.may_write_into(&folder, &names, &[], request.force)?;
    }
    if request.reason_columns.is_empty() && request.critique_columns.is_none() {
        return Err(ReasonsError::NoColumn);
    }
    let source = run.source()?;
    let mut notes = Vec::new();
    let (columns, given) = given(run, request, &source, &mut notes)?;
    let presence = run.presence()?;
    let looked: Vec<(usize, &Feature)> = (run.features.iter().enumerate())
        .filter(|(_, feature)| {
            feature.speaks() && feature.is_said() && feature.source != FeatureSource::Theme
        })
        // Length is looked at once, as length.
        .filter(|(_, feature)| feature.source == FeatureSource::Known || !feature.is_about("length"))
        .collect();
    let principles = principles(run, &looked);
    if principles.is_empty() {
        notes.push("the labels confirm no principle, so nothing can cover the reasons".to_owned());
    }
    let judgements = &source.pairs.judgements;
    let rows: HashSet<u32> = judgements.row.iter().copied().collect();
    let asked = Asked {
        features: looked.iter().map(|(_, feature)| *feature).collect(),
        columns: looked.iter().map(|(column, _)| *column).collect(),
        presence: &presence,
        principles,
        // A row that is taken apart into several pairs has no first response of its own.
        ordered: !source.layout.chosen_first && rows.len() == judgements.row.len(),
        seed: run.manifest.config.seed,
    };
    let ids = &source.pairs.pair_id;
    let mut found = reasons::measure(&given, &asked, |pair| ids[pair as usize].clone());
    notes.append(&mut found.notes);
    found.notes = notes;
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: folder.clone(),
        source,
    })?;
    run.may_write_into(&folder, &names, &[], request.force)?;
    let (json, csv) = (folder.join("reasons.json"), folder.join("reasons.csv"));
    write_json(&json, &tables::record(&found, &columns))?;
    tables::write(&csv, &found)?;
    Ok(ReasonsFound { found, columns, files: vec![json, csv] })
}

/// The run's principles in the features that are looked for.
fn principles(run: &Run, looked: &[(usize, &Feature)]) -> Vec<Sign> {
    let place = |id: &String| looked.iter().position(|(_, feature)| feature.feature_id == *id);
    let signs = run.findings.principles.iter().map(|principle| Sign {
        sign: if principle.direction == "avoid" { -1 } else { 1 },
        features: principle.feature_ids.iter().filter_map(place).collect(),
    });
    signs.filter(|sign| !sign.features.is_empty()).collect()
}

/// The reasons on the run's pairs, and the columns that they stand in.
fn given(
    run: &Run,
    request: &ReasonsRequest,
    source: &Source,
    notes: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Given>), ReasonsError> {
    let sources = run.sources();
    let data = match sources.as_slice() {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(ReasonsError::Sources),
    };
    let mut wanted: Vec<(&String, Option<Who>, &'static str)> =
        request.reason_columns.iter().map(|name| (name, None, "--reason-column")).collect();
    if let Some((first, second)) = &request.critique_columns {
        wanted.push((first, Some(Who::First), "--critique-columns"));
        wanted.push((second, Some(Who::Second), "--critique-columns"));
    }
    let used: HashSet<u32> = source.pairs.judgements.row.iter().copied().collect();
    let mut by_row: BTreeMap<u32, Vec<(String, Option<Who>)>> = BTreeMap::new();
    let (mut lost, mut foreign) = (HashSet::new(), 0);
    for (name, who, flag) in &wanted {
        let texts = pairs::column(data, name, flag)?;
        let texts: Vec<(u32, String)> =
            texts.into_iter().zip(0u32..).filter_map(|(text, row)| text.map(|text| (row, text))).collect();
        let (own, others): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(row, _)| used.contains(row));
        lost.extend(others.iter().map(|(row, _)| *row));
        check(name, &own, others.len())?;
        for (row, text) in own {
            if is_foreign(&text) {
                foreign += 1;
            } else {
                by_row.entry(row).or_default().push((text, *who));
            }
        }
    }
    let pairs = &source.pairs;
    let judgements = &pairs.judgements;
    let mut given = Vec::new();
    for (at, &row) in judgements.row.iter().enumerate() {
        let Some(texts) = by_row.get(&row) else { continue };
        let pair = judgements.pair[at];
        let key = pairs.prompt_key[pair as usize];
        given.push(Given {
            pair,
            swapped: judgements.swapped[at],
            label: f64::from(judgements.label[at]),
            // A pair without a prompt still groups its own reasons.
            prompt: if key == MISSING { MISSING / 2 + pair } else { key },
            annotator: judgements.annotator[at],
            texts: texts.clone(),
        });
    }
    if given.len() < FEWEST {
        return Err(ReasonsError::Few { found: given.len(), lost: lost.len() });
    }
    if !lost.is_empty() {
        notes.push(format!(
            "{} rows with a reason are not used by the run (repeated or unusable)",
            lost.len()
        ));
    }
    if foreign > 0 {
        notes.push(format!("{foreign} reasons that are not in English are left out"));
    }
    let without = judgements.row.iter().filter(|row| !by_row.contains_key(row)).count();
    if without > 0 {
        notes.push(format!("{without} of {} labels have no reason", judgements.row.len()));
    }
    Ok((wanted.into_iter().map(|(name, ..)| name.clone()).collect(), given))
}

/// Whether a column can hold reasons at all.
fn check(column: &str, texts: &[(u32, String)], lost: usize) -> Result<(), ReasonsError> {
    let Some((_, first)) = texts.first() else {
        return Err(ReasonsError::Empty { column: column.to_owned(), lost });
    };
    if texts.len() > 1 && texts.iter().all(|(_, text)| text == first) {
        return Err(ReasonsError::Constant(column.to_owned()));
    }
    let foreign = texts.iter().filter(|(_, text)| is_foreign(text)).count();
    let long = texts.iter().filter(|(_, text)| is_foreign(text) || words(text).count() >= LONG).count();
    if foreign > 0 && 2 * foreign > long {
        return Err(ReasonsError::Language { column: column.to_owned(), foreign, of: long });
    }
    let in_words = texts.iter().filter(|(_, text)| words(text).count() >= 2).count();
    if 5 * in_words < texts.len() {
        let value: String = first.chars().take(40).collect();
        return Err(ReasonsError::NoText { column: column.to_owned(), value });
    }
    Ok(())
}

/// Words from which on a language shows.
const LONG: usize = 6;
/// Small words of other languages that English has not.
const OTHER: &str = "der die das und ist nicht ein eine einer mit auf sie weil auch sehr aber wie zu den dem von für le la les des une \
    est et pas pour que qui dans avec plus sur ce cette mais el los las es una por para con pero muy del como más il di che non per \
    sono della è ma più os um uma não mais em é muito een het niet van maar ook och att det som inte är og ikke på jest nie się że jak bir \
    ve bu için";

fn words(text: &str) -> impl Iterator<Item = &str> {
    let own = text.split(|c: char| !(c.is_alphanumeric() || c == '\''));
    own.filter(|word| word.chars().any(char::is_alphabetic))
}

/// Whether a text is plainly in another language than English: other letters, or more of their small words than of its own. A list
/// of words without any small ones is left alone.
fn is_foreign(text: &str) -> bool {
    let (letters, other) =
        text.chars().filter(|c| c.is_alphabetic()).fold((0usize, 0usize), |(n, other), c| {
            (n + 1, other + usize::from(!c.is_ascii() && !('\u{c0}'..='\u{24f}').contains(&c)))
        });
    if 10 * other > 3 * letters && letters > 0 {
        return true;
    }
    static OWN: LazyLock<HashSet<&str>> = LazyLock::new(stopwords);
    static OTHERS: LazyLock<HashSet<&str>> = LazyLock::new(|| OTHER.split_whitespace().collect());
    let (mut n, mut own, mut others) = (0, 0, 0);
    for word in words(text).map(str::to_lowercase) {
        n += 1;
        own += usize::from(OWN.contains(word.as_str()));
        others += usize::from(OTHERS.contains(word.as_str()));
    }
    n >= LONG && others > own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_language_shows_in_its_letters_or_its_small_words() {
        for text in [
            "Antwort A ist besser, weil sie kürzer ist und direkt auf die Frage antwortet.",
            "La réponse B refuse de répondre, ce qui est dommage pour tout le monde.",
            "回答A更简洁",
            "Ответ А лучше",
        ] {
            assert!(is_foreign(text), "{text}");
        }
        for text in [
            "Response A is better because it is shorter and answers the question.",
            "Concise answer, polite tone.",
            "Clear structure, bullet points, headings, examples, accurate facts",
            "A",
            "",
            "The café in Zürich is described naïvely, but B is worse.",
        ] {
            assert!(!is_foreign(text), "{text}");
        }
    }

    #[test]
    fn columns_without_reasons_are_told_apart() {
        let column = |texts: &[&str]| -> Vec<(u32, String)> {
            texts.iter().zip(0..).map(|(text, row)| (row, (*text).to_owned())).collect()
        };
        let said = |texts: &[&str]| check("why", &column(texts), 3).map_err(|error| error.to_string());
        assert!(said(&[]).unwrap_err().contains("is empty"));
        assert!(said(&["same here", "same here"]).unwrap_err().contains("says the same"));
        assert!(said(&["1", "2", "3"]).unwrap_err().contains("no reasons in words"));
        let german = "Die Antwort ist kurz und sagt genau was gefragt war";
        assert!(
            said(&[german, "Eine andere Antwort sagt sehr viel mehr als nötig"])
                .unwrap_err()
                .contains("English")
        );
        assert!(said(&["A is shorter.", "B is polite and kind."]).is_ok());
    }
}
