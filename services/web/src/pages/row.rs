//! An order as a row of the list.

use orders_contracts::OrderRow;

use super::{list::Parameters, text};

/// An order as the list shows it.
pub(super) struct Row {
    pub(super) id: String,
    /// Its page, which leads back to the list as it is.
    pub(super) url: String,
    pub(super) status: &'static str,
    pub(super) created_at: String,
    pub(super) shown_time: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) items: String,
    pub(super) total: String,
    pub(super) filename: String,
}

impl Row {
    pub(super) fn new(row: OrderRow, tenant: &str, list: &Parameters) -> Self {
        Self {
            id: row.order_id.to_string(),
            url: list.order(&row.order_id, tenant),
            status: row.status.as_str(),
            created_at: row.created_at.to_string(),
            shown_time: text::minutes(row.created_at),
            name: text::plain(&row.buyer_name.unwrap_or_default()),
            email: text::email(&row.buyer_email),
            items: row.item_count.map_or_else(String::new, text::items),
            total: text::amount(row.total, row.currency),
            filename: row
                .attachment
                .map_or_else(String::new, |file| text::plain(&file.filename)),
        }
    }

    /// An empty row for the script to fill.
    pub(super) fn blank() -> Self {
        Self {
            id: String::new(),
            url: String::new(),
            status: "PENDING",
            created_at: String::new(),
            shown_time: String::new(),
            name: String::new(),
            email: String::new(),
            items: String::new(),
            total: String::new(),
            filename: String::new(),
        }
    }
}
