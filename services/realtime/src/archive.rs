use std::sync::Arc;

use orders_bus::{Bus, Error, FeedBounds, FeedPage};
use orders_contracts::TenantId;
use tokio::sync::Semaphore;

use crate::session::Archive;

/// The most concurrent reads, so that a crowd of clients that reconnect together does not flood NATS with requests.
const READERS: usize = 32;

/// The feed in NATS.
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
    async fn bounds(&self, asked: u64) -> Result<FeedBounds, Error> {
        let _permit = self.readers.acquire().await;
        self.bus.feed_bounds(asked).await
    }

    async fn page(&self, tenant: &TenantId, after: u64, up_to: u64) -> Result<FeedPage, Error> {
        let _permit = self.readers.acquire().await;
        self.bus.feed_of(tenant, after, up_to).await
    }
}
