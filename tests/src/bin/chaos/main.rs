//! The chaos suite: the real pipeline, two of each daemon, under load, while everything is broken on purpose; then an
//! independent checker that looks at the history, the collections, the streams and the sockets.
//!
//! `cargo xtask chaos` starts the database and calls it. All load goes to loopback, is bounded, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod alerts;
mod check;
mod cluster;
mod faults;
mod history;
mod load;
mod report;
mod sockets;
mod toxiproxy;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::{
    check::{Evidence, Window},
    cluster::Cluster,
    faults::{Deck, Lengths, RECOVERY, Saboteur},
    history::{Answer, History, Operation, Outcome, What, now},
    load::{Clients, Load},
    sockets::Sockets,
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
    /// Only the fault whose name contains this, again and again
    #[arg(long)]
    only: Option<String>,
    /// Instead of that, check that alerts tell a killed projector, and nothing else
    #[arg(long)]
    alerts: bool,
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
    if options.alerts {
        return alerts::check().await;
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
        faults.push((fault, start, now()));
        if let Some(known) = known {
            let same = replays(&clients, &known).await;
            saboteur.measured.violations.extend(same.err());
        }
        sleep(deck.pause()).await;
    }
    println!("no more faults; waiting until all is settled");
    sleep(CALM).await;
    load.stop().await;
    let measured = saboteur.measured;

    let evidence = Evidence::gather(&cluster, &sockets, history.finish()?, faults, calm).await?;
    let report = report::make(&evidence, &measured);
    std::fs::write(folder.join("report.md"), &report.text)?;
    println!("{}", report.text);
    if report.broken {
        let logs = folder.join("logs");
        copy_logs(cluster.stack.folder(), &logs)?;
        println!(
            "FAILED; again: {again}; history and logs: {}",
            folder.display()
        );
    }
    Ok(!report.broken)
}

/// Asks both edges for an order that was named before the fault: it must still be the same one.
async fn replays(clients: &Clients, known: &load::Wish) -> Result<(), String> {
    for edge in 0..cluster::INSTANCES {
        let start = Instant::now();
        loop {
            let again = clients.create(edge, known).await;
            match again.answer.status {
                200 if again.answer.order == known.order => break,
                200 | 201 => {
                    return Err(format!(
                        "a replay of {} {} answered {} {:?}, not {:?}",
                        known.tenant,
                        known.request,
                        again.answer.status,
                        again.answer.order,
                        known.order
                    ));
                }
                _ if start.elapsed() < RECOVERY => sleep(Duration::from_millis(100)).await,
                status => {
                    return Err(format!(
                        "no replay within {RECOVERY:?}, the last answer was {status}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn copy_logs(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "log")
        {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
