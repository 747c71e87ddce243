//! A batch of events: store the newest row of each order, answer the edges, publish the feed, ack.

use std::{collections::HashMap, mem, ptr};

use orders_bus::{Delivery, Failure, Handler};
use orders_contracts::{Channel, OrderEvent, OrderId, Reply, Timestamp};
use orders_domain::projection::{self, Effect, RowVersion};
use orders_service::{failpoint, retry, trace::Span};
use orders_store::{Error as StoreError, OrderKey};

use crate::{Projector, feed::Shown};

/// How a batch left the rows of its orders.
#[derive(Default)]
struct Rows {
    shown: HashMap<OrderId, Shown>,
    /// The database did not say which rows it changed, so any of them may be of this batch.
    is_uncertain: bool,
}

impl Rows {
    fn applied(&mut self, event: &OrderEvent) {
        self.set(event, event.version, true);
    }

    fn found(&mut self, event: &OrderEvent, version: u32) {
        self.set(event, version, self.is_uncertain);
    }

    fn set(&mut self, event: &OrderEvent, version: u32, applied: bool) {
        let shown = Shown { version, applied };
        self.shown.insert(event.order.order_id.clone(), shown);
    }
}

impl Handler<OrderEvent> for Projector {
    async fn handle(&self, batch: &[Delivery<OrderEvent>]) -> Result<(), Failure> {
        failpoint("projector.pulled").await;
        let events = batch.iter().map(|delivery| &delivery.body);
        if let Some(event) = events.clone().find(|event| !projection::is_possible(event)) {
            let (version, status) = (event.version, event.order.status.as_str());
            let cause = format!("no order of this version is {status} at version {version}");
            return Err(Failure::later(cause));
        }
        let newest = projection::newest(events);
        let newest = newest.into_values().collect();
        let rows = self.apply(batch, newest).await?;
        failpoint("projector.applied").await;
        self.announce(batch, &rows.shown).await;
        Ok(())
    }
}

impl Projector {
    /// Brings the rows up to `newest`, the events of `batch` without those that a later one overtakes.
    async fn apply(
        &self,
        batch: &[Delivery<OrderEvent>],
        newest: Vec<&OrderEvent>,
    ) -> Result<Rows, Failure> {
        let mut rows = Rows::default();
        let (mut inserts, mut updates): (Vec<_>, Vec<_>) = newest
            .into_iter()
            .partition(|event| event.channel() == Channel::OrderCreated);
        // An update without a row becomes an insert, and an insert whose row exists is judged again. Another projector
        // can turn one into the other more than once, but versions only rise.
        while !(inserts.is_empty() && updates.is_empty()) {
            let bulk = Span::bulk("bulk insert orders_read", spans(batch, &inserts));
            let present = self.insert(mem::take(&mut inserts), &mut rows).await?;
            drop(bulk);
            let bulk = Span::bulk("bulk update orders_read", spans(batch, &updates));
            let unmatched = self.advance(mem::take(&mut updates), &mut rows).await?;
            drop(bulk);
            let events = present.iter().chain(&unmatched);
            let keys: Vec<OrderKey<'_>> = events.map(|event| (*event).into()).collect();
            let stored = self.versions(&keys).await?;
            for event in present.into_iter().chain(unmatched) {
                let row = stored.get(&event.order.order_id);
                match (projection::effect(row, event), row) {
                    (Effect::Apply, Some(_)) => updates.push(event),
                    (Effect::Apply, None) => inserts.push(event),
                    (Effect::Foreign, _) => {
                        return Err(Failure::refused("the order is another tenant's"));
                    }
                    (Effect::AlreadyApplied | Effect::Superseded, row) => {
                        rows.found(event, row.map_or(event.version, |row| row.version));
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Inserts the rows of `events`; returns those whose order has a row already.
    async fn insert<'e>(
        &self,
        events: Vec<&'e OrderEvent>,
        rows: &mut Rows,
    ) -> Result<Vec<&'e OrderEvent>, Failure> {
        if events.is_empty() {
            return Ok(events);
        }
        let mut attempts = 0;
        let stored = retry("insert rows", StoreError::is_transient, || {
            attempts += 1;
            self.rows.insert(&events)
        })
        .await
        .map_err(Failure::refused)?;
        rows.is_uncertain |= attempts > 1;
        let mut present = Vec::new();
        for (event, stored) in events.into_iter().zip(stored) {
            if stored {
                rows.applied(event);
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
        rows: &mut Rows,
    ) -> Result<Vec<&'e OrderEvent>, Failure> {
        if events.is_empty() {
            return Ok(events);
        }
        let mut attempts = 0;
        let advanced = retry("update rows", StoreError::is_transient, || {
            attempts += 1;
            self.rows.advance(&events)
        })
        .await
        .map_err(Failure::refused)?;
        if advanced < events.len() as u64 {
            rows.is_uncertain |= advanced > 0 || attempts > 1;
            return Ok(events);
        }
        for event in events {
            rows.applied(event);
        }
        Ok(Vec::new())
    }

    async fn versions(
        &self,
        keys: &[OrderKey<'_>],
    ) -> Result<HashMap<OrderId, RowVersion>, Failure> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        retry("read rows", StoreError::is_transient, || {
            self.rows.versions(keys)
        })
        .await
        .map_err(Failure::refused)
    }

    /// Answers the edges, publishes the feed, and acks; the rows are stored.
    async fn announce(&self, batch: &[Delivery<OrderEvent>], rows: &HashMap<OrderId, Shown>) {
        let mut replies = Vec::new();
        let mut feed = self.feed.compose(Timestamp::now());
        for delivery in batch {
            let event = &delivery.body;
            if let Some(shown) = rows.get(&event.order.order_id) {
                let version = shown.version;
                if shown.applied && version == event.version {
                    self.paid.listed(event, feed.now);
                }
                replies.extend(delivery.reply(Reply::Projected { version }));
                feed.push(event, *shown, delivery.is_redelivered(), delivery.trace());
            }
            let lag = feed.now.since(event.occurred_at);
            self.lag.record(lag);
        }
        self.bus.reply(replies).await;
        failpoint("projector.stored").await;
        feed.publish(&self.bus).await;
        failpoint("projector.fed").await;
        for delivery in batch {
            delivery.ack().await;
        }
    }
}

/// The spans of those messages of `batch` that brought `events`.
fn spans<'b>(
    batch: &'b [Delivery<OrderEvent>],
    events: &[&OrderEvent],
) -> impl Iterator<Item = &'b Span> {
    let recorded = batch
        .iter()
        .filter(|delivery| delivery.process().is_recorded());
    let brought =
        recorded.filter(|delivery| events.iter().any(|event| ptr::eq(*event, &delivery.body)));
    brought.map(Delivery::process)
}
