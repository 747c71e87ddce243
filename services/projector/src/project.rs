//! One batch of events: store the newest row of each order, tell the edges, feed what the list now shows, ack.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use orders_bus::{Batch, Delivery, Message, Reason};
use orders_contracts::{
    Channel, FeedEntry, FieldError, Metadata, OrderEvent, OrderId, Reply, Timestamp,
};
use orders_domain::projection::{self, Effect};
use orders_service::{failpoint, retry};

use crate::Projector;

/// An event in hand.
pub(crate) struct Event<'a> {
    delivery: &'a Delivery,
    event: OrderEvent,
}

impl<'a> Event<'a> {
    fn read(delivery: &'a Delivery) -> Result<Self, Vec<FieldError>> {
        let event: OrderEvent = serde_json::from_slice(delivery.payload()).map_err(|error| {
            vec![FieldError::of_message(format!(
                "body is no order event: {error}"
            ))]
        })?;
        let is_first = delivery.channel == Channel::OrderCreated;
        if event.tenant_id != delivery.tenant
            || event.order.order_id != delivery.metadata.order_id
            || event.version == 0
            || is_first != (event.version == 1)
        {
            return Err(vec![FieldError::of_message(
                "body, subject and headers differ",
            )]);
        }
        Ok(Self { delivery, event })
    }
}

/// What a batch has done to the rows.
#[derive(Default)]
struct Applied {
    /// The version that the row of each order has now, at least.
    versions: HashMap<OrderId, u32>,
    /// Orders that are listed since this batch.
    inserted: HashSet<OrderId>,
}

impl Applied {
    fn reach(&mut self, event: &OrderEvent, version: u32) {
        self.versions.insert(event.order.order_id.clone(), version);
    }

    /// Whether the feed has to tell of `event`: when the row is at its version, whoever brought it there and may have
    /// died before it could tell. A double is dropped by the stream, or ignored by clients.
    fn feeds(&self, event: &OrderEvent) -> bool {
        let id = &event.order.order_id;
        // Created and updated in one batch: clients hear of both, in order.
        self.versions.get(id) == Some(&event.version) || self.inserted.contains(id)
    }
}

impl Projector {
    /// Projects one batch.
    pub(crate) async fn handle(&self, batch: &Batch) {
        let mut events = Vec::with_capacity(batch.deliveries.len());
        for delivery in &batch.deliveries {
            match Event::read(delivery) {
                Ok(event) => events.push(event),
                Err(errors) => delivery.refuse(&self.bus, errors),
            }
        }
        self.project(events).await;
    }

    async fn project(&self, mut events: Vec<Event<'_>>) {
        failpoint("projector.pulled").await;
        let newest = projection::newest(events.iter().map(|event| &event.event));
        match self.apply(newest.into_values().collect()).await {
            Ok(applied) => {
                failpoint("projector.applied").await;
                self.tell(&events, &applied).await;
            }
            // The database refuses some row of the batch for ever: find out which.
            Err(_) if events.len() > 1 => {
                let half = events.split_off(events.len() / 2);
                Box::pin(self.project(events)).await;
                Box::pin(self.project(half)).await;
            }
            Err(error) => {
                for event in &events {
                    event
                        .delivery
                        .dead_letter(&self.bus, Reason::Refused, &error.to_string());
                }
            }
        }
    }

    /// Brings the rows up to `newest`, which has one event an order.
    async fn apply(&self, newest: Vec<&OrderEvent>) -> Result<Applied, orders_store::Error> {
        let mut applied = Applied::default();
        let (mut inserts, mut updates): (Vec<_>, Vec<_>) =
            newest.into_iter().partition(|event| event.version == 1);
        // An update whose row is missing becomes an insert, an insert whose row is there is looked at again; another
        // projector can turn one into the other more than once, but versions only rise.
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
    ) -> Result<Vec<&'e OrderEvent>, orders_store::Error> {
        if events.is_empty() {
            return Ok(events);
        }
        let stored = retry("insert rows", orders_store::Error::is_transient, || {
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

    /// Raises the rows of `events` to their versions; returns all of them unless it is clear that it raised each.
    async fn advance<'e>(
        &self,
        events: Vec<&'e OrderEvent>,
        applied: &mut Applied,
    ) -> Result<Vec<&'e OrderEvent>, orders_store::Error> {
        if events.is_empty() {
            return Ok(events);
        }
        let advanced = retry("update rows", orders_store::Error::is_transient, || {
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

    async fn versions(
        &self,
        ids: &[OrderId],
    ) -> Result<HashMap<OrderId, u32>, orders_store::Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        retry("read rows", orders_store::Error::is_transient, || {
            self.rows.versions(ids)
        })
        .await
    }

    /// Answers the edges, publishes the feed, and acks; the rows are stored.
    async fn tell(&self, events: &[Event<'_>], applied: &Applied) {
        let (mut replies, mut feed) = (Vec::new(), Vec::new());
        for Event { delivery, event } in events {
            if let Some(&version) = applied.versions.get(&event.order.order_id) {
                replies.extend(delivery.reply(Reply::Projected { version }));
            }
            if applied.feeds(event) {
                feed.push(feed_entry(delivery, event));
            }
            let lag = Timestamp::now().since(event.occurred_at);
            metrics::histogram!("orders_projection_lag_seconds").record(lag.as_secs_f64());
        }
        self.bus.reply(replies).await;
        if !feed.is_empty() {
            failpoint("projector.stored").await;
            self.bus.publish_until_stored(feed).await;
            failpoint("projector.fed").await;
        }
        for event in events {
            event.delivery.ack().await;
        }
    }
}

fn feed_entry(cause: &Delivery, event: &OrderEvent) -> Message {
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
