//! `chaos`: breaks everything on purpose while the pipeline is under load, and checks its promises.

use std::{ffi::OsString, path::Path};

use anyhow::{Context, Result};
use clap::Args;
use tokio::process::Command;

use crate::{
    console::Console,
    database::{self, Clients},
    exit::{INTERRUPTED, SUCCESS, exit_code, unless_interrupted},
    ports, progress,
    stack::{Site, temporary},
    supervisor::{Supervisor, stop_in_order},
    tools, up,
    workspace::Workspace,
};

/// Break the running pipeline on purpose for some minutes, and check that it kept its promises
///
/// Runs at least two of each daemon, a nats-server and a database of their own, and toxiproxy between them all. The
/// seed decides the run and is printed. The report is kept in target/chaos.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the load runs
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Decides the faults and their times; random when not given
    #[arg(long)]
    seed: Option<u64>,
    /// With NATS in operator mode, where each daemon may do only what its role lists
    #[arg(long)]
    permissions: bool,
    /// Check instead what tells of each thing that one can break by hand, and write it to docs/breakages.md; takes a
    /// quarter of an hour, `-- --only NAME` some minutes
    #[arg(long)]
    breakages: bool,
    /// More arguments for the chaos program, such as `--help`
    #[arg(last = true)]
    args: Vec<OsString>,
}

impl Options {
    /// The short run of the tests, always the same.
    pub(crate) fn short() -> Self {
        Self {
            minutes: 1.2,
            seed: Some(21),
            permissions: false,
            breakages: false,
            args: Vec::new(),
        }
    }
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    // Holds the records of the database's processes, by which they can be killed.
    let folder = temporary()?;
    let prepared = prepare(workspace, folder.path());
    let Some((port, database, tools)) = unless_interrupted(prepared).await? else {
        return Ok(INTERRUPTED);
    };
    let nats_server = tools::servers(workspace).await?.join("nats-server");
    let mut chaos = Command::new(workspace.binaries("debug").join("chaos"));
    chaos
        .arg(format!("--minutes={}", options.minutes))
        .args(options.seed.map(|seed| format!("--seed={seed}")))
        .args(options.breakages.then_some("--breakages"))
        .args(options.args)
        .current_dir(workspace.root())
        .env(
            "ORDERS_TEST_MONGO_URL",
            format!("mongodb://127.0.0.1:{port}"),
        )
        .env("ORDERS_TEST_NATS_SERVER", nats_server)
        .env("ORDERS_TEST_BIN_DIR", workspace.binaries("debug"))
        .env("ORDERS_TEST_TOOLS", tools)
        .env("ORDERS_CHAOS_DATABASE", folder.path().join("processes"));
    if options.permissions {
        chaos.env("ORDERS_TEST_PERMISSIONS", "1");
    }
    let status = unless_interrupted(progress::run_shown(&mut chaos)).await;
    stop_in_order(database).await;
    let code = status?.map_or(INTERRUPTED, exit_code);
    if code != SUCCESS && code != INTERRUPTED {
        eprintln!(
            "the database's logs are in {}",
            folder.keep().join("log").display()
        );
    }
    Ok(code)
}

async fn prepare(
    workspace: &Workspace,
    folder: &Path,
) -> Result<(u16, Vec<Vec<Supervisor>>, OsString)> {
    tools::for_tests(workspace).await?;
    let tools = tools::all_go(workspace).await?;
    database::prepare(workspace, Clients::All).await?;
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--all-targets"]);
    up::built(&mut build).await?;
    let site = Site {
        records: Some(folder.join("processes")),
        // Committed data must survive the death of the database.
        ..Site::temporary(folder, true, Console::new(["ferretdb"]))
    };
    let [port] = ports::free()?;
    let database = database::start(workspace, &site, port, Clients::All)
        .await
        .context("starting the database")?;
    Ok((port, database.layers, tools))
}
