//! The chaos suite: the real pipeline, two of each daemon, under load, while everything is broken on purpose; then an
//! independent checker that looks at the history, the collections, the streams and the sockets.
//!
//! `cargo xtask chaos` starts the database and calls it. All load goes to loopback, is bounded, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod breakages;
mod cluster;
mod faults;
mod report;
mod toxiproxy;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use fastrand::Rng;
use orders_tests::{
    check::{self, Evidence, Window},
    history::{Answer, History, Operation, Outcome, What, now},
    load::{Clients, Load},
    report::keep_logs,
    sockets::Sockets,
};
use tokio::time::{Instant, sleep};

use crate::{
    cluster::Cluster,
    faults::{Deck, Lengths, RECOVERY, Saboteur},
};

/// Breaks the running pipeline on purpose and checks that it kept its promises.
#[derive(Parser)]
struct Options {
    /// How long the load runs
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Decides what happens and when; a random one when not given
    #[arg(long)]
    seed: Option<u64>,
    /// Print the faults of the seed in their order, and end
    #[arg(long)]
    list: bool,
    /// Only the fault, or the breakage, whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Instead of that, check what alerts, dashboards, top and doctor tell of each thing that one can break by hand
    #[arg(long)]
    breakages: bool,
}

/// How long the load runs before the first fault, and after the last one: nothing is disturbed then.
const CALM: Duration = Duration::from_secs(12);

#[tokio::main]
async fn main() -> ExitCode {
    let result = tokio::select! {
        result = run(Options::parse()) => result,
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<bool> {
    if options.breakages {
        return breakages::check(options.only.as_deref()).await;
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let permissions = match std::env::var_os("ORDERS_TEST_PERMISSIONS") {
        Some(_) => " --permissions",
        None => "",
    };
    let again = format!(
        "cargo xtask chaos --minutes {} --seed {seed}{permissions}",
        options.minutes
    );
    println!(
        "chaos: {} minutes, seed {seed}; again: {again}",
        options.minutes
    );
    if options.list {
        let mut deck = Deck::new(seed);
        (0..100).for_each(|n| println!("{n:>3}  {}", deck.deal()));
        return Ok(true);
    }
    let folder = PathBuf::from(format!("target/chaos/seed-{seed}"));
    std::fs::create_dir_all(&folder).context("making target/chaos")?;

    let mut cluster = Cluster::start().await?;
    let history = Arc::new(History::create(folder.join("history.jsonl"))?);
    let sockets = Sockets::start(&cluster.edges())?;
    let clients = Arc::new(Clients::new(cluster.edges(), Arc::clone(&history)));
    let began = Instant::now();
    let calm_from = now();
    let load = Load::start(&clients, seed);
    sleep(CALM).await;
    let calm = Window {
        from: calm_from,
        to: now(),
    };

    let mut saboteur = Saboteur {
        cluster: &mut cluster,
        lengths: Lengths::of(options.minutes),
        measured: Default::default(),
    };
    let (mut deck, mut rng) = (Deck::new(seed), Rng::with_seed(seed));
    let end = began + Duration::from_secs_f64(options.minutes * 60.0);
    let mut faults = Vec::new();
    while Instant::now() < end {
        let fault = deck.deal();
        if options
            .only
            .as_ref()
            .is_some_and(|only| !fault.to_string().contains(only))
        {
            continue;
        }
        let elapsed = began.elapsed().as_secs();
        println!("{:>3}:{:02}  {fault}", elapsed / 60, elapsed % 60);
        let known = clients.known(&mut rng);
        let start = now();
        saboteur.commit(&fault).await?;
        history.add(&Operation {
            what: What::Fault {
                name: fault.to_string(),
            },
            start,
            end: now(),
            outcome: Outcome::Ok,
            answer: Answer::default(),
        });
        let window = Window {
            from: start,
            to: now(),
        };
        faults.push(check::Fault {
            class: fault.class(),
            window,
        });
        if let Some(known) = known {
            let same = clients.replays(&known, RECOVERY).await;
            saboteur.measured.violations.extend(same.err());
        }
        sleep(deck.pause()).await;
    }
    println!("no more faults; waiting until all is settled");
    sleep(CALM).await;
    load.stop().await;
    let measured = saboteur.measured;

    let evidence = Evidence::gather(
        &cluster.stack.database().await,
        &cluster.stack.jetstream().await,
        &sockets,
        history.finish()?,
        faults,
        calm,
    )
    .await?;
    let report = report::make(&evidence, &measured);
    std::fs::write(folder.join("report.md"), &report.text)?;
    println!("{}", report.text);
    if report.broken {
        let logs = folder.join("logs");
        keep_logs(cluster.stack.folder(), &logs)?;
        println!(
            "FAILED; again: {again}; history and logs: {}",
            folder.display()
        );
    }
    Ok(!report.broken)
}
