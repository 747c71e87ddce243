//! Socket.IO events: their names and arguments. The last argument of every event is a [`Position`].

use serde::Serialize;

use crate::{Offset, OrderId, TenantId};

/// The event that greets a client; its first argument is [`Connected`].
pub const CONNECTED: &str = "connected";
/// The event of a new order; its first argument is [`OrderChange`].
pub const ORDER_CREATED: &str = "order.created";
/// The event of an order that changed; its first argument is [`OrderChange`].
pub const ORDER_UPDATED: &str = "order.updated";
/// The event that asks a client to reload its list; its first argument is [`FeedReset`].
pub const FEED_RESET: &str = "feed.reset";

/// Greets a client in the room of its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected<'a> {
    /// Always true.
    pub ok: bool,
    /// The tenant whose changes follow.
    pub tenant_id: &'a TenantId,
}

/// Announces a change that lists already show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderChange<'a> {
    /// The order that changed.
    pub order_id: &'a OrderId,
    /// Its status now, as text: a newer version may know more of them.
    pub status: &'a str,
}

/// Tells a client that the feed cannot resume from its offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedReset {
    /// Why not.
    pub reason: ResetReason,
}

/// The position after an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The offset that the client sends as `serverOffset` when it reconnects.
    pub offset: Offset,
    /// The version of the order that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// Why the feed cannot resume from an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_written_as_clients_read_them() {
        let tenant_id = &"t-1".parse().unwrap();
        let order_id = &"ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let offset = "7.42".parse().unwrap();
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
                json!(change),
                json!([{ "orderId": order_id, "status": "PAID" }, { "offset": "7.42", "version": 2 }]),
            ),
        ] {
            assert_eq!(written, expected);
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
