//! One workflow a file: what each verb does, from a request to a value that knows nothing of terminals.

pub mod analyze;
pub mod audit;
pub mod compare;
pub mod constitution;
pub mod contexts;
pub mod embed;
pub mod export;
pub mod inspect;
pub mod judge;
pub mod models;
pub mod personalize;
pub mod rate;
pub mod reasons;
pub mod relabel;
pub mod report;
pub mod score;
pub mod sweep;
