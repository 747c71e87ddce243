//! The counts of long lists: to count a million rows takes the database most of a second, so lists share a count.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use moka::sync::Cache;
use orders_contracts::{Timestamp, query::ListFilter};
use orders_service::chain;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument as _, debug};

use crate::{Error, exact::ExactCounts, list::Total};

/// Up to so many rows are counted for each list.
pub(crate) const EXACT: u64 = 10_000;
/// How old a count gets, and so how long counting may take.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(30);
/// How many filters have a count.
const MAX_FILTERS: u64 = 1_000;
/// How long a list waits for a count. A quarter of a million rows are counted by then.
const COUNT_DEADLINE: Duration = Duration::from_millis(150);

/// The counts of long lists, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) exact: ExactCounts,
    counts: Cache<ListFilter, Count>,
    /// One count goes on at a time: it keeps a core of the database busy.
    turn: Arc<Semaphore>,
}

/// A count that goes on, or is done; `None` when it failed.
#[derive(Debug, Clone)]
struct Count {
    began: Instant,
    total: Shared<BoxFuture<'static, Option<Total>>>,
}

impl Counts {
    pub(crate) fn new(max_age: Duration) -> Self {
        let counts = Cache::builder()
            .max_capacity(MAX_FILTERS)
            .time_to_live(max_age);
        Self {
            exact: ExactCounts::default(),
            counts: counts.build(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the list was found to be long a while ago.
    pub(crate) fn has(&self, filter: &ListFilter) -> bool {
        self.counts.contains_key(filter)
    }

    /// The total of a list of more than [`EXACT`] rows. Where none is known, `count` begins in the background and goes
    /// on when the list is given up; where it does not even begin in time, a later list tries again.
    pub(crate) async fn total<F>(&self, filter: &ListFilter, count: impl FnOnce() -> F) -> Total
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let total = async {
            let count = match self.counts.get(filter) {
                Some(count) => count,
                None => {
                    let turn = Arc::clone(&self.turn).acquire_owned();
                    let turn = timeout(COUNT_DEADLINE, turn).await.ok()?.ok()?;
                    let start = || self.start(filter.clone(), turn, count());
                    self.counts.get_with_by_ref(filter, start)
                }
            };
            let deadline = count.began + COUNT_DEADLINE;
            timeout_at(deadline, count.total).await.ok()?
        };
        total.await.unwrap_or(Total::AtLeast(EXACT))
    }

    fn start(
        &self,
        filter: ListFilter,
        turn: OwnedSemaphorePermit,
        count: impl Future<Output = Result<u64, Error>> + Send + 'static,
    ) -> Count {
        let (counts, at) = (self.counts.clone(), Timestamp::now());
        let counting = async move {
            let _turn = turn;
            let counted = count.await.inspect_err(|error| {
                debug!("cannot count a list: {}", chain(error));
                counts.invalidate(&filter);
            });
            let count = counted.ok()?;
            Some(Total::AsOf { count, at })
        };
        let counting = tokio::spawn(counting.in_current_span());
        Count {
            began: Instant::now(),
            total: counting.map(|total| total.ok()?).boxed().shared(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const COUNT: u64 = 12_345;

    /// A count that takes a while, and how often it was begun.
    struct Scan {
        begun: Arc<AtomicU64>,
        takes: Duration,
    }

    impl Scan {
        fn of(takes: Duration) -> Self {
            Self {
                begun: Arc::default(),
                takes,
            }
        }

        fn begun(&self) -> u64 {
            self.begun.load(Ordering::Relaxed)
        }

        fn count(&self) -> impl Future<Output = Result<u64, Error>> + Send + 'static + use<> {
            let (begun, takes) = (Arc::clone(&self.begun), self.takes);
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                sleep(takes).await;
                Ok(COUNT)
            }
        }
    }

    fn filter(tenant: &str) -> ListFilter {
        ListFilter::of(tenant.parse().unwrap())
    }

    /// A filter like those of lists whose `from` is never the same.
    fn from(millis: i64) -> ListFilter {
        ListFilter {
            from: Timestamp::from_millis(millis),
            ..filter("t")
        }
    }

    fn is_counted(total: Total) -> bool {
        matches!(total, Total::AsOf { count: COUNT, .. })
    }

    fn is_lower_bound(total: Total) -> bool {
        total == Total::AtLeast(EXACT)
    }

    #[tokio::test(start_paused = true)]
    async fn lists_share_one_count() {
        let counts = Counts::new(MAX_AGE);
        let scan = Scan::of(Duration::from_millis(100));
        let filter = filter("t");
        assert!(!counts.has(&filter));
        let before = Timestamp::now();
        let totals = (0..16).map(|_| counts.total(&filter, || scan.count()));
        let totals = join_all(totals).await;
        assert!(totals.iter().all(|total| is_counted(*total)), "{totals:?}");
        assert!(matches!(totals[0], Total::AsOf { at, .. } if at >= before));
        assert!(counts.has(&filter));
        let later = counts.total(&filter, || scan.count()).await;
        assert_eq!((later, scan.begun()), (totals[0], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_list_waits_for_a_count_for_long() {
        let (counts, scan) = (Counts::new(MAX_AGE), Scan::of(Duration::from_secs(1)));
        let (filter, asked) = (filter("t"), Instant::now());
        assert!(is_lower_bound(counts.total(&filter, || scan.count()).await));
        assert_eq!(asked.elapsed(), COUNT_DEADLINE);
        assert!(is_lower_bound(counts.total(&filter, || scan.count()).await));
        assert_eq!(asked.elapsed(), COUNT_DEADLINE, "it is known to take long");
        sleep(Duration::from_secs(1)).await;
        assert!(is_counted(counts.total(&filter, || scan.count()).await));
        assert_eq!(scan.begun(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_goes_on_when_its_list_is_given_up() {
        let counts = Counts::new(MAX_AGE);
        let scan = Scan::of(Duration::from_millis(100));
        let filter = filter("t");
        let list = counts.total(&filter, || scan.count());
        assert!(timeout(Duration::from_millis(10), list).await.is_err());
        sleep(Duration::from_millis(100)).await;
        assert!(is_counted(counts.total(&filter, || scan.count()).await));
        assert_eq!(scan.begun(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_count_goes_on_at_a_time() {
        let (counts, scan) = (Counts::new(MAX_AGE), Scan::of(Duration::from_secs(1)));
        let filters: Vec<_> = (0..5_000).map(from).collect();
        let totals = filters
            .iter()
            .map(|filter| counts.total(filter, || scan.count()));
        assert!(join_all(totals).await.into_iter().all(is_lower_bound));
        assert_eq!(scan.begun(), 1, "what does not begin in time never does");
        counts.counts.run_pending_tasks();
        assert_eq!(counts.counts.entry_count(), 1);
        sleep(Duration::from_secs(1)).await;
        let other = filter("u");
        assert!(is_lower_bound(counts.total(&other, || scan.count()).await));
        assert_eq!(scan.begun(), 2);
    }

    #[tokio::test]
    async fn distinct_filters_fill_the_cache_up_to_its_bound() {
        let counts = Counts::new(MAX_AGE);
        for n in 0..5_000 {
            let filter = from(n);
            let total = counts.total(&filter, || async { Ok(COUNT) }).await;
            assert!(is_counted(total));
        }
        counts.counts.run_pending_tasks();
        let kept = counts.counts.entry_count();
        assert!((1..=MAX_FILTERS).contains(&kept), "{kept}");
    }

    #[tokio::test]
    async fn a_count_expires() {
        let counts = Counts::new(Duration::from_millis(20));
        let filter = filter("t");
        counts.total(&filter, || async { Ok(COUNT) }).await;
        sleep(Duration::from_millis(30)).await;
        assert!(!counts.has(&filter));
        let total = counts.total(&filter, || async { Ok(COUNT + 1) }).await;
        assert!(matches!(total, Total::AsOf { count, .. } if count == COUNT + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_fails_is_not_kept() {
        let counts = Counts::new(MAX_AGE);
        let filter = filter("t");
        let fails = counts.total(&filter, || async { Err(Error::Busy) });
        assert!(is_lower_bound(fails.await));
        assert!(!counts.has(&filter));
        let works = counts.total(&filter, || async { Ok(COUNT) });
        assert!(is_counted(works.await));
    }
}
