//! A batch of events: store the newest row of each order, answer the edges, publish the feed, ack.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use orders_bus::{Delivery, Failure, Handler, Message};
use orders_contracts::{Channel, FeedEntry, Metadata, OrderEvent, OrderId, Reply, Timestamp};
use orders_domain::projection::{self, Effect};
use orders_service::{failpoint, retry};
use orders_store::Error as StoreError;

use crate::Projector;

/// The effect of a batch on the rows.
#[derive(Default)]
struct Applied {
    /// The version, at least, of each order's row.
    versions: HashMap<OrderId, u32>,
    /// Orders whose row this batch inserted.
    inserted: HashSet<OrderId>,
}

impl Applied {
    fn reach(&mut self, event: &OrderEvent, version: u32) {
        self.versions.insert(event.order.order_id.clone(), version);
    }

    /// Whether to publish `event` in the feed: if the row has its version, whoever wrote that row. They may have died
    /// before publishing the change. The stream drops a duplicate, or clients ignore it.
    fn feeds(&self, event: &OrderEvent) -> bool {
        let id = &event.order.order_id;
        // If an order was created and updated in one batch, clients get both events, in order.
        self.versions.get(id) == Some(&event.version) || self.inserted.contains(id)
    }
}

impl Handler<OrderEvent> for Projector {
    async fn handle(&self, batch: &[Delivery<OrderEvent>]) -> Result<(), Failure> {
        failpoint("projector.pulled").await;
        let newest = projection::newest(batch.iter().map(|delivery| &delivery.body));
        let applied = self.apply(newest.into_values().collect()).await;
        let applied = applied.map_err(Failure::refused)?;
        failpoint("projector.applied").await;
        self.announce(batch, &applied).await;
        Ok(())
    }
}

impl Projector {
    /// Brings the rows up to `newest`, which has one event an order.
    async fn apply(&self, newest: Vec<&OrderEvent>) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        let (mut inserts, mut updates): (Vec<_>, Vec<_>) = newest
            .into_iter()
            .partition(|event| event.channel() == Channel::OrderCreated);
        // An update without a row becomes an insert, and an insert whose row exists is judged again. Another projector
        // can turn one into the other more than once, but versions only rise.
        while !(inserts.is_empty() && updates.is_empty()) {
            let present = self.insert(mem::take(&mut inserts), &mut applied).await?;
            let unmatched = self.advance(mem::take(&mut updates), &mut applied).await?;
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
                    (_, version) => applied.reach(event, version.unwrap_or(event.version)),
                }
            }
        }
        Ok(applied)
    }

    /// Inserts the rows of `events`; returns those whose order has a row already.
    async fn insert<'e>(
        &self,
        events: Vec<&'e OrderEvent>,
        applied: &mut Applied,
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
                applied.inserted.insert(event.order.order_id.clone());
                applied.reach(event, event.version);
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
        applied: &mut Applied,
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
            applied.reach(event, event.version);
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
    async fn announce(&self, batch: &[Delivery<OrderEvent>], applied: &Applied) {
        let (mut replies, mut feed) = (Vec::new(), Vec::new());
        let now = Timestamp::now();
        for delivery in batch {
            let event = &delivery.body;
            if let Some(&version) = applied.versions.get(&event.order.order_id) {
                replies.extend(delivery.reply(Reply::Projected { version }));
            }
            if applied.feeds(event) {
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
