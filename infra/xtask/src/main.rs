//! The developer's commands: `cargo xtask up | down | reset | test | lint | bench | chaos | fuzz | schemas`.
#![expect(
    clippy::print_stdout,
    reason = "talking to the developer is what this program does"
)]

mod bench;
mod chaos;
mod database;
mod fuzz;
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

use anyhow::Result;
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
    Chaos(chaos::Options),
    Fuzz(fuzz::Options),
    /// Write schemas/ anew from the code
    Schemas,
}

/// Exit codes; the failure of a command is an error.
const SUCCESS: u8 = 0;
const INTERRUPTED: u8 = 130;

// One thread: a child is told of its parent's death when the *thread* that started it ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result = run(command).await;
    result.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

async fn run(command: Command) -> Result<u8> {
    let workspace = Workspace::here();
    let done = match command {
        Command::Up(options) => return up::run(&workspace, options).await,
        Command::Test(options) => return test::run(&workspace, options).await,
        Command::Bench(options) => return bench::run(&workspace, options).await,
        Command::Chaos(options) => return chaos::run(&workspace, options).await,
        Command::Down => leftovers::down(&workspace).await.map(Some),
        Command::Reset => leftovers::reset(&workspace).await.map(Some),
        Command::Fuzz(options) => unless_interrupted(fuzz::run(&workspace, options)).await,
        Command::Lint => unless_interrupted(lint::run(&workspace)).await,
        Command::Schemas => unless_interrupted(schemas::write(&workspace)).await,
    };
    Ok(done?.map_or(INTERRUPTED, |()| SUCCESS))
}

/// What `work` makes, or nothing if the developer wants this to end before.
async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        result = work => result.map(Some),
        () = interrupted() => Ok(None),
    }
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
