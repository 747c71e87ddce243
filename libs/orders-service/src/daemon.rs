//! The life of a daemon, from the command line to the exit code.

use std::{
    error::Error,
    io, net,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use futures_util::FutureExt as _;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    About, Departure, Health, Metrics, VERSION, chain,
    cli::{self, Request},
    config::{AuthMode, Loaded, Settings},
    healthcheck, http, limits, notify,
    shutdown::{GRACE, PROBES, PROMISE, TRACES},
    telemetry, trace,
};

/// The exit code for a wrong command line or configuration, `EX_USAGE` of sysexits.
const USAGE: u8 = 64;

/// The number of the signal.
const SIGTERM: u8 = 15;

/// A longer one might not fit into the clock.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// Any error, for reporting only.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The output of a task: nothing, or a `Result` without a value.
pub trait TaskResult: Send {
    /// The error, if there is one.
    fn error(self) -> Option<BoxError>;
}

impl TaskResult for () {
    fn error(self) -> Option<BoxError> {
        None
    }
}

impl<E: Into<BoxError> + Send> TaskResult for Result<(), E> {
    fn error(self) -> Option<BoxError> {
        self.err().map(Into::into)
    }
}

/// A service's side of its daemon.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The name of the daemon, as in `writer`.
    pub name: &'static str,
    /// The commit it is built from; see [`About::commit`].
    pub commit: &'static str,
    /// The port of the HTTP server; never 0, as the setting may be.
    pub port: u16,
    /// The name of this process: `writer.2` when the process manager runs several, else the name of the daemon.
    pub instance: String,
    /// Begins with SIGTERM, and ends with `shutdown`.
    pub departure: Departure,
    /// Cancelled after the drain of the first signal, or when the daemon fails: take no new work, finish the work in hand.
    pub shutdown: CancellationToken,
    /// Cancelled after `shutdown`, when the last API request was answered or given up: whatever requests need may stop
    /// now.
    pub drained: CancellationToken,
    /// Its readiness.
    pub health: Health,
    /// What it has counted and measured.
    pub metrics: Metrics,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    api: http::Api,
}

impl Daemon {
    fn new(about: &About, instance: String, port: u16, metrics: Metrics, drain: Duration) -> Self {
        let shutdown = CancellationToken::new();
        let departure = Departure::new(drain, shutdown.clone());
        Self {
            name: about.name,
            commit: about.commit,
            instance,
            port,
            health: Health::new(departure.clone()),
            metrics,
            departure,
            shutdown,
            drained: CancellationToken::new(),
            tasks: TaskTracker::new(),
            failed: Arc::default(),
            api: http::Api::default(),
        }
    }

    /// Runs a task beside the service. The exit of the daemon waits for it; its error or panic takes the daemon down.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        let daemon = self.clone();
        self.tasks.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(outcome) => outcome
                    .error()
                    .into_iter()
                    .for_each(|error| daemon.fail(name, &chain(&*error))),
                Err(_) => daemon.fail(name, "panicked"),
            }
        });
    }

    /// Adds the API of the service to the HTTP server, which answers health and metrics from the start.
    ///
    /// # Panics
    /// When called twice.
    pub fn mount(&self, router: Router) {
        self.api.set(router).expect("a daemon mounts one router");
    }

    fn fail(&self, task: &str, reason: &str) {
        error!("{task} failed: {reason}");
        self.failed.store(true, Ordering::Release);
        self.shutdown.cancel();
    }
}

/// Runs a daemon: reads the command line and the configuration, listens, calls `run` and stops on SIGTERM or SIGINT.
///
/// SIGTERM begins its [`Departure`], SIGINT its shutdown at once. The daemon also stops when `run` returns. Exit codes: 0
/// after a clean stop, 1 after a failure or a stop that took longer than [`GRACE`], 64 for a wrong command line or
/// configuration, 128 + n when a second signal n cut the stop short.
pub fn main<C, F, T>(about: About, run: F) -> ExitCode
where
    C: Settings,
    F: FnOnce(C, Daemon) -> T,
    T: Future<Output: TaskResult> + Send + 'static,
{
    let env = || {
        std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
    };
    let loaded = match cli::parse::<C>(&about, std::env::args_os(), env()) {
        Ok(Request::Run(loaded)) => loaded,
        Ok(Request::Print(text)) => {
            cli::print(&text);
            return ExitCode::SUCCESS;
        }
        Ok(Request::Ask(address)) => return healthcheck::run(address),
        Err(error) => {
            eprintln!("{}", error.trim_end());
            return USAGE.into();
        }
    };
    let instance = env()
        .find(|(key, value)| key == "PS" && !value.is_empty())
        .map_or_else(|| about.name.to_owned(), |(_, instance)| instance);
    telemetry::logs(&loaded.config.common().log, about.name, &instance);
    limits::allow_many_files();
    let passed = http::passed();
    let metrics = Metrics::of(&about);

    if let Err(error) = trace::begin(&about, &instance, loaded.config.common()) {
        error!("cannot send traces: {error}");
        return ExitCode::FAILURE;
    }

    // A message passes through several daemons, so the machine has several threads; a second one in each would only be
    // woken to find nothing left to do.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime
        .block_on(supervise(&about, loaded, passed, metrics, instance, run))
        .unwrap_or_else(|error| {
            error!("{error}");
            Ended::at_once(ExitCode::FAILURE)
        });
    // Whatever still runs had its time; a blocking call must not hold up the exit.
    runtime.shutdown_background();
    trace::end(ended.left.min(TRACES));
    ended.code
}

/// How a daemon ended.
struct Ended {
    code: ExitCode,
    /// How long it may take until it is gone.
    left: Duration,
}

impl Ended {
    const fn at_once(code: ExitCode) -> Self {
        let left = Duration::ZERO;
        Self { code, left }
    }
}

/// Runs the service between the start of its server and the end of its tasks.
async fn supervise<C, F, T>(
    about: &About,
    Loaded { config, source }: Loaded<C>,
    passed: io::Result<Vec<net::TcpListener>>,
    metrics: Metrics,
    instance: String,
    run: F,
) -> Result<Ended, BoxError>
where
    C: Settings,
    F: FnOnce(C, Daemon) -> T,
    T: Future<Output: TaskResult> + Send + 'static,
{
    let mut signals = Signals::new()?;
    let common = config.common();
    let listeners = http::listen(passed, config.auth(), common.host, common.port).await?;
    let admin =
        match common.admin_addr {
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
                format!("cannot listen on {address} (ORDERS_ADMIN_ADDR): {error}")
            })?),
            None => None,
        };
    let port = listeners[0].local_addr()?.port();
    let drain_time = config.drain();
    let daemon = Daemon::new(about, instance, port, metrics.clone(), drain_time);
    info!(
        version = VERSION,
        commit = about.commit,
        config = source,
        "{} listens on port {port}",
        daemon.instance
    );
    if config.auth().mode == AuthMode::Off {
        warn!("ORDERS_AUTH__MODE is off: anyone who reaches the pipeline can act as any tenant");
    }

    let stop = CancellationToken::new();
    let probes = http::probes(daemon.health.clone(), metrics.clone());
    let idle = config.common().keep_alive.min(MAX_KEEP_ALIVE);
    let own = match admin {
        Some(listener) => {
            let departure = daemon.departure.clone();
            tokio::spawn(http::serve(
                vec![listener],
                probes,
                idle,
                departure,
                stop.clone(),
            ));
            http::liveness()
        }
        None => probes,
    };
    let router = http::router(own, daemon.health.clone(), daemon.api.clone());
    let departure = daemon.departure.clone();
    let server = tokio::spawn(http::serve(
        listeners,
        router,
        idle,
        departure,
        stop.clone(),
    ));
    tokio::spawn(metrics.keep_small());
    notify::begin(daemon.health.clone());
    let service = run(config, daemon.clone());
    let shutdown = daemon.shutdown.clone();
    daemon.spawn(daemon.name, async move {
        let _done = shutdown.drop_guard();
        service.await
    });

    let mut signalled = false;
    tokio::select! {
        first = signals.next() => {
            signalled = true;
            notify::stopping(drain_time + PROMISE);
            if let Some(code) = drain(&daemon, &mut signals, first).await {
                return Ok(Ended::at_once(code));
            }
        }
        () = daemon.shutdown.cancelled() => notify::stopping(PROMISE),
    }
    let began = Instant::now();
    let ended = |code| Ended {
        code,
        left: PROMISE.saturating_sub(began.elapsed()),
    };
    daemon.shutdown.cancel();
    daemon.tasks.close();
    let finish = finish(&daemon, server, &stop);
    tokio::pin!(finish);
    let deadline = tokio::time::sleep(GRACE);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            () = &mut finish => break,
            () = &mut deadline => {
                let left = daemon.tasks.len();
                warn!("not finished {GRACE:?} after the shutdown began, leaving {left} tasks");
                return Ok(ended(ExitCode::FAILURE));
            }
            again = signals.next() => {
                if signalled {
                    return Ok(Ended::at_once(cut_short(again)));
                }
                signalled = true;
            }
        }
    }
    if daemon.failed.load(Ordering::Acquire) {
        return Ok(ended(ExitCode::FAILURE));
    }
    info!("{} stopped", daemon.instance);
    Ok(ended(ExitCode::SUCCESS))
}

/// Goes on serving for the drain after the `first` signal; returns the exit code if a second one cuts it short. A person
/// who presses Ctrl-C waits for no drain, and nor does a daemon that serves nobody yet.
async fn drain(daemon: &Daemon, signals: &mut Signals, first: (&str, u8)) -> Option<ExitCode> {
    let (name, number) = first;
    info!("{name} received, shutting down");
    if number != SIGTERM || daemon.api.get().is_none() {
        return None;
    }
    daemon.departure.begin();
    tokio::select! {
        () = daemon.departure.over() => None,
        second = signals.next() => Some(cut_short(second)),
    }
}

fn cut_short((name, number): (&str, u8)) -> ExitCode {
    warn!("{name} received again, exiting at once");
    ExitCode::from(128 + number)
}

/// Ends the HTTP server and the tasks. A server with an API stops first, so that requests in hand still have the tasks
/// they need; one without stops last, and reports until then that the daemon drains.
async fn finish(daemon: &Daemon, server: JoinHandle<()>, stop: &CancellationToken) {
    if daemon.api.get().is_some() {
        stop.cancel();
        let _ = server.await;
        daemon.drained.cancel();
        daemon.tasks.wait().await;
    } else {
        daemon.drained.cancel();
        daemon.tasks.wait().await;
        stop.cancel();
        let _ = timeout(PROBES, server).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> (&'static str, u8) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SIGTERM),
            _ = self.interrupt.recv() => ("SIGINT", 2),
        }
    }
}
