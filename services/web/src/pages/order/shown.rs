//! An order as its page shows it.

use orders_contracts::{Currency, OrderDetails, OrderFile, OrderLine, Status, StatusChange};

use crate::pages::text;

/// An order as its page shows it.
pub(super) struct Order {
    pub(super) status: &'static str,
    pub(super) created_at: String,
    pub(super) placed: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) lines: Vec<Line>,
    pub(super) total: String,
    pub(super) file: Option<File>,
    pub(super) request_id: String,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) history: Vec<Change>,
}

/// One line; its amounts have the currency of the total.
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) qty: u32,
    pub(super) price: String,
    pub(super) total: String,
}

pub(super) struct File {
    pub(super) name: String,
    /// Its type and size, as far as they are known.
    pub(super) about: String,
}

/// What happened, and when.
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) at: String,
    pub(super) shown: String,
}

impl From<OrderDetails> for Order {
    fn from(order: OrderDetails) -> Self {
        let pair = |(name, value): (String, String)| (text::plain(&name), text::plain(&value));
        Self {
            status: order.status.as_str(),
            created_at: order.created_at.to_string(),
            placed: text::seconds(order.created_at),
            name: text::plain(&order.buyer.name),
            email: text::email(&order.buyer.email),
            lines: order
                .items
                .into_iter()
                .map(|line| Line::new(line, order.currency))
                .collect(),
            total: text::amount(order.total, order.currency),
            file: order.attachment.map(File::from),
            request_id: text::plain(order.request_id.as_str()),
            metadata: order.metadata.into_iter().map(pair).collect(),
            history: order.history.into_iter().map(Change::from).collect(),
        }
    }
}

impl Line {
    fn new(line: OrderLine, currency: Option<Currency>) -> Self {
        Self {
            sku: text::plain(&line.sku),
            qty: line.qty,
            price: text::digits(line.price, currency),
            total: text::digits(line.line_total, currency),
        }
    }
}

impl From<OrderFile> for File {
    fn from(file: OrderFile) -> Self {
        let kind = file.content_type.map(|kind| text::plain(&kind));
        let about: Vec<_> = kind.into_iter().chain(file.size.map(text::size)).collect();
        Self {
            name: text::plain(&file.filename),
            about: about.join(", "),
        }
    }
}

impl From<StatusChange> for Change {
    fn from(change: StatusChange) -> Self {
        Self {
            what: match change.status {
                Status::Pending => "Placed",
                Status::Paid => "Paid",
                Status::Cancelled => "Cancelled",
            },
            at: change.at.to_string(),
            shown: text::seconds(change.at),
        }
    }
}
