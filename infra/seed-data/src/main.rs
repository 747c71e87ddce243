//! `seed-data`: fills a running pipeline with example orders, as any client would, over its HTTP API.
//!
//! The orders follow from the seed alone, and so do their request ids. A second run finds every order there and adds
//! nothing; one after an interruption goes on.
#![expect(
    clippy::print_stdout,
    reason = "telling the developer what it did is part of what this program does"
)]

mod api;
mod catalog;
mod example;
mod progress;

use std::{pin::pin, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::Parser;
use futures_util::{StreamExt as _, stream};
use orders_contracts::TenantId;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{api::Api, example::Example, progress::Progress};

const INTERRUPTED: u8 = 130;
/// How long an interrupted run waits for the answers to what it has sent.
const GRACE: Duration = Duration::from_secs(3);

/// Fill a running pipeline with example orders
///
/// Sends orders of several tenants, buyers and currencies to the API, and cancels some of them; the others are paid
/// within seconds. The same seed makes the same orders, with the same request ids: a second run adds nothing, and one
/// after Ctrl-C goes on. Nobody in them is real; their addresses are in domains that are reserved for examples.
#[derive(Parser)]
#[command(bin_name = "cargo xtask seed-data")]
struct Options {
    /// How many orders
    #[arg(long, default_value_t = 100)]
    orders: u64,
    /// Where the API is
    #[arg(long, env = "ORDERS_EDGE_URL", default_value = "http://localhost:3001")]
    url: String,
    /// Whose orders; may be given more than once, and the first has the most
    #[arg(long = "tenant", value_name = "TENANT", default_values = ["t-123", "t-456", "t-789"])]
    tenants: Vec<TenantId>,
    /// An access token or API key of these tenants, if the API asks for one; other users of this machine see options
    #[arg(
        long,
        env = "ORDERS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// Decides all orders
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many orders are sent at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

// One thread: it waits more than it computes.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let stop = CancellationToken::new();
    let interrupt = stop.clone();
    tokio::spawn(async move {
        interrupted().await;
        interrupt.cancel();
    });
    match run(&Options::parse(), &stop).await {
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Ok(()) if stop.is_cancelled() => {
            eprintln!("interrupted; the same command goes on from here");
            ExitCode::from(INTERRUPTED)
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

async fn run(options: &Options, stop: &CancellationToken) -> Result<()> {
    ensure!(
        options.url.starts_with("http://"),
        "--url has to begin with http://: where TLS is in front of the pipeline, name its edge itself"
    );
    let api = &Api::new(&options.url, options.token.as_deref())?;
    let Some(answers) = stop.run_until_cancelled(api.answers()).await else {
        return Ok(());
    };
    answers?;
    let mut progress = Progress::new(options.orders);
    let place = |n| async move {
        api.place(&Example::nth(options.seed, n, &options.tenants))
            .await
    };
    let placed = stream::iter(0..options.orders)
        .take_until(stop.cancelled())
        .map(place)
        .buffer_unordered(usize::from(options.concurrency));
    let done = {
        let mut placed = pin!(placed);
        let mut work = pin!(async {
            while let Some(placed) = progress.during(placed.next()).await {
                progress.count(&placed?);
            }
            Ok(())
        });
        tokio::select! {
            done = &mut work => done,
            // What is sent already is answered soon, unless the API puts it off.
            () = stop.cancelled() => timeout(GRACE, work).await.unwrap_or(Ok(())),
        }
    };
    println!("{}", progress.summary());
    done
}

/// Returns when somebody interrupts this program.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
