//! Parts of both collections, and what is wrong in them.

use std::collections::BTreeMap;

use orders_contracts::Status;
use orders_domain::{
    Order,
    projection::{StoredRow, difference},
};
use orders_service::chain;
use orders_store::{Error as StoreError, Found, Orphan};

use super::{PAGE, Problem, Scope};

/// A part of both collections that has the same bounds in both.
#[derive(Default)]
pub(super) struct Part {
    pub(super) orders: BTreeMap<String, Result<Order, StoreError>>,
    pub(super) rows: BTreeMap<String, Result<StoredRow, StoreError>>,
    /// Its last id; `None` at the end of both.
    pub(super) end: Option<String>,
}

impl Part {
    /// The range that both pages cover completely: a full page does not show what follows it.
    pub(super) fn new(orders: Vec<Found<Order>>, rows: Vec<Found<StoredRow>>) -> Self {
        let end = [full_to(&orders), full_to(&rows)]
            .into_iter()
            .flatten()
            .min();
        let end = end.map(str::to_owned);
        Self {
            orders: up_to(end.as_deref(), orders),
            rows: up_to(end.as_deref(), rows),
            end,
        }
    }
}

fn full_to<T>(page: &[Found<T>]) -> Option<&str> {
    let is_full = page.len() as u64 == PAGE;
    page.last().filter(|_| is_full).map(|last| last.id.as_str())
}

fn up_to<T>(end: Option<&str>, page: Vec<Found<T>>) -> BTreeMap<String, Result<T, StoreError>> {
    page.into_iter()
        .filter(|found| end.is_none_or(|end| found.id.as_str() <= end))
        .map(|Found { id, content }| (id, content))
        .collect()
}

pub(super) fn version(order: Option<&Result<Order, StoreError>>) -> u32 {
    match order {
        Some(Ok(order)) => order.version,
        _ => 0,
    }
}

/// The problem of an order and its row as they were read, if there is one.
pub(crate) fn problem(
    id: &str,
    order: Option<&Result<Order, StoreError>>,
    row: Option<&Result<StoredRow, StoreError>>,
    scope: &Scope,
) -> Option<Problem> {
    let order = match (order, row) {
        (Some(Ok(order)), _) => order,
        (Some(Err(error)), _) => return Some(Problem::UnreadableOrder(chain(error))),
        (None, Some(row)) => {
            return Some(Problem::Orphan(Orphan {
                id: id.to_owned(),
                version: row.as_ref().ok().map(|row| row.version),
            }));
        }
        (None, None) => return None,
    };
    let row = match row.map(Result::as_ref).transpose() {
        Ok(row) => row,
        Err(error) => return Some(Problem::UnreadableRow(chain(error))),
    };
    let is_stuck = || {
        order.status == Status::Pending
            && scope
                .pending_before
                .is_some_and(|before| order.created_at < before)
    };
    difference(row, order)
        .map(Problem::Row)
        .or_else(|| is_stuck().then_some(Problem::Pending))
}
