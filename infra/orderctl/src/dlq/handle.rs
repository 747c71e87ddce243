//! Redriving and dropping dead letters: count, ask, then handle batch by batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::Args;
use orders_bus::{DeadLetterProgress, Operator, SentAgain};
use orders_contracts::DeadLetter;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Which,
    letters::Letters,
    outcome::{Outcome, outcome},
};
use crate::{
    Context, Verdict,
    confirm::Confirm,
    output::{counted, plain},
};

/// The options of redrive and drop.
#[derive(Args)]
pub(crate) struct Handling {
    /// Only the dead letters with these sequences
    #[arg(value_name = "SEQUENCE", conflicts_with_all = ["all", "daemon", "tenant", "reason", "since", "until"])]
    sequences: Vec<u64>,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["daemon", "tenant", "reason", "since", "until"])]
    all: bool,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    confirm: Confirm,
    /// The number of dead letters in a batch
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// The pause between batches, such as 500ms
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
}

#[derive(Args)]
pub(crate) struct Redrive {
    #[command(flatten)]
    handling: Handling,
    /// Send this file as the body, `-` for stdin, instead of what the one dead letter holds
    #[arg(long, value_name = "FILE", requires = "sequences")]
    body: Option<PathBuf>,
    /// How long to wait until the daemons have handled the messages
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// What is done to dead letters.
enum Action {
    Redrive,
    /// Redrive one with this body.
    Amend(Bytes),
    Drop,
}

pub(super) async fn redrive(
    context: &Context,
    bus: &Operator,
    options: Redrive,
) -> Result<Verdict> {
    let action = match &options.body {
        None => Action::Redrive,
        Some(_) if options.handling.sequences.len() != 1 => {
            bail!("--body is for one dead letter; pass its sequence")
        }
        Some(path) => Action::Amend(read(path)?),
    };
    let done = match handle(context, bus, &action, options.handling).await? {
        Ok(done) => done,
        Err(verdict) => return Ok(verdict),
    };
    let outcome = outcome(context, bus, &done, options.wait).await?;
    let Done {
        count, taken, left, ..
    } = &done;
    let Outcome { came_back, open } = &outcome;
    let mut text = format!("{} redriven", count.saturating_sub(came_back.len() as u64));
    for (count, what) in [
        (came_back.len() as u64, "came back"),
        (*open, "not handled yet"),
        (*taken, "handled by somebody else"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    for letter in came_back {
        let DeadLetter {
            sequence,
            redrive_of,
            reason,
            error,
            ..
        } = letter;
        let was = redrive_of.unwrap_or_default();
        text += &format!(
            "\n  {sequence} (was {was}): {}: {}",
            plain(reason),
            plain(error)
        );
    }
    let value = json!({
        "redriven": count, "taken": taken, "left": left, "cameBack": came_back, "open": open,
    });
    context.output.line(text, &value);
    let is_well = came_back.is_empty() && *open == 0;
    done.end(is_well)
}

pub(super) async fn drop(context: &Context, bus: &Operator, handling: Handling) -> Result<Verdict> {
    let done = match handle(context, bus, &Action::Drop, handling).await? {
        Ok(done) => done,
        Err(verdict) => return Ok(verdict),
    };
    let mut text = format!("{} dropped", done.count);
    if done.taken > 0 {
        text += &format!(", {} handled by somebody else", done.taken);
    }
    let value = json!({ "dropped": done.count, "taken": done.taken, "left": done.left });
    context.output.line(text, &value);
    done.end(true)
}

fn read(path: &Path) -> Result<Bytes> {
    let mut body = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut body)
            .context("cannot read stdin")?;
    } else {
        body = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(body.into())
}

/// What was done.
#[derive(Default)]
pub(super) struct Done {
    count: u64,
    /// How many somebody else handled meanwhile.
    taken: u64,
    /// How many cannot be handled.
    left: u64,
    /// The newest dead letter when the command began.
    pub(super) up_to: u64,
    pub(super) sent: Vec<SentAgain>,
    is_complete: bool,
    failure: Option<anyhow::Error>,
}

impl Done {
    fn end(self, is_well: bool) -> Result<Verdict> {
        if let Some(failure) = self.failure {
            return Err(failure.context("stopped early; run it again to resume"));
        }
        Ok(match self.is_complete {
            false => Verdict::Interrupted,
            true if is_well && self.left == 0 => Verdict::Fine,
            true => Verdict::Found,
        })
    }
}

/// `Err` is the verdict of a command that ends before it does anything.
async fn handle(
    context: &Context,
    bus: &Operator,
    action: &Action,
    handling: Handling,
) -> Result<Result<Done, Verdict>> {
    let letters = if handling.sequences.is_empty() {
        Letters::matching(context, bus, handling.which.into()).await?
    } else {
        Letters::numbered(context, bus, BTreeSet::from_iter(handling.sequences)).await?
    };
    let Some(count) = Count::of(context, &letters, action).await? else {
        return Ok(Err(Verdict::Interrupted));
    };
    if count.total() == 0 {
        context.output.remark("No dead letters match.");
        return Ok(Err(Verdict::Fine));
    }
    context.output.note(count.to_string().trim_end());
    if count.able > 0 {
        let question = format!("{action} {}", counted(count.able, "dead letter"));
        if let Err(verdict) = handling.confirm.ask(context, &question).await? {
            return Ok(Err(verdict));
        }
        if !bus.has_audit().await? {
            bail!(
                "the stream ORDERS_AUDIT, which must record this, is missing; run `orderctl migrate`"
            );
        }
    }

    let bar = context.output.progress(action.doing(), count.able);
    let mut done = Done {
        left: count.unable,
        up_to: letters.up_to,
        ..Done::default()
    };
    let complete = letters
        .each_page(async |page| {
            let able: Vec<DeadLetter> = page
                .into_iter()
                .filter(|letter| action.is_able(letter))
                .collect();
            for batch in able.chunks(handling.batch.into()) {
                if done.count > 0 {
                    let pause = sleep(handling.pause);
                    context.stop.run_until_cancelled(pause).await;
                }
                if context.stop.is_cancelled() {
                    break;
                }
                let progress = action.apply(bus, batch, &context.actor).await;
                done.count += progress.done.len() as u64;
                done.taken += progress.taken;
                done.sent.extend(progress.sent);
                bar.inc(progress.done.len() as u64 + progress.taken);
                if let Some(failure) = progress.failure {
                    return Err(failure.into());
                }
            }
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    match complete {
        Ok(complete) => done.is_complete = complete,
        Err(failure) => done.failure = Some(failure),
    }
    Ok(Ok(done))
}

/// The number of dead letters that an action can and cannot handle.
#[derive(Default)]
struct Count {
    able: u64,
    unable: u64,
    kinds: BTreeMap<(String, String), u64>,
}

impl Count {
    /// `None` if Ctrl-C came first.
    async fn of(context: &Context, letters: &Letters<'_>, action: &Action) -> Result<Option<Self>> {
        let bar = context.output.busy("reading dead letters");
        let mut count = Self::default();
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
            .await;
        bar.finish_and_clear();
        Ok(complete?.then_some(count))
    }

    const fn total(&self) -> u64 {
        self.able + self.unable
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
    fn is_able(&self, letter: &DeadLetter) -> bool {
        match self {
            Self::Redrive => letter.obstacle(false).is_none(),
            Self::Amend(_) => letter.obstacle(true).is_none(),
            Self::Drop => true,
        }
    }

    async fn apply(
        &self,
        bus: &Operator,
        letters: &[DeadLetter],
        actor: &str,
    ) -> DeadLetterProgress {
        match self {
            Self::Redrive => bus.redrive(letters, actor).await,
            Self::Amend(body) => bus.amend(letters, body, actor).await,
            Self::Drop => bus.drop_dead_letters(letters, actor).await,
        }
    }

    const fn doing(&self) -> &'static str {
        match self {
            Self::Redrive | Self::Amend(_) => "redriving",
            Self::Drop => "dropping",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redrive => "Redrive",
            Self::Amend(_) => "Redrive with another body",
            Self::Drop => "Drop",
        })
    }
}
