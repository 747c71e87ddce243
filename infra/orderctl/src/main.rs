//! `orderctl`: what an operator of the orders pipeline needs when something is broken.
//!
//! Each command is a module. It works through the same two libraries as the daemons, `orders-bus` and `orders-store`,
//! changes nothing before it was told to, and can be interrupted at any time and run again.

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

/// How long a server may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(5);
const INTERRUPTED: u8 = 130;
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERS_COMMIT"), ")");

/// Looks after a running orders pipeline.
///
/// Exit codes: 0 all is well or done; 1 something was found (differences, dead letters, a red line) or the command
/// failed; 2 wrong usage; 130 interrupted, run it again to go on.
#[derive(Parser)]
#[command(version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command knows.
#[derive(Args, Clone)]
struct Common {
    /// NATS servers, separated by commas
    #[arg(
        long,
        env = "NATS_URL",
        default_value = "nats://localhost:4222",
        global = true,
        hide_env_values = true
    )]
    nats_url: String,
    /// MongoDB and the database in it
    #[arg(
        long,
        env = "MONGO_URL",
        default_value = "mongodb://localhost:27017/orders",
        global = true,
        hide_env_values = true
    )]
    mongo_url: String,
    /// Print JSON, one object a line, instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Look at, bring back or drop the messages that daemons gave up
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Compare or rebuild the list (`orders_read`) from the truth (`orders_write`)
    #[command(subcommand)]
    Projection(projection::Command),
    Reconcile(reconcile::Options),
    Tap(tap::Options),
    Migrate(migrate::Options),
    Doctor(doctor::Options),
}

/// How a command that worked has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All is well, or done.
    Fine,
    /// Something was found that wants attention.
    Found,
    /// Ctrl-C came first; what was done is done.
    Interrupted,
}

/// What a command works with.
struct Context {
    common: Common,
    output: Output,
    /// Cancelled by the first Ctrl-C or SIGTERM; a second one ends the process.
    stop: CancellationToken,
}

impl Context {
    /// The bus; fails when NATS does not answer within a few seconds.
    async fn bus(&self) -> Result<Operator> {
        let bus = Bus::connect(&self.common.nats_url, "orderctl").await?;
        answers("NATS", bus.readiness()).await?;
        Ok(bus.operator())
    }

    /// The store; fails when the database does not answer within a few seconds.
    async fn store(&self) -> Result<Store> {
        let store = Store::connect(&self.common.mongo_url, "orderctl").await?;
        answers("the database", store.readiness()).await?;
        Ok(store)
    }
}

/// Asks until there is a good answer, for at most [`PATIENCE`].
async fn answers<F>(what: &str, probe: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + PATIENCE;
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
            eprintln!("interrupted; run it again to go on");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The first signal asks the command to stop at the next good place, the second does not ask.
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
