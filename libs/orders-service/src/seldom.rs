//! Lines that must not flood the log.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often a line is logged while its reason lasts.
const EVERY: Duration = Duration::from_secs(60);

/// Lets a line be logged at once, and then once a minute for as long as its reason lasts.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// The first line is logged.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            last: None,
            unsaid: 0,
        }))
    }

    /// Calls `log` if it is time for a line, with the number of lines left out since the last one, if there are any.
    pub fn say(&self, log: impl FnOnce(Option<u64>)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < EVERY) {
            state.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut state.unsaid);
        state.last = Some(Instant::now());
        drop(state);
        log((unsaid > 0).then_some(unsaid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_comes_at_once_and_then_every_minute() {
        let lines = Seldom::new();
        let mut said = Vec::new();
        for second in 0..150 {
            lines.say(|unsaid| said.push((second, unsaid)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [(0, None), (60, Some(59)), (120, Some(59))]);
    }
}
