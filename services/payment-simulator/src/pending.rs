//! The timer queue: which payments are due when. It holds ids and ack handles only.

use std::{collections::HashMap, future::poll_fn, mem, task::Poll, time::Duration};

use orders_bus::Delivery;
use orders_contracts::{Money, OrderId};
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// The most payments in one batch: after an outage many are due, and what is not acked in time is delivered again.
const BATCH: usize = 512;

/// A payment that waits for its time.
#[derive(Debug)]
pub(crate) struct Payment {
    /// The created event, un-acked until the payment is published.
    pub(crate) delivery: Delivery,
    /// What is to be paid.
    pub(crate) amount: Money,
}

/// Payments by order; each order waits once, however often its event is delivered.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: DelayQueue<OrderId>,
    payments: HashMap<OrderId, (Key, Payment)>,
}

impl Pending {
    /// Lets `payment` wait. When the order waits already, only the handle is replaced: the server counts on the ack
    /// of the latest delivery. The handle that is replaced is returned if it is of another message.
    pub(crate) fn add(&mut self, payment: Payment, wait: Duration) -> Option<Delivery> {
        let id = payment.delivery.metadata.order_id.clone();
        let key = match self.payments.get(&id) {
            Some((key, _)) => *key,
            None => self.queue.insert(id.clone(), wait),
        };
        let position = payment.delivery.position().to_owned();
        let (_, replaced) = self.payments.insert(id, (key, payment))?;
        (replaced.delivery.position() != position).then_some(replaced.delivery)
    }

    /// The payments whose time has come, as many as fit into one batch; waits for ever while there are none.
    pub(crate) async fn due(&mut self) -> Vec<Payment> {
        let mut due = Vec::new();
        poll_fn(|cx| {
            while due.len() < BATCH
                && let Poll::Ready(Some(expired)) = self.queue.poll_expired(cx)
            {
                let payment = self.payments.remove(expired.get_ref());
                due.extend(payment.map(|(_, payment)| payment));
            }
            match due.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(mem::take(&mut due)),
            }
        })
        .await
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.payments.len()
    }

    /// Everything that waits, for giving it back.
    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        self.payments
            .into_values()
            .map(|(_, payment)| payment.delivery)
    }
}
