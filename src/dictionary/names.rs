//! Names, and what readers said of them, into a dictionary.

use std::path::Path;

use serde::Deserialize;

use super::{Dictionary, DictionaryError, EntryKind, Truth};

/// One line of a names file: what is given replaces what the entry has; `"name": null` takes the name away.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// The entry.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "given")]
    pub name: Option<Option<String>>,
    /// The sentence that defines it.
    #[serde(default, deserialize_with = "given")]
    pub definition: Option<Option<String>>,
    /// Example sentences.
    #[serde(default)]
    pub examples: Option<Vec<String>>,
    /// What sort of thing it is.
    #[serde(default, deserialize_with = "given")]
    pub kind: Option<Option<EntryKind>>,
    /// The level from which readers agree.
    #[serde(default)]
    pub clear_level: Option<f32>,
    /// What readers said.
    #[serde(default, deserialize_with = "given")]
    pub truth: Option<Option<Truth>>,
}

/// Tells a field that is null from one that is not there.
fn given<'de, D, T>(reader: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(reader).map(Some)
}

impl Naming {
    /// The namings of a JSON-lines file; `path` is for messages.
    ///
    /// # Errors
    /// [`DictionaryError::Format`] with the line.
    pub fn parse(text: &str, path: &Path) -> Result<Vec<Self>, DictionaryError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                serde_json::from_str(line).map_err(|error| DictionaryError::Format {
                    path: path.into(),
                    reason: format!("line {}: {error}", number + 1),
                })
            })
            .collect()
    }
}

impl Dictionary {
    /// Merges namings; the dictionary with them. All or nothing.
    ///
    /// # Errors
    /// [`DictionaryError::NoEntry`]; [`DictionaryError::Format`] for counts or levels that cannot be.
    pub fn named(&self, namings: &[Naming], path: &Path) -> Result<Self, DictionaryError> {
        let mut new = self.clone();
        for naming in namings {
            let number = new.find(&naming.id)?;
            let Some(entry) = new.entries.get_mut(number) else { continue };
            let wrong = |reason: String| DictionaryError::Format {
                path: path.into(),
                reason: format!("entry `{}`: {reason}", naming.id),
            };
            if let Some(Some(truth)) = naming.truth
                && (truth.firing_true > truth.firing_n || truth.silent_true > truth.silent_n)
            {
                return Err(wrong("more sentences fit than were read".into()));
            }
            if let Some(level) = naming.clear_level {
                if !(level > 0.0 && level.is_finite()) {
                    return Err(wrong(format!("the clear level {level} is not above zero")));
                }
                entry.clear_level = level;
            }
            let trimmed = |text: &Option<String>| {
                text.as_ref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
            };
            if let Some(name) = &naming.name {
                entry.name = trimmed(name);
            }
            if let Some(definition) = &naming.definition {
                entry.definition = trimmed(definition);
            }
            if let Some(examples) = &naming.examples {
                entry.examples.clone_from(examples);
            }
            if let Some(kind) = naming.kind {
                entry.kind = kind;
            }
            if let Some(truth) = naming.truth {
                entry.truth = truth;
            }
        }
        Ok(new.renewed())
    }
}
