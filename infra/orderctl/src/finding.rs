//! What is wrong with an order or its row, as commands report it.

use std::{collections::BTreeMap, fmt};

use orders_domain::projection::{Difference, FieldDifference};
use orders_store::Orphan;
use serde_json::{Value, json};

use crate::{
    comparison::{Finding, Problem, Scanned},
    output::{Output, counted, plain},
};

/// The word for rows without an order.
pub(crate) const ORPHAN: &str = "orphan";
/// The word for orders that cannot be read.
pub(crate) const UNREADABLE_ORDER: &str = "unreadableOrder";

impl Finding {
    /// The word for the problem.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.problem {
            Problem::Row(Difference::Missing) => "missing",
            Problem::Row(Difference::Behind(_)) => "behind",
            Problem::Row(Difference::Ahead(_)) => "ahead",
            Problem::Row(Difference::Values(_)) => "values",
            Problem::UnreadableRow(_) => "unreadableRow",
            Problem::UnreadableOrder(_) => UNREADABLE_ORDER,
            Problem::Orphan(_) => ORPHAN,
            Problem::Pending => "pending",
        }
    }

    pub(crate) fn show(&self, output: &Output) {
        output.line(
            format_args!("{}: {}", plain(&self.id), plain(&self.text())),
            &self.value(),
        );
    }

    /// What is wrong, for people.
    pub(crate) fn text(&self) -> String {
        let version = self.order.as_ref().map_or(0, |order| order.version);
        match &self.problem {
            Problem::Row(Difference::Missing) => {
                format!("the order, at version {version}, has no row")
            }
            Problem::Row(Difference::Behind(row)) => {
                format!("the row is at version {row}, the order at {version}")
            }
            Problem::Row(Difference::Ahead(row)) => format!(
                "the row is at version {row}, but the order only at {version}; `projection rebuild --set-back` \
                 writes it anew"
            ),
            Problem::Row(Difference::Values(fields)) => {
                let fields: Vec<_> = fields.iter().map(field_text).collect();
                format!("the row has {}", fields.join("; "))
            }
            Problem::UnreadableRow(why) => format!("the row cannot be read: {why}"),
            Problem::UnreadableOrder(why) => format!("the order cannot be read: {why}"),
            Problem::Orphan(_) => "the row has no order".to_owned(),
            Problem::Pending => "the order has been PENDING for too long".to_owned(),
        }
    }

    pub(crate) fn value(&self) -> Value {
        let mut value = json!({ "difference": self.kind(), "orderId": self.id });
        if let Some(order) = &self.order {
            value["tenantId"] = json!(order.tenant_id);
            value["orderVersion"] = json!(order.version);
        }
        match &self.problem {
            Problem::Row(Difference::Behind(version) | Difference::Ahead(version)) => {
                value["rowVersion"] = json!(version);
            }
            Problem::Row(Difference::Values(fields)) => {
                value["fields"] = fields.iter().map(field_value).collect();
            }
            Problem::Orphan(Orphan { version, .. }) => value["rowVersion"] = json!(version),
            Problem::UnreadableRow(why) | Problem::UnreadableOrder(why) => {
                value["why"] = json!(why)
            }
            Problem::Row(Difference::Missing) | Problem::Pending => {}
        }
        value
    }
}

fn field_text(FieldDifference { field, row, order }: &FieldDifference) -> String {
    format!("{field} {row:?}, the order {order:?}")
}

fn field_value(FieldDifference { field, row, order }: &FieldDifference) -> Value {
    json!({ "field": field, "row": row, "order": order })
}

/// The number of problems of each kind.
#[derive(Default)]
pub(crate) struct Counts(pub(crate) BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn add(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The kinds that make up a total: ` (2 missing, 1 orphan)`.
pub(crate) struct List<'a>(pub(crate) &'a Counts);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self
            .0
            .0
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        match kinds.as_slice() {
            [] => Ok(()),
            kinds => write!(f, " ({})", kinds.join(", ")),
        }
    }
}

/// How much was compared.
pub(crate) struct Extent(pub(crate) Scanned);

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scanned {
            orders,
            rows,
            on_their_way,
            complete,
        } = self.0;
        let so_far = if complete { "" } else { "so far " };
        write!(
            f,
            "{so_far}{} and {}",
            counted(orders, "order"),
            counted(rows, "row")
        )?;
        match on_their_way {
            0 => Ok(()),
            count => write!(f, ", {} still on the way", counted(count, "change")),
        }
    }
}
