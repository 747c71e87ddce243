//! A collector that is not there is no matter.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use orders_testkit::{Collector, Daemon, Gate};

use super::{daemons, daemons_mut, pipeline};
use crate::pipeline::Pipeline;

/// How many orders one load creates, and how many at a time.
const LOAD: usize = 1_000;
const AT_ONCE: usize = 8;

/// Creates orders and returns the time that 99 of 100 took at most.
async fn load(pipeline: &Pipeline, run: &str) -> Duration {
    let create = async |n: usize| {
        let began = Instant::now();
        pipeline.create("t-1", &format!("{run}-{n}")).await;
        began.elapsed()
    };
    let times = stream::iter(0..LOAD).map(create).buffer_unordered(AT_ONCE);
    let mut times: Vec<_> = times.collect().await;
    times.sort_unstable();
    times[LOAD * 99 / 100]
}

/// The resident memory of a daemon, in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next());
    resident.unwrap().parse().unwrap()
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_is_away_or_silent() {
    let collector = Collector::counting().await;
    let gate = Gate::to(&collector.address.to_string()).await;
    let url = format!("http://{}", gate.address);
    let mut pipeline = pipeline(&url, "always_on", "100ms").await;
    let usual = load(&pipeline, "there").await;
    assert!(collector.count() > LOAD, "{}", collector.count());
    let before = daemons(&pipeline).map(memory);

    gate.close();
    let away = load(&pipeline, "away").await;
    gate.swallow();
    let silent = load(&pipeline, "silent").await;
    // Other tests share the machine.
    let most = usual * 3 + Duration::from_millis(100);
    assert!(
        away < most && silent < most,
        "{usual:?}, {away:?}, {silent:?}"
    );
    for (daemon, before) in daemons(&pipeline).into_iter().zip(before) {
        let grown = memory(daemon).saturating_sub(before);
        assert!(
            grown < 8 << 10,
            "{} has grown by {grown} KiB",
            daemon.name()
        );
    }

    let dropped = join_all(daemons(&pipeline).map(dropped)).await;
    // Nobody listens, so realtime has nothing to send.
    assert!(
        dropped[..4].iter().all(|dropped| *dropped > 0.0),
        "{dropped:?}"
    );
    for daemon in daemons_mut(&mut pipeline) {
        let began = Instant::now();
        let status = daemon.terminate().await;
        assert!(status.success(), "{}: {status}", daemon.name());
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{}",
            daemon.name()
        );
        let log = daemon.log();
        let told = log.matches(" does not take traces: ").count();
        assert!(told <= 2, "{log}");
    }
    pipeline.stack.clean_up().await;
}

/// How many spans a daemon has lost.
async fn dropped(daemon: &Daemon) -> f64 {
    let metrics = reqwest::get(format!("{}/metrics", daemon.url()))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let name = "orders_trace_spans_dropped_total{";
    let line = metrics.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("{metrics}"))
        .parse()
        .unwrap()
}
