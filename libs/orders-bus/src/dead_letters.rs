//! Messages that a daemon gave up: `write` stores them, `admin` is what operators do to them, `audit` records that.

mod admin;
mod audit;
mod letter;
mod write;

pub use admin::{DeadLetterProgress, SentAgain};
pub use audit::AuditPage;
pub use letter::{DeadLetterContent, DeadLetterFilter, DeadLetterPage};
pub use write::Reason;
pub(crate) use write::{Original, one_line};
