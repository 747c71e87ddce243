//! Waiting longer and longer between attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential backoff with jitter, 100 ms doubling up to 5 s, that a shutdown interrupts.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest pause.
    #[must_use]
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// Goes back to the shortest pause; call it after a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Pauses before the next attempt. `false`: the daemon is shutting down, do not try again.
    pub async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        let pause = self.pause();
        shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
    }

    /// Between half of the current pause and all of it, so that daemons started together do not retry in step.
    pub(crate) fn pause(&mut self) -> Duration {
        // A freshly keyed hasher is the standard library's own source of randomness.
        let random = RandomState::new().hash_one(()) % 1000;
        let pause = self.next.mul_f64(0.5 + random as f64 / 2000.0);
        self.next = LONGEST.min(self.next * 2);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_seconds_and_starts_over() {
        let mut backoff = Backoff::new();
        for expected in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let pause = backoff.pause().as_millis();
            assert!(
                (expected / 2..=expected).contains(&pause),
                "{pause} ms is not within half of {expected} ms"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn pauses_differ() {
        let pauses: std::collections::HashSet<_> =
            (0..20).map(|_| Backoff::new().pause()).collect();
        assert!(pauses.len() > 1, "no jitter in {pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_interrupts_the_wait() {
        let shutdown = CancellationToken::new();
        assert!(Backoff::new().wait(&shutdown).await);
        shutdown.cancel();
        assert!(!Backoff::new().wait(&shutdown).await);
    }
}
