//! The read model: each order has one row and a version, and only a higher version changes it.
//!
//! Events carry the whole row, so any interleaving of duplicates and reorderings ends in the same rows.

use std::collections::HashMap;

use orders_contracts::{
    AttachmentRef, OrderEvent, OrderId, OrderRow, OrderSnapshot, Status, TenantId,
};

use crate::Order;

/// Whose a stored row is, and its version: all that matters to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowVersion {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its version.
    pub version: u32,
}

/// The effect of an event on a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The event is newer: the row becomes the event's.
    Apply,
    /// The row is at this very version.
    AlreadyApplied,
    /// The row is at a higher version and stays as it is.
    Superseded,
    /// The row is another tenant's and stays as it is.
    Foreign,
}

/// The effect of `event` on the row `stored`, or on no row.
pub fn effect(stored: Option<&RowVersion>, event: &OrderEvent) -> Effect {
    match stored {
        Some(row) if row.tenant_id != event.tenant_id => Effect::Foreign,
        Some(row) if row.version == event.version => Effect::AlreadyApplied,
        Some(row) if row.version > event.version => Effect::Superseded,
        _ => Effect::Apply,
    }
}

/// Whether an order can be at the version and in the status that `event` says. One that cannot was made up, or is an
/// order of a later version of the pipeline, with more statuses.
pub fn is_possible(event: &OrderEvent) -> bool {
    event.version
        == match event.order.status {
            Status::Pending => 1,
            Status::Paid | Status::Cancelled => 2,
        }
}

/// The newest event of each tenant's order in a batch: the only one that needs to be stored.
pub fn newest<'a>(
    batch: impl IntoIterator<Item = &'a OrderEvent>,
) -> HashMap<(&'a TenantId, &'a OrderId), &'a OrderEvent> {
    let mut newest: HashMap<_, &OrderEvent> = HashMap::new();
    for event in batch {
        newest
            .entry((&event.tenant_id, &event.order.order_id))
            .and_modify(|known| {
                if event.version > known.version {
                    *known = event;
                }
            })
            .or_insert(event);
    }
    newest
}

/// What an event changes in the row of an order that is listed already. Everything else in a row is as the order was
/// created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The version of the row from then on.
    pub version: u32,
    /// The status of the order from then on.
    pub status: Status,
}

impl Change {
    /// The change that `event` makes.
    pub fn of(event: &OrderEvent) -> Self {
        // Without `..`: a new field either changes or never does.
        let OrderSnapshot {
            status,
            order_id: _,
            created_at: _,
            buyer_email: _,
            total: _,
            attachment: _,
            buyer: _,
            item_count: _,
            currency: _,
            request_id: _,
            items: _,
            metadata: _,
        } = event.order;
        Self {
            version: event.version,
            status,
        }
    }
}

/// A row as the read model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its version.
    pub version: u32,
    /// The values that the list shows.
    pub row: OrderRow,
}

impl From<OrderEvent> for StoredRow {
    fn from(event: OrderEvent) -> Self {
        Self {
            tenant_id: event.tenant_id,
            version: event.version,
            row: event.order.into(),
        }
    }
}

/// How the read model differs from an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The order has no row.
    Missing,
    /// The row is at this version, and the order at a higher one.
    Behind(u32),
    /// The row is at this version, which the order never had.
    Ahead(u32),
    /// The row is at the order's version but has other values.
    Values(Vec<FieldDifference>),
}

/// A field of a row that differs from the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDifference {
    /// The field's name in the store.
    pub field: &'static str,
    /// The row's value.
    pub row: String,
    /// The order's value.
    pub order: String,
}

/// How `row` differs from the row that the order's latest event makes, if it does.
pub fn difference(row: Option<&StoredRow>, order: &Order) -> Option<Difference> {
    let Some(row) = row else {
        return Some(Difference::Missing);
    };
    if row.version < order.version {
        return Some(Difference::Behind(row.version));
    }
    if row.version > order.version {
        return Some(Difference::Ahead(row.version));
    }
    let fields = differing_fields(row, &order.latest_event().into());
    (!fields.is_empty()).then_some(Difference::Values(fields))
}

fn differing_fields(row: &StoredRow, order: &StoredRow) -> Vec<FieldDifference> {
    texts(row)
        .into_iter()
        .zip(texts(order))
        .filter(|((_, row), (_, order))| row != order)
        .map(|((field, row), (_, order))| FieldDifference { field, row, order })
        .collect()
}

/// Every field of a row as text. Without `..`, so that a new field is not forgotten here.
fn texts(stored: &StoredRow) -> [(&'static str, String); 10] {
    let StoredRow {
        tenant_id,
        version: _,
        row:
            OrderRow {
                order_id,
                status,
                created_at,
                buyer_email,
                total,
                attachment,
                buyer_name,
                item_count,
                currency,
            },
    } = stored;
    let none = || "none".to_owned();
    let file = attachment.as_ref().map_or_else(
        none,
        |AttachmentRef {
             filename,
             storage_key,
         }| format!("{filename:?} at {storage_key:?}"),
    );
    [
        ("orderId", order_id.to_string()),
        ("tenantId", tenant_id.to_string()),
        ("status", status.as_str().to_owned()),
        ("createdAt", created_at.to_string()),
        ("buyerEmail", buyer_email.clone()),
        ("total", total.to_string()),
        ("attachment", file),
        ("buyerName", buyer_name.clone().unwrap_or_else(none)),
        (
            "itemCount",
            item_count.map_or_else(none, |count| count.to_string()),
        ),
        (
            "currency",
            currency.map_or_else(none, |currency| currency.to_string()),
        ),
    ]
}

#[cfg(test)]
mod tests;
