//! A list of orders: which rows it has, a place in it, and its total.

use mongodb::bson::{DateTime, Document, doc};
use orders_contracts::{OrderId, OrderRow, Status, TenantId, Timestamp};

use crate::index::Index;

/// Each index ends like the sort of the list, so that a page is read off it.
const BY_STATUS: Index = Index {
    keys: &[
        ("tenantId", 1),
        ("status", 1),
        ("createdAt", -1),
        ("orderId", -1),
    ],
    unique: false,
};
const BY_BUYER: Index = Index {
    keys: &[
        ("tenantId", 1),
        ("buyerEmail", 1),
        ("createdAt", -1),
        ("orderId", -1),
    ],
    unique: false,
};
const BY_TIME: Index = Index {
    keys: &[("tenantId", 1), ("createdAt", -1), ("orderId", -1)],
    unique: false,
};

/// The indexes of the read model.
pub(crate) const INDEXES: [Index; 3] = [BY_STATUS, BY_BUYER, BY_TIME];

/// A page is deep if it ends behind so many rows.
const DEEP: u64 = 1_000;

/// Which rows a list has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListFilter {
    /// Whose orders.
    pub tenant: TenantId,
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those of exactly this buyer.
    pub buyer_email: Option<String>,
    /// Only those created at this moment or later.
    pub from: Option<Timestamp>,
    /// Only those created before this moment.
    pub until: Option<Timestamp>,
}

/// A place in a list: behind this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPlace {
    /// When its order was created.
    pub created_at: Timestamp,
    /// Its order, which tells it from others of the same moment.
    pub order_id: OrderId,
}

/// Which part of a list to read, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOrders {
    /// Which rows the list has.
    pub filter: ListFilter,
    /// Which page, from 1. It costs what all the pages before it cost.
    pub page: u64,
    /// Begin behind this place instead of at the page, at the cost of the first one.
    pub after: Option<ListPlace>,
    /// The rows of a page.
    pub limit: u64,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// The rows of the page.
    pub items: Vec<OrderRow>,
    /// Where the next page begins; `None` behind the last row.
    pub next: Option<ListPlace>,
    /// How many rows all pages have.
    pub total: Total,
}

/// How many rows a list has in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// So many, counted for this very page.
    Exactly(u64),
    /// So many as of a moment at most 30 s ago.
    AsOf {
        /// How many.
        count: u64,
        /// When they were counted.
        at: Timestamp,
    },
    /// At least so many: they are being counted.
    AtLeast(u64),
}

impl ListFilter {
    /// All rows of a tenant.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            status: None,
            buyer_email: None,
            from: None,
            until: None,
        }
    }

    /// Every value has a type of its own here, so nothing a client sends can become an operator.
    pub(crate) fn document(&self, after: Option<&ListPlace>) -> Document {
        let mut filter = doc! { "tenantId": self.tenant.as_str() };
        if let Some(status) = self.status {
            filter.insert("status", status.as_str());
        }
        if let Some(email) = &self.buyer_email {
            filter.insert("buyerEmail", email);
        }
        let date = |moment: Timestamp| DateTime::from_millis(moment.millis());
        let mut created = Document::new();
        if let Some(from) = self.from {
            created.insert("$gte", date(from));
        }
        // One upper bound, so that the scan of the index begins at it.
        match (self.until, after) {
            (Some(until), Some(place)) if until <= place.created_at => {
                created.insert("$lt", date(until));
            }
            (_, Some(place)) => {
                let moment = date(place.created_at);
                created.insert("$lte", moment);
                let earlier = doc! { "createdAt": { "$lt": moment } };
                let lower = doc! { "orderId": { "$lt": place.order_id.as_str() } };
                filter.insert("$or", [earlier, lower]);
            }
            (Some(until), None) => {
                created.insert("$lt", date(until));
            }
            (None, None) => {}
        }
        if !created.is_empty() {
            filter.insert("createdAt", created);
        }
        filter
    }

    /// The index that has the filter in front of the sort.
    pub(crate) fn index(&self) -> &'static Index {
        match (&self.buyer_email, self.status) {
            (Some(_), _) => &BY_BUYER,
            (None, Some(_)) => &BY_STATUS,
            (None, None) => &BY_TIME,
        }
    }
}

impl ListOrders {
    /// The rows before the page; `None` for a page behind the last row that any collection can have, whose position
    /// the server could not count to.
    pub(crate) fn skip(&self) -> Option<u64> {
        let skip = self.page.saturating_sub(1).checked_mul(self.limit)?;
        let end = skip.checked_add(self.limit)?;
        i64::try_from(end).is_ok().then_some(skip)
    }

    /// Whether the server has to read many rows before the page.
    pub(crate) fn is_deep(&self) -> bool {
        self.after.is_none() && self.page.saturating_mul(self.limit) > DEEP
    }
}
