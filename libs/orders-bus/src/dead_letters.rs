//! Messages that a daemon gave up: `write` stores them, `admin` is what operators do to them.

mod admin;
mod write;

pub use admin::{
    DeadLetter, DeadLetterContent, DeadLetterFilter, DeadLetterPage, DeadLetterProgress,
};
pub use write::Reason;
pub(crate) use write::{Original, one_line};
