//! Cancel commands and payments: both move a PENDING order to its final status, and the store decides the race.

use std::collections::{HashMap, HashSet};

use orders_bus::{Delivery, Reason};
use orders_contracts::{
    CancelOrder, Channel, FieldError, Invalid, OrderId, OrderPaid, Refusal, Reply, Status,
    TenantId, Timestamp, streams,
};
use orders_domain::{Order, Transition};
use orders_service::{failpoint, retry};
use orders_store::Error as StoreError;
use tracing::{debug, error};

use crate::Writer;

/// A wish to move an order to a final status.
pub(crate) struct Settle<'a> {
    delivery: &'a Delivery,
    order_id: OrderId,
}

impl<'a> Settle<'a> {
    /// Reads a cancel command.
    pub(crate) fn read_cancel(delivery: &'a Delivery) -> Result<Self, Vec<FieldError>> {
        let command = CancelOrder::parse(delivery.payload()).map_err(|Invalid(errors)| errors)?;
        if command.tenant_id != delivery.tenant {
            return Err(vec![FieldError::new(
                &["tenantId"],
                "must be the tenant of the subject",
            )]);
        }
        if command.order_id != delivery.metadata.order_id {
            return Err(vec![FieldError::new(
                &["orderId"],
                "must be the order of the header ce-subject",
            )]);
        }
        Ok(Self {
            delivery,
            order_id: command.order_id,
        })
    }

    /// Reads a payment.
    pub(crate) fn read_payment(delivery: &'a Delivery) -> Result<Self, Vec<FieldError>> {
        let payment: OrderPaid = serde_json::from_slice(delivery.payload()).map_err(|error| {
            vec![FieldError::of_message(format!(
                "body is no OrderPaid: {error}"
            ))]
        })?;
        if payment.tenant_id != delivery.tenant || payment.order_id != delivery.metadata.order_id {
            return Err(vec![FieldError::of_message(
                "body, subject and headers differ",
            )]);
        }
        Ok(Self {
            delivery,
            order_id: payment.order_id,
        })
    }
}

impl Settle<'_> {
    /// The order it is about, if the tenant has it.
    fn target<'o>(&self, orders: &'o HashMap<OrderId, Order>) -> Option<&'o Order> {
        orders
            .get(&self.order_id)
            .filter(|order| order.tenant_id == self.delivery.tenant)
    }
}

/// What a wish came to.
enum Outcome {
    /// The tenant has no such order.
    NotFound,
    /// This delivery moved the order.
    Moved(Order),
    /// The order had that status before; it may be this delivery's own doing, at an earlier attempt.
    Before(Order),
    /// The order has another final status.
    Conflict(Status),
    /// It is not known to be carried out: the store refused. The message comes again after the ack wait.
    Undone,
}

impl Writer {
    /// Carries out the cancel commands of a batch with one bulk update.
    pub(crate) async fn cancel(&self, mut commands: Vec<Settle<'_>>) {
        let Some(settled) = self.settle(&commands, Status::Cancelled).await else {
            // One of them cannot be read: the others must not wait for it.
            if commands.len() > 1 {
                let half = commands.split_off(commands.len() / 2);
                Box::pin(self.cancel(commands)).await;
                Box::pin(self.cancel(half)).await;
            }
            return;
        };
        let (missing, found): (Vec<_>, Vec<_>) = commands
            .into_iter()
            .zip(settled)
            .partition(|(_, outcome)| matches!(outcome, Outcome::NotFound));
        self.cancelled(found).await;
        if missing.is_empty() {
            return;
        }
        let missing = self
            .due(missing.into_iter().map(|(command, _)| command))
            .await;
        // An order may have come in between; one that is still missing does not exist.
        if let Some(settled) = self.settle(&missing, Status::Cancelled).await {
            self.cancelled(missing.into_iter().zip(settled).collect())
                .await;
        }
    }

    /// Those of `commands` that have waited long enough for a create of their tenant that was published before them and
    /// may still be on its way: with another writer, or to be delivered again because its writer died.
    async fn due<'a>(&self, commands: impl Iterator<Item = Settle<'a>>) -> Vec<Settle<'a>> {
        let mut creates: HashMap<&TenantId, Option<u64>> = HashMap::new();
        let mut due = Vec::new();
        for command in commands {
            let delivery = command.delivery;
            if !delivery.may_wait() {
                due.push(command);
                continue;
            }
            let tenant = &delivery.tenant;
            if !creates.contains_key(tenant) {
                let (stream, channel) = (&streams::ORDERS_COMMANDS, Channel::CreateOrder);
                match self.bus.oldest(stream, channel, tenant).await {
                    Ok(oldest) => creates.insert(tenant, oldest),
                    Err(error) => {
                        // They come again after the ack wait.
                        debug!("cannot tell whether cancels are due: {error}");
                        break;
                    }
                };
            }
            let is_behind = creates[tenant].is_some_and(|create| create < delivery.sequence());
            if is_behind {
                delivery.postpone().await;
            } else {
                due.push(command);
            }
        }
        due
    }

    /// Tells, publishes and acks what cancel commands came to.
    async fn cancelled(&self, commands: Vec<(Settle<'_>, Outcome)>) {
        let (commands, settled): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let mut replies = Vec::new();
        for (command, outcome) in commands.iter().zip(&settled) {
            let reply = match outcome {
                Outcome::Undone => continue,
                Outcome::Moved(_) => Reply::Cancelled,
                Outcome::Before(_) => Reply::AlreadyCancelled,
                Outcome::NotFound => Reply::Refused(Refusal::NotFound),
                Outcome::Conflict(status) => Reply::Refused(Refusal::Conflict { status: *status }),
            };
            replies.extend(command.delivery.reply(reply));
        }
        self.bus.reply(replies).await;
        self.publish_updates(&commands, &settled).await;
        for (command, outcome) in commands.iter().zip(&settled) {
            if !matches!(outcome, Outcome::Undone) {
                command.delivery.ack().await;
            }
        }
    }

    /// Carries out the payments of a batch with one bulk update.
    pub(crate) async fn pay(&self, mut payments: Vec<Settle<'_>>) {
        let Some(settled) = self.settle(&payments, Status::Paid).await else {
            if payments.len() > 1 {
                let half = payments.split_off(payments.len() / 2);
                Box::pin(self.pay(payments)).await;
                Box::pin(self.pay(half)).await;
            }
            return;
        };
        self.publish_updates(&payments, &settled).await;
        for (payment, outcome) in payments.iter().zip(&settled) {
            match outcome {
                Outcome::NotFound => {
                    let cause = "the tenant has no such order";
                    payment
                        .delivery
                        .dead_letter(&self.bus, Reason::UnknownOrder, cause);
                }
                Outcome::Undone => {}
                Outcome::Conflict(_) => {
                    metrics::counter!("orders_payments_of_cancelled_orders_total").increment(1);
                    payment.delivery.ack().await;
                }
                Outcome::Moved(_) | Outcome::Before(_) => payment.delivery.ack().await,
            }
        }
    }

    async fn settle(&self, wishes: &[Settle<'_>], to: Status) -> Option<Vec<Outcome>> {
        let ids: Vec<OrderId> = wishes.iter().map(|wish| wish.order_id.clone()).collect();
        let mut orders = self.load(&ids).await?;
        let mut pending: Vec<OrderId> = wishes
            .iter()
            .filter(|wish| {
                wish.target(&orders)
                    .is_some_and(|order| order.transition(to) == Transition::Apply)
            })
            .map(|wish| wish.order_id.clone())
            .collect();
        pending.sort();
        pending.dedup();

        // The same moment for every attempt: it marks what this batch has moved.
        let now = Timestamp::now();
        if !pending.is_empty() {
            let moved = retry("settle orders", StoreError::is_transient, || {
                self.orders.move_pending(&pending, to, now)
            })
            .await;
            if let Err(error) = &moved {
                error!("cannot settle orders: {error}");
            }
            if moved.is_ok_and(|count| count == pending.len() as u64) {
                for id in &pending {
                    if let Some(order) = orders.remove(id) {
                        orders.insert(id.clone(), order.moved(to, now));
                    }
                }
            } else {
                // Somebody was faster, or an earlier attempt got through without our knowing: look again.
                let Some(found) = self.load(&pending).await else {
                    // Some may have been moved: only their redelivery tells of it again.
                    return Some(wishes.iter().map(|_| Outcome::Undone).collect());
                };
                orders.extend(found);
            }
        }
        if !pending.is_empty() {
            failpoint("writer.moved").await;
        }
        let mut told = HashSet::new();
        let outcomes = wishes
            .iter()
            .map(|wish| match outcome(wish, &orders, to, now) {
                // Two wishes for one order: the first has moved it.
                Outcome::Moved(order) if !told.insert(&wish.order_id) => Outcome::Before(order),
                outcome => outcome,
            });
        Some(outcomes.collect())
    }

    /// Publishes the events of the orders that were moved, and again of those that had been moved before.
    async fn publish_updates(&self, wishes: &[Settle<'_>], settled: &[Outcome]) {
        let events: Vec<_> = wishes
            .iter()
            .zip(settled)
            .filter_map(|(wish, outcome)| match outcome {
                // Whether it was told by who moved it, nobody knows: not even the number of deliveries tells, which
                // nats-server forgets when it is killed.
                Outcome::Moved(order) | Outcome::Before(order) => Some((wish, order)),
                _ => None,
            })
            .map(|(wish, order)| Self::event(wish.delivery, &order.latest_event()))
            .collect();
        if !events.is_empty() {
            failpoint("writer.settled").await;
            self.bus.publish_until_stored(events).await;
            failpoint("writer.updated").await;
        }
    }
}

fn outcome(
    wish: &Settle<'_>,
    orders: &HashMap<OrderId, Order>,
    to: Status,
    now: Timestamp,
) -> Outcome {
    let Some(order) = wish.target(orders) else {
        return Outcome::NotFound;
    };
    match order.transition(to) {
        Transition::Done if order.updated_at == now => Outcome::Moved(order.clone()),
        Transition::Done => Outcome::Before(order.clone()),
        Transition::Conflict(status) => Outcome::Conflict(status),
        Transition::Apply => Outcome::Undone,
    }
}
