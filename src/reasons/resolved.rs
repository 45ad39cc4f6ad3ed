//! What a reason says of its pair: sides as the pair has them, each feature once.

use std::collections::BTreeMap;

use super::clauses::Who;
use super::reading::{Read, Reader};

/// A reason where it was given.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Index into the pairs.
    pub pair: u32,
    /// The row has the pair's responses the other way round.
    pub swapped: bool,
    /// Preference of the one who gave it for the pair's A: 1, 0, between; NaN where there is none.
    pub label: f64,
    /// What it shares with other reasons; its annotator, too, where one is named.
    pub prompt: u32,
    /// The one who gave it, or [`MISSING`](crate::pairs::MISSING).
    pub annotator: u32,
    /// Its texts; with `Some`, all of it is about this response of the row.
    pub texts: Vec<(String, Option<Who>)>,
}

/// What a reason says of one feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The response that is said to have more of it: 1 A, −1 B, 0 where it is not said or said both ways.
    pub claim: i8,
    /// 1 where more of it is called good, −1 where it is called bad, 0 where neither.
    pub merit: i8,
    /// The response that this speaks for: 1 A, −1 B, 0 where it is not said.
    pub speaks_for: i8,
}

/// Praise or a complaint about something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aspect {
    /// Features that it names with a merit: the feature, the merit, the response said to have more (1 A, −1 B, 0 unknown).
    pub says: Vec<(usize, i8, i8)>,
}

/// A clause that says something that no feature covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Loose {
    /// As it was written.
    pub quote: String,
    /// In lower case.
    pub text: String,
    /// 1 praise, −1 complaint, 0 neither.
    pub tone: i8,
}

/// A reason, read.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// By feature.
    pub told: BTreeMap<usize, Told>,
    /// What it praises or complains about.
    pub aspects: Vec<Aspect>,
    /// What is left over.
    pub loose: Vec<Loose>,
    /// It says something of what a response is like.
    pub says_anything: bool,
    /// Statements that name a response by its place.
    pub placed: usize,
}

/// 1 where the label prefers A, −1 where B, 0 where neither.
pub(super) fn side(label: f64) -> i8 {
    if label > 0.5 {
        1
    } else if label < 0.5 {
        -1
    } else {
        0
    }
}

/// The pair's side that a clause is about, and whether the text itself says so by the response's place.
fn place(who: Option<Who>, given: &Given, ordered: bool) -> (i8, bool) {
    let turn = if given.swapped { -1 } else { 1 };
    match who {
        Some(Who::First) if ordered => (turn, true),
        Some(Who::Second) if ordered => (-turn, true),
        Some(Who::Chosen) => (side(given.label), false),
        Some(Who::Rejected) => (-side(given.label), false),
        _ => (0, false),
    }
}

/// Reads a reason. Where the order that people saw is not known (`ordered`), "the first one" names nobody.
pub fn resolve(reader: &Reader, given: &Given, ordered: bool) -> Resolved {
    let mut found = Resolved::default();
    let mut sums: BTreeMap<usize, [i32; 3]> = BTreeMap::new();
    for (text, fixed) in &given.texts {
        for read in reader.read(text, *fixed) {
            // A column about one response says which one whatever the order was.
            let (place, placed) = place(read.clause.about, given, ordered || fixed.is_some());
            found.says_anything |= read.says_anything();
            found.placed += usize::from(placed) * read.says.len();
            for statement in &read.says {
                let sum = sums.entry(statement.feature).or_default();
                sum[0] += i32::from(place * statement.more);
                sum[1] += i32::from(statement.merit());
                sum[2] += i32::from(if placed { place * statement.tone } else { 0 });
            }
            keep(&mut found, read, place, side(given.label));
        }
    }
    let sign = |value: i32| value.signum() as i8;
    let told = |[claim, merit, speaks]: [i32; 3]| Told {
        claim: sign(claim),
        merit: sign(merit),
        speaks_for: sign(speaks),
    };
    found.told = sums.into_iter().map(|(feature, sum)| (feature, told(sum))).collect();
    found
}

/// Files what a clause praises or complains about, and what no feature covers.
fn keep(found: &mut Resolved, read: Read, place: i8, chosen: i8) {
    if read.is_aspect() {
        let says = read.says.iter().filter(|statement| statement.tone != 0).map(|statement| {
            // Praise without a name is about the chosen one, a complaint about the other.
            let about = if place == 0 { chosen * statement.tone } else { place };
            (statement.feature, statement.merit(), about * statement.more)
        });
        found.aspects.push(Aspect { says: says.collect() });
    }
    if read.says.is_empty() && !read.clause.alike && !read.clause.words.is_empty() {
        let tone = read.clause.tone();
        found.loose.push(Loose { quote: read.clause.quote, text: read.clause.text, tone });
    }
}
