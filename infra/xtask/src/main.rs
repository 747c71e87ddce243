//! The developer's commands: `cargo xtask up | down | reset | test | lint | bench | schemas`.
#![expect(
    clippy::print_stdout,
    reason = "talking to the developer is what this program does"
)]

mod bench;
mod database;
mod leftovers;
mod lint;
mod ports;
mod process;
mod procfile;
mod progress;
mod schemas;
mod stack;
mod supervisor;
mod test;
mod tools;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::workspace::Workspace;

/// Runs, tests and checks the orders pipeline on this machine, without Docker.
///
/// What it needs and can get by itself (NATS, a database that speaks MongoDB's protocol, the tools of the tests) is
/// fetched once, with progress shown, and kept in the user's cache folder.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Options),
    /// Stop what an `up` of this checkout left running
    ///
    /// Also stops a running `up`. Processes are recorded below .orders/ and are stopped only if they still are the ones
    /// that were started.
    Down,
    /// Stop everything, then remove the local data (.orders/)
    Reset,
    Test(test::Options),
    /// Check formatting, clippy, the direction of dependencies, and that schemas/ is up to date
    Lint,
    Bench(bench::Options),
    /// Write schemas/ anew from the code
    Schemas,
}

// One thread: a child is told of its parent's death when the *thread* that started it ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    // `up` ends by a signal in the normal way, the others are cut short by it.
    let result = match command {
        Command::Up(options) => up::run(&Workspace::here(), options).await,
        command => tokio::select! {
            result = run(command) => result,
            () = interrupted() => Ok(ExitCode::from(130)),
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::here();
    match command {
        Command::Up(options) => return up::run(&workspace, options).await,
        Command::Down => leftovers::down(&workspace).await?,
        Command::Reset => leftovers::reset(&workspace).await?,
        Command::Test(options) => return test::run(&workspace, options).await,
        Command::Lint => lint::run(&workspace).await?,
        Command::Bench(options) => return bench::run(&workspace, options).await,
        Command::Schemas => schemas::write(&workspace).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns when the developer wants this to end.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
