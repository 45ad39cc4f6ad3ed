//! What is held constant when an effect is estimated.

/// What is held constant when a feature's effect is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// The lengths of the two responses: the difference of their words and, where it is known, the logarithm of
    /// their ratio, so that length may bend (ten words more are much in a line and nothing on a page).
    #[default]
    Length,
    /// Nothing; for features that are themselves about length.
    Nothing,
}
