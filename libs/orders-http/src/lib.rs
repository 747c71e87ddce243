//! What the HTTP services share: [`Forward`] passes requests on to another service, [`observe`] tells of each request.

mod forward;
mod observe;

pub use forward::{Forward, Unanswered, client_address};
pub use observe::observe;
