//! What systemd learns of a daemon: that it is ready, or what it waits for; that it still runs; that it stops.
//!
//! Nothing is said without `NOTIFY_SOCKET`, where systemd listens.

use std::{env, time::Duration};

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::{Instant, interval, sleep};
use tracing::warn;

use crate::{Health, Seldom};

/// How often a daemon looks whether it is ready, in its first ten seconds.
const SOON: Duration = Duration::from_millis(100);
const FIRST: Duration = Duration::from_secs(10);
/// How often after them, until it is ready.
const UNREADY: Duration = Duration::from_secs(1);
/// How often from then on, for its status.
const READY: Duration = Duration::from_secs(10);

/// Begins to tell how the daemon is.
pub(crate) fn begin(health: Health) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    tokio::spawn(report(health));
    let period = watchdog_enabled().filter(|period| !period.is_zero());
    if let Some(period) = period {
        tokio::spawn(beat(period / 2));
    }
}

/// Tells that the daemon stops, for which it may need this long.
pub(crate) fn stopping(longest: Duration) {
    let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Tells when the daemon is ready for the first time, which is what `/readyz` says, and each change of its status.
async fn report(health: Health) {
    let readiness = health.readiness();
    let began = Instant::now();
    let (mut was_ready, mut told) = (false, String::new());
    loop {
        let verdict = readiness().await;
        let is_first = verdict.is_ok() && !was_ready;
        let status = verdict.err().unwrap_or_else(|| "ready".to_owned());
        if is_first {
            was_ready = true;
            tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else if status != told {
            tell(&[NotifyState::Status(&status)]);
        }
        told = status;
        sleep(match was_ready {
            true => READY,
            false if began.elapsed() < FIRST => SOON,
            false => UNREADY,
        })
        .await;
    }
}

/// Shows that the runtime's loop turns: all that the daemon does is done there.
async fn beat(every: Duration) {
    let mut ticks = interval(every);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    static LINES: Seldom = Seldom::new();
    if let Err(error) = notify(states) {
        LINES.say(|unsaid| warn!(unsaid, "cannot reach NOTIFY_SOCKET: {error}"));
    }
}
