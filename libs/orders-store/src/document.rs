//! The documents as they are stored. They are not wire types: they hold every value in the database's own type, money
//! as Decimal128 and moments as dates, and can change without the messages.

use mongodb::bson::{DateTime, Decimal128};
use orders_contracts::{
    Attachment, AttachmentRef, Buyer, CommandId, Currency, Item, Money, OrderEvent, OrderId,
    OrderRow, OrderSnapshot, RequestId, Status, TenantId, Timestamp, canonical_email,
};
use orders_domain::{
    Order,
    projection::{RowVersion, StoredRow},
};
use serde::{Deserialize, Serialize};
use serde_with::serde_conv;

/// A document of `orders_write`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderDocument {
    #[serde(rename = "_id")]
    pub(crate) id: OrderId,
    order_id: OrderId,
    tenant_id: TenantId,
    request_id: RequestId,
    command_id: CommandId,
    body_hash: String,
    status: Status,
    version: u32,
    buyer: BuyerDocument,
    items: Vec<ItemDocument>,
    #[serde(with = "Decimal")]
    total: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attachment: Option<AttachmentDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<NoteDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    #[serde(with = "Date")]
    created_at: Timestamp,
    #[serde(with = "Date")]
    updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BuyerDocument {
    email: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ItemDocument {
    sku: String,
    qty: u32,
    #[serde(with = "Decimal")]
    price: Money,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentDocument {
    filename: String,
    content_type: String,
    size: u64,
    storage_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// A member of the metadata. Its name is a value here, because a client's text becomes no path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NoteDocument {
    name: String,
    value: String,
}

impl From<&Order> for OrderDocument {
    fn from(order: &Order) -> Self {
        let order = order.clone();
        Self {
            id: order.order_id.clone(),
            order_id: order.order_id,
            tenant_id: order.tenant_id,
            request_id: order.request_id,
            command_id: order.command_id,
            body_hash: order.body_hash,
            status: order.status,
            version: order.version,
            buyer: BuyerDocument {
                email: order.buyer.email,
                name: order.buyer.name,
            },
            items: order
                .items
                .into_iter()
                .map(|Item { sku, qty, price }| ItemDocument { sku, qty, price })
                .collect(),
            total: order.total,
            attachment: order.attachment.map(|file| AttachmentDocument {
                filename: file.filename,
                content_type: file.content_type,
                size: file.size,
                storage_key: file.storage_key,
                sha256: file.sha256,
                etag: file.etag,
                version: file.version,
            }),
            metadata: order
                .metadata
                .into_iter()
                .map(|(name, value)| NoteDocument { name, value })
                .collect(),
            currency: order.currency,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<OrderDocument> for Order {
    fn from(document: OrderDocument) -> Self {
        Self {
            order_id: document.id,
            tenant_id: document.tenant_id,
            request_id: document.request_id,
            command_id: document.command_id,
            body_hash: document.body_hash,
            status: document.status,
            version: document.version,
            buyer: Buyer {
                email: document.buyer.email,
                name: document.buyer.name,
            },
            items: document
                .items
                .into_iter()
                .map(|ItemDocument { sku, qty, price }| Item { sku, qty, price })
                .collect(),
            total: document.total,
            attachment: document.attachment.map(|file| Attachment {
                filename: file.filename,
                content_type: file.content_type,
                size: file.size,
                storage_key: file.storage_key,
                sha256: file.sha256,
                etag: file.etag,
                version: file.version,
            }),
            metadata: document
                .metadata
                .into_iter()
                .map(|NoteDocument { name, value }| (name, value))
                .collect(),
            currency: document.currency,
            created_at: document.created_at,
            updated_at: document.updated_at,
        }
    }
}

/// A document of `orders_read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowDocument {
    #[serde(rename = "_id")]
    pub(crate) id: OrderId,
    order_id: OrderId,
    tenant_id: TenantId,
    pub(crate) version: u32,
    status: Status,
    buyer_email: String,
    #[serde(with = "Decimal")]
    total: Money,
    #[serde(with = "Date")]
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attachment: Option<AttachmentRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buyer_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item_count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
}

impl From<&OrderEvent> for RowDocument {
    fn from(event: &OrderEvent) -> Self {
        // Field by field, because the event may have a thousand lines.
        let OrderSnapshot {
            order_id,
            buyer_email,
            attachment,
            buyer,
            ..
        } = &event.order;
        Self {
            id: order_id.clone(),
            order_id: order_id.clone(),
            tenant_id: event.tenant_id.clone(),
            version: event.version,
            status: event.order.status,
            // A writer of version 0.1 puts it into its events as it was sent.
            buyer_email: canonical_email(buyer_email),
            total: event.order.total,
            created_at: event.order.created_at,
            attachment: attachment.as_ref().map(|file| AttachmentRef {
                filename: file.filename.clone(),
                storage_key: file.storage_key.clone(),
            }),
            buyer_name: buyer.as_ref().map(|buyer| buyer.name.clone()),
            item_count: event.order.item_count,
            currency: event.order.currency,
        }
    }
}

/// With the field `orderId` and not the `_id`: they may differ where somebody changed them.
impl From<RowDocument> for StoredRow {
    fn from(document: RowDocument) -> Self {
        Self {
            tenant_id: document.tenant_id,
            version: document.version,
            row: OrderRow {
                order_id: document.order_id,
                status: document.status,
                created_at: document.created_at,
                buyer_email: document.buyer_email,
                total: document.total,
                attachment: document.attachment,
                buyer_name: document.buyer_name,
                item_count: document.item_count,
                currency: document.currency,
            },
        }
    }
}

/// The version of a row alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionDocument {
    #[serde(rename = "_id")]
    id: OrderId,
    tenant_id: TenantId,
    version: u32,
}

impl From<VersionDocument> for (OrderId, RowVersion) {
    fn from(document: VersionDocument) -> Self {
        let VersionDocument {
            id,
            tenant_id,
            version,
        } = document;
        (id, RowVersion { tenant_id, version })
    }
}

serde_conv!(
    /// Money as Decimal128, which holds more digits than any amount has: exact both ways.
    Decimal,
    Money,
    |money: &Money| -> Decimal128 { money.to_string().parse().expect("an amount is a number") },
    |decimal: Decimal128| decimal.to_string().parse::<Money>()
);

serde_conv!(
    /// A moment as a date; both have milliseconds.
    pub(crate) Date,
    Timestamp,
    |moment: &Timestamp| DateTime::from_millis(moment.millis()),
    |date: DateTime| Timestamp::from_millis(date.timestamp_millis()).ok_or("must be a date in range")
);

#[cfg(test)]
mod tests;
