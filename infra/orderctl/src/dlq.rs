//! `dlq`: lists, shows, redrives, drops and restores dead letters. What changes something asks first. Each dead letter
//! leaves ORDERS_DLQ only after its message or its audit entry is stored, so an interrupted run can simply be repeated.

mod handle;
mod letters;
mod outcome;
mod restore;

use anyhow::{Result, anyhow};
use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};
use orders_bus::{DeadLetterContent, DeadLetterFilter, Operator, Reason};
use orders_contracts::{PaymentSettings, TenantId, Timestamp, streams};
use serde_json::json;

use self::letters::{HEAD, Letters, Line};
use crate::{
    Context, Verdict,
    output::{counted, moment, plain},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List dead letters, oldest first; exit code 1 if there are any
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show dead letters with all headers and bodies
    Show {
        /// The sequences that `list` shows
        #[arg(required = true, value_name = "SEQUENCE")]
        sequences: Vec<u64>,
    },
    /// Send dead letters to their original subjects again, and wait for what becomes of them
    ///
    /// Exit code 1 if one comes back as a new dead letter, which then names the old one, or is not handled in time.
    Redrive(handle::Redrive),
    /// Remove dead letters; ORDERS_DROPPED keeps them for a year
    #[command(group(
        ArgGroup::new("selection")
            .args(["sequences", "all", "daemon", "tenant", "reason", "since", "until"])
            .required(true)
            .multiple(true)
    ))]
    Drop(handle::Handling),
    /// Bring back dead letters that were dropped, or redriven with another body
    Restore(restore::Options),
}

/// Selects dead letters; without any of these, all.
#[derive(Args)]
#[command(next_help_heading = "Which dead letters")]
pub(crate) struct Which {
    /// Only those given up by this daemon
    #[arg(long, value_parser = daemons())]
    daemon: Option<String>,
    /// Only those of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only those given up for this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Option<String>,
    /// Only those given up at this time or later: RFC 3339, or an age such as 2h
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those given up before this time: RFC 3339, or an age such as 10m
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

/// The daemons that give messages up: those with a consumer.
fn daemons() -> PossibleValuesParser {
    // The delay does not identify a consumer.
    let mut names = streams::consumers(&PaymentSettings::default())
        .map(|consumer| consumer.durable)
        .to_vec();
    names.sort_unstable();
    names.dedup();
    PossibleValuesParser::new(names)
}

impl From<Which> for DeadLetterFilter {
    fn from(which: Which) -> Self {
        Self {
            daemon: which.daemon,
            tenant: which.tenant,
            reason: which.reason,
            since: which.since,
            until: which.until,
        }
    }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<Verdict> {
    let bus = context.bus().await?;
    match command {
        Command::List { which } => list(context, &bus, which.into()).await,
        Command::Show { sequences } => show(context, &bus, sequences).await,
        Command::Redrive(options) => handle::redrive(context, &bus, options).await,
        Command::Drop(handling) => handle::drop(context, &bus, handling).await,
        Command::Restore(options) => restore::run(context, &bus, options).await,
    }
}

async fn list(context: &Context, bus: &Operator, filter: DeadLetterFilter) -> Result<Verdict> {
    let letters = Letters::matching(context, bus, filter).await?;
    let mut count: u64 = 0;
    let complete = letters
        .each_page(async |page| {
            if count == 0 && !page.is_empty() {
                context.output.remark(HEAD);
            }
            count += page.len() as u64;
            for letter in &page {
                context.output.line(Line(letter), letter);
            }
            Ok(())
        })
        .await?;
    if count == 0 {
        context.output.remark("No dead letters.");
    } else {
        context.output.remark(format_args!(
            "{}; `orderctl dlq show SEQUENCE` shows all of one",
            counted(count, "dead letter")
        ));
    }
    Ok(match (complete, count) {
        (false, _) => Verdict::Interrupted,
        (true, 0) => Verdict::Fine,
        (true, _) => Verdict::Found,
    })
}

async fn show(context: &Context, bus: &Operator, sequences: Vec<u64>) -> Result<Verdict> {
    for sequence in sequences {
        let found = bus.dead_letter(sequence).await?;
        let DeadLetterContent {
            letter,
            headers,
            body,
        } = found.ok_or_else(|| anyhow!("no dead letter {sequence}"))?;
        let body = String::from_utf8_lossy(&body);
        let obstacle = letter.obstacle(false);
        let mut text = format!("{HEAD}\n{}", Line(&letter));
        if let Some(obstacle) = &obstacle {
            text += &format!("\ncannot be redriven: {}", plain(obstacle));
        }
        for (name, value) in &headers {
            text += &format!("\n{}: {}", plain(name), plain(value));
        }
        text += &format!("\n\n{body}\n");
        let value = json!({
            "deadLetter": letter,
            "obstacle": obstacle,
            "headers": headers,
            "body": body,
        });
        context.output.line(text, &value);
    }
    Ok(Verdict::Fine)
}
