//! `top`: what the pipeline does now, from the daemons' metrics and JetStream.
//!
//! `reading` asks them, `between` tells what two readings say together as a `snapshot`, and `screen` makes lines of it.

mod backlog;
mod between;
mod exposition;
mod histogram;
mod reading;
mod roll;
mod screen;
mod snapshot;
mod tally;
mod terminal;

use std::{
    collections::VecDeque,
    fmt,
    io::{IsTerminal as _, stdin, stdout},
    pin::pin,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use futures_util::{Stream, StreamExt as _, stream};
use orders_bus::{Error, Operator};
use orders_service::chain;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::{reading::Reading, roll::Roll, screen::Line, snapshot::Snapshot, terminal::Terminal};
use crate::{Context, Verdict};

/// The time from one reading to the next.
const EVERY: Duration = Duration::from_secs(2);
/// What is shown as "lately".
const WINDOW: Duration = Duration::from_secs(10);

/// Show what the pipeline does now: rates, times, backlogs, daemons and streams
///
/// Draws it anew every 2 s, until q or Ctrl-C. Daemons tell what they count and measure over NATS, so nothing else has to
/// be installed. The times of `create`, `listed`, `paid` (without the delay of payments) and `socket` are estimates from
/// the buckets of histograms. A total is that of the processes that answer, each since its start. Times are those of the
/// last 10 s, `all` those since the starts. KEEPS is how long a stream keeps a message at the present rate.
///
/// Without a terminal, with --once and with --json it prints once, after two readings 2 s apart: exit code 1 if there is
/// something that it cannot see. The fields of its JSON keep their names and meanings; more may be added. `null` is what is
/// not known.
#[derive(Args)]
pub(crate) struct Options {
    /// Print once and end
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let is_terminal = stdin().is_terminal() && stdout().is_terminal();
    if options.once || context.output.is_json() || !is_terminal {
        once(context).await
    } else {
        live(context).await
    }
}

async fn once(context: &Context) -> Result<Verdict> {
    let bus = context.bus().await?;
    let bar = context.output.busy("asking the daemons and NATS");
    let readings = async {
        let before = Reading::take(&bus).await?;
        sleep_until(before.look.at + EVERY).await;
        Ok::<_, Error>((before, Reading::take(&bus).await?))
    };
    let readings = context.stop.run_until_cancelled(readings).await;
    bar.finish_and_clear();
    let Some(readings) = readings else {
        return Ok(Verdict::Interrupted);
    };
    let (before, after) = readings?;
    let snapshot = between::snapshot(&before, &after, Vec::new());
    context.output.line(Text(&snapshot), &snapshot);
    Ok(match snapshot.unseen.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Found,
    })
}

/// A snapshot as text.
struct Text<'a>(&'a Snapshot);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = screen::lines(self.0).into_iter().map(|line| line.text);
        f.write_str(&Vec::from_iter(lines).join("\n"))
    }
}

async fn live(context: &Context) -> Result<Verdict> {
    let bus = context.patient_bus().await?;
    let mut terminal = Terminal::open()?;
    let watched = watch(&bus, &mut terminal);
    // Ctrl-C is one of the ways to end it, so it is no interruption.
    let watched = context.stop.run_until_cancelled(watched).await;
    drop(terminal);
    watched.unwrap_or(Ok(())).map(|()| Verdict::Fine)
}

/// Draws every reading until somebody leaves.
async fn watch(bus: &Operator, terminal: &mut Terminal) -> Result<()> {
    let mut readings = pin!(readings(bus));
    let mut history = History::default();
    loop {
        terminal.draw(&history.lines(Instant::now()))?;
        tokio::select! {
            Some(reading) = readings.next() => history.add(reading),
            leaves = terminal.wants_to_leave() => {
                if leaves? {
                    return Ok(());
                }
            }
        }
    }
}

/// A reading every two seconds, or why there is none.
fn readings(bus: &Operator) -> impl Stream<Item = Result<Reading, Error>> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold(ticks, move |mut ticks| async move {
        ticks.tick().await;
        Some((Reading::take(bus).await, ticks))
    })
}

/// The readings of the last few seconds, and since when there are none.
#[derive(Default)]
struct History {
    readings: VecDeque<Reading>,
    roll: Roll,
    /// Since when NATS is away, and why.
    away: Option<(Instant, String)>,
}

impl History {
    fn add(&mut self, reading: Result<Reading, Error>) {
        match reading {
            Ok(reading) => {
                let at = reading.look.at;
                let answers = reading.processes.iter();
                let answers =
                    answers.filter_map(|(id, process)| Some((id, process.health.as_ref()?)));
                self.roll.note(at, answers);
                self.readings
                    .retain(|earlier| at - earlier.look.at <= WINDOW);
                self.readings.push_back(reading);
                self.away = None;
            }
            Err(error) => {
                let since = self
                    .away
                    .take()
                    .map_or_else(Instant::now, |(since, _)| since);
                self.away = Some((since, chain(&error)));
            }
        }
    }

    fn lines(&self, now: Instant) -> Vec<Line> {
        let snapshot = self.snapshot();
        let mut lines = Vec::new();
        if let Some((since, why)) = &self.away {
            let last = snapshot.as_ref().map(|snapshot| snapshot.time);
            lines.extend(screen::away(now - *since, why, last));
        }
        match &snapshot {
            Some(snapshot) => {
                let mut screen = screen::lines(snapshot);
                screen[0].text += "; q quits";
                lines.extend(screen);
            }
            None => lines.push(Line::of("asking the daemons and NATS; q quits")),
        }
        lines
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let silent = self.roll.silent(last.look.at);
        Some(between::snapshot(first, last, silent))
    }
}
