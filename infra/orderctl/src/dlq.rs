//! `dlq`: lists, shows, redrives or drops dead letters. Redrive and drop ask first. Each dead letter leaves ORDERS_DLQ only
//! after its message or its audit entry is stored, so an interrupted run can simply be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use orders_bus::{DeadLetterContent, DeadLetterFilter, DeadLetterProgress, Operator};
use orders_contracts::{DeadLetter, TenantId, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    Context, Verdict,
    output::{Answer, ask, counted, moment, plain},
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
    /// Send dead letters to their original subjects again
    Redrive(Handling),
    /// Remove dead letters for good
    Drop(Handling),
}

/// Selects dead letters; without any of these, all.
#[derive(Args)]
pub(crate) struct Which {
    /// Only those given up by this daemon: writer, projector or payment-simulator
    #[arg(long)]
    daemon: Option<String>,
    /// Only those of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only those given up for this reason: invalid, unknown_order, refused, crash_loop or panicked
    #[arg(long)]
    reason: Option<String>,
    /// Only those given up at this time or later: RFC 3339, or an age such as 2h
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those given up before this time: RFC 3339, or an age such as 10m
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

/// The options of redrive and drop.
#[derive(Args)]
pub(crate) struct Handling {
    /// Only the dead letters with these sequences
    #[arg(value_name = "SEQUENCE")]
    sequences: Vec<u64>,
    #[command(flatten)]
    which: Which,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// The number of dead letters in a batch
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// The pause between batches, such as 500ms
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Your name for the audit; user@host by default
    #[arg(long, env = "ORDERS_OPERATOR")]
    operator: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Redrive,
    Drop,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<Verdict> {
    let bus = context.bus().await?;
    match command {
        Command::List { which } => list(context, &bus, which.into()).await,
        Command::Show { sequences } => show(context, &bus, sequences).await,
        Command::Redrive(handling) => handle(context, &bus, Action::Redrive, handling).await,
        Command::Drop(handling) => handle(context, &bus, Action::Drop, handling).await,
    }
}

async fn list(context: &Context, bus: &Operator, filter: DeadLetterFilter) -> Result<Verdict> {
    let letters = Letters::now(context, bus, filter).await?;
    let mut count: u64 = 0;
    let complete = letters
        .each_page(async |page| {
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
        let mut text = Line(&letter).to_string();
        if let Some(obstacle) = letter.obstacle() {
            text += &format!("\ncannot be redriven: {}", plain(&obstacle));
        }
        for (name, value) in &headers {
            text += &format!("\n{}: {}", plain(name), plain(value));
        }
        text += &format!("\n\n{}\n", plain(&body));
        let value = json!({
            "deadLetter": letter,
            "obstacle": letter.obstacle(),
            "headers": headers,
            "body": body,
        });
        context.output.line(text, &value);
    }
    Ok(Verdict::Fine)
}

async fn handle(
    context: &Context,
    bus: &Operator,
    action: Action,
    handling: Handling,
) -> Result<Verdict> {
    let mut filter = DeadLetterFilter::from(handling.which);
    filter.sequences = BTreeSet::from_iter(handling.sequences);
    let letters = Letters::now(context, bus, filter).await?;
    let Some(count) = Count::of(&letters, action).await? else {
        return Ok(Verdict::Interrupted);
    };
    // On stderr: with --json, stdout is for programs only.
    eprint!("{count}");
    if count.able > 0 {
        let question = format!("{action} {}", counted(count.able, "dead letter"));
        if !handling.yes {
            match ask(&question, &context.stop).await? {
                Answer::Yes => {}
                Answer::No => return Ok(Verdict::Found),
                Answer::Interrupted => return Ok(Verdict::Interrupted),
            }
        }
        if !bus.has_audit().await? {
            bail!(
                "the stream ORDERS_AUDIT, which must record this, is missing; run `orderctl migrate`"
            );
        }
    }

    let bar = context.output.progress(action.doing(), count.able);
    let operator = handling.operator.unwrap_or_else(operator);
    let mut done = 0;
    let outcome = letters
        .each_page(async |page| {
            let able: Vec<DeadLetter> = page
                .into_iter()
                .filter(|letter| action.is_able(letter))
                .collect();
            for batch in able.chunks(handling.batch.into()) {
                if done > 0 {
                    let pause = sleep(handling.pause);
                    context.stop.run_until_cancelled(pause).await;
                }
                if context.stop.is_cancelled() {
                    break;
                }
                let progress = action.apply(bus, batch, &operator).await;
                done += progress.done.len() as u64;
                bar.inc(progress.done.len() as u64);
                if let Some(failure) = progress.failure {
                    return Err(failure.into());
                }
            }
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    let left = count.unable;
    context.output.line(
        format_args!("{} {}", action.done(), counted(done, "dead letter")),
        &json!({ action.done(): done, "left": left }),
    );
    let complete = outcome.context("stopped early; run it again to resume")?;
    Ok(match (complete, left) {
        (false, _) => Verdict::Interrupted,
        (true, 0) => Verdict::Fine,
        (true, _) => Verdict::Found,
    })
}

/// `user@host`, as far as known.
fn operator() -> String {
    let user = env::var("USER").or_else(|_| env::var("LOGNAME"));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{}@{host}", user.unwrap_or_else(|_| "unknown".to_owned()))
}

/// The dead letters that match the filter and existed when this was created.
struct Letters<'a> {
    context: &'a Context,
    bus: &'a Operator,
    filter: DeadLetterFilter,
    up_to: u64,
}

impl<'a> Letters<'a> {
    async fn now(
        context: &'a Context,
        bus: &'a Operator,
        filter: DeadLetterFilter,
    ) -> Result<Self> {
        Ok(Self {
            context,
            bus,
            filter,
            up_to: bus.last_dead_letter().await?,
        })
    }

    /// Calls `handle` with each page; false if Ctrl-C came first.
    async fn each_page(
        &self,
        mut handle: impl AsyncFnMut(Vec<DeadLetter>) -> Result<()>,
    ) -> Result<bool> {
        let mut reached = 0;
        while reached < self.up_to && !self.context.stop.is_cancelled() {
            let page = self
                .bus
                .dead_letters(&self.filter, reached, self.up_to)
                .await?;
            reached = page.reached;
            handle(page.letters).await?;
        }
        Ok(!self.context.stop.is_cancelled())
    }
}

/// The number of dead letters that an action can and cannot handle.
struct Count {
    able: u64,
    unable: u64,
    kinds: BTreeMap<(String, String), u64>,
}

impl Count {
    /// `None` if Ctrl-C came first.
    async fn of(letters: &Letters<'_>, action: Action) -> Result<Option<Self>> {
        let mut count = Self {
            able: 0,
            unable: 0,
            kinds: BTreeMap::new(),
        };
        let complete = letters
            .each_page(async |page| {
                for letter in page {
                    if action.is_able(&letter) {
                        count.able += 1;
                    } else {
                        count.unable += 1;
                    }
                    let kind = (letter.daemon, letter.reason);
                    *count.kinds.entry(kind).or_default() += 1;
                }
                Ok(())
            })
            .await?;
        Ok(complete.then_some(count))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((daemon, reason), count) in &self.kinds {
            writeln!(f, "{count:>8} of {}, {}", plain(daemon), plain(reason))?;
        }
        if self.unable > 0 {
            let hint = "`dlq show` says why; they can only be dropped";
            writeln!(f, "{:>8} of them cannot be redriven: {hint}", self.unable)?;
        }
        Ok(())
    }
}

impl Action {
    fn is_able(self, letter: &DeadLetter) -> bool {
        self == Self::Drop || letter.obstacle().is_none()
    }

    async fn apply(
        self,
        bus: &Operator,
        letters: &[DeadLetter],
        operator: &str,
    ) -> DeadLetterProgress {
        match self {
            Self::Redrive => bus.redrive(letters, operator).await,
            Self::Drop => bus.drop_dead_letters(letters, operator).await,
        }
    }

    const fn doing(self) -> &'static str {
        match self {
            Self::Redrive => "redriving",
            Self::Drop => "dropping",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Drop => "dropped",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redrive => "Redrive",
            Self::Drop => "Drop",
        })
    }
}

impl From<Which> for DeadLetterFilter {
    fn from(which: Which) -> Self {
        Self {
            daemon: which.daemon,
            tenant: which.tenant,
            reason: which.reason,
            since: which.since,
            until: which.until,
            sequences: BTreeSet::new(),
        }
    }
}

/// A dead letter as one line of the list.
struct Line<'a>(&'a DeadLetter);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.0;
        write!(
            f,
            "{:>6}  {}  {:<17}  {:<12}  {:<13}  {:<22}  {:<30}  {}",
            letter.sequence,
            letter.time,
            plain(&letter.daemon),
            letter.tenant.as_ref().map_or("~", TenantId::as_str),
            plain(&letter.reason),
            plain(&letter.original_position),
            plain(letter.order_id.as_deref().unwrap_or("-")),
            plain(&letter.error),
        )
    }
}
