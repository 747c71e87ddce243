use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Channel, TenantId, Timestamp, header};

/// A dead letter without its body. Its texts are unchecked and may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The reason, a stable word such as `invalid`.
    pub reason: String,
    /// The error, for people.
    pub error: String,
    /// The subject of the message.
    pub original_subject: String,
    /// The stream of the message, and its sequence there.
    pub original_position: String,
    /// How often it had been delivered.
    #[serde(default, deserialize_with = "number")]
    pub deliveries: Option<u64>,
    /// `ce-id`.
    pub id: Option<String>,
    /// `ce-subject`, the order it is about.
    pub order_id: Option<String>,
    /// The parts of the message that are missing.
    pub truncated: Option<String>,
    /// The sequence of the earlier dead letter of the same message, if an operator had sent it again.
    #[serde(default)]
    pub redrive_of: Option<u64>,
    /// The size of its body in bytes.
    pub size: u64,
}

impl DeadLetter {
    /// Why it cannot be redriven, with its own body or with a new one; `None` if it can.
    pub fn obstacle(&self, has_new_body: bool) -> Option<String> {
        let missing = self.truncated.as_deref();
        // A new body replaces the end of the old one, but not headers.
        let missing = missing.filter(|missing| !has_new_body || missing.contains("headers"));
        if let Some(missing) = missing {
            return Some(format!("it is incomplete, without {missing}"));
        }
        match Channel::parse(&self.original_subject) {
            Some(_) => None,
            None => Some("its subject names no message of this pipeline".to_owned()),
        }
    }
}

/// An operator's action on a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// The message was published again, where it came from.
    Redriven,
    /// The message was published again with a new body.
    Amended,
    /// The dead letter was removed.
    Dropped,
    /// A dead letter that had been removed was stored again.
    Restored,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Redriven, Self::Amended, Self::Dropped, Self::Restored];

    /// The stable word for it, the last token of the entry's subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Amended => "amended",
            Self::Dropped => "dropped",
            Self::Restored => "restored",
        }
    }

    /// The CloudEvents `type` of its entries.
    pub const fn message_type(self) -> &'static str {
        match self {
            Self::Redriven => "orders.audit.redriven.v1",
            Self::Amended => "orders.audit.amended.v1",
            Self::Dropped => "orders.audit.dropped.v1",
            Self::Restored => "orders.audit.restored.v1",
        }
    }
}

/// An entry of the audit: the body of `orders.audit.{tenant}.{action}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// What was done.
    pub action: AuditAction,
    /// Who did it.
    pub operator: String,
    /// When it was done.
    pub at: Timestamp,
    /// The dead letter that it was done to.
    pub dead_letter: DeadLetter,
    /// What the dead letter held, if the action removed it for good and it is not too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<KeptContent>,
}

impl AuditEntry {
    /// The same id for each attempt at the action, so that repeating an interrupted attempt does nothing twice.
    pub fn id(action: AuditAction, letter: &DeadLetter) -> String {
        let (sequence, time) = (letter.sequence, letter.time.millis());
        format!("{}:{sequence}:{time}", action.as_str())
    }

    /// The headers of its message: CloudEvents 1.0 context attributes in binary mode.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::ID, Self::id(self.action, &self.dead_letter)),
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

/// The headers and the body of a dead letter, from which it can be stored again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptContent {
    /// Every header.
    pub headers: Vec<(String, String)>,
    /// The body in Base64: it may be no text.
    #[serde(with = "base64")]
    pub body: Vec<u8>,
}

impl KeptContent {
    /// The most bytes that are kept of one dead letter, so that a few large ones do not push the rest out of the audit.
    pub const MAX: usize = 64 << 10;

    /// The content, unless it is too large to be kept.
    pub fn of(headers: &[(String, String)], body: &[u8]) -> Option<Self> {
        let of_headers: usize = headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        (of_headers + body.len() <= Self::MAX).then(|| Self {
            headers: headers.to_vec(),
            body: body.to_vec(),
        })
    }
}

/// Reads a number. Entries of earlier versions have it as text.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    })
}

mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"action":"dropped","operator":"alice@host","at":"2026-11-23T09:00:00.000Z","deadLetter":{
        "sequence":7,"time":"2026-11-23T08:00:00.000Z","daemon":"writer","tenant":"t-1","reason":"invalid",
        "error":"why","originalSubject":"orders.cmd.t-1.create","originalPosition":"ORDERS_COMMANDS:3",
        "deliveries":"3","id":null,"orderId":null,"truncated":null,"size":9}}"#;

    #[test]
    fn entries_of_earlier_versions_can_be_read() {
        let entry: AuditEntry = serde_json::from_str(OLD).unwrap();
        assert_eq!(entry.dead_letter.deliveries, Some(3));
        assert_eq!((entry.content, entry.dead_letter.redrive_of), (None, None));
    }

    #[test]
    fn content_is_kept_exactly_unless_it_is_large() {
        let headers = [("ce-id".to_owned(), "x".to_owned())];
        let kept = KeptContent::of(&headers, &[0, 255, 10]).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<KeptContent>(&text).unwrap(), kept);
        let fits = KeptContent::MAX - "ce-id".len() - "x".len();
        assert!(KeptContent::of(&headers, &vec![0; fits]).is_some());
        assert!(KeptContent::of(&headers, &vec![0; fits + 1]).is_none());
    }

    #[test]
    fn a_new_body_makes_up_for_a_cut_one_and_not_for_headers() {
        let mut letter = serde_json::from_str::<AuditEntry>(OLD).unwrap().dead_letter;
        assert_eq!(letter.obstacle(false), None);
        letter.truncated = Some("the end of a body of 9 bytes".to_owned());
        assert!(letter.obstacle(false).is_some());
        assert_eq!(letter.obstacle(true), None);
        letter.truncated = Some("headers".to_owned());
        assert!(letter.obstacle(true).is_some());
        letter.truncated = None;
        letter.original_subject = "orders.cmd.what.is.this".to_owned();
        assert!(letter.obstacle(true).is_some());
    }
}
