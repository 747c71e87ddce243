//! `bench`: the load generator against a stack of its own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::process::Command;

use crate::{
    console::Console,
    database,
    exit::{INTERRUPTED, SUCCESS, exit_code, unless_interrupted},
    ports::free,
    process::Output,
    procfile, progress,
    stack::{self, Site, all_ready},
    supervisor::{Supervisor, stop_in_order},
    up,
    workspace::Workspace,
};

/// Measure the pipeline: private servers and daemons on free ports, then the load generator
#[derive(Args)]
pub(crate) struct Options {
    /// Cargo's profile for the daemons and the load generator
    #[arg(long, default_value = "release")]
    profile: String,
    /// Arguments for the load generator
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    let profile = if options.profile == "dev" {
        "debug"
    } else {
        &options.profile
    };
    let mut build = workspace.cargo();
    build.args([
        "build",
        "--workspace",
        "--bins",
        "--profile",
        &options.profile,
    ]);
    up::built(&mut build).await?;
    // On the disk of the checkout: a temporary folder may well be memory, which measures nothing.
    let binaries = workspace.binaries(profile);
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&binaries)
        .context("making a folder")?;

    let Some(stack) = unless_interrupted(Stack::start(workspace, profile, folder.path())).await?
    else {
        return Ok(INTERRUPTED);
    };
    let mut load = Command::new(binaries.join("bench"));
    load.args(options.args)
        .current_dir(workspace.root())
        .envs(stack.env)
        // For pipelines that it starts itself.
        .env("ORDERS_TEST_NATS_SERVER", &stack.nats_server)
        .envs(stack::nats_cores());
    let status = unless_interrupted(progress::run_shown(&mut load)).await;
    stop_in_order(stack.layers).await;
    let code = status?.map_or(INTERRUPTED, exit_code);
    if code != SUCCESS {
        eprintln!("the logs are in {}", folder.keep().join("log").display());
    }
    Ok(code)
}

/// What the load generator measures.
struct Stack {
    env: Vec<(String, String)>,
    nats_server: PathBuf,
    layers: Vec<Vec<Supervisor>>,
}

impl Stack {
    async fn start(workspace: &Workspace, profile: &str, folder: &Path) -> Result<Self> {
        let daemons = procfile::read(workspace)?;
        let site = Site::temporary(
            folder,
            true,
            Console::new(daemons.iter().map(|daemon| daemon.name.as_str())),
        );
        let [nats, monitor, mongo] = free()?;
        let mut layers = database::start(workspace, &site, mongo).await?;
        layers[0].push(stack::start_nats(workspace, &site, nats, monitor).await?);
        let mut env = vec![
            ("NATS_URL".to_owned(), format!("nats://127.0.0.1:{nats}")),
            (
                "MONGO_URL".to_owned(),
                format!("mongodb://127.0.0.1:{mongo}/orders"),
            ),
        ];

        let ports = daemons
            .iter()
            .map(|_| free().map(|[port]| port))
            .collect::<Result<Vec<_>>>()?;
        let to_file = |name: &str| Output::File(site.log_file(name));
        let running = procfile::start(workspace, &site, &daemons, &ports, profile, &env, to_file)?;
        layers.insert(0, vec![running]);
        progress::step("waiting for the daemons", all_ready(&ports)).await;

        for (name, variable) in [("edge", "EDGE_URL"), ("web", "WEB_URL")] {
            let mut listeners = daemons.iter().zip(&ports);
            let found = listeners.find(|(daemon, _)| daemon.name == name);
            let (_, port) = found.with_context(|| format!("the Procfile names no {name}"))?;
            env.push((variable.to_owned(), format!("http://127.0.0.1:{port}")));
        }
        Ok(Self {
            env,
            nats_server: stack::nats_server(workspace).await?,
            layers,
        })
    }
}
