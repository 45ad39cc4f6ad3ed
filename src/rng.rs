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

/// A number that depends on the seed, the purpose and these texts, and on nothing else: what decides by it does
/// not depend on the order of rows.
pub fn of_content(seed: u64, purpose: &str, content: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(purpose.as_bytes());
    for part in content {
        hash.update([0]);
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A text with every run of white space as one space and none at its ends: what tells prompts apart.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

/// Some of `from`, drawn for `purpose`, in ascending order; all of them where there are no more than `count`.
pub fn sample(seed: u64, purpose: &str, from: &[u32], count: usize) -> Vec<u32> {
    let mut drawn = from.to_vec();
    drawn.shuffle(&mut stream(seed, purpose));
    drawn.truncate(count);
    drawn.sort_unstable();
    drawn
}
