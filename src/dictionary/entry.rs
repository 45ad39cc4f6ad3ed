//! An entry of a dictionary: a feature, its words, and how true they are.

use serde::{Deserialize, Serialize};

/// What sort of thing an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// What the sentence does: apologises, asks back, refuses, greets.
    Act,
    /// What it is about: weapons, cooking, family.
    Topic,
    /// How it is said: hedged, in the second person, in slang.
    Style,
    /// How it looks: a heading, a numbered item, code.
    Format,
}

impl EntryKind {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Topic => "topic",
            Self::Style => "style",
            Self::Format => "format",
        }
    }
}

/// What a reader who did not give the name, and saw nothing but the name, said of fresh sentences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Sentences in which the entry is clear and which fit the name.
    pub firing_true: u32,
    /// Of so many.
    pub firing_n: u32,
    /// Sentences in which the entry is silent and which fit the name all the same.
    pub silent_true: u32,
    /// Of so many.
    pub silent_n: u32,
}

impl Truth {
    /// Share of the firing sentences that fit; `None` where nobody has read any.
    pub fn firing(&self) -> Option<f64> {
        (self.firing_n > 0).then(|| f64::from(self.firing_true) / f64::from(self.firing_n))
    }

    /// Share of the silent sentences that fit; `None` where nobody has read any.
    pub fn silent(&self) -> Option<f64> {
        (self.silent_n > 0).then(|| f64::from(self.silent_true) / f64::from(self.silent_n))
    }
}

/// A feature of a dictionary.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `d017`: stays the same as long as the weights do.
    pub id: String,
    /// A few words: "apologises for not knowing". None where nobody could name it.
    #[serde(default)]
    pub name: Option<String>,
    /// One sentence that defines it, for a reader who has to decide.
    #[serde(default)]
    pub definition: Option<String>,
    /// Two or three sentences of our own making that say it.
    #[serde(default)]
    pub examples: Vec<String>,
    /// What sort of thing it is about.
    #[serde(default)]
    pub kind: Option<EntryKind>,
    /// The activation from which it is clear in a sentence, in the units of the autoencoder.
    pub clear_level: f32,
    /// Share of the training sentences in which it is active at all.
    pub share: f32,
    /// How true the name is.
    #[serde(default)]
    pub truth: Option<Truth>,
}

impl Entry {
    /// Whether it may make a statement: it has a name, and on fresh sentences at least four in five of those that fire
    /// clearly fit it and at most one in twenty of the silent ones.
    pub fn speaks(&self) -> bool {
        let firing = self.truth.and_then(|truth| truth.firing());
        let silent = self.truth.and_then(|truth| truth.silent());
        self.name.is_some()
            && firing.is_some_and(|firing| firing >= 0.8)
            && silent.is_none_or(|silent| silent <= 0.05)
    }

    /// Its name, or its id where it has none.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// Everything that a statement of it hangs on, in one text.
    pub(super) fn said(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
