//! Every order against its row, in one pass over both collections while the daemons go on writing them.
//!
//! The two are read side by side in the order of `_id`, a bounded part at a time. What differs may only be on its way,
//! so it is looked at again a while later, the row first and then the order: a row is always written after its order,
//! and an order is never deleted, so what then still differs in the same way is no race. What waits for a daemon that is
//! behind is on its way too, and left to it: a row written past the projector is one that the sockets never hear of.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};

use anyhow::Result;
use indicatif::ProgressBar;
use orders_bus::Operator;
use orders_contracts::{Status, TenantId, Timestamp, streams};
use orders_domain::{
    Order, backlog,
    projection::{Difference, StoredRow, difference},
};
use orders_store::{Error as StoreError, Found, Orphan, Store};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Context;

/// The most orders, and the most rows, that are read at once.
const PAGE: u64 = 1_000;
/// The most ids that wait for the second look; beyond, the scan waits for them.
const MAX_SUSPECTS: usize = 50_000;
/// How soon to look again at what is on its way, at the earliest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// How long the database may be away in the middle of a run, and how long to wait for a daemon that is behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to compare, and when a difference counts.
pub(crate) struct Scope {
    pub(crate) tenant: Option<TenantId>,
    /// How long a difference must stay.
    pub(crate) settle: Duration,
    /// Orders that were created before this and are PENDING count too.
    pub(crate) pending_before: Option<Timestamp>,
    /// The id after which to begin; `""` for all.
    pub(crate) after: String,
}

/// An order or a row with which something is wrong.
pub(crate) struct Finding {
    pub(crate) id: String,
    /// The order, if it is there and can be read.
    pub(crate) order: Option<Order>,
    pub(crate) problem: Problem,
}

pub(crate) enum Problem {
    /// The row is not what the order says.
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

/// What to do with what is found, as it is found.
pub(crate) trait Findings {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()>;

    /// Everything up to the id `reached` is settled.
    async fn reached(&mut self, _reached: &str) -> Result<()> {
        Ok(())
    }

    /// Whether to look for more.
    fn wants_more(&self) -> bool {
        true
    }
}

/// How far a comparison came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scanned {
    pub(crate) orders: u64,
    pub(crate) rows: u64,
    /// What daemons that are behind have still to do.
    pub(crate) on_their_way: u64,
    /// Whether that is all there is.
    pub(crate) complete: bool,
}

/// Compares all of `scope`; ends early, at a place that `reached` was told of, when the operator says so.
pub(crate) async fn compare(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    scope: &Scope,
    findings: &mut impl Findings,
) -> Result<Scanned> {
    let total = patiently(async || store.write_model().count(scope.tenant.as_ref()).await).await?;
    let bar = context.output.progress("orders", total);
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
        findings.reached(scan.settled()).await?;
    }
    bar.finish_and_clear();
    scan.scanned.complete = scan.is_done();
    Ok(scan.scanned)
}

struct Scan<'a> {
    store: &'a Store,
    /// `None` while NATS is away: then nothing is known of what waits there.
    bus: Option<&'a Operator>,
    scope: &'a Scope,
    /// The id up to which both collections have been read.
    place: String,
    at_end: bool,
    waiting: VecDeque<Suspects>,
    scanned: Scanned,
}

/// What differed in one part of the scan.
struct Suspects {
    /// The id after which that part begins.
    after: String,
    /// The version of the order, 0 without one, by id.
    versions: BTreeMap<String, u32>,
    /// How far the daemons were at the last look.
    backlog: Backlog,
    first_seen: Instant,
    due: Instant,
}

/// When the oldest message was stored that has not been through a daemon; `None` for a daemon that is not behind.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Backlog {
    projector: Option<Timestamp>,
    payments: Option<Timestamp>,
}

impl Backlog {
    /// Whether what `order` lacks may be in it.
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

/// A part of both collections that has the same bounds in both.
#[derive(Default)]
struct Part {
    orders: BTreeMap<String, Result<Order, StoreError>>,
    rows: BTreeMap<String, Result<StoredRow, StoreError>>,
    /// Its last id; `None` when there is nothing behind it.
    end: Option<String>,
}

impl Scan<'_> {
    fn is_done(&self) -> bool {
        self.at_end && self.waiting.is_empty()
    }

    /// The id up to which nothing waits for its second look.
    fn settled(&self) -> &str {
        self.waiting
            .iter()
            .map(|suspects| suspects.after.as_str())
            .min()
            .unwrap_or(&self.place)
    }

    /// Reads on, or looks again at what is due; false when there is nothing left to do.
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

    /// When to look again at the first of those that wait, if that comes before reading on.
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

    /// Notes what differs in `part` for a second look.
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
        self.at_end = part.end.is_none();
        let end = part.end.unwrap_or_else(|| self.place.clone());
        let after = mem::replace(&mut self.place, end);
        let now = Instant::now();
        self.wait_for(Suspects {
            after,
            versions,
            backlog: Backlog::default(),
            first_seen: now,
            due: now + self.scope.settle,
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
                // The delay is none of what the consumer is known by.
                let payments = streams::payment_simulator(Duration::ZERO);
                backlog.payments = bus.unsettled_since(&payments).await?;
            }
        }
        Ok(backlog)
    }

    /// Reports what differs still, and lets wait on what has moved since the first look.
    async fn look_again(
        &mut self,
        mut suspects: Suspects,
        findings: &mut impl Findings,
    ) -> Result<()> {
        let ids: Vec<&str> = suspects.versions.keys().map(String::as_str).collect();
        // What is not in the backlog now is in the rows by then. The row before the order: see above.
        let backlog = self.backlog().await?;
        let mut rows = patiently(async || self.store.read_model().look_up(&ids).await).await?;
        let mut orders = patiently(async || self.store.write_model().look_up(&ids).await).await?;
        // A daemon that has not moved since the last look is not waited for.
        let may_arrive = backlog != suspects.backlog && suspects.first_seen.elapsed() < PATIENCE;
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
            due: Instant::now() + self.scope.settle.max(SHORTEST_PAUSE),
            ..suspects
        });
        if !found.is_empty() {
            findings.found(found).await?;
        }
        Ok(())
    }
}

impl Part {
    /// What both pages have seen completely: a full page knows nothing of what is behind it.
    fn new(orders: Vec<Found<Order>>, rows: Vec<Found<StoredRow>>) -> Self {
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

fn version(order: Option<&Result<Order, StoreError>>) -> u32 {
    match order {
        Some(Ok(order)) => order.version,
        _ => 0,
    }
}

/// What is wrong with an order and its row as they were read.
fn problem(
    id: &str,
    order: Option<&Result<Order, StoreError>>,
    row: Option<&Result<StoredRow, StoreError>>,
    scope: &Scope,
) -> Option<Problem> {
    let order = match (order, row) {
        (Some(Ok(order)), _) => order,
        (Some(Err(error)), _) => return Some(Problem::UnreadableOrder(error.to_string())),
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
        Err(error) => return Some(Problem::UnreadableRow(error.to_string())),
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

/// Asks again while the database is away, for at most [`PATIENCE`].
pub(crate) async fn patiently<T>(
    operation: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match operation().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}
