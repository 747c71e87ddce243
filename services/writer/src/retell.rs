//! After the loss of a stream: everything that the database holds and the stream may have held is published again.
//!
//! A stream that was made again is younger than the one that all was told to; the database keeps which one that was, so a
//! loss is noticed even if it happened while no writer ran.

use std::time::Duration;

use orders_bus::{Error as BusError, Message};
use orders_contracts::{
    Status, Timestamp, TraceContext,
    streams::{ORDERS_EVENTS, PAYMENTS},
};
use orders_domain::Order;
use orders_service::{
    chain,
    metrics::{HEALED, counter},
    retry,
};
use orders_store::{Error as StoreError, OrderKey};
use tracing::{debug, info, warn};

use crate::Writer;

/// How often the streams are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The orders that are compared with their rows at once.
const PAGE: u64 = 500;
/// How far the clocks of NATS and of the writers may differ.
const SKEW: Duration = Duration::from_secs(10);

impl Writer {
    /// Looks again and again whether a stream was lost, and then tells again what was in it.
    pub(crate) async fn retell(&self) {
        let mut looks = tokio::time::interval(LOOK);
        let mut told = None;
        loop {
            looks.tick().await;
            let made = match self.made().await {
                Ok(Some(made)) => made,
                // Whoever keeps the streams makes them again.
                Ok(None) => continue,
                Err(error) => {
                    debug!("cannot look at the streams: {}", chain(&error));
                    continue;
                }
            };
            if told == Some(made) {
                continue;
            }
            match self.retell_once(made).await {
                Ok(()) => told = Some(made),
                Err(error) => warn!("cannot publish again what was lost: {}", chain(&error)),
            }
        }
    }

    /// When the streams were made that hold what happened to orders; `None` while one is missing.
    async fn made(&self) -> Result<Option<[Timestamp; 2]>, BusError> {
        let events = self.bus.made_at(&ORDERS_EVENTS).await?;
        let payments = self.bus.made_at(&PAYMENTS).await?;
        Ok(events.zip(payments).map(<[Timestamp; 2]>::from))
    }

    async fn retell_once(&self, made: [Timestamp; 2]) -> Result<(), StoreError> {
        let streams = made.map(|time| time.to_string()).join(" ");
        let installation = retry("look at the installation", StoreError::is_transient, || {
            self.store.installation()
        })
        .await?;
        match installation.and_then(|installation| installation.told) {
            Some(told) if told == streams => return Ok(()),
            Some(_) => self.tell_all(made.into_iter().max()).await?,
            // The first writer of this installation.
            None => {}
        }
        retry("record the streams", StoreError::is_transient, || {
            self.store.set_told(&streams)
        })
        .await
    }

    /// Publishes the latest event of every order that is behind and older than the streams `made` then. The others have
    /// their events in the new streams.
    async fn tell_all(&self, made: Option<Timestamp>) -> Result<(), StoreError> {
        let Some(made) = made else { return Ok(()) };
        warn!("a stream was lost and made again; looking for orders that it left behind");
        let rows = self.store.read_model();
        let mut after = String::new();
        let mut count = 0;
        loop {
            let page = retry("read orders", StoreError::is_transient, || {
                self.orders.page_after(&after, None, PAGE)
            })
            .await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            // One that this version cannot read must not hide the others.
            let orders = page.into_iter().filter_map(|found| found.content.ok());
            let old: Vec<Order> = orders
                .filter(|order| {
                    order
                        .updated_at
                        .earlier(SKEW)
                        .is_none_or(|time| time < made)
                })
                .collect();
            let keys: Vec<OrderKey<'_>> = old.iter().map(OrderKey::from).collect();
            let versions = retry("read rows", StoreError::is_transient, || {
                rows.versions(&keys)
            })
            .await?;
            let is_behind = |order: &&Order| {
                order.status == Status::Pending
                    || versions.get(&order.order_id).map(|row| row.version) < Some(order.version)
            };
            let told = |order: &Order| {
                let event = order.latest_event();
                Message::of_event(&event, TraceContext::root(), None).on(made.millis())
            };
            let messages: Vec<_> = old.iter().filter(is_behind).map(told).collect();
            count += messages.len() as u64;
            counter!(HEALED).increment(messages.len() as u64);
            self.bus.publish_until_stored(messages).await;
        }
        info!("published the latest event of {count} orders again");
        Ok(())
    }
}
