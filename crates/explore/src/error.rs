//! Why something cannot be shown or kept.

use wimhf::error::Error;

/// Why a request cannot be answered, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ExploreError {
    /// What was asked for makes no sense: the asker can mend it.
    #[error("{message}")]
    Asked {
        /// What is wrong.
        message: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// There is no such pair, feature or tool.
    #[error("{message}")]
    Missing {
        /// What is missing.
        message: String,
        /// The nearest name.
        hint: String,
    },
    /// Something is still being made.
    #[error("{what} is still being made")]
    NotYet {
        /// What.
        what: &'static str,
        /// How much of it is done, 0 to 1.
        progress: f64,
    },
    /// Nothing can be written.
    #[error("nothing can be kept here: {0}")]
    ReadOnly(String),
    /// The database of decisions, or that of the search.
    #[error("the database `{path}` cannot be used: {source}")]
    Database {
        /// Which.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A file.
    #[error("cannot use `{path}`: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The library.
    #[error(transparent)]
    Library(#[from] Error),
}

impl ExploreError {
    /// A mistake of the asker's.
    pub fn asked(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked { message: message.into(), hint: hint.into() }
    }

    /// Something that is not there.
    pub fn missing(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Missing { message: message.into(), hint: hint.into() }
    }

    /// What to do, in a sentence; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Asked { hint, .. } | Self::Missing { hint, .. } => hint.clone(),
            Self::NotYet { .. } => "ask again in a moment".to_owned(),
            Self::ReadOnly(_) => "copy the run to a place that can be written to".to_owned(),
            Self::Database { .. } => {
                "is the disk full, or another program using the file? what was decided before is kept"
                    .to_owned()
            }
            Self::File { .. } => "give yourself the right to it, or name another place".to_owned(),
            Self::Library(error) => error.hint.clone().unwrap_or_default(),
        }
    }

    /// The HTTP status that says as much.
    pub fn status(&self) -> u16 {
        match self {
            Self::Asked { .. } => 400,
            Self::Missing { .. } => 404,
            Self::NotYet { .. } => 503,
            Self::ReadOnly(_) => 403,
            Self::Library(error) if error.kind.exit_code() == 2 => 409,
            Self::Database { .. } | Self::File { .. } | Self::Library(_) => 500,
        }
    }
}
