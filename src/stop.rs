//! Ctrl-C: at once where nothing is lost by it, and after the answers under way where they were paid for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static CAREFUL: AtomicUsize = AtomicUsize::new(0);

/// Whether the user wants to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// The user wants to stop. Returns whether the work under way will end by itself soon; else the process should end.
/// Somebody who asks twice does not want to wait.
pub fn request() -> bool {
    let again = REQUESTED.swap(true, Ordering::SeqCst);
    !again && CAREFUL.load(Ordering::SeqCst) > 0
}

/// Marks work that looks at [`requested`] and ends by itself, as long as it lives.
#[derive(Debug)]
pub struct Careful(());

/// Begins such work.
pub fn careful() -> Careful {
    CAREFUL.fetch_add(1, Ordering::SeqCst);
    Careful(())
}

impl Drop for Careful {
    fn drop(&mut self) {
        CAREFUL.fetch_sub(1, Ordering::SeqCst);
    }
}
