//! `projection`: compares the list with the truth, and rebuilds it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use clap::{Args, Subcommand};
use orders_bus::Operator;
use orders_contracts::{TenantId, Timestamp};
use orders_domain::{
    Order,
    projection::{Difference, FieldDifference},
};
use orders_store::{Checkpoint, Orphan, Store};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Context, Verdict,
    comparison::{Finding, Findings, Problem, Scanned, Scope, compare, patiently},
    output::{Output, counted, plain},
};

/// The most rows in one write.
const WRITES: usize = 250;
/// How often a rebuild stores its checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The most rows to list whose id is not a string.
const MAX_STRAYS: u64 = 1_000;
/// The word for rows without an order.
const ORPHAN: &str = "orphan";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List every difference between the list and the truth; exit code 1 if there is one
    ///
    /// Changes nothing and can run at any time: a change that is still on its way to the list, even behind a slow
    /// projector, does not count.
    Verify(Which),
    /// Rebuild the list from the truth, in place and while everything runs
    ///
    /// Writes rows that are missing, behind or wrong from `orders_write`, and removes rows without an order. A row never
    /// goes back to an older version, and readers see no gap. Sockets get no events for these rows; changes that are still
    /// on their way are left to the projector. An interrupted run resumes where it stopped. Rows that cannot be repaired
    /// are listed: exit code 1.
    Rebuild {
        #[command(flatten)]
        which: Which,
        /// Start from the beginning, even if an earlier run was interrupted
        #[arg(long)]
        from_start: bool,
    },
}

#[derive(Args)]
pub(crate) struct Which {
    /// Only this tenant's orders and rows
    #[arg(long)]
    tenant: Option<TenantId>,
    /// How long a difference must last to count
    #[arg(long, alias = "settle", default_value = "5s", value_parser = humantime::parse_duration)]
    lasting: Duration,
}

impl Which {
    fn scope(&self, after: String) -> Scope {
        Scope {
            tenant: self.tenant.clone(),
            lasting: self.lasting,
            pending_before: None,
            after,
        }
    }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<Verdict> {
    let store = context.store().await?;
    let bus = context
        .bus()
        .await
        .inspect_err(|error| {
            eprintln!(
                "continuing without NATS, so changes still on their way after --lasting count: {error:#}"
            )
        })
        .ok();
    let bus = bus.as_ref();
    match command {
        Command::Verify(which) => verify(context, &store, bus, &which).await,
        Command::Rebuild { which, from_start } => {
            rebuild(context, &store, bus, &which, from_start).await
        }
    }
}

async fn verify(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    which: &Which,
) -> Result<Verdict> {
    let mut verification = Verification {
        output: &context.output,
        counts: Counts::default(),
    };
    let scope = which.scope(String::new());
    let scanned = compare(context, store, bus, &scope, &mut verification).await?;
    let mut counts = verification.counts;
    if scanned.complete {
        let tenant = which.tenant.as_ref();
        let strays =
            patiently(async || store.read_model().strays(tenant, MAX_STRAYS).await).await?;
        for id in &strays {
            counts.add(ORPHAN, 1);
            context.output.line(
                format_args!("{id}: the row has no order, and its id is no order's"),
                &json!({ "difference": ORPHAN, "orderId": id }),
            );
        }
    }
    let total = counts.total();
    context.output.line(
        format_args!(
            "{}: {}{}",
            Extent(scanned),
            counted(total, "difference"),
            List(&counts)
        ),
        &json!({
            "orders": scanned.orders, "rows": scanned.rows, "onTheirWay": scanned.on_their_way,
            "complete": scanned.complete,
            "total": total, "differences": counts.0,
        }),
    );
    Ok(verdict(scanned, total > 0))
}

struct Verification<'a> {
    output: &'a Output,
    counts: Counts,
}

impl Findings for Verification<'_> {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        for finding in &findings {
            self.counts.add(finding.kind(), 1);
            finding.show(self.output);
        }
        Ok(())
    }
}

async fn rebuild(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    which: &Which,
    from_start: bool,
) -> Result<Verdict> {
    let checkpoints = store.checkpoints();
    let work = match &which.tenant {
        Some(tenant) => format!("projection rebuild of {tenant}"),
        None => "projection rebuild".to_owned(),
    };
    let earlier = patiently(async || checkpoints.load(&work).await).await?;
    let earlier = earlier.filter(|_| !from_start);
    if let Some(Checkpoint { reached, at, .. }) = &earlier {
        context.output.line(
            format_args!("resuming after {reached}, which an earlier run reached at {at}; pass --from-start to start over"),
            &json!({ "goingOnAfter": reached, "reachedAt": at }),
        );
    }
    let mut rebuild = Rebuild {
        output: &context.output,
        store,
        work,
        mended: Counts::default(),
        left: Counts::default(),
        stored: Instant::now(),
    };
    let after = earlier.map_or_else(String::new, |checkpoint| checkpoint.reached);
    let scope = which.scope(after);
    let scanned = compare(context, store, bus, &scope, &mut rebuild).await?;
    let Rebuild {
        work,
        mut mended,
        left,
        ..
    } = rebuild;
    if scanned.complete {
        let tenant = which.tenant.as_ref();
        let strays = patiently(async || store.read_model().remove_strays(tenant).await).await?;
        if strays > 0 {
            mended.add(ORPHAN, strays);
        }
        patiently(async || checkpoints.remove(&work).await).await?;
    }
    context.output.line(
        format_args!(
            "{}: repaired {}{}; left {}{}",
            Extent(scanned),
            mended.total(),
            List(&mended),
            left.total(),
            List(&left),
        ),
        &json!({
            "orders": scanned.orders, "rows": scanned.rows, "onTheirWay": scanned.on_their_way,
            "complete": scanned.complete,
            "mended": mended.0, "left": left.0,
        }),
    );
    Ok(verdict(scanned, left.total() > 0))
}

struct Rebuild<'a> {
    output: &'a Output,
    store: &'a Store,
    work: String,
    mended: Counts,
    left: Counts,
    /// When the last checkpoint was stored.
    stored: Instant,
}

impl Findings for Rebuild<'_> {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        let (mut missing, mut wrong, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
        for finding in &findings {
            match (&finding.problem, &finding.order) {
                (Problem::Row(Difference::Missing), Some(order)) => missing.push(order),
                (Problem::Row(Difference::Behind(_) | Difference::Values(_)), Some(order))
                | (Problem::UnreadableRow(_), Some(order)) => wrong.push(order),
                (Problem::Orphan(orphan), _) => orphans.push(orphan.clone()),
                // A row never goes back to an older version, and an unreadable order says nothing about its row.
                _ => {
                    self.left.add(finding.kind(), 1);
                    finding.show(self.output);
                    continue;
                }
            }
            self.mended.add(finding.kind(), 1);
        }
        self.write(&missing, &wrong, &orphans).await
    }

    async fn reached(&mut self, reached: &str) -> Result<()> {
        if self.stored.elapsed() >= CHECKPOINT_EVERY {
            let checkpoint = Checkpoint {
                work: self.work.clone(),
                reached: reached.to_owned(),
                at: Timestamp::now(),
            };
            patiently(async || self.store.checkpoints().save(&checkpoint).await).await?;
            self.stored = Instant::now();
        }
        Ok(())
    }
}

impl Rebuild<'_> {
    /// Rows that a daemon has written meanwhile are newer and stay.
    async fn write(&self, missing: &[&Order], wrong: &[&Order], orphans: &[Orphan]) -> Result<()> {
        let rows = self.store.read_model();
        for orders in missing.chunks(WRITES) {
            let events: Vec<_> = orders.iter().map(|order| order.latest_event()).collect();
            let events: Vec<_> = events.iter().collect();
            patiently(async || rows.insert(&events).await).await?;
        }
        for orders in wrong.chunks(WRITES) {
            patiently(async || rows.replace(orders).await).await?;
        }
        for orphans in orphans.chunks(WRITES) {
            patiently(async || rows.remove(orphans).await).await?;
        }
        Ok(())
    }
}

fn verdict(scanned: Scanned, found: bool) -> Verdict {
    match (scanned.complete, found) {
        (false, _) => Verdict::Interrupted,
        (true, true) => Verdict::Found,
        (true, false) => Verdict::Fine,
    }
}

impl Finding {
    /// The word for the problem.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.problem {
            Problem::Row(Difference::Missing) => "missing",
            Problem::Row(Difference::Behind(_)) => "behind",
            Problem::Row(Difference::Ahead(_)) => "ahead",
            Problem::Row(Difference::Values(_)) => "values",
            Problem::UnreadableRow(_) => "unreadableRow",
            Problem::UnreadableOrder(_) => "unreadableOrder",
            Problem::Orphan(_) => ORPHAN,
            Problem::Pending => "pending",
        }
    }

    fn show(&self, output: &Output) {
        let version = self.order.as_ref().map_or(0, |order| order.version);
        let text = match &self.problem {
            Problem::Row(Difference::Missing) => {
                format!("the order, at version {version}, has no row")
            }
            Problem::Row(Difference::Behind(row)) => {
                format!("the row is at version {row}, the order at {version}")
            }
            Problem::Row(Difference::Ahead(row)) => format!(
                "the row is at version {row}, but the order only at {version}; rebuild leaves it"
            ),
            Problem::Row(Difference::Values(fields)) => {
                let fields: Vec<_> = fields.iter().map(field_text).collect();
                format!("the row has {}", fields.join("; "))
            }
            Problem::UnreadableRow(why) => format!("the row cannot be read: {why}"),
            Problem::UnreadableOrder(why) => format!("the order cannot be read: {why}"),
            Problem::Orphan(_) => "the row has no order".to_owned(),
            Problem::Pending => "the order has been PENDING for too long".to_owned(),
        };
        output.line(
            format_args!("{}: {}", plain(&self.id), plain(&text)),
            &self.value(),
        );
    }

    fn value(&self) -> Value {
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
        *self.0.entry(kind).or_default() += count;
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The kinds that make up a total: ` (2 missing, 1 orphan)`.
pub(crate) struct List<'a>(pub(crate) &'a Counts);

impl std::fmt::Display for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
