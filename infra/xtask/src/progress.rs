//! Progress of steps that take longer than two seconds.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write, stderr},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, time};

use crate::process::Group;

const SILENT_FOR: Duration = Duration::from_secs(2);

/// The steps that are shown now, some of which run side by side.
static SHOWN: Mutex<Vec<Step>> = Mutex::new(Vec::new());

struct Step {
    what: String,
    started: Instant,
}

impl Step {
    fn line(&self) -> String {
        format!("{} ... {} s", self.what, self.started.elapsed().as_secs())
    }
}

/// Runs `work`; while it takes long, shows its name and the seconds gone by.
pub(crate) async fn step<T>(what: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let live = stderr().is_terminal();
    let period = Duration::from_secs(if live { 1 } else { 10 });
    let mut ticks = time::interval_at(time::Instant::now() + SILENT_FOR, period);
    let mut shown = None;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                if shown.is_some() {
                    let line_start = if live { "\r\x1b[K" } else { "" };
                    eprintln!("{line_start}{what}: {} s", started.elapsed().as_secs());
                }
                return result;
            }
            _ = ticks.tick() => {
                shown.get_or_insert_with(|| Shown::new(what, started));
                let steps = shown_steps();
                if live {
                    let lines: Vec<_> = steps.iter().map(Step::line).collect();
                    eprint!("\r\x1b[K{}", lines.join(", "));
                    let _ = stderr().flush();
                } else if let Some(step) = steps.iter().find(|step| step.started == started) {
                    eprintln!("{}", step.line());
                }
            }
        }
    }
}

fn shown_steps() -> MutexGuard<'static, Vec<Step>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step is in [`SHOWN`] until this is dropped.
struct Shown {
    started: Instant,
}

impl Shown {
    fn new(what: &str, started: Instant) -> Self {
        let what = what.to_owned();
        shown_steps().push(Step { what, started });
        Self { started }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        shown_steps().retain(|step| step.started != self.started);
    }
}

/// Runs a program to its end as a [`step`]; its output goes to the file `log`, whose end is shown when it fails.
pub(crate) async fn run_logged(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    let status = step(what, run_shown(command)).await?;
    if !status.success() {
        let said = last_lines(&fs::read_to_string(log).unwrap_or_default());
        bail!(
            "{what} failed ({status}):\n{said}\nall of it: {}",
            log.display()
        );
    }
    Ok(())
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
