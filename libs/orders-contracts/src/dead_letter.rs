use serde::Serialize;

use crate::{Channel, TenantId, Timestamp, header};

/// A dead letter without its body. Its texts are unchecked and may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its sequence in ORDERS_DLQ, which names it.
    pub sequence: u64,
    /// When it was stored there.
    pub time: Timestamp,
    /// The daemon that gave the message up.
    pub daemon: String,
    /// The tenant, if the subject names one.
    pub tenant: Option<TenantId>,
    /// The reason: one of the words of [`Reason`](crate::Reason).
    pub reason: String,
    /// The error, for people.
    pub error: String,
    /// The subject of the message.
    pub original_subject: String,
    /// The stream of the message, and its sequence there.
    pub original_position: String,
    /// How often it had been delivered.
    pub deliveries: String,
    /// `ce-id`.
    pub id: Option<String>,
    /// `ce-subject`, the order it is about.
    pub order_id: Option<String>,
    /// The parts of the message that are missing.
    pub truncated: Option<String>,
    /// The size of its body in bytes.
    pub size: u64,
}

impl DeadLetter {
    /// Why it cannot be redriven; `None` if it can.
    pub fn obstacle(&self) -> Option<String> {
        if let Some(missing) = &self.truncated {
            return Some(format!("it is incomplete, without {missing}"));
        }
        match Channel::parse(&self.original_subject) {
            Some(_) => None,
            None => Some("its subject names no message of this pipeline".to_owned()),
        }
    }
}

/// An operator's action on a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// The message was published again, where it came from.
    Redriven,
    /// The dead letter was removed for good.
    Dropped,
}

impl AuditAction {
    /// The stable word for it, the last token of the entry's subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }

    /// The CloudEvents `type` of its entries.
    pub const fn message_type(self) -> &'static str {
        match self {
            Self::Redriven => "com.example.orders.audit.redriven.v1",
            Self::Dropped => "com.example.orders.audit.dropped.v1",
        }
    }
}

/// An entry of the audit: the body of `orders.audit.{tenant}.{action}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry<'a> {
    /// What was done.
    pub action: AuditAction,
    /// Who did it.
    pub operator: &'a str,
    /// When it was done.
    pub at: Timestamp,
    /// The dead letter that it was done to.
    pub dead_letter: &'a DeadLetter,
}

impl AuditEntry<'_> {
    /// The same id for each attempt at the action, so that repeating an interrupted attempt does nothing twice.
    pub fn id(action: AuditAction, letter: &DeadLetter) -> String {
        let (sequence, time) = (letter.sequence, letter.time.millis());
        format!("{}:{sequence}:{time}", action.as_str())
    }

    /// The headers of its message: CloudEvents 1.0 context attributes in binary mode.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::ID, Self::id(self.action, self.dead_letter)),
            (header::TYPE, self.action.message_type().to_owned()),
            (header::SOURCE, "/orders/orderctl".to_owned()),
            (header::TIME, self.at.to_string()),
            (header::DATA_CONTENT_TYPE, "application/json".to_owned()),
        ];
        headers.extend(
            self.dead_letter
                .order_id
                .clone()
                .map(|id| (header::SUBJECT, id)),
        );
        headers
    }
}
