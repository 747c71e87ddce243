//! Lines that must not flood the log.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often a line is logged while its reason lasts.
const EVERY: Duration = Duration::from_secs(60);

/// Lets a line be logged at once, and then once a minute for as long as its reason lasts, or some each minute.
#[derive(Debug)]
pub struct Seldom {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the present minute began.
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Seldom {
    /// The first line is logged.
    #[must_use]
    pub const fn new() -> Self {
        Self::up_to(1)
    }

    /// The first `most` lines of each minute are logged.
    #[must_use]
    pub const fn up_to(most: u32) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                since: None,
                said: 0,
                unsaid: 0,
            }),
        }
    }

    /// Calls `log` if it is time for a line, with the number of lines left out since the last one, if there are any.
    pub fn say(&self, log: impl FnOnce(Option<u64>)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| since.elapsed() >= EVERY) {
            state.since = Some(Instant::now());
            state.said = 0;
        }
        if state.said == self.most {
            state.unsaid += 1;
            return;
        }
        state.said += 1;
        let unsaid = std::mem::take(&mut state.unsaid);
        drop(state);
        log((unsaid > 0).then_some(unsaid));
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
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

    #[tokio::test(start_paused = true)]
    async fn some_lines_come_each_minute() {
        let lines = Seldom::up_to(2);
        let mut said = Vec::new();
        for second in 0..62 {
            lines.say(|unsaid| said.push((second, unsaid)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [(0, None), (1, None), (60, Some(58)), (61, None)]);
    }
}
