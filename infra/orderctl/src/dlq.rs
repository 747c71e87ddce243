//! `dlq`: dead letters are listed, shown, sent again or dropped. Only the last two change anything; they ask first, and
//! each dead letter leaves ORDERS_DLQ after what became of it is stored, so a run that was cut short is just run again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use orders_bus::{DeadLetter, DeadLetterContent, DeadLetterFilter, DeadLetterProgress, Operator};
use orders_contracts::{TenantId, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    Context, Verdict,
    output::{confirmed, moment, plain},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List dead letters, oldest first; exit code 1 when there are any
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show dead letters with all their headers and their bodies
    Show {
        /// Sequences, as `list` shows them
        #[arg(required = true, value_name = "SEQUENCE")]
        sequences: Vec<u64>,
    },
    /// Send dead letters to where they came from, once more
    Redrive(Handling),
    /// Remove dead letters for good
    Drop(Handling),
}

/// Which dead letters; without any of these, all.
#[derive(Args)]
pub(crate) struct Which {
    /// Given up by this daemon: writer, projector or payment-simulator
    #[arg(long)]
    daemon: Option<String>,
    /// Of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Given up for this reason: invalid, unknown_order, refused or crash_loop
    #[arg(long)]
    reason: Option<String>,
    /// Given up at this moment or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Given up before this moment: RFC 3339, or how long ago, such as 10m
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

/// How to redrive or drop.
#[derive(Args)]
pub(crate) struct Handling {
    /// Only these of them, by sequence
    #[arg(value_name = "SEQUENCE")]
    sequences: Vec<u64>,
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// How many at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// How long to rest between two batches, such as 500ms
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Who does this, for the audit; user@host by default
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
    let mut count = 0;
    let complete = letters
        .each_page(async |page| {
            count += page.len();
            for letter in &page {
                context.output.line(Line(letter), letter);
            }
            Ok(())
        })
        .await?;
    context.output.remark(format_args!(
        "{count} dead letters; `orderctl dlq show SEQUENCE` shows one"
    ));
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
        } = found.ok_or_else(|| anyhow!("there is no dead letter {sequence}"))?;
        let body = String::from_utf8_lossy(&body);
        let mut text = Line(&letter).to_string();
        if let Some(obstacle) = letter.obstacle() {
            text += &format!("\ncannot be sent again: {}", plain(&obstacle));
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
    // With --json they are for the one who answers, and stdout is for programs.
    eprint!("{count}");
    if count.able > 0 {
        let question = format!("{action} {} dead letters", count.able);
        if !handling.yes && !confirmed(&question, &context.stop).await? {
            return Ok(Verdict::Interrupted);
        }
        if !bus.has_audit().await? {
            bail!("ORDERS_AUDIT is missing, and nothing is done unwritten: run `orderctl migrate`");
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
                    let rest = sleep(handling.pause);
                    context.stop.run_until_cancelled(rest).await;
                }
                if context.stop.is_cancelled() {
                    break;
                }
                let settled = action.settle(bus, batch, &operator).await;
                done += settled.done.len() as u64;
                advance(&bar, &settled);
                if let Some(failure) = settled.failure {
                    return Err(failure.into());
                }
            }
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    let left = count.unable;
    context.output.line(
        format_args!("{} {done} dead letters", action.done()),
        &json!({ action.done(): done, "left": left }),
    );
    let complete = outcome.context("not all of them; run it again to go on")?;
    Ok(match (complete, left) {
        (false, _) => Verdict::Interrupted,
        (true, 0) => Verdict::Fine,
        (true, _) => Verdict::Found,
    })
}

fn advance(bar: &ProgressBar, settled: &DeadLetterProgress) {
    bar.inc(settled.done.len() as u64);
}

/// `user@host`, as far as they are known.
fn operator() -> String {
    let user = env::var("USER").or_else(|_| env::var("LOGNAME"));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{}@{host}", user.unwrap_or_else(|_| "unknown".to_owned()))
}

/// The dead letters that fit and were there when this was made.
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

    /// Hands over all of them, page by page; false when Ctrl-C came first.
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

/// What there is to do.
struct Count {
    able: u64,
    unable: u64,
    kinds: BTreeMap<(String, String), u64>,
}

impl Count {
    /// `None` when Ctrl-C came first.
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
            writeln!(f, "{:>8} of them cannot be sent again: {hint}", self.unable)?;
        }
        Ok(())
    }
}

impl Action {
    fn is_able(self, letter: &DeadLetter) -> bool {
        self == Self::Drop || letter.obstacle().is_none()
    }

    async fn settle(
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
            Self::Redrive => "sending again",
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
            Self::Redrive => "redrive",
            Self::Drop => "drop",
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

/// A dead letter as a line of the list.
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
