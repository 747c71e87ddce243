//! Dead letters as the stream has them, and which of them an operator wants.

use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use orders_contracts::{DeadLetter, Subject, TenantId, Timestamp, header};

use crate::inspect::timestamp;

/// A dead letter with its headers and body.
#[derive(Debug, Clone)]
pub struct DeadLetterContent {
    /// The dead letter.
    pub letter: DeadLetter,
    /// All its headers.
    pub headers: Vec<(String, String)>,
    /// The message's body.
    pub body: Bytes,
}

/// Selects dead letters; an unset field matches all.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only those given up by this daemon.
    pub daemon: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those given up for this reason.
    pub reason: Option<String>,
    /// Only those stored at this time or later.
    pub since: Option<Timestamp>,
    /// Only those stored before this time.
    pub until: Option<Timestamp>,
}

/// A page of dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterPage {
    /// The dead letters that match, oldest first; a page may be empty.
    pub letters: Vec<DeadLetter>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub reached: u64,
}

impl DeadLetterFilter {
    pub(super) fn fits(&self, letter: &DeadLetter) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        is(self.daemon.as_ref(), Some(&letter.daemon))
            && is(self.tenant.as_ref(), letter.tenant.as_ref())
            && is(self.reason.as_ref(), Some(&letter.reason))
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
    }
}

/// Reads a dead letter, with or without its body; `None` for a message that is none.
pub(super) fn read(message: &StreamMessage) -> Option<DeadLetter> {
    let (daemon, tenant) = Subject::parse_dead_letter(&message.subject)?;
    let value = |name: &'static str| message.headers.get(name);
    let text = |name| value(name).map(|value| value.as_str().to_owned());
    let size_on_server = value("Nats-Msg-Size").and_then(|size| size.as_str().parse().ok());
    Some(DeadLetter {
        sequence: message.sequence,
        time: timestamp(message.time),
        daemon: daemon.to_owned(),
        tenant,
        reason: text(header::REASON).unwrap_or_default(),
        error: text(header::ERROR).unwrap_or_default(),
        original_subject: text(header::ORIGINAL_SUBJECT).unwrap_or_default(),
        original_position: text(header::ORIGINAL_POSITION).unwrap_or_default(),
        deliveries: text(header::DELIVERIES).and_then(|count| count.parse().ok()),
        id: text(header::ID),
        order_id: text(header::SUBJECT),
        truncated: text(header::TRUNCATED),
        redrive_of: text(header::REDRIVE_OF).and_then(|sequence| sequence.parse().ok()),
        size: size_on_server.unwrap_or(message.payload.len() as u64),
    })
}
