use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Channel, OrderId, TenantId, Timestamp};

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

    /// What the audit keeps of it for good: nothing that somebody else wrote and that may be personal.
    #[must_use]
    pub fn for_audit(&self) -> Self {
        let named = |text: &Option<String>| text.clone().filter(|text| is_name(text));
        let original_subject = Channel::parse(&self.original_subject).map(|(channel, tenant)| {
            let subject = channel.of(&tenant);
            subject.as_str().to_owned()
        });
        Self {
            reason: named(&Some(self.reason.clone())).unwrap_or_default(),
            error: String::new(),
            original_subject: original_subject.unwrap_or_default(),
            original_position: named(&Some(self.original_position.clone())).unwrap_or_default(),
            id: named(&self.id),
            order_id: self
                .order_id
                .clone()
                .filter(|id| id.parse::<OrderId>().is_ok()),
            truncated: self.truncated.as_ref().map(|_| "yes".to_owned()),
            ..self.clone()
        }
    }
}

/// Whether a text looks like the names and ids that the pipeline makes.
fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_:-".contains(&b);
    text.len() <= 100 && text.bytes().all(is_part)
}

/// Reads a number. Entries of earlier versions have it as text.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &str = r#"{"sequence":7,"time":"2026-11-23T08:00:00.000Z","daemon":"writer","tenant":"t-1",
        "reason":"invalid","error":"why","originalSubject":"orders.cmd.t-1.create","originalPosition":
        "ORDERS_COMMANDS:3","deliveries":"3","id":null,"orderId":null,"truncated":null,"size":9}"#;

    #[test]
    fn the_audit_keeps_nothing_that_others_wrote() {
        let mut letter: DeadLetter = serde_json::from_str(LETTER).unwrap();
        letter.id = Some("ord_x:2".to_owned());
        let kept = letter.for_audit();
        assert_eq!(kept.error, "");
        letter.error.clear();
        assert_eq!(kept, letter, "all else is ours");
        let canary = || "alice@example.com".to_owned();
        let letter = DeadLetter {
            reason: canary(),
            original_subject: canary(),
            original_position: canary(),
            id: Some(canary()),
            order_id: Some(canary()),
            truncated: Some(canary()),
            ..letter
        };
        let kept = serde_json::to_string(&letter.for_audit()).unwrap();
        assert!(!kept.contains("alice"), "{kept}");
    }

    #[test]
    fn a_new_body_makes_up_for_a_cut_one_and_not_for_headers() {
        let mut letter: DeadLetter = serde_json::from_str(LETTER).unwrap();
        assert_eq!(letter.deliveries, Some(3));
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
