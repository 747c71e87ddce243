use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::deadlines::{DECISION, SILENT};

/// Shortens the wait for a silent writer: after one command without a decision within [`DECISION`], commands wait for
/// [`SILENT`] until a writer is heard again.
#[derive(Debug)]
pub(crate) struct WriterBreaker {
    /// The number of decisions so far.
    heard: AtomicU64,
    /// The value of `heard` at which a command was given up; the writer is silent while they are the same.
    silent_at: AtomicU64,
}

/// One command's wait for a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    heard: u64,
    pub(crate) limit: Duration,
}

impl WriterBreaker {
    pub(crate) const fn new() -> Self {
        Self {
            heard: AtomicU64::new(0),
            silent_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Notes a decision, whichever command it is about.
    pub(crate) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins to wait for a decision.
    pub(crate) fn wait(&self) -> Wait {
        let heard = self.heard.load(Ordering::Relaxed);
        let is_silent = self.silent_at.load(Ordering::Relaxed) == heard;
        let limit = if is_silent { SILENT } else { DECISION };
        Wait { heard, limit }
    }

    /// Notes that no decision came within the limit of `wait`. A writer that decided on others meanwhile is only slow
    /// with this command.
    pub(crate) fn give_up(&self, wait: Wait) {
        if self.heard.load(Ordering::Relaxed) == wait.heard {
            self.silent_at.store(wait.heard, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_silent_deadline_waits_are_short_until_a_writer_is_heard() {
        let writer = WriterBreaker::new();
        assert_eq!(writer.wait().limit, DECISION);
        writer.give_up(writer.wait());
        assert_eq!(writer.wait().limit, SILENT);
        writer.give_up(writer.wait());
        assert_eq!(writer.wait().limit, SILENT);
        writer.hear();
        assert_eq!(writer.wait().limit, DECISION);
    }

    #[test]
    fn one_slow_command_does_not_make_the_writer_silent() {
        let writer = WriterBreaker::new();
        let slow = writer.wait();
        writer.hear();
        writer.give_up(slow);
        assert_eq!(writer.wait().limit, DECISION);
    }
}
