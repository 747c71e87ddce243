//! `seed-data`: example orders for a pipeline that runs.

use std::{env, ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Error, Result};
use clap::Args;

use crate::{exit::unless_interrupted, procfile, progress, up::EDGE_PORT, workspace::Workspace};

/// Fill a running pipeline with example orders; `--help` names the options
#[derive(Args)]
// Every option is the program's own, `--help` too.
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    args: Vec<OsString>,
}

/// Builds the program, and becomes it: Ctrl-C is for it alone. Returns if the developer interrupts the build.
pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<Option<()>> {
    // The tests have built it.
    if env::var_os("ORDERS_TEST_BIN_DIR").is_none() {
        let mut build = workspace.cargo();
        build.args(["build", "--workspace", "--bin", "seed-data"]);
        let log = workspace.data().join("log/seed-data.log");
        let what = "building the program (its output is in .orders/log/seed-data.log)";
        let built = unless_interrupted(progress::run_logged(what, &mut build, &log)).await?;
        if built.is_none() {
            return Ok(None);
        }
    }
    let mut program = Command::new(workspace.binaries("debug").join("seed-data"));
    program.args(options.args);
    // As `up` places the daemons.
    if env::var_os("ORDERS_EDGE_URL").is_none()
        && let Some(edge) = procfile::read(workspace)?
            .iter()
            .find(|daemon| daemon.name == "edge")
    {
        let settings = workspace.settings()?;
        let port = edge.port(EDGE_PORT, |name| settings.get(name))?;
        program.env("ORDERS_EDGE_URL", format!("http://localhost:{port}"));
    }
    Err(Error::new(program.exec()).context("starting seed-data"))
}
