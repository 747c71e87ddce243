//! The time of the server that stored the events: a machine whose own clock is wrong neither shortens nor prolongs the
//! wait for a payment.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use orders_bus::{Bus, Error};
use orders_contracts::{Timestamp, streams::ORDERS_EVENTS};
use tracing::debug;

/// How often the clocks are compared.
const COMPARE: Duration = Duration::from_secs(60);
/// How often the server is asked each time. The quickest answer tells most.
const QUESTIONS: usize = 3;

/// The server's clock.
pub(crate) struct Clock {
    /// In milliseconds.
    skew: AtomicI64,
}

impl Clock {
    pub(crate) async fn of(bus: &Bus) -> Result<Self, Error> {
        Ok(Self {
            skew: AtomicI64::new(skew(bus).await?),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let millis = now
            .millis()
            .saturating_add(self.skew.load(Ordering::Relaxed));
        Timestamp::from_millis(millis).unwrap_or(now)
    }

    /// Compares the clocks for ever.
    pub(crate) async fn follow(&self, bus: &Bus) {
        loop {
            tokio::time::sleep(COMPARE).await;
            match skew(bus).await {
                Ok(skew) => self.skew.store(skew, Ordering::Relaxed),
                Err(error) => debug!("cannot compare the clocks: {error}"),
            }
        }
    }
}

/// How far the server's clock is ahead at least: a payment may be late, but not early.
async fn skew(bus: &Bus) -> Result<i64, Error> {
    let mut best = bus.clock_offset(&ORDERS_EVENTS).await?;
    for _ in 1..QUESTIONS {
        // One answer is enough.
        if let Ok(next) = bus.clock_offset(&ORDERS_EVENTS).await
            && next.within < best.within
        {
            best = next;
        }
    }
    Ok(best.ahead - best.within)
}
