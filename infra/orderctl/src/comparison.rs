//! Compares every order with its row, in one pass over both collections while the daemons keep writing to them.
//!
//! The scan reads both side by side in the order of `_id`, a bounded part at a time. A difference may be a change on its
//! way, so the scan looks again a while later, at the row first and then the order: a row is always written after its
//! order, and an order is never deleted, so a difference that lasts is no race. A change that waits for a slow daemon is
//! left to that daemon: if the row were written now, sockets would never hear of it.

mod part;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};

use anyhow::Result;
use indicatif::ProgressBar;
use orders_bus::Operator;
use orders_contracts::{PaymentSettings, TenantId, Timestamp, streams};
use orders_domain::{Order, backlog, projection::Difference};
use orders_store::{Error as StoreError, Orphan, Store};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use self::part::problem;
use self::part::{Part, version};
use crate::Context;

/// The most orders, and the most rows, to read at once.
const PAGE: u64 = 1_000;
/// The most ids that wait for the second look; the scan pauses beyond that.
const MAX_SUSPECTS: usize = 50_000;
/// The shortest pause before looking again at a change on its way.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// How long the database may be away in the middle of a run.
const OUTAGE_DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait for a daemon that is behind.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(30);

/// The orders to compare, and when a difference counts.
pub(crate) struct Scope {
    pub(crate) tenant: Option<TenantId>,
    /// How long a difference must last.
    pub(crate) lasting: Duration,
    /// Orders created before this that are still PENDING count too.
    pub(crate) pending_before: Option<Timestamp>,
    /// The id after which to start; `""` for all.
    pub(crate) after: String,
    /// About how many orders to compare at most.
    pub(crate) most: u64,
}

impl Scope {
    /// Everything, as it is now.
    pub(crate) fn any() -> Self {
        Self {
            tenant: None,
            lasting: Duration::ZERO,
            pending_before: None,
            after: String::new(),
            most: u64::MAX,
        }
    }
}

/// An order or a row that has a problem.
pub(crate) struct Finding {
    pub(crate) id: String,
    /// The order, if it exists and can be read.
    pub(crate) order: Option<Order>,
    pub(crate) problem: Problem,
}

pub(crate) enum Problem {
    /// The row differs from its order.
    Row(Difference),
    /// The row cannot be read.
    UnreadableRow(String),
    /// The order cannot be read, so nothing is known about its row.
    UnreadableOrder(String),
    /// The row has no order.
    Orphan(Orphan),
    /// The order has been PENDING for too long; its row is right.
    Pending,
}

/// Receives findings as the scan makes them.
pub(crate) trait Findings {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()>;

    /// All findings up to the id `reached` have been handed over.
    async fn reached(&mut self, _reached: &str) -> Result<()> {
        Ok(())
    }

    /// Whether the scan should continue.
    fn wants_more(&self) -> bool {
        true
    }
}

/// How much a comparison covered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scanned {
    pub(crate) orders: u64,
    pub(crate) rows: u64,
    /// Changes that daemons have still to make.
    pub(crate) on_their_way: u64,
    /// Whether the comparison covered everything.
    pub(crate) complete: bool,
}

/// Compares all of `scope`. When the operator interrupts it, it ends at the id last passed to `reached`.
pub(crate) async fn compare(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    scope: &Scope,
    findings: &mut impl Findings,
) -> Result<Scanned> {
    let total = patiently(async || store.write_model().count(scope.tenant.as_ref()).await).await?;
    let bar = context.output.progress("orders", total.min(scope.most));
    let mut scan = Scan {
        store,
        bus,
        scope,
        place: scope.after.clone(),
        at_end: false,
        waiting: VecDeque::new(),
        scanned: Scanned::default(),
    };
    while !context.stop.is_cancelled()
        && findings.wants_more()
        && scan.step(findings, &bar, &context.stop).await?
    {
        findings.reached(scan.done_up_to()).await?;
    }
    bar.finish_and_clear();
    scan.scanned.complete = scan.is_done();
    Ok(scan.scanned)
}

struct Scan<'a> {
    store: &'a Store,
    /// `None` while NATS is away: then the backlog is unknown.
    bus: Option<&'a Operator>,
    scope: &'a Scope,
    /// The id up to which both collections have been read.
    place: String,
    at_end: bool,
    waiting: VecDeque<Suspects>,
    scanned: Scanned,
}

/// The differences in one part of the scan.
struct Suspects {
    /// The id after which that part begins.
    after: String,
    /// The version of the order, 0 without one, by id.
    versions: BTreeMap<String, u32>,
    /// The daemons' backlog at the last look.
    backlog: Backlog,
    first_seen: Instant,
    due: Instant,
}

/// For each daemon, when the oldest message that it has not handled was stored; `None` if it is not behind.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Backlog {
    projector: Option<Timestamp>,
    payments: Option<Timestamp>,
}

impl Backlog {
    /// Whether the change that `order` lacks may be in the backlog.
    fn holds(&self, order: &Order, problem: &Problem) -> bool {
        let oldest = match problem {
            Problem::Row(Difference::Missing | Difference::Behind(_)) => self.projector,
            Problem::Pending => self.payments,
            _ => None,
        };
        let lost_before = oldest.and_then(backlog::lost_before);
        lost_before.is_some_and(|lost_before| order.updated_at >= lost_before)
    }
}

impl Scan<'_> {
    fn is_done(&self) -> bool {
        self.at_end && self.waiting.is_empty()
    }

    /// The id up to which nothing waits for its second look.
    fn done_up_to(&self) -> &str {
        self.waiting
            .iter()
            .map(|suspects| suspects.after.as_str())
            .min()
            .unwrap_or(&self.place)
    }

    /// Reads the next part, or looks again at differences that are due; false when nothing is left to do.
    async fn step(
        &mut self,
        findings: &mut impl Findings,
        bar: &ProgressBar,
        stop: &CancellationToken,
    ) -> Result<bool> {
        if let Some(due) = self.next_look() {
            if stop.run_until_cancelled(sleep_until(due)).await.is_some()
                && let Some(suspects) = self.waiting.pop_front()
            {
                self.look_again(suspects, findings).await?;
            }
        } else if !self.at_end {
            let part = self.read_part().await?;
            bar.inc(part.orders.len() as u64);
            self.suspect(part);
        }
        Ok(!self.is_done())
    }

    /// When to look again at the oldest differences, if that comes before reading on.
    fn next_look(&self) -> Option<Instant> {
        let due = self.waiting.front()?.due;
        let waiting: usize = self.waiting.iter().map(|some| some.versions.len()).sum();
        (self.at_end || waiting >= MAX_SUSPECTS || due <= Instant::now()).then_some(due)
    }

    async fn read_part(&self) -> Result<Part> {
        let (orders, rows) = (self.store.write_model(), self.store.read_model());
        let tenant = self.scope.tenant.as_ref();
        let (orders, rows) = tokio::try_join!(
            patiently(async || orders.page_after(&self.place, tenant, PAGE).await),
            patiently(async || rows.page_after(&self.place, tenant, PAGE).await),
        )?;
        Ok(Part::new(orders, rows))
    }

    /// Notes the differences in `part` for a second look.
    fn suspect(&mut self, part: Part) {
        self.scanned.orders += part.orders.len() as u64;
        self.scanned.rows += part.rows.len() as u64;
        let ids = part.orders.keys().chain(part.rows.keys());
        let versions: BTreeMap<String, u32> = ids
            .filter(|id| {
                problem(id, part.orders.get(*id), part.rows.get(*id), self.scope).is_some()
            })
            .map(|id| (id.clone(), version(part.orders.get(id))))
            .collect();
        self.at_end = part.end.is_none() || self.scanned.orders >= self.scope.most;
        let end = part.end.unwrap_or_else(|| self.place.clone());
        let after = mem::replace(&mut self.place, end);
        let now = Instant::now();
        self.wait_for(Suspects {
            after,
            versions,
            backlog: Backlog::default(),
            first_seen: now,
            due: now + self.scope.lasting,
        });
    }

    fn wait_for(&mut self, suspects: Suspects) {
        if !suspects.versions.is_empty() {
            self.waiting.push_back(suspects);
        }
    }

    async fn backlog(&self) -> Result<Backlog> {
        let mut backlog = Backlog::default();
        if let Some(bus) = self.bus {
            backlog.projector = bus.unsettled_since(&streams::PROJECTOR).await?;
            if self.scope.pending_before.is_some() {
                // Its settings do not identify the consumer.
                let payments = streams::payment_simulator(&PaymentSettings::default());
                backlog.payments = bus.unsettled_since(&payments).await?;
            }
        }
        Ok(backlog)
    }

    /// Reports differences that are still there, and keeps waiting for those that have changed since the last look.
    async fn look_again(
        &mut self,
        mut suspects: Suspects,
        findings: &mut impl Findings,
    ) -> Result<()> {
        let ids: Vec<&str> = suspects.versions.keys().map(String::as_str).collect();
        // Changes that have left the backlog by now are in the rows read below. Rows come before orders: see above.
        let backlog = self.backlog().await?;
        let mut rows = patiently(async || self.store.read_model().look_up(&ids).await).await?;
        let mut orders = patiently(async || self.store.write_model().look_up(&ids).await).await?;
        // There is no point in waiting for a daemon that has made no progress since the last look.
        let may_arrive =
            backlog != suspects.backlog && suspects.first_seen.elapsed() < BACKLOG_DEADLINE;
        let (mut moved, mut found) = (BTreeMap::new(), Vec::new());
        for (id, seen) in mem::take(&mut suspects.versions) {
            let (order, row) = (orders.remove(&id), rows.remove(&id));
            let Some(problem) = problem(&id, order.as_ref(), row.as_ref(), self.scope) else {
                continue;
            };
            let version = version(order.as_ref());
            let order = order.and_then(Result::ok);
            let is_on_its_way = order
                .as_ref()
                .is_some_and(|order| backlog.holds(order, &problem));
            if version > seen && matches!(problem, Problem::Row(_)) || is_on_its_way && may_arrive {
                moved.insert(id, version);
            } else if is_on_its_way {
                self.scanned.on_their_way += 1;
            } else {
                found.push(Finding { id, order, problem });
            }
        }
        self.wait_for(Suspects {
            versions: moved,
            backlog,
            due: Instant::now() + self.scope.lasting.max(SHORTEST_PAUSE),
            ..suspects
        });
        if !found.is_empty() {
            findings.found(found).await?;
        }
        Ok(())
    }
}

/// Retries while the database is away, for at most [`OUTAGE_DEADLINE`].
pub(crate) async fn patiently<T>(
    operation: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + OUTAGE_DEADLINE;
    loop {
        match operation().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}
