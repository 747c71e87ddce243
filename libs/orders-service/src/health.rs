//! The readiness of a daemon.

use std::{
    fmt::{self, Display},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use tokio::{sync::SetOnce, time::Instant};

use crate::{BoxError, Departure, chain};

/// How long a probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// How long its success counts: whoever asks often, or with many others, does not keep the servers busy.
const FRESH: Duration = Duration::from_secs(1);
/// How long its failure counts: a daemon that has just found its servers is ready at once.
const FAILED: Duration = Duration::from_millis(100);

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The readiness of a daemon: its start-up is over, its departure has not begun and every probe succeeds.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    started: SetOnce<()>,
    departure: Departure,
    probes: Mutex<Vec<Arc<Probe>>>,
}

/// A readiness probe and its last result.
struct Probe {
    name: &'static str,
    check: Check,
    last: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Probe {
    /// The last result while it counts, else that of a new check; those who ask meanwhile wait for the same check.
    async fn result(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < if result.is_ok() { FRESH } else { FAILED }
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
    pub(crate) fn new(departure: Departure) -> Self {
        Self(Arc::new(Inner {
            started: SetOnce::new(),
            departure,
            probes: Mutex::default(),
        }))
    }

    /// Adds a readiness probe, run for `/readyz` at most once a second while it succeeds; one second without an answer is a
    /// failure.
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
        let _ = self.0.started.set(());
    }

    pub(crate) fn is_started(&self) -> bool {
        self.0.started.initialized()
    }

    /// Waits for the end of the start-up.
    pub(crate) async fn started(&self) {
        self.0.started.wait().await;
    }

    /// Why the daemon is not ready, as often as it is asked for.
    pub fn readiness(&self) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + use<> {
        let health = self.clone();
        move || {
            let health = health.clone();
            async move { health.report(&[]).await.verdict() }.boxed()
        }
    }

    /// Runs every probe not named in `exclude`, all at the same time. Names that are no probe's change nothing, as in the
    /// API of Kubernetes: whoever names one may know of another release.
    pub(crate) async fn report(&self, exclude: &[String]) -> Report {
        let started = self.is_started();
        let draining = self.0.departure.has_begun();
        let probes = self
            .0
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Whoever asks a daemon that leaves should know at once.
        let asked = probes.iter().filter(|_| !draining);
        let results = asked.map(async |probe| {
            let is_excluded = exclude.iter().any(|name| name == probe.name);
            let result = match is_excluded {
                true => None,
                false => Some(probe.result().await),
            };
            (probe.name, result)
        });
        let results = join_all(results);
        let is_unknown = |name: &&String| !probes.iter().any(|probe| probe.name == *name);
        Report {
            started,
            draining,
            probes: results.await,
            unknown: exclude.iter().filter(is_unknown).cloned().collect(),
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
    /// Those that were excluded have no result.
    probes: Vec<(&'static str, Option<Result<(), String>>)>,
    /// What was to be excluded and is no probe.
    unknown: Vec<String>,
}

impl Report {
    pub(crate) fn is_ready(&self) -> bool {
        let mut results = self.probes.iter().filter_map(|(_, result)| result.as_ref());
        self.started && !self.draining && results.all(Result::is_ok)
    }

    /// Why the daemon is not ready, on one line.
    fn verdict(&self) -> Result<(), String> {
        let failed = self.probes.iter().filter_map(|(name, result)| {
            let reason = result.as_ref()?.as_ref().err()?;
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
                None => writeln!(f, "[+]{name} excluded: ok")?,
                Some(Ok(())) => writeln!(f, "[+]{name} ok")?,
                Some(Err(reason)) => writeln!(f, "[-]{name} failed: {reason}")?,
            }
        }
        if !self.unknown.is_empty() {
            let names: Vec<_> = self
                .unknown
                .iter()
                .map(|name| format!("{name:?}"))
                .collect();
            let names = names.join(",");
            writeln!(
                f,
                "warn: some health checks cannot be excluded: no matches for {names}"
            )?;
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn health() -> Health {
        Health::new(Departure::default())
    }

    async fn failing() -> Result<(), String> {
        Err("connection refused".to_owned())
    }

    #[tokio::test]
    async fn ready_only_between_start_and_departure() {
        let departure = Departure::default();
        let health = Health::new(departure.clone());
        assert_eq!(
            health.report(&[]).await.to_string(),
            "[-]starting\nreadyz check failed\n"
        );
        health.ready();
        assert_eq!(
            health.report(&[]).await.to_string(),
            "readyz check passed\n"
        );
        health.probe("mongo", std::future::pending::<Result<(), String>>);
        departure.begin();
        assert_eq!(
            health.report(&[]).await.to_string(),
            "[-]draining\nreadyz check failed\n"
        );
    }

    #[tokio::test]
    async fn every_probe_counts_unless_excluded() {
        let health = health();
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
        let excluding = async |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let report = health.report(&names).await;
            (report.is_ready(), report.to_string())
        };
        let without_mongo = "[+]nats ok\n[+]mongo excluded: ok\nreadyz check passed\n";
        assert_eq!(
            excluding(&["mongo"]).await,
            (true, without_mongo.to_owned())
        );
        assert!(excluding(&["mongo", "nats"]).await.0);
        let (ready, told) = excluding(&["mongodb", "x\n"]).await;
        assert!(!ready);
        let warning =
            r#"warn: some health checks cannot be excluded: no matches for "mongodb","x\n""#;
        assert!(
            told.contains(&format!("refused\n{warning}\nreadyz check failed\n")),
            "{told}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_asks_costs_one_check_a_second() {
        let health = health();
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
    async fn a_daemon_that_has_just_found_its_servers_is_ready_soon() {
        let health = health();
        health.ready();
        let is_up = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_up);
        health.probe("nats", move || {
            let is_up = asked.load(Ordering::Relaxed);
            async move { is_up.then_some(()).ok_or("connection refused") }
        });
        assert!(!health.report(&[]).await.is_ready());
        is_up.store(true, Ordering::Relaxed);
        assert!(!health.report(&[]).await.is_ready());
        tokio::time::sleep(FAILED).await;
        assert!(health.report(&[]).await.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_probe_fails_after_a_second() {
        let health = health();
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
