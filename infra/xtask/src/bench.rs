//! `bench`: the load generator against a stack of its own.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    database,
    ports::free,
    process::Output,
    procfile, progress,
    stack::{self, Site, http_status},
    supervisor::{Log, stop_in_order},
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

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args([
        "build",
        "--workspace",
        "--bins",
        "--profile",
        &options.profile,
    ]);
    up::built(&mut build).await?;
    let profile = if options.profile == "dev" {
        "debug"
    } else {
        &options.profile
    };
    let binaries = workspace.binaries(profile);

    // On the disk of the checkout: a temporary folder may well be memory, which measures nothing.
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&binaries)
        .context("making a folder")?;
    let site = Site::temporary(folder.path(), true, Log::new(["payment-simulator"]));
    let [nats, monitor, mongo] = free()?;
    let (nats_url, mongo_url) = (
        format!("nats://127.0.0.1:{nats}"),
        format!("mongodb://127.0.0.1:{mongo}/orders"),
    );
    let mut layers = database::start(workspace, &site, mongo).await?;
    layers[0].push(stack::start_nats(workspace, &site, nats, monitor).await?);

    let daemons = procfile::read(workspace)?;
    let ports = daemons
        .iter()
        .map(|_| free().map(|[port]| port))
        .collect::<Result<Vec<_>>>()?;
    let env = [
        ("NATS_URL".into(), nats_url.clone()),
        ("MONGO_URL".into(), mongo_url.clone()),
    ];
    let running = procfile::start(workspace, &site, &daemons, &ports, profile, &env, |name| {
        Output::File(site.log_file(name))
    })?;
    layers.insert(0, vec![running]);
    let all_ready = async {
        for port in &ports {
            while http_status(*port, "/readyz").await != Some(200) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    };
    progress::step("waiting for the daemons", all_ready).await;

    let port_of = |name: &str| {
        daemons
            .iter()
            .zip(&ports)
            .find(|(daemon, _)| daemon.name == name)
            .map(|(_, port)| port)
    };
    let edge = port_of("edge").context("the Procfile names no edge")?;
    let mut load = tokio::process::Command::new(binaries.join("bench"));
    load.args(options.args).current_dir(workspace.root());
    load.env("EDGE_URL", format!("http://127.0.0.1:{edge}"));
    load.env("NATS_URL", nats_url).env("MONGO_URL", mongo_url);
    let status = progress::run_shown(&mut load).await?;

    stop_in_order(layers).await;
    if !status.success() {
        eprintln!("the logs are in {}", folder.keep().join("log").display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
