//! Rebuilding the list: a first scan says what would be done, a second one does it.

mod plan;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use orders_bus::Operator;
use orders_contracts::{AuditAction, TenantId, Timestamp};
use orders_domain::Order;
use orders_store::{Checkpoint, Error as StoreError, Orphan, Store};
use serde_json::json;
use tokio::time::Instant;

use self::plan::{Plan, Remedy, Strays};
use super::{Which, verdict};
use crate::{
    Context, Verdict,
    comparison::{Finding, Findings, Problem, Scanned, Scope, compare, patiently, problem},
    confirm::Confirm,
    finding::{Counts, Extent, List, ORPHAN, UNREADABLE_ORDER},
    output::{Output, counted},
    record::Record,
};

/// The most rows in one write.
const WRITES: usize = 250;
/// How often a rebuild stores its checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The part of the rows, one in so many, that a rebuild removes without being told so.
const USUAL_ORPHANS: u64 = 10;

#[derive(Args)]
pub(crate) struct Options {
    /// Remove rows without an order even if they are more than a tenth of all rows
    #[arg(long)]
    remove_orphans: bool,
    /// Also write rows that are ahead of their order, which sets them back to an older version
    #[arg(long)]
    set_back: bool,
    /// Start from the beginning, even if an earlier run was interrupted
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) async fn run(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    which: &Which,
    options: Options,
) -> Result<Verdict> {
    let checkpoints = store.checkpoints();
    let work = match &which.tenant {
        Some(tenant) => format!("projection rebuild of {tenant}"),
        None => "projection rebuild".to_owned(),
    };
    let earlier = patiently(async || checkpoints.load(&work).await).await?;
    let earlier = earlier.filter(|_| !options.from_start);
    if let Some(Checkpoint { reached, at, .. }) = &earlier {
        context.output.line(
            format_args!("resuming after {reached}, which an earlier run reached at {at}; pass --from-start to start over"),
            &json!({ "goingOnAfter": reached, "reachedAt": at }),
        );
    }
    let scope = which.scope(earlier.map_or_else(String::new, |checkpoint| checkpoint.reached));

    let mut plan = Plan::new(&context.output, &options);
    let scanned = compare(context, store, bus, &scope, &mut plan).await?;
    if !scanned.complete {
        return Ok(Verdict::Interrupted);
    }
    let strays = Strays::find(store, which.tenant.as_ref()).await?;
    plan.add_strays(&strays);
    let rows = scanned.rows + strays.rows;
    plan.tell(rows, scanned);
    let mut may_remove = plan.remove.total().max(rows / USUAL_ORPHANS);
    if options.remove_orphans {
        may_remove = u64::MAX;
    } else if plan.remove.total() > rows / USUAL_ORPHANS && !options.confirm.is_dry_run() {
        bail!(
            "this would remove {} of {}, more than a tenth; if `orders_write` of database {} is complete, pass \
             --remove-orphans",
            plan.remove.total(),
            counted(rows, "row"),
            store.database(),
        );
    }
    if plan.is_empty() {
        if !options.confirm.is_dry_run() {
            patiently(async || checkpoints.remove(&work).await).await?;
        }
        return Ok(verdict(scanned, plan.left.total() > 0));
    }
    if let Err(verdict) = options.confirm.ask(context, &plan.question()).await? {
        return Ok(verdict);
    }

    let (action, tenant) = (AuditAction::Rebuilt, which.tenant.clone());
    let record = Record::begin(context, bus, action, "the list", tenant).await?;
    let mut rebuild = Rebuild {
        output: &context.output,
        store,
        options: &options,
        scope: &scope,
        work,
        may_remove,
        mended: Counts::default(),
        left: Counts::default(),
        stored: Instant::now(),
    };
    let done = rebuild.run(context, bus, which.tenant.as_ref()).await;
    let Rebuild { mended, left, .. } = rebuild;
    let ended = done.as_ref().ok();
    let ended = ended.map(|scanned| verdict(*scanned, left.total() > 0));
    let told = format!("repaired {}, left {}", mended.total(), left.total());
    record.end(ended, told).await?;
    let scanned = done?;
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
    options: &'a Options,
    scope: &'a Scope,
    work: String,
    /// How many rows it may still remove.
    may_remove: u64,
    mended: Counts,
    left: Counts,
    /// When the last checkpoint was stored.
    stored: Instant,
}

impl Findings for Rebuild<'_> {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        let mut kinds: BTreeMap<&'static str, Vec<Finding>> = BTreeMap::new();
        for finding in findings {
            kinds.entry(finding.kind()).or_default().push(finding);
        }
        for (kind, findings) in kinds {
            let remedy = self.options.remedy(&findings[0]);
            if remedy == Remedy::Leave {
                self.left.add(kind, findings.len() as u64);
                continue;
            }
            for some in findings.chunks(WRITES) {
                let changed = self.apply(remedy, some).await?;
                self.mended.add(kind, changed);
                if changed < some.len() as u64 {
                    self.leave(some).await?;
                }
            }
        }
        Ok(())
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
    /// Scans again, and repairs what it finds.
    async fn run(
        &mut self,
        context: &Context,
        bus: Option<&Operator>,
        tenant: Option<&TenantId>,
    ) -> Result<Scanned> {
        let (store, scope) = (self.store, self.scope);
        let scanned = compare(context, store, bus, scope, self).await?;
        if scanned.complete {
            let strays = Strays::find(store, tenant).await?;
            self.may_remove(strays.rows)?;
            let rows = store.read_model();
            let removed = patiently(async || rows.remove_strays(tenant).await).await?;
            self.mended.add(ORPHAN, removed);
            self.left.add(UNREADABLE_ORDER, strays.orders);
            patiently(async || store.checkpoints().remove(&self.work).await).await?;
        }
        Ok(scanned)
    }

    /// Repairs `findings`, which are of one kind; the number of rows that this changed. Rows that a daemon has written
    /// meanwhile are newer and stay.
    async fn apply(&mut self, remedy: Remedy, findings: &[Finding]) -> Result<u64> {
        let rows = self.store.read_model();
        let orders: Vec<&Order> = findings
            .iter()
            .filter_map(|finding| finding.order.as_ref())
            .collect();
        Ok(match remedy {
            Remedy::Leave => 0,
            Remedy::Insert => {
                let events: Vec<_> = orders.iter().map(|order| order.latest_event()).collect();
                let events: Vec<_> = events.iter().collect();
                let inserted = patiently(async || rows.insert(&events).await).await?;
                inserted.into_iter().filter(|is_ours| *is_ours).count() as u64
            }
            Remedy::Replace => patiently(async || rows.replace(&orders).await).await?,
            Remedy::SetBack => {
                let written = patiently(async || rows.set_back(&orders).await).await?;
                // An order that has moved meanwhile could not change its row, which was ahead.
                let ids: Vec<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
                let now = self.look_up(&ids).await?;
                let now: Vec<&Order> = now
                    .values()
                    .filter_map(|order| order.as_ref().ok())
                    .collect();
                patiently(async || rows.replace(&now).await).await?;
                written
            }
            Remedy::Remove => {
                let orphans: Vec<Orphan> = findings
                    .iter()
                    .filter_map(|finding| match &finding.problem {
                        Problem::Orphan(orphan) => Some(orphan.clone()),
                        _ => None,
                    })
                    .collect();
                self.may_remove(orphans.len() as u64)?;
                patiently(async || rows.remove(&orphans).await).await?
            }
        })
    }

    /// Counts and shows those of `findings` whose problem is still there.
    async fn leave(&mut self, findings: &[Finding]) -> Result<()> {
        let ids: Vec<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
        // Rows come before orders, as in the comparison.
        let rows = patiently(async || self.store.read_model().look_up(&ids).await).await?;
        let mut orders = self.look_up(&ids).await?;
        for id in ids {
            let order = orders.remove(id);
            if let Some(problem) = problem(id, order.as_ref(), rows.get(id), self.scope) {
                let finding = Finding {
                    id: id.to_owned(),
                    order: order.and_then(Result::ok),
                    problem,
                };
                self.left.add(finding.kind(), 1);
                finding.show(self.output);
            }
        }
        Ok(())
    }

    async fn look_up(&self, ids: &[&str]) -> Result<HashMap<String, Result<Order, StoreError>>> {
        let orders = self.store.write_model();
        Ok(patiently(async || orders.look_up(ids).await).await?)
    }

    /// Fails if `count` more rows are more than was announced: the database may have changed under us.
    fn may_remove(&mut self, count: u64) -> Result<()> {
        match self.may_remove.checked_sub(count) {
            Some(left) => self.may_remove = left,
            None => bail!("more rows have lost their order since the first scan; run it again"),
        }
        Ok(())
    }
}
