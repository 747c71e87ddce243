//! `down` and `reset`: stop whatever an earlier `up` left running.

use std::{fs, io, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_process, kill_process_group};
use tokio::time::{self, Instant};

use crate::{process::Recorded, progress, workspace::Workspace};

/// The record of `up` itself: it stops its own processes when asked to.
pub(crate) const SUPERVISOR: &str = "up";

pub(crate) fn records(workspace: &Workspace) -> PathBuf {
    workspace.data().join("run")
}

pub(crate) async fn down(workspace: &Workspace) -> Result<()> {
    let stopped = stop_all(workspace).await;
    if stopped.is_empty() {
        eprintln!("nothing of this checkout was running");
    }
    for name in stopped {
        eprintln!("stopped {name}");
    }
    Ok(())
}

pub(crate) async fn reset(workspace: &Workspace) -> Result<()> {
    down(workspace).await?;
    match fs::remove_dir_all(workspace.data()) {
        Ok(()) => eprintln!("removed the local data (.orders)"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("there was no local data")
        }
        Err(error) => return Err(error).context("removing .orders"),
    }
    Ok(())
}

/// Stops every recorded process, a running `up` first, and returns their names.
pub(crate) async fn stop_all(workspace: &Workspace) -> Vec<String> {
    let folder = records(workspace);
    let mut stopped = Vec::new();
    let (supervisors, _) = split(Recorded::all(&folder));
    for up in supervisors {
        let _ = kill_process(up.id, Signal::TERM);
        progress::step(
            "stopping",
            gone(std::slice::from_ref(&up), Duration::from_secs(6)),
        )
        .await;
        stopped.push("cargo xtask up".to_owned());
    }
    let (_, others) = split(Recorded::all(&folder));
    for process in &others {
        let _ = kill_process_group(process.id, process.stop);
    }
    progress::step("stopping", gone(&others, Duration::from_secs(4))).await;
    for process in others {
        if process.runs() {
            let _ = kill_process_group(process.id, Signal::KILL);
        }
        stopped.push(process.name);
    }
    stopped
}

fn split(all: Vec<Recorded>) -> (Vec<Recorded>, Vec<Recorded>) {
    all.into_iter()
        .partition(|process| process.name == SUPERVISOR)
}

async fn gone(processes: &[Recorded], limit: Duration) {
    let deadline = Instant::now() + limit;
    while processes.iter().any(Recorded::runs) && Instant::now() < deadline {
        time::sleep(Duration::from_millis(50)).await;
    }
}
