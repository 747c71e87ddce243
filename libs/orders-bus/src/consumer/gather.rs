//! Waiting for a larger batch, only while processors are the limit.
//!
//! Large batches cost less of the processors, but a message that waits for others is late. So a consumer gathers only
//! while this thread itself waits for a processor, and only as long as messages keep coming.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

use tokio::time::Instant;

/// Without a message for this long, nothing more is to be gathered soon.
const GAP: Duration = Duration::from_millis(2);
/// The longest that a message waits for others.
const LONGEST: Duration = Duration::from_millis(40);
/// So many need not gather any longer.
const ENOUGH: usize = 64;

/// Decides how long messages gather. Pure but for the [`Pressure`] that it is given.
#[derive(Debug)]
pub(super) struct Gather {
    first: Option<Instant>,
    latest: Instant,
}

impl Gather {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            first: None,
            latest: now,
        }
    }

    /// Messages came.
    pub(super) fn came(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.latest = now;
    }

    /// A batch was made of what was gathered.
    pub(super) fn taken(&mut self) {
        self.first = None;
    }

    /// Until when `waiting` messages gather; `None` when they need not.
    pub(super) fn until(&self, now: Instant, waiting: usize) -> Option<Instant> {
        let first = self.first.filter(|_| waiting < ENOUGH)?;
        let until = (self.latest + GAP).min(first + LONGEST);
        (now < until).then_some(until)
    }
}

/// The share of its time that this thread waits for a processor, as Linux accounts it.
#[derive(Debug)]
pub(super) struct Pressure {
    schedstat: Option<File>,
    since: Instant,
    waited: Duration,
    is_high: bool,
}

/// How often to look.
const WINDOW: Duration = Duration::from_millis(100);
/// From this share on processors are the limit.
const HIGH: f64 = 0.25;

impl Pressure {
    pub(super) fn new() -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat").ok();
        Self {
            waited: waited(schedstat.as_ref()),
            schedstat,
            since: Instant::now(),
            is_high: false,
        }
    }

    /// Whether processors are the limit. Where the system does not tell, they never are.
    pub(super) fn is_high(&mut self, now: Instant) -> bool {
        let passed = now.duration_since(self.since);
        if passed >= WINDOW {
            let waited = waited(self.schedstat.as_ref());
            let share = waited.saturating_sub(self.waited).as_secs_f64() / passed.as_secs_f64();
            self.is_high = share >= HIGH;
            (self.waited, self.since) = (waited, now);
        }
        self.is_high
    }
}

/// How long this thread has waited for a processor in its life.
fn waited(schedstat: Option<&File>) -> Duration {
    let mut text = [0; 80];
    let read = schedstat.and_then(|file| file.read_at(&mut text, 0).ok());
    let text = str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or("");
    let nanos = text.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_gather_while_others_follow_and_no_longer_than_they_may() {
        let start = Instant::now();
        let mut gather = Gather::new(start);
        assert_eq!(gather.until(start, 0), None, "nothing waits");
        gather.came(start);
        assert_eq!(gather.until(start, 1), Some(start + GAP));
        assert_eq!(gather.until(start, ENOUGH), None, "enough wait");
        assert_eq!(gather.until(start + GAP, 1), None, "none followed");
        let late = start + LONGEST - GAP / 2;
        gather.came(late);
        assert_eq!(gather.until(late, 2), Some(start + LONGEST));
        gather.taken();
        assert_eq!(gather.until(late, 0), None);
    }
}
