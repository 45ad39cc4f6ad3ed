//! Do they do what they say? What people write about a pair, held against their labels and the run's features.
//!
//! ```text
//! clauses     a reason ──► clauses: whom each is about, praise or complaint
//! lexicon     how people name the known concepts ("won't answer", "long-winded"), which is not what such responses say
//! reading     features that a clause names, for which response, as a merit or as a fault
//! resolved    sides as the pair has them, each feature once for each reason
//! measure     stated beside revealed: is it true of the pair, does the label go with it, what is never said
//! coverage    AutoLibra's coverage and redundancy of the reasons by the principles, with the random floor
//! themes      what reasons say that no feature covers
//! ```
//!
//! A reason is a text *about* responses: detectors of responses read it wrongly, so this is a reader of its own, by
//! rules, in English, without a model. It names a feature only where the words are plain; the rest shows as a theme.
//! Whether a merit is stated comes from the text alone, never from the label: else every reason would follow itself.
//!
//! A reason is written with the choice or after it. That it fits the choice is to be expected; that the pair shows what
//! it says is not. So "followed" goes by the pair: the preferred response has more of what is called good, as the run's
//! detector sees it. What the detector misses pulls that share towards one half; how often the statements are true of
//! their pair stands beside it.

mod clauses;
mod coverage;
mod lexicon;
mod measure;
mod reading;
mod resolved;
mod themes;

pub use clauses::{Clause, Who, clauses};
pub use coverage::{Coverage, ROUNDS, Sign};
pub use measure::{ALPHA, Asked, FEWEST, NEVER, ReasonRow, Reasons, Verdict, Wanted, When, measure};
pub use reading::{Read, Reader, Statement};
pub use resolved::{Aspect, Given, Loose, Resolved, Told, resolve};
pub use themes::Unnamed;

#[cfg(test)]
mod tests;
