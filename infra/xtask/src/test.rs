//! `test`: all the tests, on real servers.

use std::{env, ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{
    database, ports, progress,
    stack::{Site, temporary},
    supervisor::{Log, stop_in_order},
    tools, up,
    workspace::Workspace,
};

/// Run all the tests against real servers
///
/// Fetches what they need, builds the daemons, starts one database for the run (unless ORDERS_TEST_MONGO_URL names one)
/// and ends with the exit code of `cargo test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments for `cargo test`, such as `-p orders-domain` or `-- --nocapture`
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    tools::for_tests(workspace).await?;
    let tools = tools::go(workspace).await?;
    // The tests run the daemons. Built together with them: dependencies would be built a second time for daemons alone.
    up::built(
        workspace
            .cargo()
            .args(["build", "--workspace", "--all-targets"]),
    )
    .await?;

    let folder = temporary()?;
    let site = Site::temporary(folder.path(), false, Log::new(["database"]));
    let (url, database) = match env::var("ORDERS_TEST_MONGO_URL") {
        Ok(url) => (url, Vec::new()),
        Err(_) => {
            let [port] = ports::free()?;
            (
                format!("mongodb://127.0.0.1:{port}"),
                database::start(workspace, &site, port).await?,
            )
        }
    };

    let mut tests = workspace.cargo();
    tests.arg("test").args(options.args);
    tests.env("ORDERS_TEST_MONGO_URL", url);
    tests.env("ORDERS_TEST_NATS_SERVER", tools.join("nats-server"));
    tests.env("ORDERS_TEST_BIN_DIR", workspace.binaries("debug"));
    tests.env("ORDERS_TEST_TOOLS_DIR", tools);
    if env::var_os("RUST_TEST_THREADS").is_none() {
        // They wait more than they compute.
        tests.env("RUST_TEST_THREADS", "4");
    }
    let status = progress::run_shown(&mut tests).await?;
    stop_in_order(database).await;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
