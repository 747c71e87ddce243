//! What an installation chooses for all its processes.

use std::{borrow::Cow, fmt, time::Duration};

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    Unparsable,
    streams::{
        ORDERS_AUDIT, ORDERS_COMMANDS, ORDERS_DLQ, ORDERS_DROPPED, ORDERS_EVENTS, ORDERS_FEED,
        PAYMENTS, Retention, Stream,
    },
};

/// The settings that the daemons of an installation and `orderctl` have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// The prefix of the streams and subjects of this installation; each of several on one NATS needs its own.
    pub namespace: Namespace,
    /// Whether to create and update streams, consumers and indexes; if false, the daemon exits when one differs.
    pub auto_migrate: bool,
    /// The limits of the streams.
    pub streams: StreamSettings,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            auto_migrate: true,
            streams: StreamSettings::default(),
        }
    }
}

/// The prefix that keeps installations on the same NATS apart; empty by default.
///
/// Only the boundary to NATS knows it: in `shop`, the stream ORDERS_EVENTS is `shop_ORDERS_EVENTS` on the server, and
/// the subject `orders.evt.t-1.created` is `shop.orders.evt.t-1.created`. A consumer belongs to its stream and keeps its
/// name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

impl Namespace {
    /// The name that `stream` has on the server.
    pub fn stream(&self, stream: &Stream) -> Cow<'static, str> {
        match self.0.as_str() {
            "" => stream.name.into(),
            prefix => format!("{prefix}_{}", stream.name).into(),
        }
    }

    /// The subject or filter that `subject` is on the server.
    pub fn subject(&self, subject: String) -> String {
        match self.0.as_str() {
            "" => subject,
            prefix => format!("{prefix}.{subject}"),
        }
    }

    /// The subject that [`subject`](Self::subject) turned into `on_server`; one of another namespace stays as it is.
    pub fn strip<'a>(&self, on_server: &'a str) -> &'a str {
        match self.0.as_str() {
            "" => on_server,
            prefix => on_server
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.'))
                .unwrap_or(on_server),
        }
    }
}

impl TryFrom<String> for Namespace {
    type Error = Unparsable;

    fn try_from(text: String) -> Result<Self, Unparsable> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let is_valid = text.len() <= 32
            && text.bytes().all(is_word)
            // `_INBOX` and the like belong to NATS and its clients.
            && text.bytes().next().is_none_or(|b| b.is_ascii_alphanumeric());
        is_valid.then_some(Self(text)).ok_or(Unparsable(
            "must be at most 32 letters, digits, - and _, beginning with a letter or digit",
        ))
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Namespace {
    fn schema_name() -> Cow<'static, str> {
        "Namespace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9_-]{0,31})?$" })
    }
}

/// The limits of the streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamSettings {
    /// The number of NATS servers that keep a copy of each stream. A start never lowers it.
    #[serde(deserialize_with = "copies")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: usize,
    /// The limits of ORDERS_COMMANDS.
    pub commands: QueueLimits,
    /// The limits of ORDERS_EVENTS.
    pub events: LogLimits,
    /// The limits of PAYMENTS.
    pub payments: LogLimits,
    /// The limits of ORDERS_FEED.
    pub feed: LogLimits,
    /// The limits of ORDERS_DLQ.
    pub dlq: LogLimits,
    /// The limits of ORDERS_DROPPED.
    pub dropped: LogLimits,
    /// The limits of ORDERS_AUDIT.
    pub audit: LogLimits,
}

/// The limits of a stream that keeps a message until it is handled. A start never lowers a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueLimits {
    /// The size at which the stream refuses new messages; 0 for none.
    #[schemars(with = "String")]
    pub max_bytes: ByteSize,
    /// The time within which a second message with the same id is dropped.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub duplicate_window: Duration,
}

/// The limits of a stream that keeps messages after they are handled. A start never lowers a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLimits {
    /// The age at which the stream drops a message; 0s for none.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_age: Duration,
    /// The size at which the stream drops its oldest messages; 0 for none.
    #[schemars(with = "String")]
    pub max_bytes: ByteSize,
    /// The time within which a second message with the same id is dropped.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub duplicate_window: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            commands: QueueLimits {
                max_bytes: ByteSize::b(ORDERS_COMMANDS.max_bytes),
                duplicate_window: ORDERS_COMMANDS.duplicate_window,
            },
            events: LogLimits::of(&ORDERS_EVENTS),
            payments: LogLimits::of(&PAYMENTS),
            feed: LogLimits::of(&ORDERS_FEED),
            dlq: LogLimits::of(&ORDERS_DLQ),
            dropped: LogLimits::of(&ORDERS_DROPPED),
            audit: LogLimits::of(&ORDERS_AUDIT),
        }
    }
}

impl StreamSettings {
    /// `stream` with the limits that the installation chose.
    #[must_use]
    pub fn limit(&self, stream: &Stream) -> Stream {
        let log = match *stream {
            ORDERS_COMMANDS => {
                return Stream {
                    max_bytes: self.commands.max_bytes.as_u64(),
                    duplicate_window: self.commands.duplicate_window,
                    ..*stream
                };
            }
            ORDERS_EVENTS => &self.events,
            PAYMENTS => &self.payments,
            ORDERS_FEED => &self.feed,
            ORDERS_DLQ => &self.dlq,
            ORDERS_DROPPED => &self.dropped,
            ORDERS_AUDIT => &self.audit,
            _ => return *stream,
        };
        let max_age = log.max_age;
        // The server refuses to remember an id for longer than its message.
        let duplicate_window = match max_age {
            Duration::ZERO => log.duplicate_window,
            max_age => log.duplicate_window.min(max_age),
        };
        Stream {
            retention: Retention::Limits { max_age },
            max_bytes: log.max_bytes.as_u64(),
            duplicate_window,
            ..*stream
        }
    }
}

impl LogLimits {
    fn of(stream: &Stream) -> Self {
        Self {
            max_age: match stream.retention {
                Retention::WorkQueue => Duration::ZERO,
                Retention::Limits { max_age } | Retention::Latest { max_age, .. } => max_age,
            },
            max_bytes: ByteSize::b(stream.max_bytes),
            duplicate_window: stream.duplicate_window,
        }
    }
}

/// The server has at most five copies of a stream.
fn copies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        replicas @ 1..=5 => Ok(replicas),
        _ => Err(D::Error::custom("must be 1 to 5")),
    }
}

/// The settings of the simulated payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentSettings {
    /// The time from storing an order to its payment.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "0s", "x-longest" = "14days"))]
    pub delay: Duration,
    /// The most orders that wait for their payment at once; with 5 s of delay, 50,000 are 10,000 orders/s.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_ack_pending: u32,
}

impl Default for PaymentSettings {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            max_ack_pending: 50_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams;

    #[test]
    fn a_namespace_is_a_prefix_outside_and_nothing_inside() {
        let shop = Namespace::try_from("shop-2".to_owned()).unwrap();
        assert_eq!(shop.stream(&ORDERS_EVENTS), "shop-2_ORDERS_EVENTS");
        let outside = shop.subject("orders.evt.t-1.created".to_owned());
        assert_eq!(outside, "shop-2.orders.evt.t-1.created");
        assert_eq!(shop.strip(&outside), "orders.evt.t-1.created");
        for foreign in ["orders.evt.t-1.created", "shop-22.orders.evt.t-1.created"] {
            assert_eq!(shop.strip(foreign), foreign);
        }
        let none = Namespace::default();
        assert_eq!(none.stream(&ORDERS_EVENTS), "ORDERS_EVENTS");
        assert_eq!(none.subject("orders.evt.>".to_owned()), "orders.evt.>");
        assert_eq!(none.strip("orders.evt.x"), "orders.evt.x");
        for bad in ["a.b", "*", ">", "_INBOX", "-", "a b", "é", &"x".repeat(33)] {
            assert!(Namespace::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_change_the_limits_of_their_stream_only() {
        let defaults = StreamSettings::default();
        for stream in streams::ALL {
            assert_eq!(defaults.limit(&stream), stream);
        }
        let mut chosen = StreamSettings::default();
        chosen.events.max_age = Duration::from_secs(60);
        chosen.commands.max_bytes = ByteSize::gib(2);
        let events = chosen.limit(&ORDERS_EVENTS);
        let max_age = Duration::from_secs(60);
        assert_eq!(events.retention, Retention::Limits { max_age });
        assert_eq!(events.duplicate_window, max_age, "no longer than a message");
        assert_eq!(chosen.limit(&ORDERS_COMMANDS).max_bytes, 2 << 30);
        assert_eq!(chosen.limit(&PAYMENTS), PAYMENTS);
    }
}
