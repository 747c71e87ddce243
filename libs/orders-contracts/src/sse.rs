//! The feed of a tenant as Server-Sent Events (WHATWG HTML, section 9.2). Events have the names of
//! [`socket`](crate::socket), and their `id` is the [`Offset`](crate::Offset) after them, which a client sends as
//! `Last-Event-ID` when it comes back. The data of `feed.reset` is [`FeedReset`](crate::socket::FeedReset).

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    OrderId,
    socket::{FEED_RESET, ORDER_CREATED, ORDER_UPDATED},
};

/// The path of the stream, with `tenantId` in its query.
pub const PATH: &str = "/api/orders/events";
/// The header by which a client says the last id that it has seen.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The events of a stream.
pub const EVENTS: [&str; 3] = [ORDER_CREATED, ORDER_UPDATED, FEED_RESET];

/// Announces a change that lists already show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderChange<'a> {
    /// The order that changed.
    pub order_id: &'a OrderId,
    /// Its status now, as text: a newer version may know more of them.
    pub status: &'a str,
    /// Its version now.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_written_as_clients_read_it() {
        let order_id = &"ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let change = OrderChange {
            order_id,
            status: "PAID",
            version: 2,
        };
        let expected = json!({ "orderId": order_id, "status": "PAID", "version": 2 });
        assert_eq!(json!(change), expected);
    }
}
