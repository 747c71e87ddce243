use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AttachmentRef, Channel, Currency, Money, OrderBuyer, OrderFile, OrderId, OrderItem, OrderRow,
    RequestId, Status, TenantId, Timestamp,
};

/// What happened to an order: the body of `orders.evt.{tenant}.created` (version 1) and `.updated` (from 2 on).
///
/// It carries all that a row has, so it can be applied alone, in any order, any number of times; `created` carries the
/// whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderEvent {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// The order's version after this event: 1 created, then 2.
    pub version: u32,
    /// When the writer stored this version.
    pub occurred_at: Timestamp,
    /// The order as it is from this version on.
    pub order: OrderSnapshot,
}

/// An order as an event tells it: first what its row has, then what it was created with. Version 0.1 left out all that is
/// optional here, apart from the attachment's name and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSnapshot {
    /// The order's id.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// When the writer stored it.
    pub created_at: Timestamp,
    /// Who buys: the e-mail address in lower case, its domain in ASCII.
    pub buyer_email: String,
    /// The exact sum of its lines.
    pub total: Money,
    /// Its file, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<OrderFile>,
    /// Who buys, as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<OrderBuyer>,
    /// How many lines the order has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_count: Option<u32>,
    /// The currency of its amounts, if the client named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The client's idempotency key; only in `created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What is bought; only in `created`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<OrderItem>,
    /// What the client noted of the order; only in `created`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl From<OrderSnapshot> for OrderRow {
    fn from(order: OrderSnapshot) -> Self {
        Self {
            order_id: order.order_id,
            status: order.status,
            created_at: order.created_at,
            buyer_email: order.buyer_email,
            total: order.total,
            attachment: order.attachment.map(|file| AttachmentRef {
                filename: file.filename,
                storage_key: file.storage_key,
            }),
            buyer_name: order.buyer.map(|buyer| buyer.name),
            item_count: order.item_count,
            currency: order.currency,
        }
    }
}

impl OrderEvent {
    /// `ce-source` of its messages, whoever publishes them: the writer decided what happened.
    pub const SOURCE: &str = "/orders/writer";

    /// The channel it is published on: an order's first event is `created`, every later one is `updated`.
    pub fn channel(&self) -> Channel {
        match self.version {
            1 => Channel::OrderCreated,
            _ => Channel::OrderUpdated,
        }
    }
}

/// A change that the list already shows: the body of `orders.feed.{tenant}.created` and `.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedEntry {
    /// Which order changed.
    pub order_id: OrderId,
    /// Where it stands now, as text: readers pass on a status that they do not know.
    #[schemars(with = "Status")]
    pub status: String,
    /// The order's version; a reader that has a higher one ignores this entry.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.1 wrote it.
    const OLD: &str = r#"{"tenantId":"t-1","version":1,"occurredAt":"2025-08-26T09:00:00.000Z","order":{
        "orderId":"ord_qz74bke6iblutmfkqfvmtezzkq","status":"PENDING","createdAt":"2025-08-26T09:00:00.000Z",
        "buyerEmail":"a@b.example","total":99.98,"attachment":{"filename":"i.pdf","storageKey":"k/i.pdf"}}}"#;

    #[test]
    fn an_event_of_version_0_1_is_read_and_makes_the_row_that_it_made() {
        let event: OrderEvent = serde_json::from_str(OLD).unwrap();
        let written = serde_json::to_string(&event).unwrap();
        assert_eq!(written, OLD.replace("\n        ", ""));
        let row = OrderRow::from(event.order);
        assert_eq!(row, row.clone().plain());
        assert_eq!(row.attachment.unwrap().storage_key, "k/i.pdf");
    }

    #[test]
    fn members_that_later_versions_add_are_tolerated() {
        let newer = OLD.replace(
            "\"status\"",
            r#""buyer":{"email":"A@b.example","name":"A","phone":1},"items":[{"sku":"S","qty":1,"price":1.50,"tax":2}],
               "metadata":{"color":"red"},"weight":3,"status""#,
        );
        let order = serde_json::from_str::<OrderEvent>(&newer).unwrap().order;
        assert_eq!(order.items[0].price.to_string(), "1.5");
        assert_eq!(OrderRow::from(order).buyer_name.as_deref(), Some("A"));
    }
}
