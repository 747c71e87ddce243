//! Telling by metrics how streams and consumers are.

use std::time::Duration;

use orders_contracts::{
    Timestamp,
    streams::{Consumer, ORDERS_DLQ, Stream},
};
use orders_service::{
    chain,
    metrics::{
        CONSUMER_ACK_FLOOR, CONSUMER_ACK_PENDING, CONSUMER_OLDEST_UNACKED, CONSUMER_PENDING,
        CONSUMER_REDELIVERED, CONSUMER_WAITING_PULLS, Counter, DLQ_MESSAGES, MESSAGES_LOST,
        STREAM_BYTES, STREAM_BYTES_LIMIT, STREAM_FIRST_SEQUENCE, STREAM_LAST_SEQUENCE,
        STREAM_MESSAGES, UNKNOWN, counter, gauge,
    },
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{Bus, ConsumerState, Error, StreamState};

/// The pause between two reports.
const EVERY: Duration = Duration::from_secs(5);
/// How many reports rely on one comparison of the clocks.
const CLOCK: u32 = 12;

impl Bus {
    /// Reports by metrics how `streams` and `consumers` are, until `shutdown`: what the server says now, and nothing while
    /// it says nothing. It asks one thing at a time.
    ///
    /// Whoever fills a stream reports its consumers as whoever reads it does: if one of the two is dead, the other still
    /// tells of the lag.
    pub fn report(
        &self,
        streams: &[Stream],
        consumers: &[Consumer],
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let mut reporter = Reporter::new(self.clone(), streams, consumers);
        async move {
            let reports = async {
                for round in 0_u32.. {
                    if round.is_multiple_of(CLOCK) {
                        reporter.compare_clocks().await;
                    }
                    reporter.report().await;
                    sleep(EVERY).await;
                }
            };
            Box::pin(shutdown.run_until_cancelled(reports)).await;
        }
    }
}

struct Reporter {
    bus: Bus,
    streams: Vec<(Stream, Vec<Watched>)>,
    /// How many milliseconds the server's clock is ahead.
    ahead: i64,
}

/// A consumer, and what was lost to it.
struct Watched {
    consumer: Consumer,
    lost: Counter,
    losses: Losses,
}

impl Reporter {
    /// From now on all of them are known by name, and nothing else is known.
    fn new(bus: Bus, streams: &[Stream], consumers: &[Consumer]) -> Self {
        let watched = |consumer: &Consumer| Watched {
            consumer: *consumer,
            lost: counter!(
                MESSAGES_LOST,
                "stream" => consumer.stream.name, "consumer" => consumer.durable
            ),
            losses: Losses::default(),
        };
        let of = |stream: &Stream| {
            let own = consumers
                .iter()
                .filter(|consumer| consumer.stream == *stream);
            (*stream, own.map(watched).collect())
        };
        let reporter = Self {
            bus,
            streams: streams.iter().map(of).collect(),
            ahead: 0,
        };
        for (stream, consumers) in &reporter.streams {
            tell_stream(stream, None);
            for Watched { consumer, .. } in consumers {
                tell_consumer(consumer, None, Timestamp::now());
            }
        }
        reporter
    }

    async fn compare_clocks(&mut self) {
        if let Some((stream, _)) = self.streams.first()
            && self.bus.is_connected()
            && let Ok(offset) = self.bus.clock_offset(stream).await
        {
            self.ahead = offset.ahead;
        }
    }

    async fn report(&mut self) {
        let (bus, ahead) = (&self.bus, self.ahead);
        for (stream, consumers) in &mut self.streams {
            // Before its consumers: see `ConsumerState::lost`.
            let contents = asked(bus, bus.stream_state(stream)).await;
            tell_stream(stream, contents.as_ref());
            for watched in consumers {
                let consumer = &watched.consumer;
                let state = asked(bus, bus.consumer_state(consumer)).await;
                tell_consumer(consumer, state.as_ref(), server_time(ahead));
                if let (Some(contents), Some(state)) = (&contents, &state) {
                    let lost = state.lost(consumer, contents);
                    watched
                        .lost
                        .increment(watched.losses.count(contents.first, lost));
                }
            }
        }
    }
}

/// What the server answers, if it does.
async fn asked<T>(
    bus: &Bus,
    question: impl Future<Output = Result<Option<T>, Error>>,
) -> Option<T> {
    if !bus.is_connected() {
        return None;
    }
    question.await.unwrap_or_else(|error| {
        debug!("cannot report: {}", chain(&error));
        None
    })
}

/// The server's time.
fn server_time(ahead: i64) -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millis(now.millis().saturating_add(ahead)).unwrap_or(now)
}

fn tell_stream(stream: &Stream, state: Option<&StreamState>) {
    let known = |number: fn(&StreamState) -> Option<u64>| {
        state
            .and_then(number)
            .map_or(UNKNOWN, |number| number as f64)
    };
    let messages = known(|state| Some(state.messages));
    for (metric, value) in [
        (STREAM_MESSAGES, messages),
        (STREAM_BYTES, known(|state| Some(state.bytes))),
        (STREAM_BYTES_LIMIT, known(|state| state.max_bytes)),
        (STREAM_FIRST_SEQUENCE, known(|state| Some(state.first))),
        (STREAM_LAST_SEQUENCE, known(|state| Some(state.last))),
    ] {
        gauge!(metric, "stream" => stream.name).set(value);
    }
    if *stream == ORDERS_DLQ {
        gauge!(DLQ_MESSAGES).set(messages);
    }
}

fn tell_consumer(consumer: &Consumer, state: Option<&ConsumerState>, now: Timestamp) {
    let known =
        |number: fn(&ConsumerState) -> u64| state.map_or(UNKNOWN, |state| number(state) as f64);
    let age = |state: &ConsumerState| {
        state
            .oldest
            .map_or(0.0, |oldest| now.since(oldest).as_secs_f64())
    };
    for (metric, value) in [
        (CONSUMER_PENDING, known(|state| state.pending)),
        (CONSUMER_ACK_PENDING, known(|state| state.ack_pending)),
        (CONSUMER_REDELIVERED, known(|state| state.redelivered)),
        (CONSUMER_WAITING_PULLS, known(|state| state.waiting)),
        (CONSUMER_OLDEST_UNACKED, state.map_or(UNKNOWN, age)),
        (CONSUMER_ACK_FLOOR, known(|state| state.ack_floor)),
    ] {
        let (stream, consumer) = (consumer.stream.name, consumer.durable);
        gauge!(metric, "stream" => stream, "consumer" => consumer).set(value);
    }
}

/// Counts each lost message once, although it stays lost.
#[derive(Debug, Default)]
struct Losses {
    /// The sequence below which all that were lost are counted.
    counted: u64,
}

impl Losses {
    /// How many are new of the `lost` messages before `first`, the first in the stream.
    fn count(&mut self, first: u64, lost: u64) -> u64 {
        if first < self.counted {
            // Another stream has taken its place.
            self.counted = 0;
        }
        if lost == 0 {
            return 0;
        }
        let new = lost.min(first - self.counted);
        self.counted = first;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lost_message_counts_once() {
        let mut losses = Losses::default();
        for (first, lost, new) in [
            (1, 0, 0),
            // 5 to 9, and then 10 and 11.
            (10, 5, 5),
            (10, 5, 0),
            (12, 7, 2),
            // The consumer goes on, and the stream drops what it has acked.
            (30, 0, 0),
            (40, 3, 3),
            // The stream was made again.
            (1, 0, 0),
            (4, 3, 3),
        ] {
            assert_eq!(losses.count(first, lost), new, "{first}: {lost}");
        }
    }
}
