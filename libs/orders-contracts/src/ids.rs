use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::command::PRINTABLE;

/// A text that is not a value of the wanted type. Displays the rule that it breaks, for the user to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unparsable(pub &'static str);

/// Whether `text` is one subject token of `[A-Za-z0-9_-]{1,max}`: safe in subjects, filters, rooms and paths.
fn is_token(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Unparsable;
            fn try_from(text: String) -> Result<Self, Unparsable> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = Unparsable;
            fn from_str(text: &str) -> Result<Self, Unparsable> {
                Self::try_from(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text_id!(
    /// A tenant's id: `[A-Za-z0-9_-]{1,64}`, the only text of a client that becomes part of subjects and rooms.
    TenantId,
    json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
);

text_id!(
    /// The client's idempotency key within a tenant: any text of 1 to 255 characters.
    RequestId,
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 255 })
);

text_id!(
    /// The public id of an order: `ord_` and 26 characters of lower-case base32.
    ///
    /// It is derived from tenant and request id, so the same request has the same order id before, during and after
    /// any outage, without a lookup.
    OrderId,
    json_schema!({ "type": "string", "pattern": "^ord_[a-z2-7]{26}$" })
);

text_id!(
    /// The id of one attempt at a command: `[A-Za-z0-9_-]{1,64}`; the edge makes a UUIDv7 for each HTTP request.
    CommandId,
    json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
);

text_id!(
    /// The id of an installation: its database and each of its streams have it, so that nobody mixes two installations.
    InstallationId,
    json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
);

text_id!(
    /// A text of whoever tells of a payment, such as a reference: 1 to 255 characters without control characters.
    PaymentText,
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": PRINTABLE })
);

text_id!(
    /// The subject of the replies to a command: a core NATS subject under the edges' own inbox prefix.
    ///
    /// A header can name no other subject, so no client can make a daemon publish to a subject of its choice.
    ReplyTo,
    json_schema!({ "type": "string", "pattern": "^_INBOX_edge\\.[A-Za-z0-9_-]{1,64}\\.[A-Za-z0-9_-]{1,64}$" })
);

/// So that a table by tenants can be asked with a text that nobody has checked.
impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl TenantId {
    fn check(text: &str) -> Result<(), Unparsable> {
        is_token(text, 64)
            .then_some(())
            .ok_or(Unparsable("must match /^[A-Za-z0-9_-]{1,64}$/"))
    }
}

impl RequestId {
    fn check(text: &str) -> Result<(), Unparsable> {
        match text.chars().count() {
            0 => Err(Unparsable("should not be empty")),
            1..=255 => Ok(()),
            _ => Err(Unparsable(
                "must be shorter than or equal to 255 characters",
            )),
        }
    }
}

impl PaymentText {
    const LONGEST: usize = 255;

    fn check(text: &str) -> Result<(), Unparsable> {
        match text.chars().count() {
            0 => Err(Unparsable("should not be empty")),
            length if length > Self::LONGEST => Err(Unparsable(
                "must be shorter than or equal to 255 characters",
            )),
            _ if text.chars().any(char::is_control) => {
                Err(Unparsable("must not contain control characters"))
            }
            _ => Ok(()),
        }
    }

    /// The beginning of any `text`, without control characters; `None` if nothing is left.
    pub fn cut(text: &str) -> Option<Self> {
        let printable = text.chars().filter(|c| !c.is_control());
        let kept: String = printable.take(Self::LONGEST).collect();
        kept.parse().ok()
    }
}

impl CommandId {
    fn check(text: &str) -> Result<(), Unparsable> {
        is_token(text, 64)
            .then_some(())
            .ok_or(Unparsable("must match /^[A-Za-z0-9_-]{1,64}$/"))
    }

    /// A fresh, time-ordered id.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

impl InstallationId {
    fn check(text: &str) -> Result<(), Unparsable> {
        is_token(text, 64)
            .then_some(())
            .ok_or(Unparsable("must match /^[A-Za-z0-9_-]{1,64}$/"))
    }

    /// A fresh id.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

impl OrderId {
    /// The UUIDv5 namespace of order ids; changing it would change every id.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f72_6465_7273_4070_8970_656c_696e_6531);

    /// The id of the order that `request` of `tenant` creates.
    pub fn derive(tenant: &TenantId, request: &RequestId) -> Self {
        // A tenant id has no '/', so different pairs have different names.
        let name = format!("{tenant}/{request}");
        let uuid = Uuid::new_v5(&Self::NAMESPACE, name.as_bytes());
        let text = data_encoding::BASE32_NOPAD.encode(uuid.as_bytes());
        Self(format!("ord_{}", text.to_ascii_lowercase()))
    }

    fn check(text: &str) -> Result<(), Unparsable> {
        text.strip_prefix("ord_")
            .is_some_and(|rest| {
                rest.len() == 26 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
            })
            .then_some(())
            .ok_or(Unparsable("must be an order id"))
    }
}

impl ReplyTo {
    /// The prefix of every edge's reply subjects.
    pub const PREFIX: &str = "_INBOX_edge";

    /// The subject at which the edge instance `edge` awaits the replies to `command`.
    pub fn new(edge: Uuid, command: &CommandId) -> Self {
        Self(format!("{}.{}.{command}", Self::PREFIX, edge.simple()))
    }

    /// The edge instance that awaits the reply, and the command that the reply is about.
    pub fn parts(&self) -> (&str, CommandId) {
        let (edge, command) = self.0.rsplit_once('.').unwrap_or_default();
        (edge, CommandId(command.to_owned()))
    }

    /// The filter for all replies to the edge instance `edge`.
    pub fn filter(edge: Uuid) -> String {
        format!("{}.{}.*", Self::PREFIX, edge.simple())
    }

    fn check(text: &str) -> Result<(), Unparsable> {
        let mut tokens = text.split('.');
        let valid = tokens.next() == Some(Self::PREFIX)
            && tokens.next().is_some_and(|token| is_token(token, 64))
            && tokens.next().is_some_and(|token| is_token(token, 64))
            && tokens.next().is_none();
        valid
            .then_some(())
            .ok_or(Unparsable("must be a reply subject of an edge"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(tenant: &str, request: &str) -> OrderId {
        OrderId::derive(&tenant.parse().unwrap(), &request.parse().unwrap())
    }

    #[test]
    fn order_ids_are_stable_and_differ_by_tenant_and_request() {
        // Pinned: a changed derivation would create every retried order a second time.
        assert_eq!(
            order("t-123", "r1").as_str(),
            "ord_qz74bke6iblutmfkqfvmtezzkq"
        );
        assert_ne!(order("t-123", "r1"), order("t-124", "r1"));
        assert_ne!(order("t-123", "r1"), order("t-123", "r2"));
        assert!(
            order("t", "any \u{1F600} text / with . * >")
                .as_str()
                .parse::<OrderId>()
                .is_ok()
        );
    }

    #[test]
    fn tenants_are_one_safe_token() {
        for good in ["t-123", "A", "_", &"x".repeat(64)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "*",
            ">",
            "a b",
            "é",
            "$SYS",
            &"x".repeat(65),
            "a\n",
        ] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_are_any_text_of_1_to_255_characters() {
        assert!("é".repeat(255).parse::<RequestId>().is_ok());
        assert!("x".repeat(256).parse::<RequestId>().is_err());
        assert!("".parse::<RequestId>().is_err());
    }

    #[test]
    fn replies_stay_under_the_edges_prefix() {
        let good = ReplyTo::new(Uuid::nil(), &"c1".parse().unwrap());
        assert_eq!(good.as_str().parse::<ReplyTo>().unwrap(), good);
        for bad in [
            "orders.evt.t.created",
            "_INBOX.a.b",
            "_INBOX_edge.a",
            "_INBOX_edge.a.>",
            "_INBOX_edge.a.b.c",
        ] {
            assert!(bad.parse::<ReplyTo>().is_err(), "{bad}");
        }
    }
}
