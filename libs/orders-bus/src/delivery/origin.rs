//! What the messages of one consumer share.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orders_contracts::streams::{Consumer, Policy};
use tokio::time::Instant;

use crate::{Bus, budget::Budget};

/// How recently others must have got through for a message to be given up as what kills its daemon.
const RECENTLY: Duration = Duration::from_secs(10);

/// How often a message that a newer version may understand may come: an upgrade takes less than an hour.
const NEWER_DELIVERIES: u64 = 29;
// The upgraded daemon must not take it for one that kills daemons.
const _: () = assert!(NEWER_DELIVERIES < Policy::BATCH.give_up_from);
/// The most such messages that wait at once. Each takes up one of its consumer's
/// [`max_ack_pending`](orders_contracts::streams::Consumer::max_ack_pending).
const NEWER_MESSAGES: usize = 1_024;

/// Where messages come from: what those of one consumer share.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) bus: Bus,
    pub(crate) budget: Budget,
    pub(super) declaration: Consumer,
    last_ack: Mutex<Option<Instant>>,
    /// When messages that were left to a newer version come again.
    left: Mutex<VecDeque<Instant>>,
    pub(super) letters: LetterBox,
}

/// While ORDERS_DLQ takes nothing, one message at a time tries it. The others wait on the server, which keeps room here
/// for what can be handled.
#[derive(Debug, Default)]
pub(super) struct LetterBox {
    is_failing: AtomicBool,
    is_trying: AtomicBool,
}

impl LetterBox {
    pub(super) fn may_try(&self) -> bool {
        !self.is_failing.load(Ordering::Relaxed) || !self.is_trying.swap(true, Ordering::Relaxed)
    }

    pub(super) fn tried(&self, has_worked: bool) {
        self.is_failing.store(!has_worked, Ordering::Relaxed);
        self.is_trying.store(false, Ordering::Relaxed);
    }
}

impl Origin {
    pub(crate) fn new(bus: &Bus, declaration: &Consumer) -> Self {
        Self {
            bus: bus.clone(),
            budget: Budget::default(),
            declaration: *declaration,
            last_ack: Mutex::default(),
            left: Mutex::default(),
            letters: LetterBox::default(),
        }
    }

    /// Whether this process acked a message a moment ago. While none gets through, each may be innocent.
    pub(crate) fn others_get_through(&self) -> bool {
        let last = *self.last_ack.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < RECENTLY)
    }

    /// How long a message that a newer version may understand waits for one; `None` after an hour, or if many do.
    pub(super) fn pause_for_newer(&self, deliveries: u64) -> Option<Duration> {
        let pause = newer_pause(deliveries)?;
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|until| *until > now);
        let has_room = left.len() < NEWER_MESSAGES;
        if has_room {
            left.push_back(now + pause);
        }
        has_room.then_some(pause)
    }

    pub(super) fn acked(&self) {
        let now = Some(Instant::now());
        *self.last_ack.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Short pauses at first: most daemons are upgraded within minutes.
fn newer_pause(deliveries: u64) -> Option<Duration> {
    match deliveries {
        ..=10 => Some(Duration::from_secs(30)),
        11..=NEWER_DELIVERIES => Some(Duration::from_secs(3 * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_may_take_an_hour() {
        let pauses: Duration = (1..).map_while(newer_pause).sum();
        let hour = Duration::from_secs(60 * 60);
        assert!((hour..hour * 2).contains(&pauses), "{pauses:?}");
    }
}
