//! The Hub in a program that was built without it (`--no-default-features`): the same interface, and one answer.

use std::path::PathBuf;

use crate::context::{Context, Observer};
use crate::net::NetError;

/// What can go wrong with the Hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The Hub cannot be reached, or the user stopped.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl HubError {
    /// Whether the user stopped it.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Net(NetError::Stopped))
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The name, with the commit for the revision: names the very same files for ever.
    pub pinned: String,
    /// The commit.
    pub revision: String,
    /// The folder of that commit in the cache.
    pub folder: PathBuf,
    /// The files that were asked for.
    pub files: Vec<PathBuf>,
}

/// Whether a name means the Hub.
pub fn is_hub(name: &str) -> bool {
    name.starts_with("hf://")
}

fn not_built<T>(name: &str) -> Result<T, HubError> {
    Err(NetError::Refused {
        message: format!("this program was built without the Hub, so `{name}` cannot be fetched"),
        hint: "download it by other means and name the folder or file, or build with the feature `hub`",
    }
    .into())
}

/// Fetches a model.
///
/// # Errors
/// Always.
pub fn model(name: &str, _: &Context, _: &mut dyn Observer) -> Result<Fetched, HubError> {
    not_built(name)
}

/// Fetches a dataset's files.
///
/// # Errors
/// Always.
pub fn dataset(name: &str, _: &Context, _: &mut dyn Observer) -> Result<Fetched, HubError> {
    not_built(name)
}
