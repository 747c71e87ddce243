//! What a rebuild would do.

use anyhow::Result;
use orders_contracts::TenantId;
use orders_domain::projection::Difference;
use orders_store::Store;
use serde_json::json;

use super::{super::MAX_STRAYS, Options};
use crate::{
    comparison::{Finding, Findings, Problem, Scanned, patiently},
    finding::{Counts, Extent, List, ORPHAN, UNREADABLE_ORDER},
    output::{Output, counted},
};

/// What to do about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Insert,
    Replace,
    SetBack,
    Remove,
    /// Nothing can be done, or not without `--set-back`.
    Leave,
}

impl Options {
    pub(super) fn remedy(&self, finding: &Finding) -> Remedy {
        match &finding.problem {
            Problem::Row(Difference::Missing) => Remedy::Insert,
            Problem::Row(Difference::Behind(_) | Difference::Values(_)) => Remedy::Replace,
            Problem::Row(Difference::Ahead(_)) | Problem::UnreadableRow(_) if self.set_back => {
                Remedy::SetBack
            }
            Problem::UnreadableRow(_) => Remedy::Replace,
            Problem::Orphan(_) => Remedy::Remove,
            Problem::Row(Difference::Ahead(_)) | Problem::UnreadableOrder(_) | Problem::Pending => {
                Remedy::Leave
            }
        }
    }
}

/// The documents whose `_id` is no text, which the scan does not see.
pub(super) struct Strays {
    pub(super) rows: u64,
    pub(super) orders: u64,
}

impl Strays {
    pub(super) async fn find(store: &Store, tenant: Option<&TenantId>) -> Result<Self> {
        let rows = patiently(async || store.read_model().strays(tenant, MAX_STRAYS).await).await?;
        let orders =
            patiently(async || store.write_model().strays(tenant, MAX_STRAYS).await).await?;
        Ok(Self {
            rows: rows.len() as u64,
            orders: orders.len() as u64,
        })
    }
}

/// The number of rows to write, set back, remove and leave, by problem.
pub(super) struct Plan<'a> {
    output: &'a Output,
    options: &'a Options,
    write: Counts,
    set_back: Counts,
    pub(super) remove: Counts,
    pub(super) left: Counts,
}

impl<'a> Plan<'a> {
    pub(super) fn new(output: &'a Output, options: &'a Options) -> Self {
        Self {
            output,
            options,
            write: Counts::default(),
            set_back: Counts::default(),
            remove: Counts::default(),
            left: Counts::default(),
        }
    }

    pub(super) fn add_strays(&mut self, strays: &Strays) {
        self.remove.add(ORPHAN, strays.rows);
        self.left.add(UNREADABLE_ORDER, strays.orders);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.write.total() + self.set_back.total() + self.remove.total() == 0
    }

    /// Says what would be done to how many of `rows`.
    pub(super) fn tell(&self, rows: u64, scanned: Scanned) {
        let mut text = format!(
            "{}: would write {}{}",
            Extent(scanned),
            self.write.total(),
            List(&self.write)
        );
        if self.set_back.total() > 0 {
            text += &format!(", would set back {}", self.set_back.total());
        }
        text += &format!(
            ", would remove {} of {}",
            self.remove.total(),
            counted(rows, "row")
        );
        if self.left.total() > 0 {
            text += &format!(", would leave {}{}", self.left.total(), List(&self.left));
        }
        let value = json!({
            "orders": scanned.orders, "rows": scanned.rows,
            "wouldWrite": self.write.0, "wouldSetBack": self.set_back.total(), "wouldRemove": self.remove.total(),
            "ofRows": rows, "wouldLeave": self.left.0, "onTheirWay": scanned.on_their_way,
        });
        self.output.line(text, &value);
    }

    pub(super) fn question(&self) -> String {
        let parts = [
            ("write", self.write.total()),
            ("set back", self.set_back.total()),
            ("remove", self.remove.total()),
        ];
        let parts = parts.into_iter().filter(|(_, count)| *count > 0);
        let parts: Vec<_> = parts
            .map(|(verb, count)| format!("{verb} {}", counted(count, "row")))
            .collect();
        let mut question = parts.join(", ");
        question[..1].make_ascii_uppercase();
        question
    }
}

impl Findings for Plan<'_> {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        for finding in &findings {
            let counts = match self.options.remedy(finding) {
                Remedy::Insert | Remedy::Replace => &mut self.write,
                Remedy::SetBack => &mut self.set_back,
                Remedy::Remove => &mut self.remove,
                Remedy::Leave => {
                    finding.show(self.output);
                    &mut self.left
                }
            };
            counts.add(finding.kind(), 1);
        }
        Ok(())
    }
}
