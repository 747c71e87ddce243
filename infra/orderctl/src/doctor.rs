//! `doctor`: checks everything that the pipeline depends on and changes nothing.

use std::{
    env,
    fmt::Display,
    io::{IsTerminal, stdout},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use orders_bus::{ConsumerState, Operator};
use orders_contracts::{
    Timestamp,
    streams::{self, Consumer, ORDERS_DLQ, Policy},
};
use orders_store::Store;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    Context, Verdict,
    migrate::{Declared, consumer_name, stream_name},
    output::Output,
};

/// The oldest NATS server with every feature that the pipeline uses.
const OLDEST_NATS: (u32, u32) = (2, 12);
/// How long to wait for the monitoring of NATS.
const MONITOR_DEADLINE: Duration = Duration::from_secs(2);
/// With this many copies, a power cut at one server loses nothing.
const SAFE_REPLICAS: usize = 3;

/// Check servers, streams, consumers, indexes and dead letters; exit code 1 if a check is red
#[derive(Args)]
pub(crate) struct Options {
    /// The URL of the NATS server's monitoring, the only place that tells how it syncs to disk
    #[arg(
        long,
        env = "NATS_MONITOR_URL",
        default_value = "http://localhost:8222"
    )]
    nats_monitor: String,
    /// How long to watch whether consumers make progress
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    look: Duration,
    #[command(flatten)]
    declared: Declared,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let mut report = Report::new(&context.output);
    match context.bus().await {
        Ok(bus) => {
            report.add("nats", nats_version(&bus.server().version));
            report.add("sync of nats", sync(&bus, &options).await);
            report.drift_on_bus(&bus, &options.declared).await?;
            report.consumers(context, &bus, &options).await?;
            report.dead_letters(&bus).await?;
        }
        Err(error) => report.add(
            "nats",
            Diagnosis::red(format!("{error:#}"), "start NATS, or correct --nats-url"),
        ),
    }
    match context.store().await {
        Ok(store) => report.store(&store).await?,
        Err(error) => report.add(
            "database",
            Diagnosis::red(
                format!("{error:#}"),
                "start MongoDB, or correct --mongo-url",
            ),
        ),
    }
    Ok(match (context.stop.is_cancelled(), report.is_red) {
        (true, _) => Verdict::Interrupted,
        (false, true) => Verdict::Found,
        (false, false) => Verdict::Fine,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Green,
    /// Worth knowing, but no reason to fail.
    Yellow,
    Red,
}

/// The result of a check, and a remedy unless it is green.
#[derive(Debug, Serialize)]
struct Diagnosis {
    colour: Colour,
    found: String,
    remedy: Option<String>,
}

impl Diagnosis {
    fn green(found: impl Into<String>) -> Self {
        Self {
            colour: Colour::Green,
            found: found.into(),
            remedy: None,
        }
    }

    fn yellow(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            colour: Colour::Yellow,
            remedy: Some(remedy.into()),
            ..Self::green(found)
        }
    }

    fn red(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            colour: Colour::Red,
            ..Self::yellow(found, remedy)
        }
    }

    /// Whether a stream, consumer or index matches its declaration.
    fn drift(difference: Option<&impl Display>) -> Self {
        match difference {
            None => Self::green("as declared"),
            Some(difference) => Self::red(
                difference.to_string(),
                "run orderctl migrate with the daemons' settings",
            ),
        }
    }
}

struct Report<'a> {
    output: &'a Output,
    in_colour: bool,
    is_red: bool,
}

impl<'a> Report<'a> {
    fn new(output: &'a Output) -> Self {
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            output,
            in_colour: stdout().is_terminal() && !forbidden,
            is_red: false,
        }
    }

    fn add(&mut self, check: &str, diagnosis: Diagnosis) {
        #[derive(Serialize)]
        struct Line<'a> {
            check: &'a str,
            #[serde(flatten)]
            diagnosis: &'a Diagnosis,
        }
        self.is_red |= diagnosis.colour == Colour::Red;
        let mut text = format!(
            "{}  {check}: {}",
            self.mark(diagnosis.colour),
            diagnosis.found
        );
        if let Some(remedy) = &diagnosis.remedy {
            text += &format!("\n        {remedy}");
        }
        let diagnosis = &diagnosis;
        self.output.line(text, &Line { check, diagnosis });
    }

    fn mark(&self, colour: Colour) -> String {
        let (code, word) = match colour {
            Colour::Green => (32, "green "),
            Colour::Yellow => (33, "yellow"),
            Colour::Red => (31, "red   "),
        };
        if self.in_colour {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }

    async fn drift_on_bus(&mut self, bus: &Operator, declared: &Declared) -> Result<()> {
        for stream in streams::ALL {
            let difference = bus.stream_difference(&stream, declared.replicas).await?;
            self.add(
                &stream_name(stream.name),
                Diagnosis::drift(difference.as_ref()),
            );
        }
        for consumer in declared.consumers() {
            let difference = bus.consumer_difference(&consumer).await?;
            self.add(
                &consumer_name(&consumer),
                Diagnosis::drift(difference.as_ref()),
            );
        }
        Ok(())
    }

    /// Looks at every consumer twice, a while apart.
    async fn consumers(
        &mut self,
        context: &Context,
        bus: &Operator,
        options: &Options,
    ) -> Result<()> {
        let mut before = Vec::new();
        for consumer in options.declared.consumers() {
            before.push(bus.consumer_state(&consumer).await?);
        }
        context.stop.run_until_cancelled(sleep(options.look)).await;
        for (consumer, before) in options.declared.consumers().iter().zip(before) {
            let after = bus.consumer_state(consumer).await?;
            let last = bus.stream_state(&consumer.stream).await?;
            if let (Some(before), Some(after), Some(stream)) = (before, after, last) {
                let check = format!("progress of {consumer}");
                self.add(&check, progress(consumer, stream.last, &before, &after));
            }
        }
        Ok(())
    }

    async fn dead_letters(&mut self, bus: &Operator) -> Result<()> {
        let count = bus
            .stream_state(&ORDERS_DLQ)
            .await?
            .map_or(0, |state| state.messages);
        let diagnosis = if count == 0 {
            Diagnosis::green("none")
        } else {
            Diagnosis::red(
                format!("{count}"),
                "run orderctl dlq list, then orderctl dlq redrive or orderctl dlq drop",
            )
        };
        self.add("dead letters", diagnosis);
        Ok(())
    }

    async fn store(&mut self, store: &Store) -> Result<()> {
        self.add("database", Diagnosis::green(store.server_version().await?));
        let of_collections = [
            (
                "orders_write",
                store.write_model().index_differences().await?,
            ),
            ("orders_read", store.read_model().index_differences().await?),
        ];
        for (collection, differences) in of_collections {
            let check = format!("indexes of {collection}");
            if differences.is_empty() {
                self.add(&check, Diagnosis::green("as declared"));
            }
            for difference in &differences {
                self.add(&check, Diagnosis::drift(Some(difference)));
            }
        }
        Ok(())
    }
}

fn nats_version(version: &str) -> Diagnosis {
    let (major, minor) = OLDEST_NATS;
    let mut numbers = version.split('.').map(str::parse);
    let is_new = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_NATS,
        _ => false,
    };
    if is_new {
        Diagnosis::green(version)
    } else {
        Diagnosis::red(version, format!("upgrade NATS to {major}.{minor} or newer"))
    }
}

/// The part of `/varz` that tells how the server syncs to disk.
#[derive(Deserialize)]
struct Varz {
    server_id: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    #[serde(default)]
    config: JetStreamConfig,
}

#[derive(Default, Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

async fn sync(bus: &Operator, options: &Options) -> Diagnosis {
    match varz(&options.nats_monitor).await {
        Ok(varz) if varz.server_id != bus.server().id => Diagnosis::yellow(
            format!("unknown: {} monitors another server", options.nats_monitor),
            "pass the monitoring URL of the server at --nats-url with --nats-monitor",
        ),
        Ok(varz) if varz.jetstream.config.sync_always => Diagnosis::green("always"),
        Ok(varz) => {
            let interval = Duration::from_nanos(varz.jetstream.config.sync_interval);
            let found = format!("every {}", humantime::format_duration(interval));
            if options.declared.replicas >= SAFE_REPLICAS {
                return Diagnosis::green(format!(
                    "{found}, on {} servers",
                    options.declared.replicas
                ));
            }
            Diagnosis::yellow(
                found,
                "a power cut may lose messages acknowledged since the last sync; set sync_interval: always in the \
                 server's jetstream block, or run three replicas",
            )
        }
        Err(error) => Diagnosis::yellow(
            format!("unknown: {error}"),
            "start NATS with http_port (-m 8222), and pass its URL with --nats-monitor",
        ),
    }
}

async fn varz(monitor: &str) -> Result<Varz, reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(MONITOR_DEADLINE)
        .build()?;
    let url = format!("{}/varz", monitor.trim_end_matches('/'));
    client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await
}

/// Judges a consumer by two looks at it; `last` is the newest sequence of its stream.
fn progress(
    consumer: &Consumer,
    last: u64,
    before: &ConsumerState,
    after: &ConsumerState,
) -> Diagnosis {
    let Consumer {
        stream, durable, ..
    } = consumer;
    if after.ack_floor > last {
        let found = format!(
            "has acked up to {}, but the stream ends at {last}: it will miss new messages",
            after.ack_floor
        );
        let remedy = format!(
            "run nats consumer rm {} {durable}; {durable} creates it again",
            stream.name
        );
        return Diagnosis::red(found, remedy);
    }
    let age = after
        .oldest
        .map_or(Duration::ZERO, |oldest| Timestamp::now().since(oldest));
    let found = format!(
        "{} not delivered, {} in hand, the oldest {} s old",
        after.pending,
        after.ack_pending,
        age.as_secs()
    );
    let has_work = |state: &ConsumerState| state.pending + state.ack_pending > 0;
    // Messages that the daemon holds on purpose are no sign of trouble before they are overdue.
    let is_overdue = consumer.policy != Policy::HOLD || age > consumer.ack_wait;
    let is_still = before.ack_floor == after.ack_floor;
    if has_work(before) && has_work(after) && is_still && is_overdue {
        let remedy = if after.waiting == 0 && after.ack_pending == 0 {
            format!("no {durable} is connected; start one")
        } else {
            format!("see the log of {durable} and its /readyz?verbose")
        };
        return Diagnosis::red(format!("stuck: {found}"), remedy);
    }
    if before.waiting == 0 && after.waiting == 0 && !has_work(after) {
        return Diagnosis::yellow(
            format!("queue empty, but no {durable} is connected"),
            format!("start {durable}"),
        );
    }
    if has_work(after) {
        Diagnosis::green(found)
    } else {
        Diagnosis::green("queue empty")
    }
}

#[cfg(test)]
mod tests {
    use orders_contracts::streams::{PROJECTOR, payment_simulator};

    use super::*;

    fn state(pending: u64, ack_pending: u64, ack_floor: u64, age: i64) -> ConsumerState {
        ConsumerState {
            pending,
            ack_pending,
            waiting: 1,
            ack_floor,
            oldest: Timestamp::from_millis(Timestamp::now().millis() - age * 1_000),
        }
    }

    #[test]
    fn nats_must_be_new_enough() {
        for (version, colour) in [
            ("2.12.0", Colour::Green),
            ("2.12.1-RC.1", Colour::Green),
            ("3.0.0", Colour::Green),
            ("2.11.9", Colour::Red),
            ("what", Colour::Red),
        ] {
            assert_eq!(nats_version(version).colour, colour, "{version}");
        }
    }

    #[test]
    fn a_consumer_is_stuck_when_it_has_work_and_acks_nothing() {
        let held = payment_simulator(Duration::from_secs(5));
        for (consumer, before, after, colour) in [
            (
                PROJECTOR,
                state(0, 0, 9, 0),
                state(0, 0, 9, 0),
                Colour::Green,
            ),
            (
                PROJECTOR,
                state(5, 2, 7, 3),
                state(3, 2, 8, 3),
                Colour::Green,
            ),
            (
                PROJECTOR,
                state(0, 0, 7, 0),
                state(3, 0, 7, 1),
                Colour::Green,
            ),
            (PROJECTOR, state(5, 2, 7, 3), state(5, 2, 7, 5), Colour::Red),
            (held, state(0, 2, 7, 3), state(0, 2, 7, 5), Colour::Green),
            (held, state(0, 2, 7, 8), state(0, 2, 7, 10), Colour::Red),
            (
                PROJECTOR,
                state(0, 0, 11, 0),
                state(0, 0, 11, 0),
                Colour::Red,
            ),
        ] {
            let diagnosis = progress(&consumer, 10, &before, &after);
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
        }
    }
}
