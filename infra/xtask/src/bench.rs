//! `bench`: the load generator on a database of its own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    console::Console,
    database::{self, Clients},
    exit::{INTERRUPTED, SUCCESS, exit_code, unless_interrupted},
    ports::free,
    progress, revision,
    stack::{self, Site},
    supervisor::{Supervisor, stop_in_order},
    up,
    workspace::Workspace,
};

/// Measure the pipeline: the load generator starts daemons and NATS on free ports, on a private database
///
/// `cargo xtask bench -- --help` names the parts that can be measured by themselves.
#[derive(Args)]
pub(crate) struct Options {
    /// Also measure this revision (a commit, branch or tag), taking turns with this checkout
    ///
    /// The revision is built in a git work tree of its own, once for each commit. The parts `closed`, `open` and `held` are
    /// measured; `-- --only` chooses among them. The table shows the ratios of each figure.
    #[arg(long, value_name = "REV")]
    against: Option<String>,
    /// Cargo's profile for the daemons and the load generator
    #[arg(long, default_value = "release")]
    profile: String,
    /// Arguments for the load generator
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    let Some(bench) = unless_interrupted(Bench::prepare(workspace, &options)).await? else {
        return Ok(INTERRUPTED);
    };
    let mut load = Command::new(bench.binaries.join("bench"));
    if let Some(other) = bench.other {
        load.arg("--against").arg(other);
    }
    load.args(options.args)
        .current_dir(workspace.root())
        .env("MONGO_URL", bench.mongo_url)
        .env("ORDERS_TEST_NATS_SERVER", bench.nats_server)
        .envs(stack::nats_cores());
    let status = unless_interrupted(progress::run_shown(&mut load)).await;
    stop_in_order(bench.database).await;
    let code = status?.map_or(INTERRUPTED, exit_code);
    if code != SUCCESS && code != INTERRUPTED {
        let folder = bench.folder.keep();
        eprintln!(
            "the logs of the database are in {}",
            folder.join("log").display()
        );
    }
    Ok(code)
}

/// What the load generator needs.
struct Bench {
    /// The folder with the programs of this checkout.
    binaries: PathBuf,
    /// That of the other revision.
    other: Option<PathBuf>,
    nats_server: PathBuf,
    mongo_url: String,
    database: Vec<Vec<Supervisor>>,
    folder: TempDir,
}

impl Bench {
    async fn prepare(workspace: &Workspace, options: &Options) -> Result<Self> {
        let profile = match &*options.profile {
            "dev" => "debug",
            other => other,
        };
        let binaries = workspace.binaries(profile);
        // What cannot be had should be known before anything is built.
        let nats_server = stack::nats_server(workspace).await?;
        database::prepare(workspace, Clients::All).await?;
        let mut build = workspace.cargo();
        build.args(["build", "--workspace", "--bins", "--profile"]);
        up::built(build.arg(&options.profile)).await?;
        let other = match &options.against {
            Some(other) => {
                let profile = ["--profile", &options.profile];
                Some(revision::build(workspace, other, &profile, &binaries).await?)
            }
            None => None,
        };
        // On the disk of the checkout: a temporary folder may well be memory, which measures nothing.
        let folder = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&binaries)
            .context("making a folder")?;
        let (mongo_url, database) = start_database(workspace, folder.path()).await?;
        Ok(Self {
            binaries,
            other,
            nats_server,
            mongo_url,
            database,
            folder,
        })
    }
}

async fn start_database(
    workspace: &Workspace,
    folder: &Path,
) -> Result<(String, Vec<Vec<Supervisor>>)> {
    let site = Site::temporary(folder, true, Console::new(["ferretdb"]));
    let [port] = free()?;
    let database = database::start(workspace, &site, port, Clients::All)
        .await?
        .layers;
    Ok((format!("mongodb://127.0.0.1:{port}"), database))
}
