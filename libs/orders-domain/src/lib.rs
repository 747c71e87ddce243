//! The pure decisions of the orders pipeline.
//!
//! * [`Order`] is the write model: created once, then moved from PENDING to one final status.
//! * [`decide`] moves orders to a final status.
//! * [`backlog`] tells a lost event from one that is on its way.
//! * [`projection`] is the read model: it decides which events change a row, in whatever order they come.
//!
//! No async, no clock, no I/O: the daemons supply the stored state and the time, and carry out the decisions.

pub mod backlog;
mod details;
mod order;
pub mod projection;
mod transition;

pub use order::{Order, Repeat};
pub use transition::{Decision, Request, decide};
