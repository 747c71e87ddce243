//! How many reads are in the database at once. More of them only share its cores, so that each takes long.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::Error;

/// How long a short read waits; then it goes without a slot, since a read that hangs must not hold up all others.
pub(crate) const SHORT_PATIENCE: Duration = Duration::from_millis(200);
/// How long a long read waits; then it fails, since it would leave nothing of the database to short ones.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(2);

/// The slots for one kind of read. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A slot for a short read, as long as it is held.
    pub(crate) async fn soon(&self) -> Option<SemaphorePermit<'_>> {
        timeout(SHORT_PATIENCE, self.0.acquire()).await.ok()?.ok()
    }

    /// A slot for a long read, as long as it is held.
    pub(crate) async fn wait(&self) -> Result<SemaphorePermit<'_>, Error> {
        let slot = timeout(LONG_PATIENCE, self.0.acquire()).await;
        slot.ok()
            .and_then(Result::ok)
            .ok_or_else(|| Error::Unavailable("too many long reads under way".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_short_read_waits_for_a_slot_and_then_goes_without() {
        let slots = Slots::new(2);
        let held = [slots.soon().await.unwrap(), slots.soon().await.unwrap()];
        let asked = Instant::now();
        assert!(slots.soon().await.is_none());
        assert_eq!(asked.elapsed(), SHORT_PATIENCE);
        let waits = slots.soon();
        drop(held);
        assert!(waits.await.is_some());
        assert_eq!(asked.elapsed(), SHORT_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_read_waits_for_a_slot_or_fails() {
        let slots = Slots::new(1);
        let held = slots.wait().await.unwrap();
        let asked = Instant::now();
        assert!(slots.wait().await.unwrap_err().is_transient());
        assert_eq!(asked.elapsed(), LONG_PATIENCE);
        let waits = slots.wait();
        drop(held);
        assert!(waits.await.is_ok());
        assert_eq!(asked.elapsed(), LONG_PATIENCE);
    }
}
