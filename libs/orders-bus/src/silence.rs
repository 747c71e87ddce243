//! A server that is cut off from its cluster keeps its clients, although its JetStream can do nothing for them. They have
//! to leave it by themselves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orders_service::Seldom;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;
use uuid::Uuid;

use crate::{Bus, ROUND_TRIP, error::is_silence};

/// How often JetStream is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long it may be silent, at least. Each daemon waits up to three seconds longer, so that an election among the
/// servers, which takes as long, does not move all of them at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Since when no message that was published has had an answer; `None` if the last one had.
///
/// A server that led its cluster answers questions for up to 20 s after it was cut off, but it stores nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unanswered(Arc<Mutex<Option<Instant>>>);

impl Unanswered {
    /// A message that was published at `sent` has had no answer.
    pub(crate) fn note(&self, sent: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert(sent);
    }

    /// There was an answer, or nothing to answer.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn for_at_least(&self, time: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= time)
    }
}

impl Bus {
    /// Leaves each server whose JetStream is silent for another one, without end. If there is only one, a new connection
    /// does not help.
    pub(crate) async fn leave_silent_servers(self) {
        let [jitter, ..] = Uuid::new_v4().into_bytes();
        let patience = PATIENCE + Duration::from_secs(3) * u32::from(jitter) / 255;
        let lines = Seldom::new();
        let mut heard = Instant::now();
        loop {
            sleep(EVERY).await;
            if !self.is_connected() || !self.attempts.has_others() {
                self.unanswered.clear();
                heard = Instant::now();
                continue;
            }
            if self.hears_jetstream().await {
                heard = Instant::now();
            }
            if heard.elapsed() >= patience || self.unanswered.for_at_least(patience) {
                lines.say(|_| {
                    warn!("JetStream has been silent for {patience:.1?}; trying another server")
                });
                // If even this cannot be told to the connection, its next ping will end it.
                let _ = timeout(ROUND_TRIP, self.client.force_reconnect()).await;
                self.unanswered.clear();
                heard = Instant::now();
            }
        }
    }

    /// Whether JetStream says anything at all, be it a refusal.
    async fn hears_jetstream(&self) -> bool {
        match timeout(ROUND_TRIP, self.jetstream.query_account()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !is_silence(&error.kind()),
            Err(_) => false,
        }
    }
}
