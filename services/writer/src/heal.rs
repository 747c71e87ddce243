//! Self-healing: if NATS loses acknowledged events, orders would stay PENDING for ever. The healer finds them in the
//! store and publishes their events again.
//!
//! An order is not lost while its event waits for a slow payment-simulator, or its payment for a slow writer. Each search
//! publishes a limited number of events, and the next search continues after them, so every order gets its turn, even
//! after thousands that are never paid.

use std::time::Duration;

use futures_util::future::try_join;
use orders_bus::Message;
use orders_contracts::{PaymentSettings, Timestamp, TraceContext, streams};
use orders_domain::{Order, backlog};
use orders_service::{
    chain,
    metrics::{HEALED, counter},
};
use orders_store::PendingPlace;
use tokio::time::{Instant, interval_at};
use tracing::{debug, warn};

use crate::{Writer, config::Heal};

/// The shortest pause between searches, whatever the setting.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The most events that one search publishes again.
const MAX_ORDERS: u64 = 2_000;
/// An order older than this no longer counts as waiting for a daemon, however far that is behind.
const MAX_BACKLOG: Duration = Duration::from_secs(60 * 60);

impl Writer {
    /// Searches periodically for orders that have been PENDING for too long and publishes their events again.
    pub(crate) async fn heal(&self, config: &Heal) {
        let every = config.every.max(SHORTEST_PAUSE);
        // What an outage left waiting is soon found.
        let first = Instant::now() + config.pending_for.min(every);
        let mut searches = interval_at(first, every);
        let mut place: Option<PendingPlace> = None;
        loop {
            searches.tick().await;
            let now = Timestamp::now();
            let Some(before) = self.lost_before(now, config.pending_for).await else {
                continue;
            };
            let found = self
                .orders
                .pending_since(before, place.as_ref(), MAX_ORDERS);
            match found.await {
                Ok((orders, next)) => {
                    place = next;
                    self.publish_again(&orders, occasion(now, every)).await;
                }
                // The next search is soon enough.
                Err(error) => warn!("cannot search pending orders: {}", chain(&error)),
            }
        }
    }

    /// A PENDING order created before the result has lost its event or its payment.
    async fn lost_before(&self, now: Timestamp, pending_for: Duration) -> Option<Timestamp> {
        let before = now.earlier(pending_for)?;
        let whatever_waits = now.earlier(MAX_BACKLOG)?;
        // Its settings do not identify the consumer.
        let simulator = streams::payment_simulator(&PaymentSettings::default());
        let events = self.bus.unsettled_since(&simulator);
        let payments = self.bus.unsettled_since(&streams::WRITER_PAYMENTS);
        match try_join(events, payments).await {
            // A payment comes some time after its order, and does not say when that was created.
            Ok((_, Some(payment))) if payment < now.earlier(pending_for / 2)? => {
                Some(before.min(whatever_waits))
            }
            Ok((Some(event), _)) => {
                let waiting = backlog::lost_before(event)?.max(whatever_waits);
                Some(before.min(waiting))
            }
            Ok((None, _)) => Some(before),
            // Without the backlogs, nothing is known to be lost.
            Err(error) => {
                debug!("cannot read what waits: {}", chain(&error));
                None
            }
        }
    }

    async fn publish_again(&self, orders: &[Order], occasion: u128) {
        if orders.is_empty() {
            return;
        }
        warn!(
            "{} orders have been PENDING for too long; publishing their events again",
            orders.len()
        );
        counter!(HEALED).increment(orders.len() as u64);
        let created = |order: &Order| {
            Message::of_event(&order.created_event(), TraceContext::root(), None).on(occasion)
        };
        let events = orders.iter().map(created).collect();
        self.bus.publish_until_stored(events).await;
    }
}

/// The number of this search, counted from 1970. Writers that search at the same time get the same number, so the stream
/// stores their events once.
fn occasion(now: Timestamp, every: Duration) -> u128 {
    u128::try_from(now.millis()).unwrap_or(0) / every.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_in_step_tell_on_the_same_occasion() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let every = Duration::from_secs(300);
        assert_eq!(occasion(at(600_000), every), occasion(at(899_999), every));
        assert_ne!(occasion(at(899_999), every), occasion(at(900_000), every));
    }
}
