use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Currency, Money, OrderId, Timestamp, Unparsable};

/// The status of an order. PENDING becomes PAID or CANCELLED, and both are final.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Stored, not yet paid.
    Pending,
    /// Paid; final.
    Paid,
    /// Cancelled before it was paid; final.
    Cancelled,
}

impl Status {
    /// The status as clients and the store write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Paid => "PAID",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = Unparsable;
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        [Self::Pending, Self::Paid, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(Unparsable(
                "must be one of the following values: PENDING, PAID, CANCELLED",
            ))
    }
}

/// One order as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderRow {
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
    pub attachment: Option<AttachmentRef>,
    /// The buyer's name; like all that follows, absent unless asked for, and of orders that version 0.1 listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer_name: Option<String>,
    /// How many lines the order has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_count: Option<u32>,
    /// The currency of its amounts, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
}

impl OrderRow {
    /// The row as lists show it to whoever asks for no more.
    #[must_use]
    pub fn plain(self) -> Self {
        Self {
            buyer_name: None,
            item_count: None,
            currency: None,
            ..self
        }
    }
}

/// What the list shows of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentRef {
    /// The file's name.
    pub filename: String,
    /// Where it is stored.
    pub storage_key: String,
}
