//! A user's edits of a constitution: what is pinned, dropped, reordered and reworded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::reconstruct::Edit;

/// Longest statement that is taken, in characters.
pub const LONGEST_STATEMENT: usize = 500;

/// Why edits cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file cannot be read.
    #[error("cannot read the edits `{path}`: {}{}", crate::limits::said(.source), crate::limits::hint(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the known keys.
    #[error("the edits in `{path}` are not usable: {message}\nhint: the keys are {KEYS}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A feature is pinned and dropped, or the like.
    #[error("the edits in `{path}` contradict each other: {message}")]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What with what.
        message: String,
    },
}

const KEYS: &str = "`pin = [\"NAME\", \"NAME:avoid\"]`, `drop`, `hide`, `flag` and `order`, lists of names, and the tables `[reword]` with `NAME = \"statement\"` and `[merge]` with `NAME = \"OTHER\"`";

/// The file as it stands: names of features as [`crate::run::Run::feature`] takes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EditFile {
    /// In the list, whatever the labels say; `NAME:prefer` or `NAME:avoid` sets the direction.
    pub pin: Vec<String>,
    /// Not in the list.
    pub drop: Vec<String>,
    /// In front, in this order.
    pub order: Vec<String>,
    /// Not worth a reader's time: not in the list either.
    pub hide: Vec<String>,
    /// Marked by a person for others to see; the list does not change.
    pub flag: Vec<String>,
    /// Other statements.
    pub reword: BTreeMap<String, String>,
    /// Says the same as another, by which it is represented: not in the list itself.
    pub merge: BTreeMap<String, String>,
}

/// The edits of a run, which `wimhf explore` writes and `wimhf constitution` reads where no other file is named.
pub const FILE: &str = "edits.toml";

impl EditFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`EditError::Read`] and [`EditError::Parse`].
    pub fn read(path: &Path) -> Result<Self, EditError> {
        let text = crate::limits::read_to_string(path)
            .map_err(|source| EditError::Read { path: path.into(), source })?;
        let parse = |message: String| EditError::Parse { path: path.into(), message };
        let file: Self = toml::from_str(&text).map_err(|error| parse(error.to_string().trim_end().into()))?;
        for (name, statement) in &file.reword {
            if statement.trim().is_empty() || statement.chars().count() > LONGEST_STATEMENT {
                return Err(parse(format!(
                    "the statement for `{name}` must have 1 to {LONGEST_STATEMENT} characters"
                )));
            }
        }
        Ok(file)
    }

    /// The edits with features instead of names, in the file's order; `find` looks a name up.
    ///
    /// # Errors
    /// What `find` returns for an unknown name, or [`EditError::Contradiction`].
    pub fn resolve<E: From<EditError>>(
        &self,
        path: &Path,
        find: impl Fn(&str) -> Result<usize, E>,
    ) -> Result<Vec<Edit>, E> {
        let mut edits = Vec::new();
        let (mut pinned, mut dropped) = (Vec::new(), Vec::new());
        for name in &self.pin {
            let (name, sign) = match name.rsplit_once(':').map(|(name, side)| (name, side.trim())) {
                Some((name, "prefer")) => (name, 1.0),
                Some((name, "avoid")) => (name, -1.0),
                _ => (name.as_str(), 0.0),
            };
            let feature = find(name)?;
            pinned.push((feature, name));
            edits.push(Edit::Pin { feature, sign });
        }
        for name in self.drop.iter().chain(&self.hide).chain(self.merge.keys()) {
            let feature = find(name)?;
            if !dropped.contains(&feature) {
                dropped.push(feature);
                edits.push(Edit::Drop(feature));
            }
        }
        if let Some((_, name)) = pinned.iter().find(|(feature, _)| dropped.contains(feature)) {
            let message = format!("`{name}` is pinned and dropped");
            return Err(EditError::Contradiction { path: path.into(), message }.into());
        }
        if !self.order.is_empty() {
            let order = self.order.iter().map(|name| find(name)).collect::<Result<Vec<_>, E>>()?;
            edits.push(Edit::Order(order));
        }
        for (name, statement) in &self.reword {
            // One line, since it becomes a line of a list.
            let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            edits.push(Edit::Reword { feature: find(name)?, statement });
        }
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EditFile, EditError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.toml");
        std::fs::write(&path, text).unwrap();
        EditFile::read(&path)
    }

    fn find(name: &str) -> Result<usize, EditError> {
        ["a", "b", "c"]
            .iter()
            .position(|known| *known == name)
            .ok_or(EditError::Parse { path: "x".into(), message: format!("unknown {name}") })
    }

    #[test]
    fn edits_are_read_and_looked_up() {
        let file =
            read("pin = [\"a\", \"b:avoid\"]\ndrop = [\"c\"]\norder = [\"b\"]\n[reword]\na = \"Be\\nkind\"")
                .unwrap();
        let edits = file.resolve(Path::new("x"), find).unwrap();
        assert_eq!(
            edits,
            vec![
                Edit::Pin { feature: 0, sign: 0.0 },
                Edit::Pin { feature: 1, sign: -1.0 },
                Edit::Drop(2),
                Edit::Order(vec![1]),
                Edit::Reword { feature: 0, statement: "Be kind".into() },
            ]
        );
    }

    #[test]
    fn what_is_hidden_or_says_the_same_is_not_in_the_list() {
        let file = read("hide = [\"a\"]\ndrop = [\"a\"]\nflag = [\"c\"]\n[merge]\nb = \"c\"").unwrap();
        let edits = file.resolve(Path::new("x"), find).unwrap();
        assert_eq!(edits, vec![Edit::Drop(0), Edit::Drop(1)]);
        let again = toml::to_string(&file).unwrap();
        assert_eq!(read(&again).unwrap(), file);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(read("pinn = [\"a\"]").unwrap_err().to_string().contains("pinn"));
        assert!(read("[reword]\na = \" \"").is_err());
        let both = read("pin = [\"a\"]\ndrop = [\"a\"]").unwrap();
        assert!(both.resolve(Path::new("x"), find).unwrap_err().to_string().contains("pinned and dropped"));
        assert!(read("drop = [\"z\"]").unwrap().resolve(Path::new("x"), find).is_err());
    }
}
