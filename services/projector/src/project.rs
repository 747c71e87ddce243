//! A batch of events: store the newest row of each order, answer the edges, publish the feed, ack.

use std::{collections::HashMap, mem};

use orders_bus::{Delivery, Failure, Handler, Message};
use orders_contracts::{Channel, FeedEntry, Metadata, OrderEvent, OrderId, Reply, Timestamp};
use orders_domain::projection::{self, Effect};
use orders_service::{failpoint, retry};
use orders_store::Error as StoreError;

use crate::Projector;

/// The version that the row of each order of a batch has now, at least.
type Versions = HashMap<OrderId, u32>;

/// Whether `event` belongs in the feed. The creation of an order always does: whoever stored its row may have died before
/// it could publish it. Any other change does while the row is at its version. The stream drops a duplicate, or clients
/// ignore it.
fn feeds(event: &OrderEvent, versions: &Versions) -> bool {
    event.channel() == Channel::OrderCreated
        || versions.get(&event.order.order_id) == Some(&event.version)
}

impl Handler<OrderEvent> for Projector {
    async fn handle(&self, batch: &[Delivery<OrderEvent>]) -> Result<(), Failure> {
        failpoint("projector.pulled").await;
        let newest = projection::newest(batch.iter().map(|delivery| &delivery.body));
        let versions = self.apply(newest.into_values().collect()).await;
        let versions = versions.map_err(Failure::refused)?;
        failpoint("projector.applied").await;
        self.announce(batch, &versions).await;
        Ok(())
    }
}

fn reach(versions: &mut Versions, event: &OrderEvent, version: u32) {
    versions.insert(event.order.order_id.clone(), version);
}

impl Projector {
    /// Brings the rows up to `newest`, which has one event an order.
    async fn apply(&self, newest: Vec<&OrderEvent>) -> Result<Versions, StoreError> {
        let mut versions = Versions::new();
        let (mut inserts, mut updates): (Vec<_>, Vec<_>) = newest
            .into_iter()
            .partition(|event| event.channel() == Channel::OrderCreated);
        // An update without a row becomes an insert, and an insert whose row exists is judged again. Another projector
        // can turn one into the other more than once, but versions only rise.
        while !(inserts.is_empty() && updates.is_empty()) {
            let present = self.insert(mem::take(&mut inserts), &mut versions).await?;
            let unmatched = self.advance(mem::take(&mut updates), &mut versions).await?;
            let ids: Vec<OrderId> = present
                .iter()
                .chain(&unmatched)
                .map(|event| event.order.order_id.clone())
                .collect();
            let stored = self.versions(&ids).await?;
            for event in present.into_iter().chain(unmatched) {
                let version = stored.get(&event.order.order_id).copied();
                match (projection::effect(version, event), version) {
                    (Effect::Apply, Some(_)) => updates.push(event),
                    (Effect::Apply, None) => inserts.push(event),
                    (_, version) => reach(&mut versions, event, version.unwrap_or(event.version)),
                }
            }
        }
        Ok(versions)
    }

    /// Inserts the rows of `events`; returns those whose order has a row already.
    async fn insert<'e>(
        &self,
        events: Vec<&'e OrderEvent>,
        versions: &mut Versions,
    ) -> Result<Vec<&'e OrderEvent>, StoreError> {
        if events.is_empty() {
            return Ok(events);
        }
        let stored = retry("insert rows", StoreError::is_transient, || {
            self.rows.insert(&events)
        })
        .await?;
        let mut present = Vec::new();
        for (event, stored) in events.into_iter().zip(stored) {
            if stored {
                reach(versions, event, event.version);
            } else {
                present.push(event);
            }
        }
        Ok(present)
    }

    /// Updates the rows of `events` to their versions; returns all of them unless every row was surely updated.
    async fn advance<'e>(
        &self,
        events: Vec<&'e OrderEvent>,
        versions: &mut Versions,
    ) -> Result<Vec<&'e OrderEvent>, StoreError> {
        if events.is_empty() {
            return Ok(events);
        }
        let advanced = retry("update rows", StoreError::is_transient, || {
            self.rows.advance(&events)
        })
        .await?;
        if advanced < events.len() as u64 {
            return Ok(events);
        }
        for event in events {
            reach(versions, event, event.version);
        }
        Ok(Vec::new())
    }

    async fn versions(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, u32>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        retry("read rows", StoreError::is_transient, || {
            self.rows.versions(ids)
        })
        .await
    }

    /// Answers the edges, publishes the feed, and acks; the rows are stored.
    async fn announce(&self, batch: &[Delivery<OrderEvent>], versions: &Versions) {
        let (mut replies, mut feed) = (Vec::new(), Vec::new());
        let now = Timestamp::now();
        for delivery in batch {
            let event = &delivery.body;
            if let Some(&version) = versions.get(&event.order.order_id) {
                replies.extend(delivery.reply(Reply::Projected { version }));
            }
            if feeds(event, versions) {
                feed.push(feed_entry(delivery));
            }
            let lag = now.since(event.occurred_at);
            metrics::histogram!("orders_projection_lag_seconds").record(lag.as_secs_f64());
        }
        self.bus.reply(replies).await;
        failpoint("projector.stored").await;
        self.bus.publish_until_stored(feed).await;
        failpoint("projector.fed").await;
        for delivery in batch {
            delivery.ack().await;
        }
    }
}

fn feed_entry(cause: &Delivery<OrderEvent>) -> Message {
    let event = &cause.body;
    let order = &event.order;
    let channel = match cause.channel {
        Channel::OrderCreated => Channel::FeedCreated,
        _ => Channel::FeedUpdated,
    };
    let entry = FeedEntry {
        order_id: order.order_id.clone(),
        status: order.status,
        version: event.version,
    };
    let metadata = Metadata {
        id: format!("{}:{}", order.order_id, event.version),
        source: "/orders/projector".to_owned(),
        order_id: order.order_id.clone(),
        time: event.occurred_at,
        trace: cause.metadata.trace.child(),
        reply_to: None,
    };
    Message::new(channel, &event.tenant_id, metadata, &entry)
}
