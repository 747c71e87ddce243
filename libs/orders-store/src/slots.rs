//! How many reads are in the database at once. More of them only share its cores, so that each takes long.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::Error;

/// How long a short read waits; then it goes without a slot, since reads that hang must not hold up all others.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// The slots for one kind of read. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

/// Taken until it is dropped.
pub(crate) type Slot = OwnedSemaphorePermit;

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A slot for a short read, or none within [`PATIENCE`].
    pub(crate) async fn soon(&self) -> Option<Slot> {
        self.within(PATIENCE).await.ok()
    }

    /// A slot for a read that must not go without one.
    pub(crate) async fn within(&self, patience: Duration) -> Result<Slot, Error> {
        let slot = timeout(patience, Arc::clone(&self.0).acquire_owned()).await;
        slot.ok().and_then(Result::ok).ok_or(Error::Busy)
    }

    /// How many are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_short_read_waits_for_a_slot_and_then_goes_without() {
        let slots = Slots::new(1);
        let held = slots.soon().await.unwrap();
        let asked = Instant::now();
        assert!(slots.soon().await.is_none());
        assert_eq!(asked.elapsed(), PATIENCE);
        let gives_up = async {
            sleep(PATIENCE / 2).await;
            drop(held);
        };
        let (slot, ()) = tokio::join!(slots.soon(), gives_up);
        assert!(slot.is_some());
        assert_eq!(asked.elapsed(), PATIENCE * 3 / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_read_waits_for_a_slot_or_fails() {
        let slots = Slots::new(1);
        let held = slots.within(Duration::ZERO).await.unwrap();
        let asked = Instant::now();
        let refused = slots.within(Duration::from_secs(2)).await.unwrap_err();
        assert!(refused.is_transient());
        assert_eq!(asked.elapsed(), Duration::from_secs(2));
        let gives_up = async {
            sleep(Duration::from_secs(1)).await;
            drop(held);
        };
        let (slot, ()) = tokio::join!(slots.within(Duration::from_secs(2)), gives_up);
        assert!(slot.is_ok());
        assert_eq!(asked.elapsed(), Duration::from_secs(3));
    }
}
