//! Messages that a daemon gave up: `write` stores them, `admin` is what operators do to them.

mod admin;
mod letter;
mod write;

pub use admin::DeadLetterProgress;
pub use letter::{DeadLetterContent, DeadLetterFilter, DeadLetterPage};
pub use write::Reason;
pub(crate) use write::{Original, one_line};
