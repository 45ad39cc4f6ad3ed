//! Randomness, from one seed that the user gives.
//!
//! Every stage draws from a stream of its own, named after what it is for. So a stage that is
//! redone, or a new stage in between, changes no other stage's draws.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator of the stream `purpose` under the run's `seed`; the same on every machine.
pub fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Some of `from`, drawn for `purpose`, in ascending order; all of them where there are no more than `count`.
pub fn sample(seed: u64, purpose: &str, from: &[u32], count: usize) -> Vec<u32> {
    let mut drawn = from.to_vec();
    drawn.shuffle(&mut stream(seed, purpose));
    drawn.truncate(count);
    drawn.sort_unstable();
    drawn
}
