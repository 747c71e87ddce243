//! All streams and consumers at one moment, as `doctor` and `top` see them, and what two such looks tell.

use std::time::Duration;

use futures_util::future::join_all;
use orders_bus::{ConsumerState, Error, Operator, StreamState};
use orders_contracts::{
    Timestamp,
    streams::{ALL, Consumer, Policy, Stream},
};
use tokio::time::Instant;

/// The daemons that are connected to NATS in every mode.
pub(crate) const DAEMONS: [&str; 5] = [
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
];

/// All streams and consumers at one moment.
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) streams: Vec<(Stream, StreamState)>,
    pub(crate) consumers: Vec<(Consumer, ConsumerState)>,
    /// Those that do not exist.
    pub(crate) missing: Vec<String>,
    /// Why others could not be looked at.
    pub(crate) errors: Vec<Error>,
}

impl Look {
    pub(crate) async fn at(bus: &Operator, consumers: [Consumer; 4]) -> Self {
        let mut look = Self {
            at: Instant::now(),
            streams: Vec::new(),
            consumers: Vec::new(),
            missing: Vec::new(),
            errors: Vec::new(),
        };
        let streams = ALL.into_iter();
        let states = streams.map(async |stream| (stream, bus.stream_state(&stream).await));
        for (stream, state) in join_all(states).await {
            match state {
                Ok(Some(state)) => look.streams.push((stream, state)),
                Ok(None) => look.missing.push(format!("stream {}", stream.name)),
                Err(error) => look.errors.push(error),
            }
        }
        // After the streams: what a consumer acks in between may leave its stream.
        let consumers = consumers.into_iter();
        let states =
            consumers.map(async |consumer| (consumer, bus.consumer_state(&consumer).await));
        for (consumer, state) in join_all(states).await {
            match state {
                Ok(Some(state)) => look.consumers.push((consumer, state)),
                Ok(None) => look.missing.push(format!("consumer {consumer}")),
                Err(error) => look.errors.push(error),
            }
        }
        look
    }

    /// The look, or why there is something that could not be looked at.
    pub(crate) fn whole(mut self) -> Result<Self, Error> {
        match self.errors.is_empty() {
            true => Ok(self),
            false => Err(self.errors.swap_remove(0)),
        }
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamState> {
        let mut streams = self.streams.iter();
        let found = streams.find(|(stream, _)| stream.name == name);
        found.map(|(_, state)| state)
    }

    pub(crate) fn consumer(&self, consumer: &Consumer) -> Option<&ConsumerState> {
        let mut consumers = self.consumers.iter();
        let found = consumers.find(|(found, _)| found == consumer);
        found.map(|(_, state)| state)
    }
}

/// The age of the oldest message that a consumer has not settled; zero if there is none.
pub(crate) fn age(state: &ConsumerState) -> Duration {
    let age = |oldest| Timestamp::now().since(oldest);
    state.oldest.map_or(Duration::ZERO, age)
}

pub(crate) fn has_work(state: &ConsumerState) -> bool {
    state.pending + state.ack_pending > 0
}

/// Whether a consumer had work all the time between two looks, the later at messages up to `age` old, and settled nothing.
pub(crate) fn is_stuck(
    consumer: &Consumer,
    before: &ConsumerState,
    after: &ConsumerState,
    age: Duration,
) -> bool {
    // Messages that the daemon holds on purpose are no sign of trouble before they are overdue.
    let is_overdue = consumer.policy != Policy::HOLD || age > after.ack_wait;
    let is_still = before.ack_floor == after.ack_floor;
    has_work(before) && has_work(after) && is_still && is_overdue
}

/// The bytes that came into a stream between two looks, by the size of what it holds.
pub(crate) fn added(before: &StreamState, after: &StreamState) -> u64 {
    let each = after.bytes.checked_div(after.messages).unwrap_or(0);
    after.last.saturating_sub(before.last).saturating_mul(each)
}

/// How long `room` lasts where `used` bytes go in each `look`; `None` where nothing does.
pub(crate) fn lasts(room: u64, used: u64, look: Duration) -> Option<Duration> {
    if used == 0 {
        return None;
    }
    let seconds = room as f64 / used as f64 * look.as_secs_f64();
    Duration::try_from_secs_f64(seconds).ok()
}
