//! The timer queue: which payments are due when. It holds ids and ack handles only.

use std::{collections::HashMap, future::poll_fn, mem, task::Poll, time::Duration};

use orders_bus::Delivery;
use orders_contracts::{Money, OrderId};
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// The most payments in one batch: after an outage many are due, and what is not acked in time is delivered again.
const BATCH: usize = 512;
/// While so many wait, payments go through together: alone each wakes every daemon behind it, and nobody waits for it.
const MANY: usize = 500;
/// How far apart they go through then; at [`MANY`] in five seconds that is two at a time.
const GATHERING: Duration = Duration::from_millis(20);

/// A payment that waits for its time.
#[derive(Debug)]
pub(crate) struct Payment {
    /// The created event, un-acked until the payment is published.
    pub(crate) delivery: Delivery,
    /// What is to be paid.
    pub(crate) amount: Money,
}

/// Payments by order; each order waits once, however often its event is delivered.
#[derive(Debug)]
pub(crate) struct Pending {
    started: Instant,
    queue: DelayQueue<OrderId>,
    payments: HashMap<OrderId, (Key, Payment)>,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            queue: DelayQueue::new(),
            payments: HashMap::new(),
        }
    }

    /// Lets `payment` wait. When the order waits already, only the handle is replaced: the server counts on the ack
    /// of the latest delivery. The handle that is replaced is returned if it is of another message.
    pub(crate) fn add(&mut self, payment: Payment, wait: Duration) -> Option<Delivery> {
        let id = payment.delivery.metadata.order_id.clone();
        let key = match self.payments.get(&id) {
            Some((key, _)) => *key,
            None => {
                let due = self.started.elapsed() + wait;
                let due = self.started + together(due, self.len());
                self.queue.insert_at(id.clone(), due)
            }
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

/// When a payment that is due after `due` goes through while `count` others wait.
fn together(due: Duration, count: usize) -> Duration {
    if count < MANY {
        return due;
    }
    let times = due.as_nanos().div_ceil(GATHERING.as_nanos());
    u32::try_from(times).map_or(due, |times| GATHERING * times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_payments_go_through_together_and_none_too_early() {
        for micros in [40_001, 50_000, 60_000] {
            let due = Duration::from_micros(micros);
            assert_eq!(together(due, MANY), 3 * GATHERING);
            assert_eq!(together(due, MANY - 1), due);
        }
    }
}
