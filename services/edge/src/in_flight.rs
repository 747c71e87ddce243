//! The limits of commands in flight, so that no tenant takes the place of all others.
//!
//! A tenant holds only a share of all places. While other tenants send too, its commands also take turns: only a few
//! more than all others have are with the daemons at once, and the rest wait here. A command of a quiet tenant thus
//! finds little before it, however many connections another tenant has.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orders_contracts::TenantId;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::deadlines::TURN;

/// How many commands a tenant may have with the daemons beyond those of all other tenants.
const BEYOND_OTHERS: usize = 3;
/// How long a command waits before its tenant may have one more, so that a slow pipeline lets enough through.
const PATIENCE: Duration = Duration::from_millis(100);
/// A tenant is alone if the last command of another one came before that.
const ALONE: Duration = Duration::from_secs(10);

/// Counts the commands in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    limit: usize,
    tenant_limit: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Those that are with the daemons.
    running: usize,
    by_tenant: HashMap<TenantId, Tenant>,
    /// Whose command came last, and when.
    latest: Option<(TenantId, Instant)>,
    /// When the last command of another tenant than that came.
    other: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tenant {
    all: usize,
    running: usize,
    /// Those that wait for their turn, in the order in which they came.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// Begins the turn.
    begin: oneshot::Sender<()>,
}

/// The place of one command, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    in_flight: &'a InFlight,
    tenant: TenantId,
    /// Hears when the turn of the command begins. Nothing once it has begun.
    turn: Option<oneshot::Receiver<()>>,
}

/// Which limit a command exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit of all commands.
    All,
    /// The limit of its tenant.
    Tenant,
    /// The limit of its tenant's commands that wait in the stream.
    Waiting,
}

impl InFlight {
    pub(crate) fn new(limit: usize, tenant_limit: usize) -> Self {
        Self {
            limit,
            tenant_limit,
            counts: Mutex::default(),
        }
    }

    /// Takes a place for a command of `tenant`, without waiting.
    pub(crate) fn enter(&self, tenant: &TenantId) -> Result<Place<'_>, Full> {
        let mut counts = self.counts();
        counts.note(tenant);
        let held = counts.by_tenant.get(tenant).map_or(0, |it| it.all);
        if held >= self.tenant_limit {
            return Err(Full::Tenant);
        }
        // A tenant with nothing in flight gets in even while a few others hold all places.
        let reserve = if held == 0 { self.limit.div_ceil(4) } else { 0 };
        if counts.all >= self.limit + reserve {
            return Err(Full::All);
        }
        let (begin, turn) = oneshot::channel();
        counts.all += 1;
        let entry = counts.by_tenant.entry(tenant.clone()).or_default();
        entry.all += 1;
        let since = Instant::now();
        entry.waiting.push_back(Waiting { since, begin });
        counts.begin_turns();
        Ok(Place {
            in_flight: self,
            tenant: tenant.clone(),
            turn: Some(turn),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Notes that a command of `tenant` came.
    fn note(&mut self, tenant: &TenantId) {
        let now = Instant::now();
        match &mut self.latest {
            Some((latest, at)) if latest == tenant => *at = now,
            latest => self.other = latest.replace((tenant.clone(), now)).map(|(_, at)| at),
        }
    }

    /// Begins every turn that may begin. Each may let one of another tenant begin.
    fn begin_turns(&mut self) {
        let is_alone = self.other.is_none_or(|other| other.elapsed() > ALONE);
        let alone = self.latest.as_ref().filter(|_| is_alone);
        let alone = alone.map(|(tenant, _)| tenant);
        loop {
            let before = self.running;
            for (tenant, it) in &mut self.by_tenant {
                let others = self.running - it.running;
                while let Some(next) = it.waiting.pop_front() {
                    // A command that no longer waits has closed its end of the channel.
                    if next.begin.is_closed() {
                        continue;
                    }
                    let patience = next.since.elapsed().div_duration_f64(PATIENCE) as usize;
                    if alone != Some(tenant) && it.running >= others + BEYOND_OTHERS + patience {
                        it.waiting.push_front(next);
                        break;
                    }
                    if next.begin.send(()).is_ok() {
                        it.running += 1;
                        self.running += 1;
                    }
                }
            }
            if self.running == before {
                break;
            }
        }
    }
}

impl Place<'_> {
    /// Waits for the turn of this command, which lasts until the place is dropped.
    ///
    /// After [`TURN`] it begins in any case: a slow pipeline is no reason to refuse.
    pub(crate) async fn turn(&mut self) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        // A place outlives the other end of its channel only after its turn began.
        if timeout(TURN, &mut *turn).await.is_err() && !has_begun(turn) {
            let mut counts = self.in_flight.counts();
            counts.running += 1;
            if let Some(tenant) = counts.by_tenant.get_mut(&self.tenant) {
                tenant.running += 1;
            }
        }
        self.turn = None;
    }
}

/// Whether a turn has begun. If not, it never does.
fn has_begun(turn: &mut oneshot::Receiver<()>) -> bool {
    turn.close();
    turn.try_recv().is_ok()
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts();
        let has_begun = self.turn.as_mut().is_none_or(has_begun);
        counts.all -= 1;
        counts.running -= usize::from(has_begun);
        if let Some(tenant) = counts.by_tenant.get_mut(&self.tenant) {
            tenant.all -= 1;
            tenant.running -= usize::from(has_begun);
            if tenant.all == 0 {
                counts.by_tenant.remove(&self.tenant);
            }
        }
        counts.begin_turns();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;
    use proptest::prelude::*;

    use super::*;

    /// Whether the turn of `place` has begun.
    async fn runs(place: &mut Place<'_>) -> bool {
        let turn = std::pin::pin!(place.turn());
        poll!(turn) == Poll::Ready(())
    }

    fn tenants<const N: usize>(names: [&str; N]) -> [TenantId; N] {
        names.map(|name| name.parse().unwrap())
    }

    #[test]
    fn a_tenant_has_its_share_and_leaves_the_rest_to_others() {
        let in_flight = InFlight::new(4, 2);
        let [a, b, c] = tenants(["a", "b", "c"]);
        let first = in_flight.enter(&a).unwrap();
        let second = in_flight.enter(&a).unwrap();
        assert_eq!(in_flight.enter(&a).unwrap_err(), Full::Tenant);
        let third = in_flight.enter(&b).unwrap();
        let fourth = in_flight.enter(&b).unwrap();
        drop(first);
        let fifth = in_flight.enter(&c).unwrap();
        assert_eq!(in_flight.enter(&a).unwrap_err(), Full::All);
        let [d, e] = tenants(["d", "e"]);
        let sixth = in_flight.enter(&d).unwrap();
        assert_eq!(in_flight.enter(&d).unwrap_err(), Full::All);
        assert_eq!(in_flight.enter(&e).unwrap_err(), Full::All);
        drop((second, third, fourth, fifth, sixth));
        assert!(in_flight.counts().by_tenant.is_empty());
        assert_eq!(in_flight.counts().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_waits_for_its_turns_only_while_others_send() {
        let in_flight = InFlight::new(100, 100);
        let [busy, quiet] = tenants(["busy", "quiet"]);
        let mut alone = Vec::new();
        for _ in 0..20 {
            let mut place = in_flight.enter(&busy).unwrap();
            assert!(runs(&mut place).await);
            alone.push(place);
        }
        let mut other = in_flight.enter(&quiet).unwrap();
        assert!(runs(&mut other).await);
        let mut waiting = in_flight.enter(&busy).unwrap();
        assert!(!runs(&mut waiting).await);
        alone.truncate(BEYOND_OTHERS + 1);
        assert!(!runs(&mut waiting).await);
        alone.truncate(BEYOND_OTHERS);
        assert!(runs(&mut waiting).await);

        tokio::time::advance(ALONE * 2).await;
        let mut late = in_flight.enter(&busy).unwrap();
        assert!(runs(&mut late).await);
        drop((alone, other, waiting, late));

        // A tenant that comes after a pause is alone at once.
        tokio::time::advance(ALONE * 2).await;
        let mut first = Vec::new();
        for _ in 0..20 {
            let mut place = in_flight.enter(&quiet).unwrap();
            assert!(runs(&mut place).await);
            first.push(place);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longer_a_tenant_waits_the_more_it_may_have_at_once() {
        let in_flight = InFlight::new(100, 100);
        let [busy, quiet] = tenants(["busy", "quiet"]);
        drop(in_flight.enter(&quiet).unwrap());
        let mut places: Vec<_> = (0..20).map(|_| in_flight.enter(&busy).unwrap()).collect();
        tokio::time::advance(PATIENCE * 2).await;
        places.pop();
        assert_eq!(in_flight.counts().running, BEYOND_OTHERS + 2);

        // In the end each goes, and keeps its place.
        let turns = places.iter_mut().map(Place::turn);
        futures_util::future::join_all(turns).await;
        assert_eq!(in_flight.counts().running, 19);
        places.clear();
        assert_eq!(in_flight.counts().running, 0);
    }

    proptest! {
        /// Whoever comes and goes, in whatever order: turns come first to those who came first, nobody waits without
        /// a reason, and all counts end at nothing.
        #[test]
        fn turns_come_in_order_and_to_all(
            steps in prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), any::<bool>()), 1..200)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let in_flight = InFlight::new(1_000, 1_000);
                let tenants = tenants(["a", "b", "c"]);
                let mut places: Vec<(usize, Place<'_>)> = Vec::new();
                for (tenant, which, comes) in steps {
                    if comes {
                        places.push((tenant, in_flight.enter(&tenants[tenant]).unwrap()));
                    } else if !places.is_empty() {
                        places.remove(which.index(places.len()));
                    }
                    let mut running = [0; 3];
                    let mut waits = [false; 3];
                    for (tenant, place) in &mut places {
                        if runs(place).await {
                            assert!(!waits[*tenant], "a later command overtook an earlier one");
                            running[*tenant] += 1;
                        } else {
                            waits[*tenant] = true;
                        }
                    }
                    let all: usize = running.iter().sum();
                    for (running, waits) in running.into_iter().zip(waits) {
                        assert!(!waits || running >= all - running + BEYOND_OTHERS);
                    }
                    assert_eq!(in_flight.counts().running, all);
                }
                places.clear();
                assert!(in_flight.counts().by_tenant.is_empty());
                let counts = in_flight.counts();
                assert_eq!((counts.all, counts.running), (0, 0));
            });
        }
    }
}
