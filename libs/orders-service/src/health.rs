//! The readiness of a daemon.

use std::{
    fmt::{self, Display},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{BoxError, chain};

/// How long a probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// How long its result counts: whoever asks often, or with many others, does not keep the servers busy.
const FRESH: Duration = Duration::from_secs(1);

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The readiness of a daemon: its start-up is over, no shutdown has begun and every probe succeeds.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    started: AtomicBool,
    shutdown: CancellationToken,
    probes: Mutex<Vec<Arc<Probe>>>,
}

/// A readiness probe and its last result.
struct Probe {
    name: &'static str,
    check: Check,
    last: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Probe {
    /// The result of a check that is at most [`FRESH`] old; those who ask meanwhile wait for the same check.
    async fn result(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < FRESH
        {
            return result.clone();
        }
        let result = tokio::time::timeout(PROBE_DEADLINE, (self.check)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PROBE_DEADLINE:?}")));
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

impl Health {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            started: AtomicBool::new(false),
            shutdown,
            probes: Mutex::default(),
        }))
    }

    /// Adds a readiness probe, run for `/readyz` at most once a second; one second without an answer is a failure.
    pub fn probe<F, T, E>(&self, name: &'static str, check: F)
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let check: Check = Box::new(move || {
            check()
                .map(|result| result.map_err(|error| chain(&*error.into())))
                .boxed()
        });
        let probe = Arc::new(Probe {
            name,
            check,
            last: tokio::sync::Mutex::default(),
        });
        self.0
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(probe);
    }

    /// Ends the start-up; until then the daemon is not ready, whatever the probes say.
    pub fn ready(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.0.started.load(Ordering::Acquire)
    }

    /// Why the daemon is not ready, as often as it is asked for.
    pub fn readiness(&self) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + use<> {
        let health = self.clone();
        move || {
            let health = health.clone();
            async move { health.report(&[]).await.verdict() }.boxed()
        }
    }

    /// Runs every probe not named in `exclude`, all at the same time.
    pub(crate) async fn report(&self, exclude: &[String]) -> Report {
        let started = self.is_started();
        let draining = self.0.shutdown.is_cancelled();
        let mut probes = self
            .0
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        probes.retain(|probe| !exclude.iter().any(|excluded| excluded == probe.name));
        let results = probes
            .iter()
            .map(async |probe| (probe.name, probe.result().await));
        let results = join_all(results);
        Report {
            started,
            draining,
            probes: results.await,
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("started", &self.0.started)
            .finish_non_exhaustive()
    }
}

/// The answer to one request of `/readyz`; displays as one line for each probe.
pub(crate) struct Report {
    started: bool,
    draining: bool,
    probes: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    pub(crate) fn is_ready(&self) -> bool {
        self.started && !self.draining && self.probes.iter().all(|(_, result)| result.is_ok())
    }

    /// Why the daemon is not ready, on one line.
    fn verdict(&self) -> Result<(), String> {
        let failed = self.probes.iter().filter_map(|(name, result)| {
            let reason = result.as_ref().err()?;
            Some(format!("{name}: {reason}"))
        });
        let starting = (!self.started).then(|| "starting".to_owned());
        let draining = self.draining.then(|| "draining".to_owned());
        let reasons: Vec<String> = starting.into_iter().chain(draining).chain(failed).collect();
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons.join("; "))
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.started {
            writeln!(f, "[-]starting")?;
        }
        if self.draining {
            writeln!(f, "[-]draining")?;
        }
        for (name, result) in &self.probes {
            match result {
                Ok(()) => writeln!(f, "[+]{name} ok")?,
                Err(reason) => writeln!(f, "[-]{name} failed: {reason}")?,
            }
        }
        writeln!(
            f,
            "readyz check {}",
            if self.is_ready() { "passed" } else { "failed" }
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    async fn failing() -> Result<(), String> {
        Err("connection refused".to_owned())
    }

    #[tokio::test]
    async fn ready_only_between_start_and_shutdown() {
        let shutdown = CancellationToken::new();
        let health = Health::new(shutdown.clone());
        assert_eq!(
            health.report(&[]).await.to_string(),
            "[-]starting\nreadyz check failed\n"
        );
        health.ready();
        assert_eq!(
            health.report(&[]).await.to_string(),
            "readyz check passed\n"
        );
        shutdown.cancel();
        assert_eq!(
            health.report(&[]).await.to_string(),
            "[-]draining\nreadyz check failed\n"
        );
    }

    #[tokio::test]
    async fn every_probe_counts_unless_excluded() {
        let health = Health::new(CancellationToken::new());
        health.ready();
        health.probe("nats", || async { Ok::<_, String>(()) });
        health.probe("mongo", failing);
        let report = health.report(&[]).await;
        assert!(!report.is_ready());
        let verdict = Err("mongo: connection refused".to_owned());
        assert_eq!(health.readiness()().await, verdict);
        assert_eq!(
            report.to_string(),
            "[+]nats ok\n[-]mongo failed: connection refused\nreadyz check failed\n"
        );
        assert!(health.report(&["mongo".to_owned()]).await.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_asks_costs_one_check_a_second() {
        let health = Health::new(CancellationToken::new());
        health.ready();
        let checks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&checks);
        health.probe("nats", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, String>(()) }
        });
        for expected in 1..=2 {
            let crowd = join_all((0..100).map(|_| health.report(&[]))).await;
            assert!(crowd.iter().all(Report::is_ready));
            assert_eq!(checks.load(Ordering::Relaxed), expected);
            tokio::time::sleep(FRESH).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_probe_fails_after_a_second() {
        let health = Health::new(CancellationToken::new());
        health.ready();
        health.probe("mongo", std::future::pending::<Result<(), String>>);
        let asked = tokio::time::Instant::now();
        let report = health.report(&[]).await;
        assert_eq!(asked.elapsed(), PROBE_DEADLINE);
        assert_eq!(
            report.to_string(),
            "[-]mongo failed: no answer within 1s\nreadyz check failed\n"
        );
    }
}
