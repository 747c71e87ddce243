//! How many rows a list has: exactly while they are few, and else as they were counted a while ago for everybody, so that
//! no list waits for a scan of its tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orders_contracts::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{Error, ListFilter, operation::SCAN_DEADLINE, slots::Slots};

/// Up to so many rows are counted exactly.
pub(crate) const EXACT: u64 = 10_000;
/// A count that is older is not used while a newer one can be had.
const MAX_AGE: Duration = Duration::from_secs(30);
/// From this age on a count is renewed while it is still used, so that nobody has to wait for the next one.
const RENEW_AFTER: Duration = Duration::from_secs(15);
/// How long a list waits for a count that is going on. A quarter of a million rows are counted by then.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long a short list waits for its turn to count. After that it counts by itself: a count that hangs must not hold up
/// all that come after it.
const TURN: Duration = Duration::from_millis(500);
/// How many counts of all rows go on at once.
pub(crate) const AT_ONCE: usize = 2;
/// Counts that nobody has asked for for so long are forgotten.
const KEPT: Duration = Duration::from_secs(600);

/// How many rows a list has in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// How many; at least so many while [`as_of`](Self::as_of) is given and the first count is still going on.
    pub count: u64,
    /// When they were counted; `None` when that was after this list was asked for.
    pub as_of: Option<Timestamp>,
}

/// The counts of short lists: those that wait for the same one share it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exact(Arc<Mutex<HashMap<ListFilter, Turn>>>);

/// Counts of one filter follow each other; the latest is there for those that asked before it began.
type Turn = Arc<tokio::sync::Mutex<Option<(Instant, u64)>>>;

impl Exact {
    /// What `count` comes to, or another one for the same `filter` that began after this call. A `count` says when it began.
    pub(crate) async fn count(
        &self,
        filter: &ListFilter,
        count: impl Future<Output = Result<(Instant, u64), Error>>,
    ) -> Result<u64, Error> {
        let asked = Instant::now();
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(filter.clone()).or_default())
        };
        let Ok(mut latest) = timeout(TURN, turn.lock()).await else {
            return Ok(count.await?.1);
        };
        match *latest {
            Some((began, count)) if began >= asked => Ok(count),
            _ => {
                let (began, count) = count.await?;
                *latest = Some((began, count));
                Ok(count)
            }
        }
    }
}

/// The counts that long lists share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    shared: Arc<Mutex<HashMap<ListFilter, Shared>>>,
    slots: Slots,
}

/// The count of one filter.
#[derive(Debug)]
struct Shared {
    latest: watch::Sender<Option<Counted>>,
    is_counting: bool,
    used: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    count: u64,
    began: Instant,
    as_of: Timestamp,
}

impl From<Counted> for Total {
    fn from(counted: Counted) -> Self {
        Self {
            count: counted.count,
            as_of: Some(counted.as_of),
        }
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            shared: Arc::default(),
            slots: Slots::new(AT_ONCE),
        }
    }
}

impl Totals {
    /// The count for `filter`, if it is known to be large and young enough; `count` renews it in time.
    pub(crate) fn known<F>(&self, filter: &ListFilter, count: impl FnOnce() -> F) -> Option<Total>
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let mut totals = self.lock();
        let shared = totals.get_mut(filter)?;
        let latest = (*shared.latest.borrow())?;
        let age = latest.began.elapsed();
        if latest.count <= EXACT || age >= MAX_AGE {
            return None;
        }
        shared.used = Instant::now();
        if age >= RENEW_AFTER {
            self.start(filter, shared, count);
        }
        Some(latest.into())
    }

    /// What `count` comes to, one at a time for each `filter`. Where that takes too long, what it came to the last time;
    /// or no more than that there are more than [`EXACT`].
    pub(crate) async fn shared<F>(&self, filter: &ListFilter, count: impl FnOnce() -> F) -> Total
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let now = Timestamp::now();
        let mut latest = {
            let mut totals = self.lock();
            totals.retain(|_, shared| shared.is_counting || shared.used.elapsed() < KEPT);
            let shared = totals.entry(filter.clone()).or_insert_with(|| Shared {
                latest: watch::Sender::new(None),
                is_counting: false,
                used: Instant::now(),
            });
            shared.used = Instant::now();
            let latest = shared.latest.subscribe();
            self.start(filter, shared, count);
            latest
        };
        // A count that failed is not worth an error: the page is there.
        let _ = timeout(PATIENCE, latest.changed()).await;
        let counted = *latest.borrow();
        counted.map_or(
            Total {
                count: EXACT + 1,
                as_of: Some(now),
            },
            Total::from,
        )
    }

    /// Counts in the background, so that it ends whoever is still there to wait for it.
    fn start<F>(&self, filter: &ListFilter, shared: &mut Shared, count: impl FnOnce() -> F)
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        if shared.is_counting {
            return;
        }
        shared.is_counting = true;
        let (totals, filter, count) = (self.clone(), filter.clone(), count());
        tokio::spawn(async move {
            // Nobody waits for it by now.
            let slot = totals.slots.within(SCAN_DEADLINE).await;
            let (began, as_of) = (Instant::now(), Timestamp::now());
            let counted = match slot {
                Ok(_slot) => count.await,
                Err(busy) => Err(busy),
            };
            if let Some(shared) = totals.lock().get_mut(&filter) {
                shared.is_counting = false;
                if let Ok(count) = counted {
                    shared.latest.send_replace(Some(Counted {
                        count,
                        began,
                        as_of,
                    }));
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ListFilter, Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;

    const COUNT: u64 = 12_345;

    /// A count that takes a while, and how often it was begun.
    #[derive(Clone)]
    struct Scan(Arc<AtomicU64>, Duration);

    impl Scan {
        fn of(takes: Duration) -> Self {
            Self(Arc::default(), takes)
        }

        fn begun(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        /// Each time there is one more.
        fn count(&self) -> impl Future<Output = Result<u64, Error>> + Send + 'static + use<> {
            let (takes, more) = (self.1, self.0.fetch_add(1, Ordering::Relaxed));
            async move {
                sleep(takes).await;
                Ok(COUNT + more)
            }
        }
    }

    async fn timed(
        count: impl Future<Output = Result<u64, Error>>,
    ) -> Result<(Instant, u64), Error> {
        Ok((Instant::now(), count.await?))
    }

    fn filter(tenant: &str) -> ListFilter {
        ListFilter::of(tenant.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn short_lists_share_a_count_that_begins_after_each_was_asked_for() {
        let (exact, scan) = (Exact::default(), Scan::of(Duration::from_millis(100)));
        let (filter, asked) = (filter("t"), Instant::now());
        let count = async |wait| {
            sleep(Duration::from_millis(wait)).await;
            exact.count(&filter, timed(scan.count())).await.unwrap()
        };
        let counts = tokio::join!(count(0), count(50), count(60), count(250));
        assert_eq!(counts.0, COUNT);
        assert_eq!(counts.1, counts.2);
        assert!(counts.1 > counts.0 && counts.3 > counts.2, "{counts:?}");
        assert_eq!(asked.elapsed(), Duration::from_millis(350));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_list_that_is_given_up_holds_up_no_other() {
        let (exact, scan) = (Exact::default(), Scan::of(Duration::from_millis(100)));
        let (filter, asked) = (filter("t"), Instant::now());
        let given_up = timeout(
            Duration::from_millis(50),
            exact.count(&filter, timed(scan.count())),
        );
        let (given_up, other) = tokio::join!(given_up, exact.count(&filter, timed(scan.count())));
        assert!(given_up.is_err() && other.is_ok());
        assert_eq!(asked.elapsed(), Duration::from_millis(150));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_fails_or_hangs_is_nobody_elses() {
        let (exact, scan) = (Exact::default(), Scan::of(Duration::from_millis(100)));
        let (filter, other) = (filter("t"), filter("u"));
        let fails = async {
            sleep(Duration::from_millis(100)).await;
            Err(Error::Unavailable("away".to_owned()))
        };
        let counts = tokio::join!(
            exact.count(&filter, fails),
            exact.count(&filter, timed(scan.count())),
        );
        assert!(counts.0.is_err() && counts.1.is_ok());

        let asked = Instant::now();
        let hangs = exact.count(&filter, std::future::pending());
        let counts = async {
            tokio::join!(
                exact.count(&filter, timed(scan.count())),
                exact.count(&filter, timed(scan.count())),
            )
        };
        tokio::select! {
            biased;
            _ = hangs => unreachable!("it hangs"),
            counts = counts => assert!(counts.0.is_ok() && counts.1.is_ok()),
        }
        assert_eq!(asked.elapsed(), TURN + Duration::from_millis(100));
        exact.count(&other, timed(scan.count())).await.unwrap();
        assert_eq!(exact.0.lock().unwrap().len(), 1, "only what is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn few_counts_go_on_at_once() {
        let (totals, scan) = (Totals::default(), Scan::of(Duration::from_secs(1)));
        let filters = ["a", "b", "c"].map(filter);
        for filter in &filters {
            totals.shared(filter, || scan.count()).await;
        }
        let known = || {
            let known = |filter| totals.known(filter, || scan.count()).is_some();
            filters.each_ref().map(known)
        };
        sleep(Duration::from_millis(1_900) - PATIENCE * 3).await;
        assert_eq!(known(), [true, true, false]);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(known(), [true, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn lists_share_one_count_and_do_not_wait_for_a_long_one() {
        let (totals, scan) = (Totals::default(), Scan::of(Duration::from_secs(1)));
        let (filter, asked) = (filter("t"), Instant::now());
        assert_eq!(totals.known(&filter, || scan.count()), None);
        let both = tokio::join!(
            totals.shared(&filter, || scan.count()),
            totals.shared(&filter, || scan.count()),
        );
        assert_eq!([both.0.count, both.1.count], [EXACT + 1; 2]);
        assert!(both.0.as_of.is_some());
        assert_eq!((asked.elapsed(), scan.begun()), (PATIENCE, 1));
        sleep(Duration::from_secs(1)).await;
        let known = totals.known(&filter, || scan.count()).unwrap();
        assert_eq!((known.count, scan.begun()), (COUNT, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_is_renewed_before_it_is_too_old() {
        let (totals, scan) = (Totals::default(), Scan::of(Duration::from_millis(10)));
        let filter = filter("t");
        assert_eq!(totals.shared(&filter, || scan.count()).await.count, COUNT);
        advance(RENEW_AFTER).await;
        assert_eq!(
            totals.known(&filter, || scan.count()).unwrap().count,
            COUNT,
            "the old one, at once"
        );
        sleep(Duration::from_millis(20)).await;
        assert_eq!(
            totals.known(&filter, || scan.count()).unwrap().count,
            COUNT + 1
        );
        assert_eq!(scan.begun(), 2);
        advance(MAX_AGE).await;
        assert_eq!(totals.known(&filter, || scan.count()), None, "too old");
        assert_eq!(
            totals.shared(&filter, || scan.count()).await.count,
            COUNT + 2
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_filter_has_its_own_count_until_nobody_asks_for_it() {
        let (totals, scan) = (Totals::default(), Scan::of(Duration::ZERO));
        totals.shared(&filter("t"), || scan.count()).await;
        totals.shared(&filter("u"), || scan.count()).await;
        assert_eq!(scan.begun(), 2);
        advance(KEPT).await;
        totals.shared(&filter("v"), || scan.count()).await;
        assert_eq!(totals.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_fails_is_tried_again() {
        let (totals, scan) = (Totals::default(), Scan::of(Duration::ZERO));
        let fails = || async { Err(Error::Unavailable("away".to_owned())) };
        let total = totals.shared(&filter("t"), fails).await;
        assert_eq!(total.count, EXACT + 1);
        assert_eq!(
            totals.shared(&filter("t"), || scan.count()).await.count,
            COUNT
        );
    }
}
