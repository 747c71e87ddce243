//! The limits on reads that clients ask for.
//!
//! There are as many permits as connections, because a read that is given up while it waits for a connection stays in
//! the driver's queue, and that queue shrinks by two a second (mongodb 3.9): after an outage all others would wait
//! behind it.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::Instrument as _;

use crate::Error;

/// How long a read waits for its permit.
pub(crate) const PERMIT_DEADLINE: Duration = Duration::from_secs(2);
/// How many deep pages the database reads at once: each costs what all the pages before it cost.
pub(crate) const DEEP_PAGES: usize = 2;

/// Permits to read, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    pub(crate) all: Arc<Semaphore>,
    /// Taken before one of `all`, so that deep pages leave most connections to others.
    pub(crate) deep: Arc<Semaphore>,
}

impl Reads {
    pub(crate) fn new(connections: u32) -> Self {
        Self {
            all: Arc::new(Semaphore::new(connections as usize)),
            deep: Arc::new(Semaphore::new(DEEP_PAGES)),
        }
    }

    /// Runs `read` once there is a permit. The read keeps it until the database has ended the read, even if the caller
    /// has gone by then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: BoxFuture<'static, Result<T, Error>>,
    ) -> Result<T, Error> {
        run(permit(&self.all), read).await
    }

    /// The same for a deep page.
    pub(crate) async fn run_deep<T: Send + 'static>(
        &self,
        read: BoxFuture<'static, Result<T, Error>>,
    ) -> Result<T, Error> {
        let both = async { Some((permit(&self.deep).await?, permit(&self.all).await?)) };
        run(both, read).await
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(semaphore).acquire_owned().await.ok()
}

async fn run<T: Send + 'static, P: Send + 'static>(
    permit: impl Future<Output = Option<P>>,
    read: BoxFuture<'static, Result<T, Error>>,
) -> Result<T, Error> {
    let permit = timeout(PERMIT_DEADLINE, permit).await;
    let permit = permit.ok().flatten().ok_or(Error::Busy)?;
    let read = async move {
        let _permit = permit;
        read.await
    };
    tokio::spawn(read.in_current_span())
        .await
        .unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(Error::unavailable(error)),
        })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_waits_for_a_permit_and_then_fails() {
        let reads = Reads::new(1);
        let takes = |seconds| sleep(Duration::from_secs(seconds)).map(Ok).boxed();
        let asked = Instant::now();
        let (first, second) = tokio::join!(reads.run(takes(1)), reads.run(takes(0)));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(asked.elapsed(), Duration::from_secs(1));

        let asked = Instant::now();
        let (first, second) = tokio::join!(reads.run(takes(3)), async {
            let busy = reads.run(takes(0)).await;
            (busy, asked.elapsed())
        });
        assert!(first.is_ok());
        assert!(matches!(second, (Err(Error::Busy), PERMIT_DEADLINE)));
    }

    #[tokio::test(start_paused = true)]
    async fn deep_pages_leave_permits_to_others() {
        let reads = Reads::new(16);
        for _ in 0..DEEP_PAGES {
            assert!(
                reads
                    .run_deep(pending::<Result<(), _>>().boxed())
                    .now_or_never()
                    .is_none()
            );
        }
        assert_eq!(reads.all.available_permits(), 16 - DEEP_PAGES);
        let deep = reads.run_deep(ready(Ok(())).boxed()).await;
        assert!(matches!(deep, Err(Error::Busy)));
        assert!(reads.run(ready(Ok(())).boxed()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_is_given_up_keeps_its_permit_until_it_ends() {
        let reads = Reads::new(1);
        let slow = reads.run(sleep(Duration::from_secs(1)).map(Ok).boxed());
        assert!(timeout(Duration::from_millis(1), slow).await.is_err());
        assert_eq!(reads.all.available_permits(), 0);
        let asked = Instant::now();
        assert!(reads.run(ready(Ok(())).boxed()).await.is_ok());
        assert_eq!(asked.elapsed(), Duration::from_millis(999));
    }
}
