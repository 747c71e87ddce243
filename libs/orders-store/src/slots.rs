//! How many reads are in the database at once. More of them only share its cores, so that each takes long. And what waits
//! for a connection in the driver and is given up stays in its queue, which shrinks by two a second when nothing else
//! happens (mongodb 3.9): after an outage others would wait behind it.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::Error;

/// How long a short read waits for one of the usual slots alone.
pub(crate) const USUAL: Duration = Duration::from_millis(200);
/// How long a read waits for a slot, a short one from [`USUAL`] on; then it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The slots for one kind of read. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

/// Taken until it is dropped.
pub(crate) type Slot = OwnedSemaphorePermit;

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A slot, as soon as one is free.
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

/// The slots for short reads: the usual ones, and spare ones, since some that take long must not hold up all others.
#[derive(Debug, Clone)]
pub(crate) struct ShortSlots {
    pub(crate) usual: Slots,
    pub(crate) spare: Slots,
}

impl ShortSlots {
    pub(crate) fn new(usual: usize, spare: usize) -> Self {
        Self {
            usual: Slots::new(usual),
            spare: Slots::new(spare),
        }
    }

    /// A usual slot, or after [`USUAL`] any.
    pub(crate) async fn soon(&self) -> Result<Slot, Error> {
        let spare = async {
            sleep(USUAL).await;
            self.spare.within(PATIENCE).await
        };
        tokio::select! {
            biased;
            slot = self.usual.within(USUAL + PATIENCE) => slot,
            slot = spare => slot,
        }
    }
}

/// Does `read` and keeps `slot` until it has ended, also when whoever asked has gone: the database goes on.
pub(crate) async fn hold<T: Send + 'static>(
    slot: Slot,
    read: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let read = tokio::spawn(async move {
        let _slot = slot;
        read.await
    });
    read.await
        .unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_short_read_waits_for_a_usual_slot_and_then_for_any() {
        let slots = ShortSlots::new(1, 1);
        let usual = slots.soon().await.unwrap();
        let asked = Instant::now();
        let spare = slots.soon().await.unwrap();
        assert_eq!(asked.elapsed(), USUAL);
        assert_eq!(slots.soon().await.unwrap_err(), Error::Busy);
        assert_eq!(asked.elapsed(), USUAL * 2 + PATIENCE);
        for slot in [usual, spare] {
            let gives_up = async {
                sleep(USUAL * 2).await;
                drop(slot);
            };
            let asked = Instant::now();
            let (slot, ()) = tokio::join!(slots.soon(), gives_up);
            assert!(slot.is_ok());
            assert_eq!(asked.elapsed(), USUAL * 2);
        }
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
