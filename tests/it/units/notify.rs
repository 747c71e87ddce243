//! What the daemons tell systemd.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use orders_testkit::{Stack, eventually};
use rustix::process::Signal;
use tokio::{net::UnixDatagram, task::JoinHandle, time::sleep};

/// A socket such as systemd listens on, and what a daemon has said there.
pub(super) struct Heard {
    pub(super) socket: PathBuf,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    listening: JoinHandle<()>,
}

impl Heard {
    pub(super) fn at(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.notify"));
        let socket = UnixDatagram::bind(&path).unwrap();
        let lines: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let heard = Arc::clone(&lines);
        let listening = tokio::spawn(async move {
            let mut message = [0; 4096];
            loop {
                let length = socket.recv(&mut message).await.unwrap();
                let text = std::str::from_utf8(&message[..length]).unwrap();
                let now = Instant::now();
                let lines = text.lines().map(|line| (now, line.to_owned()));
                heard.lock().unwrap().extend(lines);
            }
        });
        Self {
            socket: path,
            lines,
            listening,
        }
    }

    /// All lines that begin so.
    fn lines(&self, beginning: &str) -> Vec<(Instant, String)> {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.retain(|(_, line)| line.starts_with(beginning));
        lines
    }

    pub(super) fn has(&self, beginning: &str) -> bool {
        !self.lines(beginning).is_empty()
    }

    /// Waits for `count` such lines after now.
    async fn more(&self, beginning: &str, count: usize) -> Vec<Instant> {
        let before = self.lines(beginning).len();
        let what = format!("{count} more {beginning}");
        eventually(&what, async || {
            let lines = self.lines(beginning).split_off(before);
            match lines.len() >= count {
                true => Ok(lines.into_iter().map(|(at, _)| at).collect()),
                false => Err(self.lines("")),
            }
        })
        .await
    }

    /// Waits for such a line.
    pub(super) async fn until(&self, beginning: &str) {
        eventually(&format!("{beginning} is heard"), async || {
            match self.has(beginning) {
                true => Ok(()),
                false => Err(self.lines("")),
            }
        })
        .await;
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn ready(url: &str) -> u16 {
    let answer = reqwest::get(format!("{url}/readyz")).await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn systemd_hears_when_a_daemon_is_ready_that_it_runs_and_that_it_stops() {
    const PERIOD: Duration = Duration::from_secs(1);
    let stack = Stack::start().await;
    let (gate, url) = stack.database_gate().await;
    gate.close();
    let heard = Heard::at(stack.folder(), "projector");
    let mut projector = stack
        .daemon("projector")
        .env("MONGO_URL", &url)
        .env("NOTIFY_SOCKET", heard.socket.to_str().unwrap())
        .env("WATCHDOG_USEC", &PERIOD.as_micros().to_string())
        .spawn();

    // Without the database it is not ready, and says so; but it runs.
    eventually("it says what it waits for", async || {
        let statuses = heard.lines("STATUS=starting");
        match statuses.iter().any(|(_, status)| status.contains("mongo:")) {
            true => Ok(()),
            false => Err(statuses),
        }
    })
    .await;
    heard.more("WATCHDOG=1", 3).await;
    assert_eq!(ready(&projector.url()).await, 503);
    assert!(!heard.has("READY=1"));
    gate.open();
    heard.until("READY=1").await;
    assert_eq!(ready(&projector.url()).await, 200);
    heard.until("STATUS=ready").await;

    let beats = heard.more("WATCHDOG=1", 6).await;
    for (before, after) in beats.iter().zip(&beats[1..]) {
        let pause = after.duration_since(*before);
        assert!(pause < PERIOD, "{pause:?}");
    }
    let lasted = beats[beats.len() - 1].duration_since(beats[0]);
    assert!(lasted > PERIOD * 2, "{lasted:?}");

    // One that hangs does not say that it runs.
    projector.signal(Signal::STOP);
    let state = format!("/proc/{}/stat", projector.id());
    eventually("it is stopped", async || {
        let state = std::fs::read_to_string(&state).unwrap();
        if state.contains(") T ") {
            Ok(())
        } else {
            Err(state)
        }
    })
    .await;
    let last = heard.lines("").len();
    sleep(PERIOD * 3 / 2).await;
    let more = heard.lines("").split_off(last);
    // One message may have been on its way.
    assert!(more.len() <= 1, "{more:?}");
    projector.signal(Signal::CONT);
    heard.more("WATCHDOG=1", 2).await;

    assert!(!heard.has("STOPPING=1"));
    let status = projector.terminate().await;
    assert!(status.success(), "{status}");
    heard.until("STOPPING=1").await;
    // As long as a shutdown may take.
    heard.until("EXTEND_TIMEOUT_USEC=3900000").await;
    assert_eq!(heard.lines("READY=1").len(), 1);
    stack.clean_up().await;
}
