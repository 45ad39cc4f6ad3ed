//! What people read: the page, its plots and texts, in plain words. What programs read is made in `export`.

pub mod anonymise;
pub mod comparison;
pub mod constitution;
mod evidence;
mod html;
pub mod page;
mod plots;
pub mod review;
pub mod score;
pub mod text;

pub(crate) use anonymise::mask;
