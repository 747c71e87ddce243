//! How long each part of a shutdown may take. The drain of a [`Departure`](crate::Departure) comes before it.
//!
//! The parts follow one another, and their sum stays below [`GRACE`], so a daemon that uses up every part still exits by
//! itself: a daemon with an API takes [`REQUESTS`] and [`FLUSH`] (3 s), all others [`WORK`], [`RELEASE`], [`FLUSH`] and
//! [`PROBES`] (3 s). What is then left of [`PROMISE`] is for the [last spans](TRACES).

use std::time::Duration;

/// Daemons promise to be gone 4 s after SIGTERM and their drain, if they have one; process managers kill after 5 s.
pub const PROMISE: Duration = Duration::from_millis(3900);

/// Everything but the last spans.
pub const GRACE: Duration = Duration::from_millis(3500);

/// API requests in hand: after that their connections are dropped.
pub const REQUESTS: Duration = Duration::from_millis(2500);

/// Publishes under way for an API request, as a part of [`REQUESTS`]: after that they count as not acknowledged.
pub const LAST_ACKS: Duration = Duration::from_secs(1);

/// Batches and payments in hand: after that they are released, to be delivered again.
pub const WORK: Duration = Duration::from_millis(1500);

/// Giving back the messages that are held or gathered.
pub const RELEASE: Duration = Duration::from_millis(500);

/// The last flush of the connection to NATS.
pub const FLUSH: Duration = Duration::from_millis(500);

/// Requests for health and metrics that are in hand when everything else has ended.
pub const PROBES: Duration = Duration::from_millis(500);

/// Spans that the collector does not have, at most: after that they are lost.
pub const TRACES: Duration = Duration::from_secs(1);

const _: () = assert!(sum(&[REQUESTS, FLUSH]) < GRACE.as_millis());
const _: () = assert!(sum(&[WORK, RELEASE, FLUSH, PROBES]) < GRACE.as_millis());
const _: () = assert!(GRACE.as_millis() < PROMISE.as_millis());
const _: () = assert!(LAST_ACKS.as_millis() < REQUESTS.as_millis());

const fn sum(parts: &[Duration]) -> u128 {
    match parts {
        [] => 0,
        [first, rest @ ..] => first.as_millis() + sum(rest),
    }
}
