//! A panic inside a library, caught in one place: its text goes into our message or nowhere, never onto the user's
//! screen on its own.
//!
//! Damaged bytes make some readers panic where they should return an error. [`caught`] turns that into a value; while
//! it runs, the panic hook is silent on every thread, as libraries work on threads of their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

static QUIET: AtomicUsize = AtomicUsize::new(0);
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// What a library said when it gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// Its words, on one line and short.
    pub message: String,
    /// The system gave no more threads or memory: it is not the input's fault.
    pub is_out_of_threads: bool,
}

const NO_THREADS: &str = "the system gives no more threads";
/// What helps where the system gives no more threads.
pub const THREADS_HINT: &str = "the system allows too few threads: raise the limit (`ulimit -u`), or use fewer with `RAYON_NUM_THREADS=1 POLARS_MAX_THREADS=1`";

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        let message: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        let lower = message.to_lowercase();
        let is_out_of_threads = ["thread", "wouldblock", "resource temporarily unavailable"]
            .iter()
            .filter(|word| lower.contains(**word))
            .count()
            > 1
            || lower.contains("threadpoolbuild")
            || lower.contains("failed to spawn thread");
        // Its own words are a structure of the standard library's.
        let message = if is_out_of_threads { NO_THREADS.to_owned() } else { message };
        Self { message, is_out_of_threads }
    }
}

impl Panicked {
    /// Its words in brackets, for a message about a file, as far as they are words: how the types of a library print
    /// says nothing to a reader. Empty where nothing is left.
    pub fn aside(&self) -> String {
        let inner = ["unwrap()", "Err(", "ErrString(", "Some(", " {", "assertion"];
        match inner.iter().any(|part| self.message.contains(part)) {
            true => String::new(),
            false => format!(" ({})", self.message),
        }
    }
}

/// Sets the hook once and for all: threads that swap each other's hooks would lose one.
pub fn set_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string);
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = place;
            if QUIET.load(Ordering::SeqCst) == 0 {
                earlier(info);
            }
        }));
    });
}

/// Does something in which a library may panic.
///
/// # Errors
/// Where it did.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    set_hook();
    QUIET.fetch_add(1, Ordering::SeqCst);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.fetch_sub(1, Ordering::SeqCst);
    outcome.map_err(|payload| Panicked::new(payload.as_ref()))
}

/// Where in the source the last panic was: for the message about a defect of ours.
pub fn last_place() -> Option<String> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value_with_its_words() {
        assert_eq!(caught(|| 3), Ok(3));
        let said = caught(|| std::panic::panic_any("index out\nof bounds")).unwrap_err();
        assert_eq!((said.message.as_str(), said.is_out_of_threads), ("index out of bounds", false));
        assert_eq!(said.aside(), " (index out of bounds)");
        let said =
            caught(|| std::panic::panic_any("called `Result::unwrap()` on an `Err` value: X")).unwrap_err();
        assert_eq!(said.aside(), "");
        let words = "called `Result::unwrap()` on an `Err` value: ThreadPoolBuildError { kind: IOError(Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }) }";
        let said = caught(|| std::panic::panic_any(words.to_owned())).unwrap_err();
        assert_eq!((said.message.as_str(), said.is_out_of_threads), (NO_THREADS, true));
        assert!(last_place().is_some_and(|place| place.contains("panics.rs")));
    }
}
