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

/// The server's clock.
pub(crate) struct Clock {
    /// In milliseconds.
    skew: AtomicI64,
}

impl Clock {
    pub(crate) async fn of(bus: &Bus) -> Result<Self, Error> {
        let offset = bus.clock_offset(&ORDERS_EVENTS).await?;
        Ok(Self {
            skew: AtomicI64::new(offset.ahead),
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
            match bus.clock_offset(&ORDERS_EVENTS).await {
                Ok(offset) => self.skew.store(offset.ahead, Ordering::Relaxed),
                Err(error) => debug!("cannot compare the clocks: {error}"),
            }
        }
    }
}
