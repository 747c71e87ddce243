//! How long orders take until lists show them as PAID, without the delay of their payment.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orders_bus::Bus;
use orders_contracts::{OrderEvent, Status, Timestamp};
use orders_service::{
    chain,
    metrics::{Histogram, PAID_DELAY, histogram},
};
use tokio::time::sleep;
use tracing::debug;

/// How often the delay is asked for, which a restart of the payment-simulator may change.
const ASK: Duration = Duration::from_secs(60);
/// The same while it is not known.
const ASK_FIRST: Duration = Duration::from_secs(1);

/// Measures it. The projector has no setting for the delay of payments; the consumer of the payment-simulator tells it.
pub(crate) struct Paid {
    took: Histogram,
    delay: Mutex<Option<Duration>>,
}

impl Paid {
    pub(crate) fn new() -> Self {
        Self {
            took: histogram!(PAID_DELAY),
            delay: Mutex::default(),
        }
    }

    /// Asks for the delay, for ever.
    pub(crate) async fn follow(&self, bus: &Bus) {
        loop {
            if bus.is_connected() {
                match bus.payment_delay().await {
                    Ok(delay) => *self.delay() = delay,
                    Err(error) => debug!("cannot ask for the delay: {}", chain(&error)),
                }
            }
            let is_known = self.delay().is_some();
            sleep(if is_known { ASK } else { ASK_FIRST }).await;
        }
    }

    /// Notes that lists show what `event` says, from `now` on.
    pub(crate) fn listed(&self, event: &OrderEvent, now: Timestamp) {
        if event.order.status == Status::Paid
            && let Some(delay) = *self.delay()
        {
            let all = now.since(event.order.created_at);
            self.took.record(all.saturating_sub(delay));
        }
    }

    fn delay(&self) -> MutexGuard<'_, Option<Duration>> {
        self.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
