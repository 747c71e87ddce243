//! The developer's commands: `cargo xtask up | down | reset | seed-data | test | lint | bench | chaos | hosts | fuzz | schemas`.
#![expect(
    clippy::print_stdout,
    reason = "talking to the developer is what this program does"
)]

mod bench;
mod chaos;
mod console;
mod database;
mod exit;
mod fuzz;
mod hosts;
mod leftovers;
mod lint;
mod observe;
mod ports;
mod process;
mod procfile;
mod progress;
mod revision;
mod schemas;
mod secure;
mod seed_data;
mod stack;
mod supervisor;
mod test;
mod tools;
mod up;
mod uploads;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    exit::{INTERRUPTED, SUCCESS, unless_interrupted},
    workspace::Workspace,
};

/// Runs, tests and checks the orders pipeline on this machine, without Docker.
///
/// The servers and tools it needs (NATS, a database that speaks MongoDB's protocol, the tools of the tests) are fetched
/// once, with progress shown, and kept in the user's cache folder.
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
    /// Stop whatever an `up` of this checkout left running
    ///
    /// Also stops a running `up`. Processes are recorded below .orders/, and a record names a process by its start time
    /// too: another one with the same id is left alone.
    Down,
    /// Stop everything, then remove the local data (.orders/)
    Reset,
    SeedData(seed_data::Options),
    Test(test::Options),
    /// Check formatting, clippy, types, dependencies and their licences, and that what is generated is up to date
    Lint,
    Bench(bench::Options),
    Chaos(chaos::Options),
    Fuzz(fuzz::Options),
    Hosts(hosts::Options),
    /// Generate schemas/ and the dashboards from the code
    Schemas,
}

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
        Command::Hosts(options) => return hosts::run(&workspace, options).await,
        Command::Down => leftovers::down(&workspace).await.map(Some),
        Command::Reset => leftovers::reset(&workspace).await.map(Some),
        Command::SeedData(options) => seed_data::run(&workspace, options).await,
        Command::Fuzz(options) => unless_interrupted(fuzz::run(&workspace, options)).await,
        Command::Lint => unless_interrupted(lint::run(&workspace)).await,
        Command::Schemas => unless_interrupted(generate(&workspace)).await,
    };
    Ok(done?.map_or(INTERRUPTED, |()| SUCCESS))
}

async fn generate(workspace: &Workspace) -> Result<()> {
    observe::write(workspace)?;
    schemas::write(workspace).await
}
