//! Progress of steps that take longer than two seconds.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, time};

use crate::process::Group;

const SILENT_FOR: Duration = Duration::from_secs(2);

/// Runs `work`; while it takes long, shows its name and the seconds gone by.
pub(crate) async fn step<T>(what: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let live = stderr().is_terminal();
    let period = Duration::from_secs(if live { 1 } else { 10 });
    let mut ticks = time::interval_at(time::Instant::now() + SILENT_FOR, period);
    let mut shown = false;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                if shown {
                    let line_start = if live { "\r\x1b[K" } else { "" };
                    eprintln!("{line_start}{what}: {} s", started.elapsed().as_secs());
                }
                return result;
            }
            _ = ticks.tick() => {
                shown = true;
                let line = format!("{what} ... {} s", started.elapsed().as_secs());
                if live {
                    eprint!("\r\x1b[K{line}");
                    let _ = stderr().flush();
                } else {
                    eprintln!("{line}");
                }
            }
        }
    }
}

/// Runs a program to its end as a [`step`]; its output is shown only when it fails.
pub(crate) async fn run(what: &str, command: &mut Command) -> Result<()> {
    use std::process::Stdio;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let group = Group::spawn(command).with_context(|| format!("starting {program}"))?;
    let output = step(what, group.output()).await?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = last_lines(&String::from_utf8_lossy(&said));
        let space = if said.contains('\n') { "\n" } else { " " };
        bail!("{what} failed ({}):{space}{said}", output.status);
    }
    Ok(())
}

/// Runs a program that shows its own progress.
pub(crate) async fn run_shown(command: &mut Command) -> Result<std::process::ExitStatus> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let mut group = Group::spawn(command).with_context(|| format!("starting {program}"))?;
    Ok(group.wait().await?)
}

/// The end of a log: enough to see why something stopped.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
