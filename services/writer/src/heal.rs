//! Self-healing: should NATS lose acknowledged events, orders would stay PENDING for ever. The store knows them.

use std::time::Duration;

use orders_bus::Message;
use orders_contracts::{Channel, Metadata, Timestamp, TraceContext};
use orders_domain::Order;
use orders_service::retry;
use tracing::warn;
use uuid::Uuid;

use crate::{Writer, config::Heal};

/// However short the configured pause is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The most orders that one search tells of again.
const MAX_ORDERS: i64 = 2_000;

impl Writer {
    /// Searches for ever, every so often, for orders that have been PENDING for too long, and tells of them again.
    pub(crate) async fn heal(&self, config: &Heal) {
        let mut searches = tokio::time::interval(config.every.max(SHORTEST_PAUSE));
        loop {
            searches.tick().await;
            let pending_for = i64::try_from(config.pending_for.as_millis()).unwrap_or(i64::MAX);
            let Some(before) =
                Timestamp::from_millis(Timestamp::now().millis().saturating_sub(pending_for))
            else {
                continue;
            };
            let found = retry(
                "search pending orders",
                orders_store::Error::is_transient,
                || self.orders.pending_since(before, MAX_ORDERS),
            );
            match found.await {
                Ok(orders) if orders.is_empty() => {}
                Ok(orders) => {
                    warn!(
                        "{} orders are pending for more than {:?}; telling of them again",
                        orders.len(),
                        config.pending_for
                    );
                    metrics::counter!("orders_healed_total").increment(orders.len() as u64);
                    let events: Vec<Message> = orders.iter().map(created_again).collect();
                    self.bus.publish_until_stored(events).await;
                }
                Err(error) => warn!("cannot search pending orders: {error}"),
            }
        }
    }
}

/// The created event of `order` with a fresh message id, so that the stream does not take it for the lost one.
fn created_again(order: &Order) -> Message {
    let event = order.created_event();
    let metadata = Metadata {
        id: format!("{}:1", order.order_id),
        source: "/orders/writer".to_owned(),
        order_id: order.order_id.clone(),
        time: event.occurred_at,
        trace: TraceContext::root(),
        reply_to: None,
    };
    let message = Message::new(Channel::OrderCreated, &order.tenant_id, metadata, &event);
    Message {
        message_id: Uuid::new_v4().to_string(),
        ..message
    }
}
