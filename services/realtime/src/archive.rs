use std::sync::Arc;

use orders_bus::{Bus, Error, FeedBounds, FeedPage};
use orders_contracts::TenantId;
use tokio::sync::Semaphore;

use crate::session::Archive;

/// The most pages that are read at the same time, so that a crowd of clients that come back together does not drown
/// NATS in questions.
const READERS: usize = 32;

/// The feed, as NATS keeps it.
#[derive(Clone)]
pub(crate) struct StoredFeed {
    bus: Bus,
    readers: Arc<Semaphore>,
}

impl StoredFeed {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }
}

impl Archive for StoredFeed {
    async fn bounds(&self) -> Result<FeedBounds, Error> {
        let _permit = self.readers.acquire().await;
        self.bus.feed_bounds().await
    }

    async fn page(&self, tenant: &TenantId, after: u64, up_to: u64) -> Result<FeedPage, Error> {
        let _permit = self.readers.acquire().await;
        self.bus.feed_of(tenant, after, up_to).await
    }
}
