//! The timer queue: which payments are due when. It holds ids and ack handles only.

use std::{collections::HashMap, future::poll_fn, mem, task::Poll, time::Duration};

use orders_bus::Delivery;
use orders_contracts::{OrderEvent, OrderId};
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// The most payments in one batch: after an outage many are due, and what is not acked in time is delivered again.
const BATCH: usize = 512;
/// While so many orders wait, 200 a second by default, their payments go through together: alone, each wakes every daemon
/// behind it, and nobody waits for a payment to the millisecond.
const UNDER_LOAD: usize = 1_000;
/// The grid of times at which they go through then.
const GRID: Duration = Duration::from_millis(20);

/// A created event, un-acked until the payment of its order is published.
type Created = Delivery<OrderEvent>;

/// Payments by order; each order waits once, however often its event is delivered.
#[derive(Debug)]
pub(crate) struct Pending {
    started: Instant,
    queue: DelayQueue<OrderId>,
    created: HashMap<OrderId, (Key, Created)>,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            queue: DelayQueue::new(),
            created: HashMap::new(),
        }
    }

    /// Lets the order of `created` wait for its payment. If it waits already, only its delivery is replaced, because the
    /// server expects the ack of the latest one. Returns the replaced delivery if it belongs to another message.
    pub(crate) fn add(&mut self, created: Created, wait: Duration) -> Option<Created> {
        let id = created.metadata.order_id.clone();
        let key = match self.created.get(&id) {
            Some((key, _)) => *key,
            None => {
                let due = self.started.elapsed() + wait;
                let due = self.started + together(due, self.len());
                self.queue.insert_at(id.clone(), due)
            }
        };
        let sequence = created.sequence();
        let (_, replaced) = self.created.insert(id, (key, created))?;
        (replaced.sequence() != sequence).then_some(replaced)
    }

    /// The payments that are due, as many as fit into one batch; waits until there are any.
    pub(crate) async fn due(&mut self) -> Vec<Created> {
        let mut due = Vec::new();
        poll_fn(|cx| {
            while due.len() < BATCH
                && let Poll::Ready(Some(expired)) = self.queue.poll_expired(cx)
            {
                let created = self.created.remove(expired.get_ref());
                due.extend(created.map(|(_, created)| created));
            }
            match due.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(mem::take(&mut due)),
            }
        })
        .await
    }

    /// The number of waiting payments.
    pub(crate) fn len(&self) -> usize {
        self.created.len()
    }

    /// All waiting deliveries, to release them.
    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = Created> {
        self.created.into_values().map(|(_, created)| created)
    }
}

/// When a payment that is due after `due` goes through while `count` others wait.
fn together(due: Duration, count: usize) -> Duration {
    if count < UNDER_LOAD {
        return due;
    }
    let times = due.as_nanos().div_ceil(GRID.as_nanos());
    u32::try_from(times).map_or(due, |times| GRID * times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_payments_go_through_together_and_none_too_early() {
        for micros in [40_001, 50_000, 60_000] {
            let due = Duration::from_micros(micros);
            assert_eq!(together(due, UNDER_LOAD), 3 * GRID);
            assert_eq!(together(due, UNDER_LOAD - 1), due);
        }
    }
}
