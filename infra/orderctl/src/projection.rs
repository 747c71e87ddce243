//! `projection`: compares the list with the truth, and rebuilds it.

mod rebuild;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use orders_bus::Operator;
use orders_contracts::TenantId;
use orders_store::Store;
use serde_json::json;

use crate::{
    Context, Verdict,
    comparison::{Finding, Findings, Scanned, Scope, compare, patiently},
    finding::{Counts, Extent, List, ORPHAN, UNREADABLE_ORDER},
    output::{Output, counted, plain},
};

/// The most documents to list whose id is not a string.
const MAX_STRAYS: u64 = 100_000;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List every difference between the list and the truth; exit code 1 if there is one
    ///
    /// Changes nothing and can run at any time: a change that is still on its way to the list, even behind a slow
    /// projector, does not count.
    Verify(Which),
    /// Rebuild the list from the truth, in place and while everything runs
    ///
    /// Looks first, says what it would do and asks. Then it writes rows that are missing, behind or wrong from
    /// `orders_write`, and removes rows without an order. Readers see no gap. Sockets get no events for these rows; changes
    /// that are still on their way are left to the projector. An interrupted run resumes where it stopped. What cannot be
    /// repaired is listed: exit code 1.
    Rebuild {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        options: rebuild::Options,
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
            after,
            ..Scope::any()
        }
    }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<Verdict> {
    let store = context.orders().await?;
    let bus = context
        .bus()
        .await
        .inspect_err(|error| {
            context.output.note(format_args!(
                "continuing without NATS, so changes still on their way after --lasting count: {error:#}"
            ));
        })
        .ok();
    let bus = bus.as_ref();
    if let Some(bus) = bus {
        context.of_one_installation(bus, &store).await?;
    }
    match command {
        Command::Verify(which) => verify(context, &store, bus, &which).await,
        Command::Rebuild { which, options } => {
            rebuild::run(context, &store, bus, &which, options).await
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
        let rows = patiently(async || store.read_model().strays(tenant, MAX_STRAYS).await).await?;
        let orders =
            patiently(async || store.write_model().strays(tenant, MAX_STRAYS).await).await?;
        for (ids, kind, text) in [
            (
                rows,
                ORPHAN,
                "the row has no order, and its id is no order's",
            ),
            (
                orders,
                UNREADABLE_ORDER,
                "the id of the order is no order's",
            ),
        ] {
            counts.add(kind, ids.len() as u64);
            for id in ids {
                context.output.line(
                    format_args!("{}: {text}", plain(&id)),
                    &json!({ "difference": kind, "orderId": id }),
                );
            }
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

fn verdict(scanned: Scanned, found: bool) -> Verdict {
    match (scanned.complete, found) {
        (false, _) => Verdict::Interrupted,
        (true, true) => Verdict::Found,
        (true, false) => Verdict::Fine,
    }
}
