//! Many requests on plain threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};

use super::NetError;
use crate::context::Cancel;

/// Does `work` for the items that `next` gives, on up to `threads` threads, and hands every answer to `done` as it
/// comes, in any order. `next` and `done` run on the caller's thread, so they need no locks.
///
/// After the first error, and when the user wants to stop, no item is begun any more; those that are under way are
/// waited for and their answers kept.
///
/// # Errors
/// The first error of `next`, `work` or `done`; [`NetError::Stopped`].
pub fn for_each<T: Send, A: Send, E: From<NetError>>(
    threads: usize,
    cancel: &Cancel,
    next: &mut dyn FnMut() -> Result<Option<T>, E>,
    work: &(dyn Fn(&T) -> Result<A, NetError> + Sync),
    done: &mut dyn FnMut(T, A) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    // While it lasts, Ctrl-C asks instead of ending the process.
    let _graceful = cancel.graceful_shutdown();
    let (to_workers, items) = mpsc::channel::<T>();
    let items = Mutex::new(items);
    let (answers, from_workers) = mpsc::channel::<(T, Result<A, NetError>)>();
    std::thread::scope(|scope| {
        let mut first: Option<E> = None;
        let mut running = 0;
        let mut started = 0;
        let mut more = true;
        loop {
            if more && first.is_none() && cancel.requested() {
                first = Some(NetError::Stopped.into());
            }
            while more && first.is_none() && running < threads {
                match next() {
                    Ok(Some(item)) => {
                        // No more threads than there are items.
                        if started == running {
                            let (items, answers) = (&items, answers.clone());
                            scope.spawn(move || {
                                loop {
                                    let item = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
                                    let Ok(item) = item else { return };
                                    let answer = catch_unwind(AssertUnwindSafe(|| work(&item)));
                                    let answer = answer.unwrap_or_else(|_| Err(broken()));
                                    if answers.send((item, answer)).is_err() {
                                        return;
                                    }
                                }
                            });
                            started += 1;
                        }
                        // The workers live as long as the sender.
                        let _ = to_workers.send(item);
                        running += 1;
                    }
                    Ok(None) => more = false,
                    Err(error) => first = Some(error),
                }
            }
            if running == 0 {
                break;
            }
            let Ok((item, answer)) = from_workers.recv() else { break };
            running -= 1;
            let kept = answer.map_err(E::from).and_then(|answer| done(item, answer));
            if let Err(error) = kept {
                first.get_or_insert(error);
            }
        }
        drop(to_workers);
        // Asked to stop while the last ones were under way: all are kept, but the caller must not go on.
        match first {
            Some(error) => Err(error),
            None if cancel.requested() => Err(NetError::Stopped.into()),
            None => Ok(()),
        }
    })
}

/// A defect of ours, which must not leave the caller waiting for an answer that never comes.
fn broken() -> NetError {
    NetError::Refused {
        message: "an answer could not be handled".into(),
        hint: "report this as a defect, with what was printed above",
    }
}
