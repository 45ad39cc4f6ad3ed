//! The prompts: files that a user can replace, filled in without ever expanding what is filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What separates the system's part of a prompt file from the user's.
const DIVIDER: &str = "\n=====\n";

/// The prompts in the program: name, text.
const BOXED: [(&str, &str); 9] = [
    ("ask", include_str!("prompts/ask.md")),
    ("execute", include_str!("prompts/execute.md")),
    ("judge", include_str!("prompts/judge.md")),
    ("propose", include_str!("prompts/propose.md")),
    ("safer", include_str!("prompts/safer.md")),
    ("shorten", include_str!("prompts/shorten.md")),
    ("tell", include_str!("prompts/tell.md")),
    ("vote", include_str!("prompts/vote.md")),
    ("write", include_str!("prompts/write.md")),
];

/// A prompt file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The folder or a file cannot be read.
    #[error("cannot read the prompt `{path}`: {}{}", crate::limits::said(.source), crate::limits::hint(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file lacks something.
    #[error("the prompt `{path}` {problem}\nhint: the prompts in the program are under src/llm/prompts")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder without any prompt.
    #[error(
        "no prompt in `{0}`\nhint: the files are called ask.md, tell.md, judge.md, write.md, shorten.md, execute.md, propose.md, vote.md and safer.md; those that are missing are taken from the program"
    )]
    Empty(PathBuf),
}

/// All prompts by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(BTreeMap<&'static str, Prompt>);

/// One prompt: what is said by the system, what by the user, with `{{name}}` where something is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    system: String,
    user: String,
    /// First digits of the text's SHA-256; part of every cache key.
    version: String,
}

impl Default for Prompts {
    fn default() -> Self {
        Self(BOXED.iter().map(|(name, text)| (*name, Prompt::new(text))).collect())
    }
}

impl Prompts {
    /// The prompts in the program, those that `folder` holds in their place.
    ///
    /// # Errors
    /// Where a file cannot be read or lacks a placeholder, or the folder has no prompt at all.
    pub fn with_folder(folder: &Path) -> Result<Self, PromptError> {
        let mut all = Self::default();
        let mut found = false;
        for (name, boxed) in BOXED {
            let path = folder.join(format!("{name}.md"));
            let text = match crate::limits::read_to_string(&path) {
                Ok(text) => text,
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(PromptError::Read { path, source }),
            };
            for place in places(boxed) {
                if !places(&text).contains(&place) {
                    let problem = format!("lacks `{{{{{place}}}}}`");
                    return Err(PromptError::Form { path, problem });
                }
            }
            if let Some(unknown) = places(&text).into_iter().find(|place| !places(boxed).contains(place)) {
                let problem = format!("has `{{{{{unknown}}}}}`, which nothing is filled into");
                return Err(PromptError::Form { path, problem });
            }
            all.0.insert(name, Prompt::new(&text));
            found = true;
        }
        if found { Ok(all) } else { Err(PromptError::Empty(folder.into())) }
    }

    /// A prompt by its name; one that is not there is empty, which no name in this program is.
    pub fn get(&self, name: &str) -> Prompt {
        self.0.get(name).cloned().unwrap_or_else(|| Prompt::new(""))
    }
}

/// The names between double braces.
fn places(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}").map(|(name, _)| name)).collect()
}

impl Prompt {
    fn new(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (system, user) = text.split_once(DIVIDER).unwrap_or(("", &text));
        let version =
            Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { system: system.trim().to_owned(), user: user.trim().to_owned(), version }
    }

    /// What the system says.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// First digits of the text's SHA-256.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the user says, with `values` filled in. What is filled in is not looked at again: a response
    /// that holds `{{form}}` stays as it is.
    pub fn user(&self, values: &[(&str, &str)]) -> String {
        let mut out =
            String::with_capacity(self.user.len() + values.iter().map(|(_, v)| v.len()).sum::<usize>());
        let mut rest = self.user.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            match after.split_once("}}") {
                Some((name, after)) => {
                    match values.iter().find(|(other, _)| *other == name) {
                        Some((_, value)) => out.push_str(value),
                        None => out.extend(["{{", name, "}}"]),
                    }
                    rest = after;
                }
                None => {
                    out.push_str("{{");
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_expanded() {
        let prompt = Prompt::new("sys\n=====\n{{a}} and {{b}} {{ }");
        assert_eq!(prompt.system(), "sys");
        assert_eq!(prompt.user(&[("a", "{{b}}"), ("b", "x}}{{a}}")]), "{{b}} and x}}{{a}} {{ }");
    }

    #[test]
    fn the_boxed_prompts_have_both_parts() {
        let prompts = Prompts::default();
        for (name, _) in BOXED {
            let prompt = prompts.get(name);
            assert!(!prompt.system().is_empty() && !prompt.user(&[]).is_empty(), "{name}");
            assert_eq!(prompt.version().len(), 12);
        }
    }

    #[test]
    fn a_users_folder_replaces_and_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Prompts::with_folder(folder.path()), Err(PromptError::Empty(_))));
        std::fs::write(folder.path().join("write.md"), "Mine.\n=====\n{{pairs}}").unwrap();
        let prompts = Prompts::with_folder(folder.path()).unwrap();
        assert_eq!(prompts.get("write").system(), "Mine.");
        assert_eq!(prompts.get("judge"), Prompts::default().get("judge"));
        assert_ne!(prompts.get("write").version(), Prompts::default().get("write").version());
        std::fs::write(folder.path().join("judge.md"), "x\n=====\n{{pairs}}").unwrap();
        let message = Prompts::with_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("lacks `{{form}}`"), "{message}");
        std::fs::write(folder.path().join("judge.md"), "x\n=====\n{{pairs}} {{form}} {{more}}").unwrap();
        assert!(Prompts::with_folder(folder.path()).unwrap_err().to_string().contains("{{more}}"));
    }
}
