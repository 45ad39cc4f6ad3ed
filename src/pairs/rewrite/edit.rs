//! What is done to one row of a text.

use super::changes::{Action, Edit, Target, turned};

/// What is done to one row: the fields to add, and whether the first and second response change places.
pub(super) struct TextEdit<'a> {
    pub mark: Option<&'a Edit>,
    pub target: &'a Target,
    pub weight: Option<f64>,
}

impl TextEdit<'_> {
    /// The action's name, `keep` for none.
    pub fn action(&self) -> &'static str {
        self.mark.map_or("keep", |mark| mark.action.name())
    }

    pub fn rule(&self) -> &str {
        self.mark.map_or("", |mark| mark.rule.as_str())
    }

    /// The score as it is written.
    pub fn score(&self) -> String {
        self.mark.map_or_else(|| "0.0".to_owned(), |mark| format!("{:?}", mark.score))
    }

    pub fn flips(&self) -> bool {
        self.mark.is_some_and(|mark| mark.action == Action::Flip)
    }

    /// What the label becomes; `Err` with the label where it has no such form.
    pub fn label(&self, label: &str) -> Result<Option<String>, String> {
        match self.mark {
            Some(mark) if matches!(mark.action, Action::Flip | Action::Tie) => {
                let turned = turned(label, mark.action, &self.target.codes);
                turned.map(Some).ok_or_else(|| label.to_owned())
            }
            _ => Ok(None),
        }
    }
}
