//! What a call brings along from outside: whether to stop, what the environment says, and who watches.
//!
//! Nothing in this crate reads the process's environment or keeps state of the process: two calls in one
//! program, each with a context of its own, do not know of each other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The environment variables that mean something to this crate.
pub const VARIABLES: [&str; 25] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NO_PROXY",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "WIMHF_CACHE_DIR",
    "WIMHF_CACHE_LIMIT",
    "WIMHF_JUDGE_API_KEY",
    "WIMHF_MODEL_API_KEY",
    "WIMHF_WRITER_API_KEY",
    "XDG_CACHE_HOME",
];

/// Whether a call should stop; copies share the answer.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<State>);

/// Somebody asked to stop: what was under way has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    graceful: AtomicUsize,
}

impl Cancel {
    /// Whether somebody wants it to stop.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// The same for long work to look at with `?`, several times a second.
    ///
    /// # Errors
    /// [`Stopped`], once somebody wants it to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.requested() { Err(Stopped) } else { Ok(()) }
    }

    /// Asks it to stop. Returns whether what is under way will end by itself soon; a program whose Ctrl-C this is
    /// may end at once where it is not. Somebody who asks twice does not want to wait.
    pub fn request(&self) -> bool {
        let again = self.0.requested.swap(true, Ordering::SeqCst);
        !again && self.0.graceful.load(Ordering::SeqCst) > 0
    }

    /// Marks work that looks at [`Self::requested`] and ends by itself with its answers kept, as long as it lives.
    pub fn graceful_shutdown(&self) -> Graceful {
        self.0.graceful.fetch_add(1, Ordering::SeqCst);
        Graceful(self.clone())
    }
}

/// The same request to stop, not an equal one.
impl PartialEq for Cancel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Work that ends by itself; see [`Cancel::graceful_shutdown`].
#[derive(Debug)]
pub struct Graceful(Cancel);

impl Drop for Graceful {
    fn drop(&mut self) {
        self.0.0.graceful.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What used to be global: the request to stop, and the environment with its keys and folders.
///
/// Cheap to copy; copies share the request to stop.
#[derive(Clone, Default)]
pub struct Context {
    /// Whether to stop.
    pub cancel: Cancel,
    variables: Arc<BTreeMap<String, String>>,
    no_cache: bool,
}

impl Context {
    /// What the process's environment says now, for [`VARIABLES`].
    pub fn from_environment() -> Self {
        let found = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
        Self { variables: Arc::new(VARIABLES.iter().filter_map(found).collect()), ..Self::default() }
    }

    /// The same with another value of a variable; `None` takes it out.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        let variables = Arc::make_mut(&mut self.variables);
        match value {
            Some(value) => variables.insert(name.to_owned(), value.to_owned()),
            None => variables.remove(name),
        };
        self
    }

    /// The same for workers, which write nothing: vectors are not kept.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { no_cache: true, ..self }
    }

    /// Whether vectors may be kept.
    pub fn has_cache(&self) -> bool {
        !self.no_cache
    }

    /// A variable's value; `None` where it is not set or blank.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }
}

/// The same surroundings: the same request to stop, the same values.
impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.cancel == other.cancel && self.variables == other.variables
    }
}

/// Values may be keys, so none is shown.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Context").field("cancel", &self.cancel).field("variables", &names).finish()
    }
}

/// Whoever watches: a progress bar, a notebook, a test. Every method may do nothing.
pub trait Observer {
    /// A stage begins; `total` units of work, 0 where unknown.
    fn stage(&mut self, _name: &str, _total: usize) {}
    /// So many units of the stage are done.
    fn advance(&mut self, _done: usize) {}
    /// Figures of a step of the stage, by name; for whoever keeps them.
    fn metrics(&mut self, _step: usize, _values: &[(&str, f64)]) {}
    /// The stage ended, or was found finished.
    fn finished(&mut self, _name: &str, _seconds: f64, _reused: bool) {}
    /// A sentence that the user should read.
    fn note(&mut self, _text: &str) {}
}

/// Nobody watches.
impl Observer for () {}

/// Passes everything on and keeps the sentences, for a record.
pub struct Relay<'o> {
    observer: &'o mut dyn Observer,
    notes: Vec<String>,
    began: Option<std::time::Instant>,
    /// Whether what is done counts for the stage's bar.
    counts: bool,
}

impl<'o> Relay<'o> {
    /// Hears nothing yet.
    pub fn new(observer: &'o mut dyn Observer) -> Self {
        Self { observer, notes: Vec::new(), began: None, counts: true }
    }

    /// For work inside of a stage that counts other things.
    pub fn silent(observer: &'o mut dyn Observer) -> Self {
        Self { counts: false, ..Self::new(observer) }
    }

    /// What was said. Stages that were begun here end, as `fetch`.
    pub fn end(self) -> Vec<String> {
        if let Some(began) = self.began {
            self.observer.finished("fetch", began.elapsed().as_secs_f64(), false);
        }
        self.notes
    }
}

impl Observer for Relay<'_> {
    fn stage(&mut self, name: &str, total: usize) {
        self.began.get_or_insert_with(std::time::Instant::now);
        self.observer.stage(name, total);
    }

    fn advance(&mut self, done: usize) {
        if self.counts {
            self.observer.advance(done);
        }
    }

    fn metrics(&mut self, step: usize, values: &[(&str, f64)]) {
        self.observer.metrics(step, values);
    }

    fn note(&mut self, text: &str) {
        self.observer.note(text);
        self.notes.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reaches_copies_and_nobody_else() {
        let (one, other) = (Context::default(), Context::default());
        let copy = one.clone();
        let work = copy.cancel.graceful_shutdown();
        assert!(one.cancel.request(), "work that ends by itself is waited for");
        assert!(!one.cancel.request(), "but not by somebody who asks twice");
        drop(work);
        assert!(copy.cancel.requested() && !other.cancel.requested());
        assert_eq!((copy.cancel.check(), other.cancel.check()), (Err(Stopped), Ok(())));
        assert!(!other.cancel.request(), "nothing is under way there");
    }

    #[test]
    fn values_are_not_printed() {
        let context =
            Context::default().with("OPENAI_API_KEY", Some("sk-secret")).with("HF_TOKEN", Some(" "));
        assert_eq!(context.variable("OPENAI_API_KEY"), Some("sk-secret"));
        assert_eq!(context.variable("HF_TOKEN"), None, "blank is not set");
        assert!(!format!("{context:?}").contains("secret"));
        assert_eq!(context.with("OPENAI_API_KEY", None).variable("OPENAI_API_KEY"), None);
    }
}
