//! `audit`: lists what operators did.

use anyhow::Result;
use clap::{Args, builder::PossibleValuesParser};
use orders_bus::Operator;
use orders_contracts::{AuditAction, AuditEntry, TenantId, Timestamp, streams::ORDERS_AUDIT};
use serde_json::json;

use crate::{
    Context, Verdict,
    output::{moment, plain, row, shown},
};

const COLUMNS: [usize; 6] = [6, 19, 10, 14, 9, 12];
const HEAD: &str = " ENTRY  WHEN (UTC)           ACTION      TARGET          TENANT     ACTOR";

/// List what operators did, oldest first
///
/// `orderctl dlq restore LETTER` brings back one that was dropped.
#[derive(Args)]
pub(crate) struct Options {
    /// Only entries about this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only this action
    #[arg(long, value_parser = PossibleValuesParser::new(AuditAction::ALL.map(AuditAction::as_str)))]
    action: Option<String>,
    /// Only entries from this time on: RFC 3339, or an age such as 2h
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Only entries before this time: RFC 3339, or an age such as 10m
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

impl Options {
    fn fits(&self, entry: &AuditEntry) -> bool {
        let is_action = |action: &String| entry.action.as_str() == *action;
        self.action.as_ref().is_none_or(is_action)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let bus = context.bus().await?;
    let mut count: u64 = 0;
    let tenant = options.tenant.as_ref();
    let complete = each_page(context, &bus, tenant, async |page| {
        for (sequence, entry) in page {
            let Some(entry) = entry else {
                context
                    .output
                    .note(format_args!("entry {sequence} cannot be read"));
                continue;
            };
            if !options.fits(&entry) {
                continue;
            }
            if count == 0 {
                context.output.remark(HEAD);
            }
            count += 1;
            show(context, sequence, &entry);
        }
        Ok(())
    })
    .await?;
    match count {
        0 => context.output.remark("No entries."),
        1 => context.output.remark("1 entry"),
        _ => context.output.remark(format_args!("{count} entries")),
    }
    Ok(if complete {
        Verdict::Fine
    } else {
        Verdict::Interrupted
    })
}

/// Calls `handle` with each page of the audit; false if Ctrl-C came first.
pub(crate) async fn each_page(
    context: &Context,
    bus: &Operator,
    tenant: Option<&TenantId>,
    mut handle: impl AsyncFnMut(Vec<(u64, Option<AuditEntry>)>) -> Result<()>,
) -> Result<bool> {
    let up_to = bus
        .stream_state(&ORDERS_AUDIT)
        .await?
        .map_or(0, |state| state.last);
    let mut reached = 0;
    while reached < up_to && !context.stop.is_cancelled() {
        let page = bus.audit(tenant, reached, up_to).await?;
        reached = page.reached;
        handle(page.entries).await?;
    }
    Ok(!context.stop.is_cancelled())
}

fn show(context: &Context, sequence: u64, entry: &AuditEntry) {
    let [number, time, word, what, tenant, who] = COLUMNS;
    let cells = [
        (number, format!("{sequence:>number$}")),
        (time, shown(entry.at)),
        (word, entry.action.as_str().to_owned()),
        (what, entry.target()),
        (
            tenant,
            entry
                .tenant
                .as_ref()
                .map_or("~", TenantId::as_str)
                .to_owned(),
        ),
        (who, entry.actor.clone()),
    ];
    let cells = cells
        .each_ref()
        .map(|(width, text)| (*width, text.as_str()));
    let mut text = row(&cells);
    if let Some(detail) = &entry.detail {
        text += &format!("\n        {}: {}", entry.result.as_str(), plain(detail));
    }
    let mut value = json!(entry);
    value["entry"] = json!(sequence);
    context.output.line(text, &value);
}
