//! Self-healing: should NATS lose acknowledged events, orders would stay PENDING for ever. The store knows them.
//!
//! Payments may as well be slow, or away for hours: orders whose event waits for the payment-simulator are not lost. And
//! however many are, a search tells of a limited number, and the next one goes on behind them: in time each has its
//! turn, also behind thousands that are never paid.

use std::time::Duration;

use orders_bus::Message;
use orders_contracts::{Timestamp, TraceContext, streams};
use orders_domain::{Order, backlog};
use orders_service::retry;
use orders_store::PendingPlace;
use tracing::{debug, warn};

use crate::{Writer, config::Heal};

/// However short the configured pause is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The most orders that one search tells of again.
const MAX_ORDERS: u64 = 2_000;
/// How long an order may wait behind the payment-simulator; whatever keeps that from going on, here it ends.
const MAX_BACKLOG: Duration = Duration::from_secs(60 * 60);

impl Writer {
    /// Searches for ever, every so often, for orders that have been PENDING for too long, and tells of them again.
    pub(crate) async fn heal(&self, config: &Heal) {
        let every = config.every.max(SHORTEST_PAUSE);
        let mut searches = tokio::time::interval(every);
        let mut place: Option<PendingPlace> = None;
        loop {
            searches.tick().await;
            let now = Timestamp::now();
            let Some(before) = self.lost_before(now, config.pending_for).await else {
                continue;
            };
            let found = retry(
                "search pending orders",
                orders_store::Error::is_transient,
                || {
                    self.orders
                        .pending_since(before, place.as_ref(), MAX_ORDERS)
                },
            );
            match found.await {
                Ok((orders, next)) => {
                    place = next;
                    self.tell_again(&orders, occasion(now, every)).await;
                }
                Err(error) => warn!("cannot search pending orders: {error}"),
            }
        }
    }

    /// An order that was created before this and is PENDING has lost its event, or the payment it brought.
    async fn lost_before(&self, now: Timestamp, pending_for: Duration) -> Option<Timestamp> {
        let before = now.earlier(pending_for)?;
        // The delay is none of what the consumer is known by.
        let payments = streams::payment_simulator(Duration::ZERO);
        match self.bus.unsettled_since(&payments).await {
            Ok(Some(oldest)) => {
                let waiting = backlog::lost_before(oldest)?.max(now.earlier(MAX_BACKLOG)?);
                Some(before.min(waiting))
            }
            Ok(None) => Some(before),
            // Nothing can be told now.
            Err(error) => {
                debug!("cannot see what waits for its payment: {error}");
                None
            }
        }
    }

    async fn tell_again(&self, orders: &[Order], occasion: u128) {
        if orders.is_empty() {
            return;
        }
        warn!(
            "{} orders are pending for too long; telling of them again",
            orders.len()
        );
        metrics::counter!("orders_healed_total").increment(orders.len() as u64);
        let created = |order: &Order| {
            Message::of_event(&order.created_event(), TraceContext::root(), None).on(occasion)
        };
        let events = orders.iter().map(created).collect();
        self.bus.publish_until_stored(events).await;
    }
}

/// Which of the searches this is, counted from 1970: the same for writers that search at the same time, so that the
/// stream stores what they tell once.
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
