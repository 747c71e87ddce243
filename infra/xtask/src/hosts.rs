//! `hosts`: breaks hosts, links and servers below the pipeline while it is under load, and checks its promises.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

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

/// Run the pipeline on three hosts, break hosts, links and servers for some minutes, and check that it kept its promises
///
/// A host is a network namespace with a nats-server and every daemon; the network of this machine is not touched. Needs
/// root. The seed decides the run and is printed. The report is kept in target/hosts.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the load runs
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Decides the faults and their order; random when not given
    #[arg(long)]
    seed: Option<u64>,
    /// More arguments for the hosts program, such as `--help`
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    let folder = temporary()?;
    let prepared = prepare(workspace, folder.path());
    let Some(prepared) = unless_interrupted(prepared).await? else {
        return Ok(INTERRUPTED);
    };
    let nats_server = tools::servers(workspace).await?.join("nats-server");
    let mut hosts = Command::new(workspace.binaries("debug").join("hosts"));
    hosts
        .arg(format!("--minutes={}", options.minutes))
        .args(options.seed.map(|seed| format!("--seed={seed}")))
        .args(options.args)
        .current_dir(workspace.root())
        .env("ORDERS_TEST_POSTGRES_URL", prepared.postgres_url)
        .env("ORDERS_TEST_NATS_SERVER", nats_server)
        .env("ORDERS_TEST_BIN_DIR", workspace.binaries("debug"))
        .env("ORDERS_TEST_TOOLS", prepared.tools)
        .env("ORDERS_TEST_HAPROXY", prepared.haproxy);
    let status = unless_interrupted(progress::run_shown(&mut hosts)).await;
    stop_in_order(prepared.database).await;
    let code = status?.map_or(INTERRUPTED, exit_code);
    if code != SUCCESS && code != INTERRUPTED {
        let logs = folder.keep().join("log");
        eprintln!("the database's logs are in {}", logs.display());
    }
    Ok(code)
}

struct Prepared {
    tools: OsString,
    haproxy: PathBuf,
    postgres_url: String,
    database: Vec<Vec<Supervisor>>,
}

async fn prepare(workspace: &Workspace, folder: &Path) -> Result<Prepared> {
    tools::for_tests(workspace).await?;
    let (tools, haproxy) = (tools::all_go(workspace).await?, tools::haproxy().await?);
    let clients = Clients::OtherFerretDb;
    database::prepare(workspace, clients).await?;
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--all-targets"]);
    up::built(&mut build).await?;
    let site = Site::temporary(folder, true, Console::new(["postgres"]));
    let [port] = ports::free()?;
    let database = database::start(workspace, &site, port, clients)
        .await
        .context("starting the database")?;
    Ok(Prepared {
        tools,
        haproxy,
        postgres_url: database.postgres_url.context("PostgreSQL was started")?,
        database: database.layers,
    })
}
