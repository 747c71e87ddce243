//! Two releases at once: an upgrade daemon by daemon and its rollback, under load, judged as `chaos` is.

mod examples;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orders_testkit::{Daemon, Setup, Stack, aloud};
use orders_tests::{
    check::{Evidence, Fault, Window},
    history::{History, now},
    load::{Clients, Load},
    promises,
    report::{Report, keep_logs},
    sockets::Sockets,
};
use tokio::time::sleep;

use crate::orderctl;

/// The daemons in the order of an upgrade: who reads comes before who writes, wherever the line allows.
const ORDER: [&str; 5] = [
    "realtime",
    "projector",
    "payment-simulator",
    "writer",
    "edge",
];
/// How many of each there are.
const INSTANCES: usize = 2;
/// How long the load runs before anything is changed: long enough for orders to be paid.
const CALM: Duration = Duration::from_secs(10);
/// How long a mixture runs, besides the time that it takes to make it.
const MIXED: Duration = Duration::from_secs(3);

/// Everything that runs: two of each daemon, in the order of [`ORDER`].
struct Installation {
    daemons: Vec<[Daemon; INSTANCES]>,
    faults: Vec<Fault>,
    // Dropped last: a failing test shows the logs, which are in its folder.
    stack: Stack,
}

impl Installation {
    /// Starts the programs of a folder.
    async fn start(programs: &Path) -> Self {
        let stack = Stack::open().await;
        let setups =
            ORDER.map(|name| [(); INSTANCES].map(|()| stack.daemon(name).programs(programs)));
        let [realtimes, ..] = &setups;
        let urls = realtimes.each_ref().map(Setup::url).join(",");
        let daemons: Vec<_> = setups
            .into_iter()
            .map(|setups| setups.map(|setup| setup.env("ORDERS_REALTIME_URLS", &urls).spawn()))
            .collect();
        for daemon in daemons.iter().flatten() {
            daemon.ready().await;
        }
        Self {
            daemons,
            faults: Vec::new(),
            stack,
        }
    }

    fn edges(&self) -> Vec<String> {
        let edges = self.daemons.last().expect("there are edges");
        edges.iter().map(Daemon::url).collect()
    }

    /// Restarts one instance of each daemon with the programs of a folder. The one before must have done some work.
    async fn restart(&mut self, instance: usize, programs: &Path) {
        for daemon in &mut self.daemons {
            let daemon = &mut daemon[instance];
            assert!(work(daemon).await > 0.0, "{} was idle", daemon.name());
            let from = now();
            let status = daemon.terminate().await;
            assert!(status.success(), "{status}: {}", daemon.log());
            // What the migration has made of streams, consumers and indexes has to do for both releases.
            let change =
                |setup: Setup| setup.programs(programs).env("ORDERS_AUTO_MIGRATE", "false");
            daemon.restart(change).await;
            let window = Window { from, to: now() };
            self.faults.push(Fault {
                class: daemon.name(),
                window,
            });
        }
        sleep(MIXED).await;
    }
}

/// How much a daemon has done since its start: the requests it answered, or the messages it read.
async fn work(daemon: &Daemon) -> f64 {
    let counter = match daemon.name() {
        "edge" => "http_server_request_duration_seconds_count",
        "realtime" => "orders_feed_delay_seconds_count",
        _ => "orders_batch_messages_count",
    };
    let answer = reqwest::get(format!("{}/metrics", daemon.url())).await;
    let text = answer.unwrap().text().await.unwrap();
    let values = text.lines().filter(|line| line.starts_with(counter));
    values
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Every mixture of the two releases occurs on the way: an old edge with a new writer, a new projector with an old
/// realtime daemon, both writers at once, and the same the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_and_its_rollback_lose_nothing_and_tell_everybody() {
    let Some(previous) = std::env::var_os("ORDERS_TEST_PREVIOUS_BIN_DIR") else {
        aloud("skipped: there are no programs of the previous release");
        return;
    };
    let previous = PathBuf::from(previous);
    let present = PathBuf::from(std::env::var_os("ORDERS_TEST_BIN_DIR").unwrap());
    let mut installation = Installation::start(&previous).await;
    let folder = installation.stack.folder().to_owned();
    let history = Arc::new(History::create(folder.join("history.jsonl")).unwrap());
    let sockets = Sockets::start(&installation.edges()).unwrap();
    let clients = Arc::new(Clients::new(installation.edges(), Arc::clone(&history)));
    let from = now();
    let load = Load::start(&clients, 25);
    sleep(CALM).await;
    let calm = Window { from, to: now() };

    let migrated = orderctl::run(&installation.stack, &["migrate", "--yes"]).await;
    migrated.expect(0);
    for programs in [&present, &previous] {
        for instance in 0..INSTANCES {
            installation.restart(instance, programs).await;
        }
    }
    for [first, second] in &installation.daemons {
        // A realtime daemon that has just come back may have no client.
        let done = work(first).await + work(second).await;
        assert!(done > 0.0, "{} was idle", first.name());
    }
    load.stop().await;

    let (database, jetstream) = (
        installation.stack.database().await,
        installation.stack.jetstream().await,
    );
    let faults = std::mem::take(&mut installation.faults);
    let history = history.finish().unwrap();
    let evidence = Evidence::gather(&database, &jetstream, &sockets, history, faults, calm);
    let evidence = evidence.await.unwrap();
    let report = Report::new("", &promises::all(&evidence));
    eprintln!("{}", report.text);
    if report.broken {
        let kept = orders_testkit::checkout().join("target/skew");
        keep_logs(&folder, &kept).unwrap();
        panic!("a promise was broken; the logs are in {}", kept.display());
    }
    installation.stack.clean_up().await;
}
