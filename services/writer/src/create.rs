//! Create commands: store, tell the edge, publish the event, ack. In that order, so that a crash between any two
//! lines ends in a redelivery that finishes the work.

use std::collections::HashMap;

use orders_bus::{Delivery, Reason};
use orders_contracts::{CreateOrder, FieldError, Invalid, OrderId, Reply, Timestamp};
use orders_domain::{Order, Repeat};
use orders_service::{failpoint, poison, retry};
use orders_store::Error as StoreError;
use tracing::debug;

use crate::Writer;

/// A create command in hand and the order it asks for.
pub(crate) struct Create<'a> {
    delivery: &'a Delivery,
    order: Order,
}

impl<'a> Create<'a> {
    /// Reads the command; the edge checked it too, but others can publish here as well.
    pub(crate) fn read(delivery: &'a Delivery, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        let command =
            CreateOrder::parse(delivery.payload(), None).map_err(|Invalid(errors)| errors)?;
        if command.tenant_id != delivery.tenant {
            return Err(vec![FieldError::new(
                &["tenantId"],
                "must be the tenant of the subject",
            )]);
        }
        if command.order_id() != delivery.metadata.order_id {
            let rule = "header ce-subject must be the id derived from tenantId and requestId";
            return Err(vec![FieldError::of_message(rule)]);
        }
        let Ok(command_id) = delivery.metadata.id.parse() else {
            let rule = "header ce-id must match /^[A-Za-z0-9_-]{1,64}$/";
            return Err(vec![FieldError::of_message(rule)]);
        };
        Ok(Self {
            delivery,
            order: Order::create(command, command_id, now),
        })
    }
}

impl Writer {
    /// Carries out the create commands of a batch with one bulk insert.
    pub(crate) async fn create(&self, mut commands: Vec<Create<'_>>) {
        if commands.is_empty() {
            return;
        }
        commands
            .iter()
            .for_each(|command| poison(command.order.request_id.as_str()));
        let orders: Vec<Order> = commands
            .iter()
            .map(|command| command.order.clone())
            .collect();
        failpoint("writer.pulled").await;
        match retry("store orders", StoreError::is_transient, || {
            self.orders.insert(&orders)
        })
        .await
        {
            Ok(stored) => {
                self.created(commands.into_iter().zip(stored).collect())
                    .await
            }
            // The database refuses some document of the batch for ever: find out which.
            Err(_) if commands.len() > 1 => {
                let half = commands.split_off(commands.len() / 2);
                Box::pin(self.create(commands)).await;
                Box::pin(self.create(half)).await;
            }
            Err(error) => {
                let delivery = commands[0].delivery;
                delivery.dead_letter(&self.bus, Reason::Refused, &error.to_string());
            }
        }
    }

    /// Tells, publishes and acks what an insert came to: `true` where it stored the order.
    async fn created(&self, mut commands: Vec<(Create<'_>, bool)>) {
        let existing: Vec<_> = commands
            .iter()
            .filter(|(_, stored)| !stored)
            .map(|(command, _)| command.order.order_id.clone())
            .collect();
        let Some(existing) = self.load(&existing).await else {
            // One of them cannot be read: the others must not wait for it.
            if commands.len() > 1 {
                let half = commands.split_off(commands.len() / 2);
                Box::pin(self.created(commands)).await;
                Box::pin(self.created(half)).await;
            }
            return;
        };

        failpoint("writer.stored").await;
        let (mut replies, mut events) = (Vec::new(), Vec::new());
        for (command, stored) in &commands {
            let outcome = outcome(&command.order, *stored, &existing);
            let Some((reply, order)) = outcome else {
                // Refused as a duplicate, and not there: it was removed by hand in between.
                debug!("order {} vanished", command.order.order_id);
                continue;
            };
            replies.extend(command.delivery.reply(reply));
            if let Some(order) = order {
                events.push(Self::event(command.delivery, &order.created_event()));
            }
        }
        self.bus.reply(replies).await;
        failpoint("writer.answered").await;
        self.bus.publish_until_stored(events).await;
        failpoint("writer.published").await;
        for (command, stored) in &commands {
            if *stored || existing.contains_key(&command.order.order_id) {
                command.delivery.ack().await;
            } else {
                command.delivery.release().await;
            }
        }
    }
}

/// What to answer, and the order whose event has to go out.
fn outcome<'a>(
    attempt: &'a Order,
    stored: bool,
    existing: &'a HashMap<OrderId, Order>,
) -> Option<(Reply, Option<&'a Order>)> {
    if stored {
        return Some((Reply::Created, Some(attempt)));
    }
    let existing = existing.get(&attempt.order_id)?;
    Some(match existing.repeat(attempt) {
        // Our own command delivered again: whether its event went out is not known, so it goes out again.
        Repeat::SameCommand => (Reply::Created, Some(existing)),
        Repeat::Replay { same_body } => (Reply::Replayed { same_body }, None),
    })
}
