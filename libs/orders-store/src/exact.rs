//! Exact counts of short lists: lists of one filter share a count that begins after all of them were asked for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use orders_contracts::query::ListFilter;
use tokio::sync;

use crate::Error;

/// The counts that go on, shared by all clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExactCounts(Arc<Mutex<HashMap<ListFilter, Arc<Turns>>>>);

/// The counts of one filter, one after another.
#[derive(Debug, Default)]
struct Turns {
    begun: AtomicU64,
    /// The number of the last count that succeeded, and its result. Whoever counts holds the lock.
    last: sync::Mutex<(u64, u64)>,
}

/// One caller's share in the counts of its filter.
struct Caller<'a> {
    counts: &'a ExactCounts,
    filter: &'a ListFilter,
    turns: Arc<Turns>,
}

impl ExactCounts {
    /// The result of the first `count` that begins from now on, whoever begins it.
    pub(crate) async fn count(
        &self,
        filter: &ListFilter,
        count: impl Future<Output = Result<u64, Error>>,
    ) -> Result<u64, Error> {
        let caller = Caller {
            counts: self,
            filter,
            turns: Arc::clone(self.turns().entry(filter.clone()).or_default()),
        };
        let turns = &caller.turns;
        let asked = turns.begun.load(Ordering::Relaxed);
        let mut last = turns.last.lock().await;
        if last.0 <= asked {
            let number = turns.begun.fetch_add(1, Ordering::Relaxed) + 1;
            *last = (number, count.await?);
        }
        Ok(last.1)
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<ListFilter, Arc<Turns>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Caller<'_> {
    /// The last caller of a filter leaves nothing behind.
    fn drop(&mut self) {
        let mut turns = self.counts.turns();
        if Arc::strong_count(&self.turns) == 2 {
            turns.remove(self.filter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    const TAKES: Duration = Duration::from_millis(10);

    fn filter() -> ListFilter {
        ListFilter::of("t".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_is_shared_by_those_who_asked_before_it_began() {
        let (counts, filter) = (ExactCounts::default(), filter());
        let rows = AtomicU64::new(0);
        // Finds the rows of the moment at which it begins.
        let count = async || {
            let found = rows.load(Ordering::Relaxed);
            sleep(TAKES).await;
            Ok(found)
        };
        let begun = AtomicU64::new(0);
        let ask = async |at: u64| {
            sleep(Duration::from_millis(at)).await;
            let expected = rows.load(Ordering::Relaxed);
            let counted = counts.count(&filter, async {
                begun.fetch_add(1, Ordering::Relaxed);
                count().await
            });
            let counted = counted.await.unwrap();
            assert!(counted >= expected, "{counted} of {expected}");
        };
        let grow = async {
            for _ in 0..40 {
                sleep(Duration::from_millis(1)).await;
                rows.fetch_add(1, Ordering::Relaxed);
            }
        };
        let lists = join_all((0..40).flat_map(|at| [at, at]).map(&ask));
        tokio::join!(lists, grow);
        let begun = begun.load(Ordering::Relaxed);
        assert!((4..=6).contains(&begun), "{begun} counts of 10 ms in 50 ms");
        assert!(counts.turns().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_fails_or_goes_stops_nobody() {
        let (counts, filter) = (ExactCounts::default(), filter());
        let slow = async {
            sleep(TAKES).await;
            Ok(1)
        };
        let gone = timeout(TAKES / 2, counts.count(&filter, slow));
        let fails = counts.count(&filter, async { Err(Error::Busy) });
        let works = counts.count(&filter, async { Ok(3) });
        let (gone, fails, works) = tokio::join!(gone, fails, works);
        assert!(gone.is_err() && fails.is_err());
        assert_eq!(works.unwrap(), 3);
        assert!(counts.turns().is_empty());
    }
}
