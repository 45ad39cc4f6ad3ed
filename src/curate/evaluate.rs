//! placeholder
/// Why.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {}
impl EvaluateError {
    /// .
    pub fn is_users(&self) -> bool {
        true
    }
}
