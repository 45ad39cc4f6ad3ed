//! How many requests run at once, and when it is no use to go on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::{Failure, FailureKind, NetError, Policy};
use crate::rng;

/// How often a waiting thread looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Failures in a row from which on one request at a time feels its way.
const SUSPECT: u32 = 4;

/// Attempts that one request must have failed before a server that has never answered is given up.
const COLD_ATTEMPTS: u32 = 3;

/// Failures of one request that count against a server that has answered others: what fails oftener may be too much
/// for it alone.
const COUNTED: u32 = 3;

/// While a server answers others, or did so a moment ago, a request that it fails waits no longer than this: its
/// failures are no sign that there is too much to do.
const WELL_WAIT: Duration = Duration::from_secs(4);
/// How long that moment is.
const MOMENT: Duration = Duration::from_secs(60);

/// How often a request is written anew. There are fewer wishes than that.
const MENDS: u32 = 40;

/// What all requests to a server share: a limit that follows how it copes (up by one a round, halved when it is
/// busy), a time before which nothing is sent, and the count of failures that ends it all.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    /// Failures in a row that end it; where requests are given up one by one, more than those of as many as run at once.
    most: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    limit: f64,
    running: usize,
    /// Failures without a success between.
    failures: u32,
    /// Failures before the first success, but for those of a server that is busy.
    cold: Option<u32>,
    /// It has answered in an earlier run.
    known: bool,
    /// When it last answered well.
    answered: Option<Instant>,
    not_before: Instant,
    halved: Instant,
    down: Option<NetError>,
}

/// The right to send one request; ends when it is dropped.
struct Permit<'a>(&'a Gate);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.changed.notify_one();
    }
}

impl Gate {
    /// Opens with a few requests at once.
    pub fn new(policy: Policy) -> Self {
        let now = Instant::now();
        let state = State {
            limit: policy.concurrency.clamp(1, 4) as f64,
            running: 0,
            failures: 0,
            cold: Some(0),
            known: false,
            answered: None,
            not_before: now,
            halved: now,
            down: None,
        };
        let at_once = COUNTED.saturating_mul(policy.concurrency as u32).saturating_add(1);
        let most = if policy.one_by_one { policy.failures.max(at_once) } else { policy.failures };
        Self { policy, most, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The policy it was made with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its answers stand in the cache: one request that it fails does not mean that it is not there.
    pub fn expect_answers(&self) {
        self.lock().known = true;
    }

    /// A request was given up that the server fails alone: its failures say nothing of the others.
    pub fn forgive(&self) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_sub(COUNTED);
    }

    /// Whether it has answered well, now or in an earlier run.
    pub fn has_answered(&self) -> bool {
        let state = self.lock();
        state.known || state.answered.is_some()
    }

    /// Repeats `attempt` until it succeeds or there is no hope. `name` makes the waits of each request its own.
    ///
    /// # Errors
    /// See [`NetError`].
    pub fn with_retries<T>(
        &self,
        name: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, NetError> {
        let mut chance = rng::stream(self.policy.seed, &format!("waits {name}"));
        let (mut attempts, mut mends) = (0, 0);
        loop {
            let outcome = {
                let _permit = self.enter()?;
                attempt()
            };
            let failure = match outcome {
                Ok(value) => {
                    self.succeeded();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            match failure.kind {
                // The server is well, it just does not want this.
                FailureKind::Fatal(hint) => return Err(NetError::Refused { message: failure.message, hint }),
                FailureKind::TooLarge => {
                    let hint =
                        "this server reads less at a time; give it a longer context, or name another model";
                    return Err(NetError::TooLarge { message: failure.message, hint });
                }
                FailureKind::Mended => {
                    mends += 1;
                    if mends > MENDS {
                        let hint = "check the model's name and what the server supports";
                        return Err(NetError::Refused { message: failure.message, hint });
                    }
                    continue;
                }
                FailureKind::Busy(Some(asked)) if asked > self.policy.longest_asked => {
                    let hint = "the server asks to wait very long; the same command goes on from here later";
                    return Err(NetError::Refused { message: failure.message, hint });
                }
                FailureKind::Again | FailureKind::Busy(_) => {}
            }
            attempts += 1;
            self.failed(&failure, attempts);
            if attempts >= self.policy.attempts {
                let hint =
                    failure.hint_or("see whether the server is well; the same command goes on from here");
                return Err(NetError::GivenUp { attempts, message: failure.message, hint });
            }
            self.pause(self.wait(attempts, &failure, &mut chance))?;
        }
    }

    /// Doubled with every attempt, and by chance up to as much again, so that not all come back at the same moment.
    fn wait(&self, attempts: u32, failure: &Failure, chance: &mut impl Rng) -> Duration {
        let doubled = self.policy.first_wait.saturating_mul(1 << (attempts - 1).min(20));
        let is_well = failure.reached && failure.kind == FailureKind::Again && {
            let state = self.lock();
            state.answered.map_or(state.known, |at| at.elapsed() < MOMENT)
        };
        let longest = if is_well { WELL_WAIT } else { Duration::MAX };
        doubled.min(self.policy.longest_wait).min(longest).mul_f64(1.0 + chance.random::<f64>())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it counted leaves the count as good as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to send.
    fn enter(&self) -> Result<Permit<'_>, NetError> {
        let mut state = self.lock();
        loop {
            if self.policy.context.cancel.requested() {
                return Err(NetError::Stopped);
            }
            if let Some(down) = &state.down {
                return Err(down.clone());
            }
            let now = Instant::now();
            let limit = if state.failures >= SUSPECT { 1 } else { state.limit as usize };
            if now >= state.not_before && state.running < limit.max(1) {
                state.running += 1;
                return Ok(Permit(self));
            }
            let wait = state.not_before.saturating_duration_since(now).clamp(Duration::from_millis(5), LOOK);
            state =
                self.changed.wait_timeout(state, wait).map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
    }

    /// Waits, but not for a user who wants to stop.
    fn pause(&self, wait: Duration) -> Result<(), NetError> {
        let until = Instant::now() + wait;
        loop {
            if self.policy.context.cancel.requested() {
                return Err(NetError::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn succeeded(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.cold = None;
        state.answered = Some(Instant::now());
        state.limit = (state.limit + 1.0 / state.limit).min(self.policy.concurrency.max(1) as f64);
        drop(state);
        self.changed.notify_all();
    }

    fn failed(&self, failure: &Failure, attempts: u32) {
        let mut state = self.lock();
        let now = Instant::now();
        let is_its_own = self.policy.one_by_one
            && (state.known || state.answered.is_some())
            && failure.reached
            && failure.kind == FailureKind::Again;
        if !is_its_own || attempts <= COUNTED {
            state.failures += 1;
        }
        let is_there = state.known && failure.reached;
        if let (Some(cold), FailureKind::Again, false) = (&mut state.cold, failure.kind, is_there) {
            *cold += 1;
        }
        if let FailureKind::Busy(asked) = failure.kind {
            // Requests that were sent together fail together: they say it once.
            if now.duration_since(state.halved) > self.policy.first_wait {
                state.limit = (state.limit / 2.0).max(1.0);
                state.halved = now;
            }
            if let Some(asked) = asked {
                state.not_before = state.not_before.max(now + asked);
            }
        }
        // Requests that were sent together fail together, and one hiccup is none of a server that does not run: it has
        // to fail the same request again.
        let cold =
            attempts >= COLD_ATTEMPTS && state.cold.is_some_and(|count| count >= self.policy.cold_failures);
        if (cold || state.failures >= self.most) && state.down.is_none() {
            let (failures, message) = (state.failures, failure.message.clone());
            let hint =
                failure.hint_or("see whether it runs and is reachable; the same command goes on from here");
            state.down = Some(NetError::Down { failures, message, hint });
        }
        drop(state);
        self.changed.notify_all();
    }
}
