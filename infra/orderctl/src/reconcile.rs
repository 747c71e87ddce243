//! `reconcile`: publishes again the latest event of orders whose event, projection or payment was lost. The daemons and
//! sockets that missed it then get it in the ordinary way; nothing is written behind the daemons' backs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use orders_bus::{Message, Operator};
use orders_contracts::{AuditAction, Status, TenantId, Timestamp, TraceContext};
use orders_domain::{Order, projection::Difference};
use orders_store::Store;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{
    Context, Verdict,
    comparison::{Finding, Findings, Problem, Scope, compare, patiently},
    confirm::Confirm,
    finding::{Counts, Extent, List},
    output::counted,
    record::Record,
};

/// The most orders that one run repairs.
const MAX_LOST: usize = 100_000;
/// The number of orders to publish or check at a time.
const BATCH: usize = 500;
/// How long to wait for JetStream to store one batch.
const STORE_DEADLINE: Duration = Duration::from_secs(30);
/// How often to check whether orders are repaired.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Find and repair orders whose event, projection or payment was lost
///
/// Publishes their latest event again; the daemons do the rest. Safe to repeat: no order is paid or listed twice. An
/// order that only waits for a slow or stopped daemon is not lost and is left to it. Exit code 1 if anything is left to
/// repair.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this tenant's orders
    #[arg(long)]
    tenant: Option<TenantId>,
    /// How long an order must have been PENDING for its payment to count as lost
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pending_for: Duration,
    /// How long a row must have been missing or behind to count as lost
    #[arg(long, alias = "settle", default_value = "5s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// How long to wait for the daemons to repair the orders
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    confirm: Confirm,
}

/// The step that an order lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The event that it was created: the order is PENDING and has no row.
    Event,
    /// Its row is missing or behind.
    Projection,
    /// Its payment: it is listed and stays PENDING.
    Payment,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Event, Self::Projection, Self::Payment];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Projection => "projection",
            Self::Payment => "payment",
        }
    }

    /// What is wrong with `count` orders, and the remedy.
    fn explain(self, count: usize) -> String {
        let (is, has) = if count == 1 {
            ("order is", "order has")
        } else {
            ("orders are", "orders have")
        };
        match self {
            Self::Event => format!(
                "{count} {is} PENDING and not listed; publishing `created` again lists and pays them"
            ),
            Self::Projection => format!(
                "{count} {is} out of date in the list; publishing the latest event again updates it"
            ),
            Self::Payment => format!(
                "{count} {has} been PENDING for too long; publishing `created` again pays them"
            ),
        }
    }
}

/// An order to repair.
struct Lost {
    id: String,
    kind: Kind,
    /// Whether it is repaired only once it is no longer PENDING.
    overdue: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let (bus, store) = context.servers().await?;
    let pending_for = i64::try_from(options.pending_for.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp::from_millis(Timestamp::now().millis().saturating_sub(pending_for));
    let scope = Scope {
        tenant: options.tenant,
        lasting: options.lasting,
        pending_before: before,
        ..Scope::any()
    };
    let mut search = Search {
        before,
        lost: Vec::new(),
        others: Counts::default(),
    };
    let scanned = compare(context, &store, Some(&bus), &scope, &mut search).await?;
    let Search { lost, others, .. } = search;
    if context.stop.is_cancelled() {
        return Ok(Verdict::Interrupted);
    }
    context.output.line(
        format_args!(
            "{}: {} to repair",
            Extent(scanned),
            counted(lost.len() as u64, "order")
        ),
        &json!({
            "orders": scanned.orders, "rows": scanned.rows, "onTheirWay": scanned.on_their_way, "complete": scanned.complete,
            "lost": lost.len(), "others": others.0,
        }),
    );
    for (kind, count) in by_kind(&lost) {
        context
            .output
            .remark(format_args!("  {}", kind.explain(count)));
    }
    if others.total() > 0 {
        context.output.remark(format_args!(
            "  {}{}; see `projection verify` and `projection rebuild`",
            counted(others.total(), "other difference"),
            List(&others)
        ));
    }
    if !scanned.complete {
        context
            .output
            .remark("  these are only the first; run it again for the rest");
    }
    let is_all = scanned.complete && others.total() == 0;
    if lost.is_empty() {
        return Ok(if is_all {
            Verdict::Fine
        } else {
            Verdict::Found
        });
    }
    let question = format!(
        "Publish events of {} again",
        counted(lost.len() as u64, "order")
    );
    if let Err(verdict) = options.confirm.ask(context, &question).await? {
        return Ok(verdict);
    }
    let (action, tenant) = (AuditAction::Reconciled, scope.tenant.clone());
    let what = counted(lost.len() as u64, "order");
    let record = Record::begin(context, Some(&bus), action, &what, tenant).await?;
    let done = repair(context, &store, &bus, lost, options.wait, is_all).await;
    let ended = done.as_ref().ok().copied();
    let told = "published the latest events again".to_owned();
    record.end(ended, told).await?;
    done
}

/// Publishes the events, waits until the orders are repaired, and reports the result of each kind.
async fn repair(
    context: &Context,
    store: &Store,
    bus: &Operator,
    lost: Vec<Lost>,
    wait: Duration,
    is_all: bool,
) -> Result<Verdict> {
    publish_again(context, store, bus, &lost).await?;
    let found: Vec<_> = by_kind(&lost).collect();
    let open = open_after(context, store, lost, wait).await?;
    for Lost { id, kind, .. } in &open {
        let kind = kind.as_str();
        context.output.line(
            format_args!("{id}: still lacks its {kind}"),
            &json!({ "open": kind, "orderId": id }),
        );
    }
    for (kind, found) in found {
        let open = open.iter().filter(|lost| lost.kind == kind).count();
        let (mended, kind) = (found - open, kind.as_str());
        context.output.line(
            format_args!("{kind}: found {found}, repaired {mended}, open {open}"),
            &json!({ "kind": kind, "found": found, "mended": mended, "open": open }),
        );
    }
    Ok(match (open.is_empty(), is_all) {
        (false, _) if context.stop.is_cancelled() => Verdict::Interrupted,
        (true, true) => Verdict::Fine,
        _ => Verdict::Found,
    })
}

fn by_kind(lost: &[Lost]) -> impl Iterator<Item = (Kind, usize)> {
    Kind::ALL
        .into_iter()
        .map(|kind| (kind, lost.iter().filter(|lost| lost.kind == kind).count()))
        .filter(|(_, count)| *count > 0)
}

struct Search {
    before: Option<Timestamp>,
    lost: Vec<Lost>,
    /// Problems that publishing again does not repair.
    others: Counts,
}

impl Findings for Search {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        for finding in findings {
            let kind = match (&finding.problem, &finding.order) {
                (Problem::Pending, _) => Kind::Payment,
                (Problem::Row(Difference::Missing), Some(order))
                    if order.status == Status::Pending =>
                {
                    Kind::Event
                }
                (Problem::Row(Difference::Missing | Difference::Behind(_)), _) => Kind::Projection,
                _ => {
                    self.others.add(finding.kind(), 1);
                    continue;
                }
            };
            let is_overdue = |order: &Order| {
                order.status == Status::Pending
                    && self.before.is_some_and(|before| order.created_at < before)
            };
            self.lost.push(Lost {
                overdue: finding.order.as_ref().is_some_and(is_overdue),
                id: finding.id,
                kind,
            });
        }
        Ok(())
    }

    fn wants_more(&self) -> bool {
        self.lost.len() < MAX_LOST
    }
}

/// Publishes the latest event of each order again, until the operator stops it.
async fn publish_again(
    context: &Context,
    store: &Store,
    bus: &Operator,
    lost: &[Lost],
) -> Result<()> {
    let bar = context.output.progress("published", lost.len() as u64);
    for batch in lost.chunks(BATCH) {
        if context.stop.is_cancelled() {
            break;
        }
        let ids: Vec<&str> = batch.iter().map(|lost| lost.id.as_str()).collect();
        let orders = patiently(async || store.write_model().look_up(&ids).await).await?;
        let latest = |order: &Order| {
            Message::of_event(&order.latest_event(), TraceContext::root(), None).on(Uuid::new_v4())
        };
        let events = orders.values().flatten().map(latest).collect();
        timeout(STORE_DEADLINE, bus.publish_until_stored(events))
            .await
            .context("JetStream does not store the events; run it again to resume")?;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The orders that are not repaired when `wait` is over.
async fn open_after(
    context: &Context,
    store: &Store,
    lost: Vec<Lost>,
    wait: Duration,
) -> Result<Vec<Lost>> {
    let deadline = Instant::now() + wait;
    let bar = context.output.progress("repaired", lost.len() as u64);
    let mut open = lost;
    loop {
        let before = open.len();
        open = still_open(store, open).await?;
        bar.inc((before - open.len()) as u64);
        if open.is_empty() || context.stop.is_cancelled() || Instant::now() >= deadline {
            bar.finish_and_clear();
            return Ok(open);
        }
        context.stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
    }
}

async fn still_open(store: &Store, lost: Vec<Lost>) -> Result<Vec<Lost>> {
    let mut open = Vec::new();
    let mut rest = lost.into_iter().peekable();
    while rest.peek().is_some() {
        let batch: Vec<Lost> = rest.by_ref().take(BATCH).collect();
        let ids: Vec<&str> = batch.iter().map(|lost| lost.id.as_str()).collect();
        let rows = patiently(async || store.read_model().look_up(&ids).await).await?;
        let orders = patiently(async || store.write_model().look_up(&ids).await).await?;
        let is_mended = |lost: &Lost| match (orders.get(&lost.id), rows.get(&lost.id)) {
            (Some(Ok(order)), Some(Ok(row))) => {
                row.version >= order.version && !(lost.overdue && order.status == Status::Pending)
            }
            _ => false,
        };
        let mended: Vec<bool> = batch.iter().map(is_mended).collect();
        let batch = batch.into_iter().zip(mended);
        open.extend(
            batch
                .filter(|(_, is_mended)| !is_mended)
                .map(|(lost, _)| lost),
        );
    }
    Ok(open)
}
