//! Files for programs: the run's tables, and its pairs for trainers, spreadsheets and other tools.

pub mod annotated_pairs;
pub mod audit;
pub mod comparison;
pub mod contexts;
pub mod decisions;
pub mod exports;
pub mod personalize;
pub mod ratings;
pub mod reasons;
mod rows;
pub mod tables;
pub mod trl;
