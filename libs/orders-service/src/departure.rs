//! How a daemon leaves: first it is unready and still serves, then it shuts down.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The departure of a daemon.
///
/// It begins with SIGTERM. From then on the daemon is unready, so load balancers send new requests elsewhere; but for a
/// while, the drain, it serves all that still come. Its sockets and streams end one by one in that time, because clients
/// that lose them together come back together. Then the shutdown begins. By default there is no drain.
#[derive(Debug, Clone, Default)]
pub struct Departure(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    drain: Duration,
    /// Set before `begun` is cancelled.
    end: OnceLock<Instant>,
    begun: CancellationToken,
    shutdown: CancellationToken,
}

impl Departure {
    /// A departure with a drain of this length before `shutdown`. A shutdown for another reason cuts the drain short, or
    /// comes without one.
    #[must_use]
    pub fn new(drain: Duration, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            drain,
            end: OnceLock::new(),
            begun: CancellationToken::new(),
            shutdown,
        }))
    }

    /// Begins it.
    pub(crate) fn begin(&self) {
        self.0.end.get_or_init(|| Instant::now() + self.0.drain);
        self.0.begun.cancel();
    }

    /// Whether it has begun: nothing that lasts should come to this daemon any more.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.begun.is_cancelled() || self.is_over()
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.shutdown.is_cancelled()
    }

    /// Waits until the drain is over, or the shutdown begins.
    pub async fn over(&self) {
        self.until(|end| end).await;
    }

    /// Waits until one socket or stream has to end: at a random moment of what is left of the drain, or when the shutdown
    /// begins.
    pub async fn turn(&self) {
        let within = |end: Instant| {
            let now = Instant::now();
            now + end.saturating_duration_since(now).mul_f64(fastrand::f64())
        };
        self.until(within).await;
    }

    /// Waits until it has begun and then until a moment, given the end of the drain; but not beyond the beginning of the
    /// shutdown.
    async fn until(&self, moment: impl FnOnce(Instant) -> Instant) {
        let Inner {
            end,
            begun,
            shutdown,
            ..
        } = &*self.0;
        let wait = async {
            begun.cancelled().await;
            if let Some(end) = end.get() {
                sleep_until(moment(*end)).await;
            }
        };
        shutdown.run_until_cancelled(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn sockets_end_one_by_one_while_the_drain_lasts() {
        let departure = Departure::new(DRAIN, CancellationToken::new());
        let began = Instant::now();
        let turns = (0..1_000).map(async |_| {
            departure.turn().await;
            began.elapsed()
        });
        let begin = async {
            assert!(!departure.has_begun());
            departure.begin();
            assert!(departure.has_begun() && !departure.is_over());
            departure.over().await;
            assert_eq!(began.elapsed(), DRAIN);
        };
        let (turns, ()) = tokio::join!(join_all(turns), begin);
        for second in 0..DRAIN.as_secs() {
            let count = turns.iter().filter(|at| at.as_secs() == second).count();
            assert!((15..=100).contains(&count), "{count} in second {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_comes_late_has_what_is_left() {
        let departure = Departure::new(DRAIN, CancellationToken::new());
        departure.begin();
        sleep(DRAIN - Duration::from_secs(1)).await;
        // A second time changes nothing.
        departure.begin();
        let late = Instant::now();
        departure.turn().await;
        assert!(late.elapsed() <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_nothing() {
        let shutdown = CancellationToken::new();
        let departure = Departure::new(DRAIN, shutdown.clone());
        let began = Instant::now();
        let cut = async {
            sleep(Duration::from_secs(1)).await;
            shutdown.cancel();
        };
        tokio::join!(departure.turn(), departure.over(), cut);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(departure.has_begun() && departure.is_over());
        departure.turn().await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_drain_all_end_at_once() {
        let departure = Departure::default();
        let began = Instant::now();
        departure.begin();
        tokio::join!(departure.turn(), departure.over());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
