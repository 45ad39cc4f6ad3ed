//! Language models: what is sent to them, and what is believed of what they answer.
//!
//! Nothing here knows of features or effects. A dataset's texts are hostile until shown otherwise: they
//! go into a prompt cut and fenced ([`excerpt`]), and an answer is read only where it names things that no
//! text could have named ([`answers`]).

pub mod answers;
mod ask;
pub mod chat;
pub mod excerpt;
pub mod open;
pub mod prompts;
pub mod spending;
pub mod tokens;
pub mod which;
pub mod write;
