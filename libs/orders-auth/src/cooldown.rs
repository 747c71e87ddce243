//! When keys are fetched, as pure decisions.

use std::time::Duration;

use tokio::time::Instant;

/// The time between two fetches for unknown keys.
const COOLDOWN: Duration = Duration::from_secs(30);
/// The pause after the first failed fetch, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(300)];

/// Lets requests with unknown keys cause one fetch at a time.
#[derive(Debug, Default)]
pub(crate) struct Cooldown {
    last: Option<Instant>,
    claimed: bool,
}

/// What a request with an unknown key does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It asks for a fetch, and waits.
    Fetch,
    /// It waits for the fetch that another one asked for.
    Wait,
    /// It is refused: there was a fetch just now.
    Refuse,
}

impl Cooldown {
    /// Claims the fetch before it begins, so all who come meanwhile find it claimed.
    pub(crate) fn claim(&mut self, now: Instant) -> Turn {
        if self.claimed {
            return Turn::Wait;
        }
        if self.last.is_some_and(|last| now < last + COOLDOWN) {
            return Turn::Refuse;
        }
        self.last = Some(now);
        self.claimed = true;
        Turn::Fetch
    }

    /// Whether a request waits for a fetch.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// The fetch has ended, whatever came of it.
    pub(crate) fn end(&mut self) {
        self.claimed = false;
    }
}

/// The pauses between failed fetches.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSES[0])
    }
}

impl Backoff {
    /// The pause after one more failure: 5 s, doubling up to 300 s.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = PAUSES[1].min(pause * 2);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fetch_in_30_seconds_and_all_wait_for_it() {
        let start = Instant::now();
        let mut cooldown = Cooldown::default();
        assert_eq!(cooldown.claim(start), Turn::Fetch);
        for _ in 0..1000 {
            assert_eq!(cooldown.claim(start), Turn::Wait);
        }
        cooldown.end();
        assert_eq!(cooldown.claim(start), Turn::Refuse);
        assert_eq!(
            cooldown.claim(start + COOLDOWN - Duration::from_millis(1)),
            Turn::Refuse
        );
        assert_eq!(cooldown.claim(start + COOLDOWN), Turn::Fetch);
        assert_eq!(
            cooldown.claim(start + COOLDOWN * 2),
            Turn::Wait,
            "a slow fetch"
        );
    }

    #[test]
    fn pauses_double_from_5_to_300_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }
}
