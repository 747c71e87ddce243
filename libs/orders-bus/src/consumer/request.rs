//! One request for messages, read to its end.
//!
//! async-nats' `Batch` takes the server's word that a request is done for the end of its messages. In a cluster that word
//! overtakes the messages, which wait until their delivery is copied. `Batch` would leave them to the ack wait.

use std::time::Duration;

use async_nats::{
    HeaderMap, StatusCode, Subscriber,
    jetstream::{
        self,
        consumer::{
            Consumer,
            pull::{BatchConfig, Config},
        },
    },
};
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{Bus, ROUND_TRIP, budget::Room};

/// How long one request stands. When another server takes over the consumer, it knows nothing of those that stand.
const EXPIRES: Duration = Duration::from_secs(5);
/// How long after the server's last word messages may still be on their way.
const LATE: Duration = Duration::from_secs(5);
/// The header that says how many of the messages asked for will not come.
const NOT_SENT: &str = "Nats-Pending-Messages";

/// The messages that were asked for.
pub(super) struct Request {
    messages: Subscriber,
    context: jetstream::Context,
    progress: Progress,
    /// When it ends by itself.
    end: Instant,
    connections: watch::Receiver<u64>,
    /// The last connection on which the server knows of the request.
    valid_for: u64,
}

/// How many messages are still to come. Pure.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    asked: usize,
    received: usize,
    /// As many as were asked for, until the server says that it has sent fewer.
    sent: usize,
}

/// What the server says of a request.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// It is done: the messages that it has sent are all.
    Done,
    /// Nothing that matters.
    Idle,
    /// It cannot serve it.
    Refused,
}

impl Request {
    /// Asks `consumer` for as many messages as there is `room` for.
    pub(super) async fn send(
        bus: &Bus,
        consumer: &Consumer<Config>,
        room: Room,
    ) -> Result<Self, String> {
        let connections = bus.connections.clone();
        // While there is none, the request is sent on the next one.
        let valid_for = *connections.borrow() + u64::from(!bus.is_connected());
        let inbox = async_nats::Subject::from(bus.client.new_inbox());
        let subscription = bus.client.subscribe(inbox.clone()).await;
        let messages = subscription.map_err(|error| error.to_string())?;
        // No idle heartbeats: expiry and the reconnection bound the wait.
        let request = BatchConfig {
            batch: room.messages,
            max_bytes: room.bytes,
            expires: Some(EXPIRES),
            ..BatchConfig::default()
        };
        let sent = consumer.request_batch(request, inbox).await;
        sent.map_err(|error| error.to_string())?;
        Ok(Self {
            messages,
            context: bus.jetstream.clone(),
            progress: Progress::of(room.messages),
            end: Instant::now() + EXPIRES + ROUND_TRIP,
            connections,
            valid_for,
        })
    }

    /// The next message; `None` after the last one, or when it will not come. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Option<jetstream::Message>, String> {
        while !self.progress.is_complete() {
            let message = tokio::select! {
                biased;
                message = self.messages.next() => message,
                _ = self.connections.wait_for(|now| *now > self.valid_for) => None,
                () = sleep_until(self.end) => None,
            };
            let Some(message) = message else {
                return Ok(None);
            };
            let status = message.status.unwrap_or(StatusCode::OK);
            if status == StatusCode::OK {
                self.progress.received += 1;
                let context = self.context.clone();
                return Ok(Some(jetstream::Message { message, context }));
            }
            match self.progress.hear(status, message.headers.as_ref()) {
                Word::Done => self.end = Instant::now() + LATE,
                Word::Idle => {}
                // Its messages count, and the next request will show whether it can be served.
                Word::Refused if self.progress.received > 0 => return Ok(None),
                Word::Refused => {
                    let said = message.description;
                    let said = said.as_ref().map_or("no reason", |said| said.as_str());
                    return Err(format!("{status} {said}"));
                }
            }
        }
        Ok(None)
    }
}

impl Progress {
    fn of(asked: usize) -> Self {
        Self {
            asked,
            received: 0,
            sent: asked,
        }
    }

    fn is_complete(&self) -> bool {
        self.received >= self.sent
    }

    fn hear(&mut self, status: StatusCode, headers: Option<&HeaderMap>) -> Word {
        if status == StatusCode::IDLE_HEARTBEAT {
            return Word::Idle;
        }
        let not_sent = headers.and_then(|headers| headers.get(NOT_SENT));
        let not_sent = not_sent.and_then(|count| count.as_str().parse().ok());
        let is_timeout = status == StatusCode::TIMEOUT;
        // A server that does not say how many has sent no more than came.
        let sent = match not_sent {
            Some(not_sent) => self.asked.saturating_sub(not_sent),
            None if is_timeout => self.received,
            None => return Word::Refused,
        };
        // The first message is too large for the request.
        if sent == 0 && !is_timeout {
            return Word::Refused;
        }
        self.sent = sent;
        Word::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFLICT: StatusCode = StatusCode::REQUEST_TERMINATED;

    fn not_sent(count: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            NOT_SENT.parse().expect("a name"),
            count.parse().expect("a value"),
        )])
    }

    #[test]
    fn messages_come_after_the_word_that_all_are_sent() {
        let mut progress = Progress::of(3);
        progress.received = 1;
        assert_eq!(progress.hear(CONFLICT, Some(&not_sent("0"))), Word::Done);
        assert!(!progress.is_complete());
        progress.received = 3;
        assert!(progress.is_complete());
    }

    #[test]
    fn a_request_that_ends_early_has_what_was_sent() {
        for status in [StatusCode::TIMEOUT, CONFLICT] {
            let mut progress = Progress::of(512);
            progress.received = 4;
            assert_eq!(progress.hear(status, Some(&not_sent("507"))), Word::Done);
            assert!(!progress.is_complete());
            progress.received = 5;
            assert!(progress.is_complete());
        }
        let mut empty = Progress::of(512);
        let expired = empty.hear(StatusCode::TIMEOUT, Some(&not_sent("512")));
        assert!(expired == Word::Done && empty.is_complete());
        let mut silent = Progress::of(512);
        assert_eq!(silent.hear(StatusCode::TIMEOUT, None), Word::Done);
        assert!(silent.is_complete());
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let mut progress = Progress::of(512);
        let too_large = progress.hear(CONFLICT, Some(&not_sent("512")));
        assert_eq!(too_large, Word::Refused);
        for status in [CONFLICT, StatusCode::NO_RESPONDERS] {
            assert_eq!(progress.hear(status, None), Word::Refused);
        }
        assert_eq!(progress.hear(StatusCode::IDLE_HEARTBEAT, None), Word::Idle);
        assert!(!progress.is_complete());
    }
}
