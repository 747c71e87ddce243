//! What a run has done so far, and how it shows that.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, Interval, interval_at};

use crate::api::{Outcome, Placed};

/// How often a line is printed where no bar can be drawn.
const PERIOD: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    orders: u64,
    done: u64,
    created: u64,
    accepted: u64,
    cancelled: u64,
    differing: u64,
    bar: ProgressBar,
    lines: Interval,
}

impl Progress {
    pub(crate) fn new(orders: u64) -> Self {
        // Drawn on a terminal only.
        let bar = ProgressBar::new(orders);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("orders");
        Self {
            orders,
            done: 0,
            created: 0,
            accepted: 0,
            cancelled: 0,
            differing: 0,
            bar,
            lines: interval_at(Instant::now() + PERIOD, PERIOD),
        }
    }

    /// Waits for `work`, and says now and then how far the run is.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.lines.tick() => {
                    self.bar.tick();
                    if !stderr().is_terminal() {
                        eprintln!("{} of {} orders", self.done, self.orders);
                    }
                }
            }
        }
    }

    pub(crate) fn count(&mut self, placed: &Placed) {
        self.done += 1;
        match placed.outcome {
            Outcome::Created => self.created += 1,
            Outcome::Accepted => self.accepted += 1,
            Outcome::Found => {}
            Outcome::Differs => self.differing += 1,
        }
        self.cancelled += u64::from(placed.is_cancelled);
        self.bar.inc(1);
    }

    /// Takes the bar away and sums up.
    pub(crate) fn summary(&self) -> String {
        self.bar.finish_and_clear();
        let found = self.done - self.created - self.accepted;
        let mut summary = format!(
            "{} of {} orders: {} created, {found} there already; {} cancelled",
            self.done, self.orders, self.created, self.cancelled
        );
        if self.accepted > 0 {
            summary += &format!("; {} accepted, to be created later", self.accepted);
        }
        if self.differing > 0 {
            summary += &format!(
                "; {} of those there already are others with the same request id, made by another version or with other tenants",
                self.differing
            );
        }
        summary
    }
}
