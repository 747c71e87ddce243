//! The suite of more than one machine: three hosts with a nats-server and every daemon each, a fourth with the database
//! and a fifth with the clients, while hosts, links and servers fail; then the checker of the chaos suite.
//!
//! A host is a network namespace, so only root can run it. `cargo xtask hosts` starts PostgreSQL and calls it.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod faults;
mod report;
mod site;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use fastrand::Rng;
use orders_testkit::Hosts;
use orders_tests::{
    check::{self, Evidence, Window},
    history::{Answer, History, Operation, Outcome, What, now},
    load::{Clients, Load},
    report::keep_logs,
    sockets::Sockets,
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

use crate::{
    faults::{Deck, Fault, RECOVERY, Saboteur},
    report::Ending,
    site::{ALL, CLIENTS, Site},
};

/// Breaks hosts, links and servers below the running pipeline, and checks that it kept its promises.
#[derive(Parser)]
struct Options {
    /// How long the load runs, but no fault is cut short
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Decides what happens; a random one when not given
    #[arg(long)]
    seed: Option<u64>,
    /// One fault of each kind, however long that takes
    #[arg(long)]
    short: bool,
    /// Only faults whose names contain this, again and again
    #[arg(long, conflicts_with = "short")]
    only: Option<String>,
    /// Print the faults of the seed in their order, and end
    #[arg(long)]
    list: bool,
}

/// How long the load runs before the first fault, and after the last one: nothing is disturbed then.
const CALM: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    let options = Options::parse();
    let result = run_there(options);
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the hosts and goes to that of the clients.
fn run_there(options: Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    if options.list {
        let mut deck = Deck::new(seed);
        (0..40).for_each(|n| println!("{n:>3}  {}", deck.deal()));
        return Ok(true);
    }
    if let Some(refused) = Hosts::refused() {
        println!("skipped: {refused}");
        return Ok(true);
    }
    let hosts = Hosts::start(&ALL)?;
    let clients = hosts.host(CLIENTS).clone();
    clients.run(|| {
        Runtime::new()?.block_on(async {
            tokio::select! {
                result = run(options, seed, hosts) => result,
                _ = tokio::signal::ctrl_c() => Ok(false),
            }
        })
    })?
}

async fn run(options: Options, seed: u64, hosts: Hosts) -> Result<bool> {
    let (length, rest) = match options.short {
        true => (Duration::from_secs(10), Duration::from_secs(1)),
        false => (Duration::from_secs(20), Duration::from_secs(15)),
    };
    let folder = PathBuf::from(format!("target/hosts/seed-{seed}"));
    std::fs::create_dir_all(&folder).context("making target/hosts")?;
    println!("hosts: seed {seed}");

    let mut site = Site::start(hosts).await?;
    let history = Arc::new(History::create(folder.join("history.jsonl"))?);
    // Each tenant has two sockets. They go through the balancer as all clients do.
    let edges = vec![site.balancer.url(); 2];
    let sockets = Sockets::start(&edges)?;
    let clients = Arc::new(Clients::new(edges, Arc::clone(&history)));
    let began = Instant::now();
    let calm_from = now();
    let load = Load::start(&clients, seed);
    sleep(CALM).await;
    let calm = Window {
        from: calm_from,
        to: now(),
    };

    let mut saboteur = Saboteur {
        site: &mut site,
        length,
        measured: Default::default(),
    };
    let (mut deck, mut rng) = (Deck::new(seed), Rng::with_seed(seed));
    let end = began + Duration::from_secs_f64(options.minutes * 60.0);
    let is_over = |count: usize| match options.short {
        true => count > faults::classes(),
        false => Instant::now() > end,
    };
    let mut faults: Vec<check::Fault> = Vec::new();
    let mut next = Fault::Growth;
    while !is_over(faults.len()) {
        let elapsed = began.elapsed().as_secs();
        println!("{:>3}:{:02}  {next}", elapsed / 60, elapsed % 60);
        let known = clients.known(&mut rng);
        let window = commit(&mut saboteur, next, &history).await?;
        let class = next.class();
        faults.push(check::Fault { class, window });
        if let Some(known) = known {
            let same = clients.replays(&known, RECOVERY).await;
            saboteur.measured.violations.extend(same.err());
        }
        sleep(rest).await;
        next = loop {
            let dealt = deck.deal();
            let is_wanted = |only: &String| dealt.to_string().contains(only);
            if options.only.as_ref().is_none_or(is_wanted) {
                break dealt;
            }
        };
    }
    println!("no more faults; waiting until all is settled");
    sleep(CALM).await;
    load.stop().await;
    let measured = saboteur.measured;

    let jetstream = site.jetstream().await?;
    let evidence = Evidence::gather(
        &site.database().await?,
        &jetstream,
        &sockets,
        history.finish()?,
        faults,
        calm,
    )
    .await?;
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await?;
    let ending = Ending {
        lacking: site.lacking().await?,
        commands: commands.cached_info().state.messages,
    };
    let report = report::make(&evidence, &measured, &ending);
    std::fs::write(folder.join("report.md"), &report.text)?;
    println!("{}", report.text);
    if report.broken {
        keep_logs(site.folder(), &folder.join("logs"))?;
        println!(
            "FAILED; again: cargo xtask hosts --seed {seed}; history and logs: {}",
            folder.display()
        );
    }
    Ok(!report.broken)
}

/// Carries out a fault; from when it began until all was well again.
async fn commit(saboteur: &mut Saboteur<'_>, fault: Fault, history: &History) -> Result<Window> {
    let start = now();
    saboteur.commit(fault).await?;
    saboteur.recover(fault).await;
    let window = Window {
        from: start,
        to: now(),
    };
    history.add(&Operation {
        what: What::Fault {
            name: fault.to_string(),
        },
        start,
        end: window.to,
        outcome: Outcome::Ok,
        answer: Answer::default(),
    });
    Ok(window)
}
