//! Socket.IO events: their names and arguments. The last argument of every event about the feed is a [`Position`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Offset, OrderId, TenantId, Timestamp};

/// The event that greets a client; its first argument is [`Connected`].
pub const CONNECTED: &str = "connected";
/// The event of a new order; its first argument is [`OrderChange`].
pub const ORDER_CREATED: &str = "order.created";
/// The event of an order that changed; its first argument is [`OrderChange`].
pub const ORDER_UPDATED: &str = "order.updated";
/// The event that asks a client to reload its list; its first argument is [`FeedReset`].
pub const FEED_RESET: &str = "feed.reset";

/// The event that asks a client for another token, because its own is about to expire; its argument is [`AuthExpiring`].
pub const AUTH_EXPIRING: &str = "auth.expiring";
/// The event by which a client sends another token; its argument is [`AuthRefresh`], and its ack a [`Refreshed`].
pub const AUTH_REFRESH: &str = "auth.refresh";

/// The events that clients receive.
pub const RECEIVED: [&str; 5] = [
    CONNECTED,
    ORDER_CREATED,
    ORDER_UPDATED,
    FEED_RESET,
    AUTH_EXPIRING,
];
/// The events that clients send.
pub const SENT: [&str; 1] = [AUTH_REFRESH];

/// Greets a client in the room of its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connected<'a> {
    /// Always true.
    pub ok: bool,
    /// The tenant whose changes follow.
    pub tenant_id: &'a TenantId,
}

/// Announces a change that lists already show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderChange<'a> {
    /// The order that changed.
    pub order_id: &'a OrderId,
    /// Its status now, as text: a newer version may know more of them.
    pub status: &'a str,
}

/// Tells a client that the feed cannot resume from its offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FeedReset {
    /// Why not.
    pub reason: ResetReason,
}

/// The position after an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Position {
    /// The offset that the client sends as `serverOffset` when it reconnects.
    pub offset: Offset,
    /// The version of the order that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// Why the feed cannot resume from an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The text is not an offset.
    Malformed,
    /// The offset belongs to an earlier feed.
    OtherFeed,
    /// The feed has not reached the offset.
    Future,
    /// The feed has dropped entries that follow the offset.
    Expired,
}

impl ResetReason {
    /// The reason as clients read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherFeed => "other_feed",
            Self::Future => "future",
            Self::Expired => "expired",
        }
    }
}

/// Asks a client for another token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthExpiring {
    /// When its token expires. Soon after, the connection closes unless the client has sent another one.
    pub expires_at: Timestamp,
}

/// Another token for the socket of the same subject and tenant.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct AuthRefresh {
    /// The access token.
    pub token: String,
}

/// What became of a token that a client sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Refreshed {
    /// The socket may stay.
    #[serde(rename_all = "camelCase")]
    Taken {
        /// Always true.
        ok: bool,
        /// When the token expires; an API key may have no such moment.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// The socket may stay for as long as before.
    Refused {
        /// Always false.
        ok: bool,
        /// Why.
        code: RefreshRefusal,
    },
}

impl Refreshed {
    /// The ack of an attempt: when the token that was taken expires, or why it was refused.
    pub fn of(outcome: Result<Option<Timestamp>, RefreshRefusal>) -> Self {
        match outcome {
            Ok(expires_at) => Self::Taken {
                ok: true,
                expires_at,
            },
            Err(code) => Self::Refused { ok: false, code },
        }
    }
}

/// Why a token does not take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefreshRefusal {
    /// The client sent one within the last 10 s.
    TooSoon,
    /// It is no valid token, or a revoked one.
    Unauthorized,
    /// It has expired.
    Expired,
    /// It is another subject's or another issuer's.
    Subject,
    /// It is not for the tenant of the socket.
    Tenant,
    /// It lacks `orders:read`.
    Scope,
    /// Nobody can say now; try again.
    Unavailable,
}

impl RefreshRefusal {
    /// The code as clients read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooSoon => "too_soon",
            Self::Unauthorized => "unauthorized",
            Self::Expired => "expired",
            Self::Subject => "subject",
            Self::Tenant => "tenant",
            Self::Scope => "scope",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_written_as_clients_read_them() {
        let tenant_id = &"t-1".parse().unwrap();
        let order_id = &"ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let offset = "7.42".parse().unwrap();
        let expires_at = "2026-11-30T12:00:00Z".parse().unwrap();
        let connected = (
            Connected {
                ok: true,
                tenant_id,
            },
            Position {
                offset,
                version: None,
            },
        );
        let change = (
            OrderChange {
                order_id,
                status: "PAID",
            },
            Position {
                offset,
                version: Some(2),
            },
        );
        for (written, expected) in [
            (
                json!(connected),
                json!([{ "ok": true, "tenantId": "t-1" }, { "offset": "7.42" }]),
            ),
            (
                json!(AuthExpiring { expires_at }),
                json!({ "expiresAt": "2026-11-30T12:00:00.000Z" }),
            ),
            (
                json!(Refreshed::of(Ok(Some(expires_at)))),
                json!({ "ok": true, "expiresAt": "2026-11-30T12:00:00.000Z" }),
            ),
            (
                json!(change),
                json!([{ "orderId": order_id, "status": "PAID" }, { "offset": "7.42", "version": 2 }]),
            ),
        ] {
            assert_eq!(written, expected);
        }
        for code in [
            RefreshRefusal::TooSoon,
            RefreshRefusal::Unauthorized,
            RefreshRefusal::Expired,
            RefreshRefusal::Subject,
            RefreshRefusal::Tenant,
            RefreshRefusal::Scope,
            RefreshRefusal::Unavailable,
        ] {
            assert_eq!(
                json!(Refreshed::of(Err(code))),
                json!({ "ok": false, "code": code.as_str() })
            );
        }
        for reason in [
            ResetReason::Malformed,
            ResetReason::OtherFeed,
            ResetReason::Future,
            ResetReason::Expired,
        ] {
            assert_eq!(
                json!(FeedReset { reason }),
                json!({ "reason": reason.as_str() })
            );
        }
    }
}
