//! Shared by the HTTP services: [`Forward`] forwards requests to another service, [`observe`] traces, logs and counts
//! requests.

mod forward;
mod observe;

pub use forward::{Forward, Unanswered, client_address};
pub use observe::observe;
