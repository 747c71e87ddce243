//! Giving a message up: its dead letter.

use async_nats::HeaderMap;
use bytes::Bytes;
use orders_contracts::{Channel, Subject, Timestamp, header};
use orders_service::metrics::{DEAD_LETTERS, counter};
use tracing::error;

use crate::{Bus, Error, publish::Outgoing};

/// The most bytes of a message's own headers that its dead letter keeps.
const ORIGINAL_HEADERS: usize = 8 << 10;
/// The bytes that a dead letter adds to its message.
const ADDED_HEADERS: usize = 16 << 10;

/// Why a message is given up; the word in the dead letter's headers and in the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be read, or breaks a rule.
    Invalid,
    /// It is about an order that does not exist.
    UnknownOrder,
    /// It pays another amount than the order's total.
    WrongAmount,
    /// The store refuses it, whatever is tried.
    Refused,
    /// It was delivered again and again and never settled, while others were.
    CrashLoop,
    /// Its handler panics.
    Panicked,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Invalid,
        Self::UnknownOrder,
        Self::WrongAmount,
        Self::Refused,
        Self::CrashLoop,
        Self::Panicked,
    ];

    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownOrder => "unknown_order",
            Self::WrongAmount => "wrong_amount",
            Self::Refused => "refused",
            Self::CrashLoop => "crash_loop",
            Self::Panicked => "panicked",
        }
    }

    /// Counts and logs a message that was given up.
    pub(crate) fn given_up(self, position: &str, cause: &str) {
        let reason = self.as_str();
        counter!(DEAD_LETTERS, "reason" => reason).increment(1);
        error!(
            dead_letter.reason = reason,
            position, "gave up {position} as {reason}: {cause}"
        );
    }
}

/// A message as it came, as far as its dead letter keeps it.
pub(crate) struct Original {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) position: String,
    pub(crate) stored_at: Timestamp,
    pub(crate) deliveries: u64,
}

impl Original {
    /// Its position and the time at which its stream stored it: another message may get the same position when the
    /// stream was lost and made again.
    pub(crate) fn occasion(&self) -> String {
        format!("{}@{}", self.position, self.stored_at.millis())
    }
}

impl Bus {
    /// Stores the dead letter of `message`, once for each reason, whoever gives it up.
    pub(crate) async fn store_dead_letter(
        &self,
        message: &Original,
        reason: Reason,
        cause: &str,
    ) -> Result<(), Error> {
        let (mut headers, mut missing) = original_headers(&message.headers);
        let position = &message.position;
        let daemon = self.role.as_str();
        let message_id = format!("{daemon}:{}:{}", message.occasion(), reason.as_str());
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id.as_str());
        headers.insert(header::REASON, reason.as_str());
        headers.insert(header::ERROR, one_line(cause).as_str());
        headers.insert(header::ORIGINAL_SUBJECT, message.subject.as_str());
        headers.insert(header::ORIGINAL_POSITION, position.as_str());
        headers.insert(header::DELIVERIES, message.deliveries.to_string().as_str());
        // A message of the largest size that the server takes does not fit with what is added.
        let largest = self.client.server_info().max_payload;
        let room = largest.saturating_sub(ADDED_HEADERS);
        let size = message.payload.len();
        let body = message.payload.slice(..size.min(room));
        if body.len() < size {
            missing.push(format!("the end of a body of {size} bytes"));
        }
        if !missing.is_empty() {
            headers.insert(header::TRUNCATED, missing.join(", ").as_str());
        }
        let tenant = Channel::parse(&message.subject).map(|(_, tenant)| tenant);
        let letter = Outgoing {
            subject: Subject::dead_letter(daemon, tenant.as_ref()).to_string(),
            headers,
            body,
        };
        self.store(|| letter.clone()).await
    }
}

/// The headers of the message itself, as far as they fit, and what is missing of them.
fn original_headers(original: &HeaderMap) -> (HeaderMap, Vec<String>) {
    let mut headers = HeaderMap::new();
    let mut room = ORIGINAL_HEADERS;
    let mut missing = Vec::new();
    for (name, values) in original.iter() {
        // The server would act on its own headers a second time, and only we say what is missing.
        let text: &str = name.as_ref();
        if text.starts_with("Nats-") || text == header::TRUNCATED {
            continue;
        }
        for value in values {
            let size = text.len() + value.as_str().len() + 4;
            if size <= room {
                room -= size;
                headers.append(name.clone(), value.clone());
            } else {
                missing = vec!["headers".to_owned()];
            }
        }
    }
    (headers, missing)
}

/// Text fit for a header value.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use orders_service::metrics::ALL;

    use super::*;

    #[test]
    fn each_reason_is_counted_from_0() {
        let mut rows = ALL.iter();
        let row = rows.find(|row| row.name == DEAD_LETTERS).unwrap();
        assert_eq!(row.labels[0].values, Reason::ALL.map(Reason::as_str));
    }
}
