//! A list of orders: which rows it has, a place in it, and its total.

use mongodb::bson::{DateTime, Document, RawDocument, doc};
use orders_contracts::{
    OrderRow, Timestamp,
    query::{Beginning, ListFilter, ListOrders, ListPlace},
};

use crate::index::Index;

/// Each index ends like the sort of the list, so that a page is read off it.
const BY_STATUS: Index = Index::on(&[
    ("tenantId", 1),
    ("status", 1),
    ("createdAt", -1),
    ("orderId", -1),
]);
const BY_BUYER: Index = Index::on(&[
    ("tenantId", 1),
    ("buyerEmail", 1),
    ("createdAt", -1),
    ("orderId", -1),
]);
const BY_TIME: Index = Index::on(&[("tenantId", 1), ("createdAt", -1), ("orderId", -1)]);

pub(crate) const INDEXES: [Index; 3] = [BY_STATUS, BY_BUYER, BY_TIME];

/// The index that every collection has.
const BY_ID: Index = Index::on(&[("_id", 1)]);

/// An id's beginning of so many characters leaves few orders of any tenant, because ids are as good as random: one of
/// 32,768. Of a shorter one the list has so many that its first page is found soon by going through it.
const SELECTIVE: usize = "ord_abc".len();

/// A page is deep if it ends behind so many rows.
const DEEP: u64 = 1_000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// The rows of the page that can be read.
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

/// The place of a row, which even a row may have that cannot be read.
pub(crate) fn place(row: &RawDocument) -> Option<ListPlace> {
    let created_at = row.get_datetime("createdAt").ok()?.timestamp_millis();
    Some(ListPlace {
        created_at: Timestamp::from_millis(created_at)?,
        order_id: row.get_str("orderId").ok()?.parse().ok()?,
    })
}

/// The rows of `list` behind `after`. Every value has a type of its own, so nothing a client sends can become an operator.
pub(crate) fn document(list: &ListFilter, after: Option<&ListPlace>) -> Document {
    let mut filter = doc! { "tenantId": list.tenant.as_str() };
    if let Some(status) = list.status {
        filter.insert("status", status.as_str());
    }
    if let Some(email) = &list.buyer_email {
        filter.insert("buyerEmail", doc! { "$eq": email });
    }
    if let Some(id) = &list.order_id {
        filter.insert("_id", doc! { "$eq": id.as_str() });
    }
    if let Some(begins) = &list.begins {
        let field = match begins {
            Beginning::OrderId(_) if is_selective(begins) => "_id",
            Beginning::OrderId(_) => "orderId",
            Beginning::Email(_) => "buyerEmail",
        };
        narrow(&mut filter, field, begins);
    }
    let date = |moment: Timestamp| DateTime::from_millis(moment.millis());
    let mut created = Document::new();
    if let Some(from) = list.from {
        created.insert("$gte", date(from));
    }
    // One upper bound, so that the scan of the index begins at it.
    let is_before = |place: &&ListPlace| list.until.is_none_or(|until| place.created_at < until);
    if let Some(place) = after.filter(is_before) {
        let moment = date(place.created_at);
        created.insert("$lte", moment);
        let earlier = doc! { "createdAt": { "$lt": moment } };
        let lower = doc! { "orderId": { "$lt": place.order_id.as_str() } };
        filter.insert("$or", [earlier, lower]);
    } else if let Some(until) = list.until {
        created.insert("$lt", date(until));
    }
    if !created.is_empty() {
        filter.insert("createdAt", created);
    }
    filter
}

/// Narrows `field` to texts that begin like this: a range, as no text can make a pattern of it.
fn narrow(filter: &mut Document, field: &str, begins: &Beginning) {
    let (first, behind) = begins.range();
    let mut range = filter.get_document(field).cloned().unwrap_or_default();
    range.insert("$gte", first);
    if let Some(behind) = behind {
        range.insert("$lt", behind);
    }
    filter.insert(field, range);
}

fn is_selective(begins: &Beginning) -> bool {
    matches!(begins, Beginning::OrderId(id) if id.len() >= SELECTIVE)
}

/// The index that has the filter in front of the sort, or the one that leaves fewer rows to sort.
pub(crate) fn index_of(filter: &ListFilter) -> &'static Index {
    if filter.order_id.is_some() || filter.begins.as_ref().is_some_and(is_selective) {
        return &BY_ID;
    }
    let has_buyer = filter.buyer_email.is_some() || has_beginning_of_buyers(filter);
    match filter.status {
        _ if has_buyer => &BY_BUYER,
        Some(_) => &BY_STATUS,
        None => &BY_TIME,
    }
}

fn has_beginning_of_buyers(filter: &ListFilter) -> bool {
    matches!(filter.begins, Some(Beginning::Email(_)))
}

/// The rows to skip before the page; `None` for a page behind the last row that any collection can have, whose position
/// the server could not count to.
pub(crate) fn skip(query: &ListOrders) -> Option<u64> {
    if query.after.is_some() {
        return Some(0);
    }
    let skip = query.page.saturating_sub(1).checked_mul(query.limit)?;
    let end = skip.checked_add(query.limit)?;
    i64::try_from(end).is_ok().then_some(skip)
}

/// Whether the server has to read many rows before the page: all those before it, or all that it has to sort.
pub(crate) fn is_deep(query: &ListOrders) -> bool {
    let is_far = query.after.is_none() && query.page.saturating_mul(query.limit) > DEEP;
    is_far || has_beginning_of_buyers(&query.filter)
}
