//! The pure decisions of the orders pipeline.
//!
//! * [`Order`] is the write model: created once, then moved from PENDING to one final status.
//! * [`decide`] moves orders to a final status.
//! * [`backlog`] tells a lost event from one that is on its way.
//! * [`projection`] is the read model: which events change a row, whatever their order and number.
//!
//! No async, no clock, no I/O: the daemons bring the stored state and the time, and carry out what is decided.

pub mod backlog;
mod order;
pub mod projection;
mod transition;

pub use order::{Order, Repeat};
pub use transition::{Decision, decide};
