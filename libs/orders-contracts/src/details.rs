//! One order whole, as its page shows it, and the parts of orders that events have too. They are apart from the parts of
//! the commands, which no reader may meet with unknown members.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Currency, Money, OrderId, RequestId, Status, Timestamp};

/// One order, whole: what its row in the list has, and then everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDetails {
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
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// Who buys, as the client wrote it.
    pub buyer: OrderBuyer,
    /// What is bought.
    pub items: Vec<OrderLine>,
    /// What the client noted of the order; absent if it noted nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The currency of its amounts, if the client named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// When the writer stored its latest version.
    pub updated_at: Timestamp,
    /// When it became PAID, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// When it became CANCELLED, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// 1 when created, and one more after each change.
    pub version: u32,
    /// Every status it has had, oldest first.
    pub history: Vec<StatusChange>,
}

/// A status of an order, and since when it has or had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChange {
    /// The status.
    pub status: Status,
    /// When the writer stored it.
    pub at: Timestamp,
}

/// Who buys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderBuyer {
    /// The e-mail address as the client wrote it.
    pub email: String,
    /// The name.
    pub name: String,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderItem {
    /// The article.
    pub sku: String,
    /// How many.
    pub qty: u32,
    /// The price of one.
    pub price: Money,
}

/// One line of an order with its amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderLine {
    /// The article.
    pub sku: String,
    /// How many.
    pub qty: u32,
    /// The price of one.
    pub price: Money,
    /// The price of all of them.
    pub line_total: Money,
}

/// A file that belongs to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderFile {
    /// The file's name.
    pub filename: String,
    /// Where it is stored.
    pub storage_key: String,
    /// The media type, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The size in bytes, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever knows the list's rows finds them at the beginning of an order, and clients rely on the order of the rest.
    const WHOLE: &str = r#"{"orderId":"ord_qz74bke6iblutmfkqfvmtezzkq","status":"PAID","createdAt":"2025-08-26T09:00:00.000Z","buyerEmail":"a@b.example","total":99.98,"attachment":{"filename":"i.pdf","storageKey":"k/i.pdf","contentType":"application/pdf","size":6},"requestId":"r1","buyer":{"email":"A@b.example","name":"A"},"items":[{"sku":"S","qty":2,"price":49.99,"lineTotal":99.98}],"metadata":{"color":"red"},"currency":"EUR","updatedAt":"2025-08-26T09:00:05.000Z","paidAt":"2025-08-26T09:00:05.000Z","version":2,"history":[{"status":"PENDING","at":"2025-08-26T09:00:00.000Z"},{"status":"PAID","at":"2025-08-26T09:00:05.000Z"}]}"#;

    #[test]
    fn an_order_is_read_and_written_the_same() {
        let order: OrderDetails = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(serde_json::to_string(&order).unwrap(), WHOLE);
        let row: crate::OrderRow = serde_json::from_str(WHOLE).unwrap();
        let row = serde_json::to_string(&row.plain()).unwrap();
        let file = r#","contentType":"application/pdf","size":6"#;
        assert!(
            WHOLE
                .replace(file, "")
                .starts_with(row.trim_end_matches('}'))
        );
    }
}
