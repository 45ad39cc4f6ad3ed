//! What is to be changed in a dataset, and why that may not be possible.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pairs::codes::Codes;
use crate::pairs::error::PairsError;
use crate::store::StoreError;

/// Original label, action, rule, score.
pub const ADDED: [&str; 4] = ["wimhf_original_label", "wimhf_action", "wimhf_rule", "wimhf_score"];
/// The column of weights.
pub const WEIGHT: &str = "wimhf_weight";

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The other response is preferred.
    Flip,
    /// The row is left out.
    Drop,
    /// Neither is preferred.
    Tie,
    /// The label stays and gets a weight.
    Weight,
}

impl Action {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Drop => "drop",
            Self::Tie => "tie",
            Self::Weight => "weight",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Flip, Self::Drop, Self::Tie, Self::Weight].into_iter().find(|one| one.name() == name).ok_or(())
    }
}

/// Why and how a row is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// What is done.
    pub action: Action,
    /// The rules behind it.
    pub rule: String,
    /// How strongly they apply, 0 to 1.
    pub score: f64,
}

/// All changes to a dataset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// By row of the source, from 0.
    pub marks: BTreeMap<u32, Edit>,
    /// The weight of rows marked so; all others have 1.
    pub weight: f64,
}

impl Changes {
    /// Whether there is a column of weights.
    fn weighs(&self) -> bool {
        self.marks.values().any(|mark| mark.action == Action::Weight)
    }

    /// Names of the columns that are added.
    pub(super) fn added(&self) -> Vec<&'static str> {
        ADDED.into_iter().chain(self.weighs().then_some(WEIGHT)).collect()
    }

    /// Those of the rows `start..start + rows`, counted from there.
    pub(super) fn part(&self, start: usize, rows: usize) -> Self {
        let range = start as u32..(start + rows) as u32;
        let marks = self.marks.range(range).map(|(row, mark)| (row - start as u32, mark.clone())).collect();
        Self { marks, weight: self.weight }
    }
}

/// Why a dataset cannot be written back.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The output would replace the input.
    #[error("`{0}` is the dataset itself; the run stands on it\nhint: name another file with `--out`")]
    OntoItself(PathBuf),
    /// The output is there already and may hold other work.
    #[error("`{0}` is a folder\nhint: name a file with `--out`")]
    Folder(PathBuf),
    /// It was relabelled before.
    #[error(
        "`{path}` already has a column `{column}`: it was relabelled before\nhint: relabel the original, which `wimhf relabel --undo {path}` restores"
    )]
    Relabelled {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// Ties, where preferred responses are told by their column.
    #[error(
        "the dataset has no label that could say `tie`: the preferred response stands in `{first}`\nhint: use `--action drop` or `--action weight`"
    )]
    NoTie {
        /// The column of preferred responses.
        first: String,
    },
    /// A file whose rows cannot be put back where they were.
    #[error(
        "`{path}` cannot be written back in its own format: {reason}\nhint: write it as JSON lines or Parquet and analyse that"
    )]
    Container {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// Several sources, or rows that are not one pair each.
    #[error(
        "the dataset cannot be written back in its own format: it has several sources, or its rows are not one pair each\nhint: with `--trl FILE` the changed pairs are written for trainers, and nothing else"
    )]
    Shape,
    /// A label that has no opposite.
    #[error("row {row} of `{path}` has the label `{label}`, which cannot be turned\nhint: {hint}")]
    Label {
        /// The file.
        path: PathBuf,
        /// Row of the file, from 0.
        row: usize,
        /// The label.
        label: String,
        /// What to do.
        hint: &'static str,
    },
    /// Rows counted in two ways.
    #[error(
        "the rows of `{path}` cannot be told apart for certain: {found} by its bytes, {expected} as it was read\nhint: write it as Parquet and analyse that"
    )]
    Rows {
        /// The file.
        path: PathBuf,
        /// By its bytes.
        found: usize,
        /// As it was read.
        expected: usize,
    },
    /// The record for undoing is not there.
    #[error(
        "`{path}` has no record of its changes: `{record}` is missing\nhint: the record is written beside the relabelled file; keep the two together"
    )]
    NoRecord {
        /// The relabelled file.
        path: PathBuf,
        /// Where the record should be.
        record: PathBuf,
    },
    /// The relabelled file is not as it was written.
    #[error(
        "`{path}` is not as `relabel` left it, so the original cannot be restored from it\nhint: the original was `{original}`"
    )]
    Changed {
        /// The relabelled file.
        path: PathBuf,
        /// The dataset it was made from.
        original: String,
    },
    /// What was restored is not the original.
    #[error("what was restored from `{path}` is not the original; nothing was written")]
    NotRestored {
        /// The relabelled file.
        path: PathBuf,
    },
    /// The dataset cannot be read.
    #[error(transparent)]
    Pairs(#[from] PairsError),
    /// A file cannot be written or read.
    #[error(transparent)]
    Run(#[from] StoreError),
}

impl RewriteError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Run(error) => error.is_users(),
            Self::NotRestored { .. } => false,
            _ => true,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// The files, in the order of the source's.
    pub files: Vec<PathBuf>,
    /// Rows in them.
    pub rows: usize,
    /// Rows changed, by action.
    pub changed: BTreeMap<Action, usize>,
}

/// The columns that a change touches, and how labels are written in them.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Columns that change places in a flipped row: the responses and what is about them, or the two that say
    /// together who wins.
    pub(super) swaps: Vec<(String, String)>,
    /// `None` where no single column says who wins.
    pub(super) label: Option<String>,
    /// How labels are written.
    pub(super) codes: Codes,
    pub(super) path: PathBuf,
}

/// A written label turned to the other side or to a tie; `None` where it has no such form.
pub(super) fn turned(label: &str, action: Action, codes: &Codes) -> Option<String> {
    match action {
        Action::Flip => codes.opposite(label),
        Action::Tie => codes.tie(label),
        Action::Drop | Action::Weight => Some(label.to_owned()),
    }
}
