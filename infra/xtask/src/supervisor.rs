//! Keeps processes running until told to stop, and prints what they say as one log.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{IsTerminal, stdout},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{self, Instant},
};

use crate::process::{Launch, Running};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Processes that are stopped together.
pub(crate) struct Supervisor {
    log: Log,
    /// Once it is to stop: how long its processes may take.
    stop: watch::Sender<Option<Duration>>,
    kept: Vec<JoinHandle<()>>,
    folders: Vec<TempDir>,
}

impl Supervisor {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            stop: watch::Sender::new(None),
            kept: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Starts the process again, with growing pauses, whenever it ends.
    pub(crate) fn keep(&mut self, launch: Launch, running: Running) {
        let stop = self.stop.subscribe();
        self.kept
            .push(tokio::spawn(keep(launch, running, self.log, stop)));
    }

    /// Removes the folder when all is stopped.
    pub(crate) fn own(&mut self, folder: TempDir) {
        self.folders.push(folder);
    }

    /// Asks all to stop; what still runs after `grace` is killed.
    async fn stop(self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        for task in self.kept {
            let _ = task.await;
        }
    }
}

/// Stops one layer after the other, all within five seconds: each may take what those below can spare.
pub(crate) async fn stop_in_order(layers: Vec<Vec<Supervisor>>) {
    const ALL: Duration = Duration::from_millis(4900);
    const EACH_AT_LEAST: Duration = Duration::from_millis(450);
    let end = Instant::now() + ALL;
    let below = (0..u32::try_from(layers.len()).unwrap_or_default()).rev();
    for (layer, below) in layers.into_iter().zip(below) {
        let left = end.saturating_duration_since(Instant::now());
        let grace = left.saturating_sub(EACH_AT_LEAST * below);
        let stopping: Vec<_> = layer
            .into_iter()
            .map(|supervisor| tokio::spawn(supervisor.stop(grace)))
            .collect();
        for stopped in stopping {
            let _ = stopped.await;
        }
    }
}

async fn keep(
    launch: Launch,
    first: Running,
    log: Log,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let mut stop = std::pin::pin!(async move {
        match stop.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        }
    });
    let mut running = Ok(first);
    let mut pause = FIRST_PAUSE;
    loop {
        let why = match running {
            Ok(mut process) => {
                let started = Instant::now();
                let ended = tokio::select! {
                    ended = process.wait() => ended,
                    grace = &mut stop => return process.stop(grace).await,
                };
                if started.elapsed() > LAST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                ended.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) => format!("{error:#}"),
        };
        log.notice(
            &launch.name,
            &format!("ended ({why}), starts again in {} s", pause.as_secs_f32()),
        );
        tokio::select! {
            () = time::sleep(pause) => {}
            _ = &mut stop => return,
        }
        pause = (pause * 2).min(LAST_PAUSE);
        running = launch.start();
    }
}

/// One log of several processes, each line behind its process's name.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    width: usize,
    colours: bool,
}

impl Log {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let width = names.into_iter().map(str::len).max().unwrap_or_default();
        let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { width, colours }
    }

    pub(crate) fn line(self, name: &str, text: &str) {
        let width = self.width;
        if self.colours {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            let colour = 31 + hasher.finish() % 6;
            println!("\x1b[{colour}m{name:width$} |\x1b[0m {text}");
        } else {
            println!("{name:width$} | {text}");
        }
    }

    /// A line of ours that should not be overlooked.
    pub(crate) fn notice(self, name: &str, text: &str) {
        if self.colours {
            self.line(name, &format!("\x1b[1m{text}\x1b[0m"));
        } else {
            self.line(name, text);
        }
    }
}
