//! Keeps processes running until told to stop.

use std::time::Duration;

use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{
    console::Console,
    process::{Launch, Running},
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Processes that are stopped together.
pub(crate) struct Supervisor {
    console: Console,
    /// Once it is to stop: how long its processes may take.
    stop: watch::Sender<Option<Duration>>,
    kept: Vec<JoinHandle<()>>,
    folders: Vec<TempDir>,
}

impl Supervisor {
    pub(crate) fn new(console: Console) -> Self {
        Self {
            console,
            stop: watch::Sender::new(None),
            kept: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Starts the process again, with growing pauses, whenever it ends.
    pub(crate) fn keep(&mut self, launch: Launch, running: Running) {
        let stop = self.stop.subscribe();
        self.kept
            .push(tokio::spawn(keep(launch, running, self.console, stop)));
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
    console: Console,
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
                    grace = &mut stop => {
                        if !process.stop(grace).await {
                            console.notice(&launch.name, "did not stop in time and was killed");
                        }
                        return;
                    }
                };
                if started.elapsed() > LAST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                ended.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) => format!("{error:#}"),
        };
        console.notice(
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
