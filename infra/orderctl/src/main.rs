//! `orderctl`: the operator's tool for a running orders pipeline.
//!
//! Each command is a module. All of them use the daemons' own libraries, `orders-bus` and `orders-store`, and can be
//! interrupted at any time and run again.

mod comparison;
mod dlq;
mod doctor;
mod migrate;
mod output;
mod projection;
mod reconcile;
mod tap;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use orders_bus::{Bus, Operator};
use orders_store::Store;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::output::Output;

/// How long to wait for a server's first answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
const INTERRUPTED: u8 = 130;
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERS_COMMIT"), ")");

/// Checks and repairs a running orders pipeline.
///
/// Exit codes: 0 nothing is wrong, or the work is done; 1 the command found something (differences, dead letters, a red
/// check) or failed; 2 wrong usage; 130 interrupted, run it again to resume.
#[derive(Parser)]
#[command(version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Args, Clone)]
struct Common {
    /// The URLs of the NATS servers, separated by commas
    #[arg(
        long,
        env = "NATS_URL",
        default_value = "nats://localhost:4222",
        global = true,
        hide_env_values = true
    )]
    nats_url: String,
    /// The URL of MongoDB; its path names the database
    #[arg(
        long,
        env = "MONGO_URL",
        default_value = "mongodb://localhost:27017/orders",
        global = true,
        hide_env_values = true
    )]
    mongo_url: String,
    /// Print one JSON object per line instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List, show, redrive or drop dead letters: messages that daemons gave up
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Compare the list (`orders_read`) with the truth (`orders_write`), or rebuild it
    #[command(subcommand)]
    Projection(projection::Command),
    Reconcile(reconcile::Options),
    Tap(tap::Options),
    Migrate(migrate::Options),
    Doctor(doctor::Options),
}

/// The result of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing is wrong, or the work is done.
    Fine,
    /// The command found something that needs attention.
    Found,
    /// Ctrl-C stopped the command; finished work stays done.
    Interrupted,
}

/// Everything a command needs.
struct Context {
    common: Common,
    output: Output,
    /// Cancelled by the first Ctrl-C or SIGTERM; the second ends the process.
    stop: CancellationToken,
}

impl Context {
    /// Connects to the bus, or fails if NATS does not answer within a few seconds.
    async fn bus(&self) -> Result<Operator> {
        let bus = Bus::connect(&self.common.nats_url, "orderctl").await?;
        answers("NATS", bus.readiness()).await?;
        Ok(bus.operator())
    }

    /// Connects to the store, or fails if the database does not answer within a few seconds.
    async fn store(&self) -> Result<Store> {
        let store = Store::connect(&self.common.mongo_url, "orderctl").await?;
        answers("the database", store.readiness()).await?;
        Ok(store)
    }
}

/// Probes until the probe succeeds, for at most [`ANSWER_DEADLINE`].
async fn answers<F>(what: &str, probe: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + ANSWER_DEADLINE;
    while let Err(cause) = probe().await {
        if Instant::now() >= deadline {
            bail!("{what} does not answer: {cause}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let context = Context {
        output: Output::new(common.json),
        common,
        stop: CancellationToken::new(),
    };
    tokio::spawn(stop_on_signals(context.stop.clone()));
    let verdict = match command {
        Command::Dlq(command) => dlq::run(&context, command).await,
        Command::Projection(command) => projection::run(&context, command).await,
        Command::Reconcile(options) => reconcile::run(&context, options).await,
        Command::Tap(options) => tap::run(&context, options).await,
        Command::Migrate(options) => migrate::run(&context, options).await,
        Command::Doctor(options) => doctor::run(&context, options).await,
    };
    match verdict {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Found) => ExitCode::FAILURE,
        Ok(Verdict::Interrupted) => {
            eprintln!("interrupted; run it again to resume");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The first signal asks the command to stop at the next safe point, the second ends the process.
async fn stop_on_signals(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(INTERRUPTED.into());
        }
        stop.cancel();
    }
}
