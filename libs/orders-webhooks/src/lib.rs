//! Signatures of webhooks by Standard Webhooks 1.0, of the symmetric kind (`v1`, HMAC-SHA256): for whoever sends and for
//! whoever receives them.
//!
//! The crate standardwebhooks does the same, but takes an empty secret for one, reads the clock by itself, and its version
//! 1.0.0 accepts an empty signature.

mod secret;
mod signature;

pub use secret::{InvalidSecret, Secret};
pub use signature::{Signed, TOLERANCE, is_fresh};

/// The names of the headers.
pub mod header {
    /// The id of the webhook, the same on every attempt.
    pub const ID: &str = "webhook-id";
    /// The seconds since the Unix epoch at which the attempt was sent.
    pub const TIMESTAMP: &str = "webhook-timestamp";
    /// The signatures, separated by spaces.
    pub const SIGNATURE: &str = "webhook-signature";
}
