//! Bringing dead letters back that were removed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use orders_bus::Operator;
use orders_contracts::{AuditAction, AuditEntry};
use serde_json::json;

use crate::{Context, Verdict, audit, confirm::Confirm, output::counted};

#[derive(Args)]
pub(crate) struct Options {
    /// The sequences that the dead letters had; `orderctl audit` shows them
    #[arg(required = true, value_name = "SEQUENCE")]
    sequences: Vec<u64>,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) async fn run(context: &Context, bus: &Operator, options: Options) -> Result<Verdict> {
    let wanted = BTreeSet::from_iter(options.sequences);
    let mut removed: BTreeMap<u64, AuditEntry> = BTreeMap::new();
    let bar = context.output.busy("reading the audit");
    let complete = audit::each_page(context, bus, None, async |page| {
        let entries = page.into_iter().filter_map(|(_, entry)| entry);
        for entry in entries {
            let letter = entry.dead_letter.as_ref();
            let Some(sequence) = letter.map(|letter| letter.sequence) else {
                continue;
            };
            if !wanted.contains(&sequence) {
                continue;
            }
            match entry.action {
                AuditAction::Dropped | AuditAction::Amended => {
                    removed.insert(sequence, entry);
                }
                _ => _ = removed.remove(&sequence),
            }
        }
        Ok(())
    })
    .await;
    bar.finish_and_clear();
    if !complete? {
        return Ok(Verdict::Interrupted);
    }
    for sequence in &wanted {
        match removed.get(sequence) {
            None => bail!("dead letter {sequence} was not dropped, or is restored already"),
            Some(entry) if !bus.is_kept(entry).await? => bail!(
                "ORDERS_DROPPED does not have what dead letter {sequence} held: it was erased, or dropped by an older version"
            ),
            Some(_) => {}
        }
    }
    let question = format!("Restore {}", counted(removed.len() as u64, "dead letter"));
    if let Err(verdict) = options.confirm.ask(context, &question).await? {
        return Ok(verdict);
    }
    for (sequence, entry) in &removed {
        if context.stop.is_cancelled() {
            return Ok(Verdict::Interrupted);
        }
        let Some(now) = bus.restore(entry, &context.actor).await? else {
            bail!("dead letter {sequence} is of a daemon that this version does not know");
        };
        context.output.line(
            format_args!("{sequence} is dead letter {now} now"),
            &json!({ "restored": sequence, "as": now }),
        );
    }
    Ok(Verdict::Fine)
}
