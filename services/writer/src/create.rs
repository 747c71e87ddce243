//! Create commands: store, answer the edge, publish the event, ack. In that order, so that a crash between any two
//! lines ends in a redelivery that finishes the work.

use orders_bus::{Delivery, Failure};
use orders_contracts::{OrderCommand, Reply};
use orders_domain::{Order, Repeat};
use orders_service::{failpoint, poison, retry, trace::Span};
use orders_store::{Error as StoreError, OrderKey};

use crate::{Writer, announce, give_up};

/// A create command and the order it asks for.
type Create<'a> = (&'a Delivery<OrderCommand>, Order);

impl Writer {
    /// Carries out the create commands of a batch with one bulk insert.
    pub(crate) async fn create(&self, commands: Vec<Create<'_>>) -> Result<(), Failure> {
        if commands.is_empty() {
            return Ok(());
        }
        let (deliveries, orders): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        orders
            .iter()
            .for_each(|order| poison(order.request_id.as_str()));
        failpoint("writer.pulled").await;
        let spans = deliveries.iter().map(|delivery| delivery.process());
        let bulk = Span::bulk("bulk insert orders_write", spans);
        let stored = retry("store orders", StoreError::is_transient, || {
            self.orders.insert(&orders)
        })
        .await
        .map_err(Failure::refused)?;
        drop(bulk);
        let known: Vec<OrderKey<'_>> = orders
            .iter()
            .zip(&stored)
            .filter(|(_, stored)| !**stored)
            .map(|(order, _)| order.into())
            .collect();
        let known = self.load(&known).await?;

        failpoint("writer.stored").await;
        let (mut replies, mut events, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for ((delivery, order), stored) in deliveries.into_iter().zip(&orders).zip(stored) {
            let existing = known.get(&order.order_id);
            let (reply, announced) = match (stored, existing) {
                (true, _) => (Reply::Created, Some(order)),
                (false, Some(None)) => {
                    replies.extend(delivery.reply(give_up(delivery)));
                    continue;
                }
                (false, Some(Some(existing))) => match existing.repeat(order) {
                    // The same command, delivered again: its event may not have been published.
                    Repeat::SameCommand => (Reply::Created, Some(existing)),
                    Repeat::Replay { same_body } => (Reply::Replayed { same_body }, None),
                },
                // It was a duplicate, but the order was removed by hand since: the next delivery stores it.
                (false, None) => {
                    delivery.release().await;
                    continue;
                }
            };
            replies.extend(delivery.reply(reply));
            events.extend(announced.map(|order| announce(delivery, &order.created_event())));
            done.push(delivery);
        }
        self.bus.reply(replies).await;
        failpoint("writer.answered").await;
        self.bus.publish_until_stored(events).await;
        failpoint("writer.published").await;
        for delivery in done {
            delivery.ack().await;
        }
        Ok(())
    }
}
