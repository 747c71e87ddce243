//! What operators did, as ORDERS_AUDIT keeps it. An entry can be neither changed nor removed, so it holds nothing personal
//! but the name of who acted.

use serde::{Deserialize, Serialize};

use crate::{DeadLetter, OrderId, TenantId, Timestamp, header};

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// The message of a dead letter was published again, where it came from.
    Redriven,
    /// The message of a dead letter was published again with a new body.
    Amended,
    /// A dead letter was removed.
    Dropped,
    /// A dead letter that had been removed was stored again.
    Restored,
    /// Personal data, or all of a tenant, was erased.
    Erased,
    /// The list was rebuilt from the truth.
    Rebuilt,
    /// The latest events of orders were published again.
    Reconciled,
    /// Streams, consumers, indexes or rows were changed to what is declared.
    Migrated,
    /// Tokens, sessions or subjects were revoked.
    Revoked,
    /// Uploads that no order names were removed.
    Swept,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Redriven,
        Self::Amended,
        Self::Dropped,
        Self::Restored,
        Self::Erased,
        Self::Rebuilt,
        Self::Reconciled,
        Self::Migrated,
        Self::Revoked,
        Self::Swept,
    ];

    /// The stable word for it, the last token of the entry's subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Amended => "amended",
            Self::Dropped => "dropped",
            Self::Restored => "restored",
            Self::Erased => "erased",
            Self::Rebuilt => "rebuilt",
            Self::Reconciled => "reconciled",
            Self::Migrated => "migrated",
            Self::Revoked => "revoked",
            Self::Swept => "swept",
        }
    }
}

/// What became of an action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditResult {
    /// It is about to be done; a later entry says what became of it.
    Begun,
    /// It is done.
    #[default]
    Done,
    /// It was stopped, or something is left to do.
    Incomplete,
    /// It failed.
    Failed,
}

impl AuditResult {
    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// An entry of the audit: the body of `orders.audit.{tenant}.{action}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// What was done.
    pub action: AuditAction,
    /// Who did it.
    #[serde(alias = "operator")]
    pub actor: String,
    /// When it was done.
    pub at: Timestamp,
    /// What it was done to, in words. Entries of version 0.1 have none; theirs is the dead letter.
    #[serde(default)]
    pub target: String,
    /// Whose that is, if it is one tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What became of it.
    #[serde(default)]
    pub result: AuditResult,
    /// What that was in words, such as how much was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The dead letter that it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// The sequence in ORDERS_DROPPED of what the dead letter held, if the action removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Whose personal data was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}

/// Whose personal data was erased, as far as this may be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// The buyer's e-mail address, hashed with the secret key that the database has; with it one can tell whether somebody
    /// who asks was erased. Absent if all of a tenant was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    /// The orders.
    pub orders: Vec<OrderId>,
}

impl AuditEntry {
    /// An entry of now.
    pub fn new(action: AuditAction, actor: &str, target: impl Into<String>) -> Self {
        Self {
            action,
            actor: actor.to_owned(),
            at: Timestamp::now(),
            target: target.into(),
            tenant: None,
            result: AuditResult::Done,
            detail: None,
            dead_letter: None,
            kept: None,
            erasure: None,
        }
    }

    /// An entry about a dead letter.
    pub fn of_letter(action: AuditAction, actor: &str, letter: &DeadLetter) -> Self {
        Self {
            tenant: letter.tenant.clone(),
            dead_letter: Some(letter.for_audit()),
            ..Self::new(action, actor, format!("dead letter {}", letter.sequence))
        }
    }

    /// The id of an action on a dead letter: the same for each attempt, so that repeating an interrupted attempt does
    /// nothing twice.
    pub fn id(action: AuditAction, letter: &DeadLetter) -> String {
        let (sequence, time) = (letter.sequence, letter.time.millis());
        format!("{}:{sequence}:{time}", action.as_str())
    }

    /// What it was done to, in words.
    pub fn target(&self) -> String {
        match &self.dead_letter {
            Some(letter) if self.target.is_empty() => format!("dead letter {}", letter.sequence),
            _ => self.target.clone(),
        }
    }

    /// The headers of its message with this id: CloudEvents 1.0 context attributes in binary mode.
    pub fn headers(&self, id: &str) -> Vec<(&'static str, String)> {
        let letter = self.dead_letter.as_ref();
        let order = letter.and_then(|letter| letter.order_id.clone());
        let headers = [
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::ID, id.to_owned()),
            (
                header::TYPE,
                format!("orders.audit.{}.v1", self.action.as_str()),
            ),
            (header::SOURCE, "/orders/orderctl".to_owned()),
            (header::TIME, self.at.to_string()),
            (header::DATA_CONTENT_TYPE, "application/json".to_owned()),
        ];
        let subject = order.map(|id| (header::SUBJECT, id));
        headers.into_iter().chain(subject).collect()
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
        assert_eq!(entry.actor, "alice@host");
        assert_eq!(entry.target(), "dead letter 7");
        assert_eq!((entry.result, entry.kept), (AuditResult::Done, None));
        let letter = entry.dead_letter.unwrap();
        assert_eq!((letter.deliveries, letter.redrive_of), (Some(3), None));
    }

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let entry = AuditEntry {
            tenant: Some("t-1".parse().unwrap()),
            result: AuditResult::Incomplete,
            detail: Some("1 order".to_owned()),
            erasure: Some(Erasure {
                buyer: Some("00ff".to_owned()),
                orders: vec!["ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap()],
            }),
            ..AuditEntry::new(AuditAction::Erased, "bob", "a buyer")
        };
        let json = serde_json::to_string(&entry).unwrap();
        assert!(json.contains(r#""result":"incomplete""#), "{json}");
        let read: AuditEntry = serde_json::from_str(&json).unwrap();
        assert_eq!(read, entry);
    }
}
