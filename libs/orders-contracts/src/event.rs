use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Channel, Money, OrderId, OrderRow, Status, TenantId, Timestamp};

/// What happened to an order: the body of `orders.evt.{tenant}.created` (version 1) and `.updated` (from 2 on).
///
/// It carries the whole read row, so it can be applied alone, in any order, any number of times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderEvent {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// The order's version after this event: 1 created, then 2.
    pub version: u32,
    /// When the writer stored this version.
    pub occurred_at: Timestamp,
    /// The row as it is from this version on.
    pub order: OrderRow,
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

/// The payment of an order went through: the body of `payments.evt.{tenant}.paid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPaid {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Which order was paid.
    pub order_id: OrderId,
    /// How much was paid.
    pub amount: Money,
    /// When the payment went through.
    pub paid_at: Timestamp,
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
