//! A server that is cut off from its cluster keeps its clients, although its JetStream can do nothing for them. They have
//! to leave it by themselves.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::{Bus, ROUND_TRIP, error::is_silence};

/// How often JetStream is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long it may be silent. An election among the servers takes about as long.
const PATIENCE: Duration = Duration::from_secs(5);

impl Bus {
    /// Leaves each server whose JetStream is silent for the next one in the list, without end.
    pub(crate) async fn leave_silent_servers(self) {
        let mut heard = Instant::now();
        loop {
            sleep(EVERY).await;
            if !self.is_connected() || self.hears_jetstream().await {
                heard = Instant::now();
            } else if heard.elapsed() >= PATIENCE {
                warn!("JetStream has been silent for {PATIENCE:?}; trying the next server");
                // If even this cannot be told to the connection, its next ping will end it.
                let _ = timeout(ROUND_TRIP, self.client.force_reconnect()).await;
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
