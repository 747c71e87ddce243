//! What `orderctl top --json` prints: one object.
//!
//! Fields are added, but never renamed, removed or given another meaning. `null` means that it is not known, or that there
//! is none. Times are in seconds.

use std::collections::BTreeMap;

use orders_contracts::Timestamp;
use serde::Serialize;

/// The pipeline at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// When this was seen, by the clock of this machine.
    pub(super) time: Timestamp,
    /// The time before it that `perSecond` and `lately` are of.
    pub(super) window_seconds: f64,
    /// What could not be seen, and why, in words; empty if everything was.
    pub(super) unseen: Vec<String>,
    /// What became of orders.
    pub(super) orders: Orders,
    /// How long things take.
    pub(super) latencies: Latencies,
    /// Who listens.
    pub(super) listeners: Listeners,
    /// What daemons gave up on.
    pub(super) dead_letters: DeadLetters,
    /// Those who read the streams.
    pub(super) consumers: Vec<Consumer>,
    /// The streams.
    pub(super) streams: Vec<Stream>,
    /// The daemons that are connected to NATS, and those that should be.
    pub(super) daemons: Vec<Daemon>,
}

/// What became of orders.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Orders {
    /// Creates that made an order (201).
    pub(super) created: Count,
    /// Creates whose order was there already (200).
    pub(super) repeated: Count,
    /// Creates that were stored, and not decided in time (202).
    pub(super) accepted: Count,
    /// Creates that were refused, whoever is to blame.
    pub(super) refused: Count,
    /// The same by the status of the answer, of those there were.
    pub(super) refused_by_status: BTreeMap<u16, Count>,
    /// Orders that lists came to show as paid.
    pub(super) paid: Count,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Count {
    /// Since the start of each process that answers.
    pub(super) total: Option<u64>,
    /// Lately.
    pub(super) per_second: Option<f64>,
}

/// How long things take, estimated from the buckets of histograms.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Latencies {
    /// The answer to a create that did not fail.
    pub(super) create: Latency,
    /// From a create until lists show the order.
    pub(super) listed: Latency,
    /// From a create until lists show the order as paid, without the delay of its payment.
    pub(super) paid: Latency,
    /// From a change of an order until sockets hear of it.
    pub(super) socket: Latency,
}

/// How long one thing takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Latency {
    /// Lately; `null` if it did not happen.
    pub(super) lately: Option<Quantiles>,
    /// Since the start of each process that answers.
    pub(super) since_start: Option<Quantiles>,
}

/// What half, and all but one in a hundred, did not exceed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quantiles {
    /// How many there were.
    pub(super) count: u64,
    /// What half did not exceed.
    pub(super) p50_seconds: f64,
    /// What 99 of 100 did not exceed.
    pub(super) p99_seconds: f64,
    /// The largest that is measured: one of the others that equals it may be any larger one.
    pub(super) largest_seconds: f64,
}

/// Who listens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listeners {
    /// Sockets.
    pub(super) sockets: Option<u64>,
    /// Streams of Server-Sent Events.
    pub(super) followers: Option<u64>,
}

/// What daemons gave up on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetters {
    /// Those that wait for an operator.
    pub(super) waiting: Option<u64>,
    /// The age of the oldest of them.
    pub(super) oldest_seconds: Option<f64>,
    /// Messages given up.
    pub(super) given_up: Count,
}

/// A daemon's place in a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Consumer {
    /// Its stream.
    pub(super) stream: &'static str,
    /// Its name, which is its daemon's.
    pub(super) consumer: &'static str,
    /// Messages that are not delivered yet.
    pub(super) pending: Option<u64>,
    /// Messages that are delivered and not settled.
    pub(super) in_hand: Option<u64>,
    /// The age of the oldest message that is not settled.
    pub(super) oldest_seconds: Option<f64>,
    /// Requests for messages that wait for some.
    pub(super) waiting_pulls: Option<u64>,
    /// Messages that were settled lately; not known where it wants only some of the stream's.
    pub(super) per_second: Option<f64>,
    /// Messages, at most, that left the stream before it got them.
    pub(super) lost: u64,
    /// Whether it gets on.
    pub(super) state: Progress,
}

/// Whether a consumer gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Progress {
    /// It does.
    Fine,
    /// It had work all the time and settled nothing.
    Stuck,
    /// Nobody reads it.
    NoReader,
    /// Somebody has paused it.
    Paused,
    /// Messages left the stream before it got them.
    Lost,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stream {
    /// Its name, without the namespace.
    pub(super) stream: &'static str,
    /// Messages in it.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The most bytes it holds.
    pub(super) max_bytes: Option<u64>,
    /// The share of what it may hold, from 0 to 1.
    pub(super) fullness: Option<f64>,
    /// Whether it refuses messages when it is full; others drop their oldest.
    pub(super) refuses_when_full: bool,
    /// Messages that the slowest of its readers has not settled.
    pub(super) unread: Option<u64>,
    /// Messages that came in lately.
    pub(super) per_second: Option<f64>,
    /// How long a message stays in it at this rate; `null` for a stream that keeps messages until they are settled.
    pub(super) keeps_seconds: Option<f64>,
    /// When it is full at this rate and refuses messages; only of a stream that keeps messages until they are settled.
    pub(super) full_in_seconds: Option<f64>,
    /// When it drops the first message that nobody has read, at this rate; only if there are such messages.
    pub(super) loses_unread_in_seconds: Option<f64>,
}

/// A process, or a daemon of which none answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Daemon {
    /// Its name, such as `writer`.
    pub(super) daemon: String,
    /// The process among several of that name, such as `writer.2`.
    pub(super) instance: Option<String>,
    /// Its version and the commit it was built from.
    pub(super) version: Option<String>,
    /// The time since its start.
    pub(super) uptime_seconds: Option<u64>,
    /// Whether it works.
    pub(super) state: State,
    /// Why it is not ready, in words.
    pub(super) problem: Option<String>,
    /// The time since its last answer, of one that answered before.
    pub(super) silent_seconds: Option<f64>,
}

/// Whether a daemon works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// It does.
    Ready,
    /// It says that it is not ready.
    NotReady,
    /// It does not answer.
    Silent,
}
