//! The one place that lets go of the interpreter's lock. Work runs on a thread of its own; the caller's thread looks
//! ten times a second whether a signal came, and tells whoever watches. Ctrl-C asks the work to stop, waits until it
//! has, and becomes `KeyboardInterrupt`: the same call then goes on from there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use wimhf::{Cancel, Context, Error, ErrorKind, Observer};

use crate::errors::{defect, exception};

/// Between two looks at signals.
const TICK: Duration = Duration::from_millis(100);
/// Deep enough for nested data, which the main thread's stack would be, too.
const STACK: usize = 16 << 20;

/// The process whose threads compute. A forked one inherits the pools but not their threads and would wait for ever.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Runs `job` without the interpreter's lock and returns what it returns.
pub fn work<T: Send>(
    watcher: Option<&Bound<'_, PyAny>>,
    py: Python<'_>,
    job: impl FnOnce(&Context, &mut dyn Observer) -> Result<T, Error> + Send,
) -> PyResult<T> {
    not_forked().map_err(|error| exception(&error))?;
    let context = environment();
    let cancel = context.cancel.clone();
    let watcher = watcher.map(|watcher| watcher.clone().unbind());
    let (outcome, raised) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, events) = channel();
            let run = move || {
                let mut told = Told(sender);
                catch_unwind(AssertUnwindSafe(|| job(&context, &mut told)))
            };
            let worker =
                thread::Builder::new().name("wimhf".into()).stack_size(STACK).spawn_scoped(scope, run);
            match worker {
                Ok(worker) => {
                    let raised = attend(&events, &cancel, watcher.as_ref());
                    (worker.join().unwrap_or_else(Err), raised)
                }
                Err(error) => (Ok(Err(Error::new(ErrorKind::Internal, &error.to_string()))), None),
            }
        })
    });
    if let Some(raised) = raised {
        return Err(raised);
    }
    settled(outcome)
}

/// What the process's environment says now.
fn environment() -> Context {
    wimhf::limits::set(|name| std::env::var(name).ok());
    Context::from_environment()
}

/// Runs what is over in a moment and starts no threads, without the interpreter's lock.
pub fn moment<T: Send>(py: Python<'_>, job: impl FnOnce(&Context) -> Result<T, Error> + Send) -> PyResult<T> {
    let context = environment();
    settled(py.detach(|| catch_unwind(AssertUnwindSafe(|| job(&context)))))
}

fn settled<T>(outcome: thread::Result<Result<T, Error>>) -> PyResult<T> {
    match outcome {
        Ok(done) => done.map_err(|error| exception(&error)),
        Err(panic) => Err(exception(&defect(&*panic))),
    }
}

fn not_forked() -> Result<(), Error> {
    let me = std::process::id();
    match OWNER.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Err(owner) if owner != me => Err(Error::new(
            ErrorKind::Internal,
            "this process was forked from one in which wimhf had begun to compute, and has none of its threads\n\
             hint: fork before the first call, or start workers with multiprocessing's `spawn`",
        )),
        _ => Ok(()),
    }
}

/// What the work says.
enum Event {
    Stage(String, usize),
    Advance(usize),
    Metrics(usize, Vec<(String, f64)>),
    Finished(String, f64, bool),
    Note(String),
}

/// Passes on to the caller's thread. That it listens no more is no reason to stop.
struct Told(Sender<Event>);

impl Observer for Told {
    fn stage(&mut self, name: &str, total: usize) {
        let _ = self.0.send(Event::Stage(name.to_owned(), total));
    }

    fn advance(&mut self, done: usize) {
        let _ = self.0.send(Event::Advance(done));
    }

    fn metrics(&mut self, step: usize, values: &[(&str, f64)]) {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let _ = self.0.send(Event::Metrics(step, values));
    }

    fn finished(&mut self, name: &str, seconds: f64, reused: bool) {
        let _ = self.0.send(Event::Finished(name.to_owned(), seconds, reused));
    }

    fn note(&mut self, text: &str) {
        let _ = self.0.send(Event::Note(text.to_owned()));
    }
}

/// Listens until the work is over; what a signal or the watcher raised, once it is.
fn attend(events: &Receiver<Event>, cancel: &Cancel, watcher: Option<&Py<PyAny>>) -> Option<PyErr> {
    let mut raised = None;
    loop {
        let (heard, over) = listen(events);
        if raised.is_none() {
            let said = Python::attach(|py| {
                py.check_signals()?;
                watcher.map_or(Ok(false), |watcher| tell(py, watcher, &heard))
            });
            match said {
                Ok(false) => {}
                Ok(true) => {
                    cancel.request();
                }
                Err(error) => {
                    cancel.request();
                    raised = Some(error);
                }
            }
        }
        if over {
            return raised;
        }
    }
}

/// What is said until the next look at signals, and whether that was all. Of steps in a row the last one is enough.
fn listen(events: &Receiver<Event>) -> (Vec<Event>, bool) {
    let until = Instant::now() + TICK;
    let mut heard: Vec<Event> = Vec::new();
    loop {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(event) => {
                if matches!((heard.last(), &event), (Some(Event::Advance(_)), Event::Advance(_))) {
                    heard.pop();
                }
                heard.push(event);
            }
            Err(RecvTimeoutError::Timeout) => return (heard, false),
            Err(RecvTimeoutError::Disconnected) => return (heard, true),
        }
        if Instant::now() >= until {
            return (heard, false);
        }
    }
}

/// Calls the watcher with what was heard; whether it wants the work to stop.
fn tell(py: Python<'_>, watcher: &Py<PyAny>, heard: &[Event]) -> PyResult<bool> {
    let list = PyList::empty(py);
    for event in heard {
        match event {
            Event::Stage(name, total) => list.append(("stage", name, total))?,
            Event::Advance(done) => list.append(("advance", done))?,
            Event::Metrics(step, values) => {
                let figures = PyDict::new(py);
                for (name, value) in values {
                    figures.set_item(name, value)?;
                }
                list.append(("metrics", step, figures))?;
            }
            Event::Finished(name, seconds, reused) => list.append(("finished", name, seconds, reused))?,
            Event::Note(text) => list.append(("note", text))?,
        }
    }
    watcher.call1(py, (list,))?.extract(py)
}
