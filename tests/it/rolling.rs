//! Rolling restarts: daemons leave while others serve, and nobody notices.

mod crowd;
pub(crate) mod traffic;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use orders_testkit::{Balancer, Daemon, LIMIT, Setup, Stack, eventually};
use orders_tests::{
    load::{TENANTS, tenant},
    sockets::Sockets,
};
use reqwest::StatusCode;
use rustix::process::Signal;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use self::{crowd::Crowd, traffic::Traffic};
use crate::{
    pipeline::{Pipeline, order},
    sse::{Follower, ask},
};

/// What a daemon has for its shutdown, after the drain.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// Asks a daemon to stop, and returns how long that takes.
async fn stop(daemon: &mut Daemon) -> Duration {
    let began = Instant::now();
    let status = daemon.terminate().await;
    assert!(status.success(), "{status}: {}", daemon.log());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_restarts_of_edges_refuse_and_break_no_request() {
    const RESTARTS: usize = 20;
    const DRAIN: Duration = Duration::from_secs(1);
    let drains = |edge: Setup| edge.env("ORDERS_DRAIN", "1s");
    let mut pipeline = Pipeline::start_with("1s", drains).await;
    let second = drains(pipeline.stack.daemon("edge"));
    let second = second.env("ORDERS_REALTIME_URLS", &pipeline.realtime.url());
    let mut second = second.start().await;
    let ports = [pipeline.edge.port(), second.port()];
    let balancer = Balancer::start(pipeline.stack.folder(), &ports).await;

    let traffic = Traffic::start(&balancer.url());
    for _ in 0..RESTARTS / 2 {
        for edge in [&mut pipeline.edge, &mut second] {
            let took = stop(edge).await;
            assert!((DRAIN..DRAIN + SHUTDOWN).contains(&took), "{took:?}");
            edge.restart(|setup| setup).await;
            balancer.serves(edge.port()).await;
        }
    }
    traffic.stop().await.are_good(RESTARTS);
    pipeline.stack.clean_up().await;
}

/// An edge before two realtime daemons that drain for a time.
struct Realtimes {
    pipeline: Pipeline,
    second: Daemon,
    edge: Daemon,
}

impl Realtimes {
    async fn start(drain: Duration) -> Self {
        let drain = format!("{}s", drain.as_secs());
        let drains = |realtime: Setup| realtime.env("ORDERS_DRAIN", &drain);
        let stack = Stack::start().await;
        let pipeline = Pipeline::start_both(stack, "500ms", |edge| edge, drains).await;
        let second = drains(pipeline.stack.daemon("realtime")).start().await;
        let both = format!("{},{}", pipeline.realtime.url(), second.url());
        let edge = pipeline.stack.daemon("edge");
        let edge = edge.env("ORDERS_REALTIME_URLS", &both).start().await;
        Self {
            pipeline,
            second,
            edge,
        }
    }
}

/// Creates orders of all tenants in turn until it is told to stop; returns them by tenant.
async fn create(url: String, stop: Arc<AtomicBool>) -> BTreeMap<String, Vec<String>> {
    let http = reqwest::Client::new();
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let tenant = tenant(number % TENANTS);
        let body = order(&tenant, &format!("r-{number}"));
        let post = http.post(format!("{url}/api/orders")).json(&body);
        let created = post.send().await.expect("the edge answers");
        assert_eq!(created.status(), StatusCode::CREATED);
        let id = crate::pipeline::order_id(created).await;
        orders.entry(tenant).or_default().push(id);
        number += 1;
        sleep(Duration::from_millis(50)).await;
    }
    orders
}

/// A follower of `tenant` that comes back as an `EventSource` does, until it was told `all`, once that is known: what it
/// was told, and how often it came back.
async fn follow(
    url: String,
    tenant: String,
    mut all: watch::Receiver<Option<usize>>,
) -> (Vec<(String, String)>, usize) {
    let mut follower = Follower::open(&url, &tenant, None).await;
    let (mut told, mut returns) = (Vec::new(), 0);
    loop {
        if all.borrow_and_update().is_some_and(|all| told.len() >= all) {
            return (told, returns);
        }
        let next = tokio::select! {
            next = follower.next() => next,
            _ = all.changed() => continue,
        };
        match next {
            Ok(event) => {
                let id = event.data["orderId"].as_str().unwrap().to_owned();
                told.push((event.event, id));
            }
            Err(_) => {
                let last = follower.last.clone();
                follower = Follower::open(&url, &tenant, Some(&last)).await;
                returns += 1;
            }
        }
    }
}

/// The changes of some orders, in any order: each is created and updated once.
fn changes(orders: &[String]) -> Vec<(String, String)> {
    let names = ["order.created", "order.updated"];
    let each = |id: &String| names.map(|name| (name.to_owned(), id.clone()));
    let mut changes: Vec<_> = orders.iter().flat_map(each).collect();
    changes.sort();
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_realtime_leave_one_by_one_and_miss_nothing() {
    const DRAIN: Duration = Duration::from_secs(4);
    let mut site = Realtimes::start(DRAIN).await;
    let url = site.edge.url();
    let sockets = Sockets::start(std::slice::from_ref(&url)).unwrap();
    eventually("all sockets are connected", async || {
        let watched = sockets.watched();
        let connected = watched.iter().filter(|client| client.since.is_some());
        match connected.count() {
            TENANTS => Ok(()),
            some => Err(some),
        }
    })
    .await;
    let followers = [0, 1, 2].map(|n| {
        let (sender, all) = watch::channel(None);
        (sender, tokio::spawn(follow(url.clone(), tenant(n), all)))
    });
    let load = Arc::new(AtomicBool::new(false));
    let orders = tokio::spawn(create(url.clone(), Arc::clone(&load)));

    // Clients of the first daemon that only note when they are cut.
    let crowd = Crowd::join(&site.pipeline.realtime.url(), 150).await;
    let began = Instant::now();
    site.pipeline.realtime.signal(Signal::TERM);
    site.pipeline.realtime.unready("draining").await;
    // It takes nobody, but still serves.
    assert!(
        Crowd::join_one(&site.pipeline.realtime.url())
            .await
            .is_err()
    );
    let refused = ask(&site.pipeline.realtime.url(), "t-1", None).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(site.pipeline.realtime.ended().await.success());
    let took = began.elapsed();
    assert!((DRAIN..DRAIN + SHUTDOWN).contains(&took), "{took:?}");
    crowd.left_evenly(began, DRAIN).await;
    site.pipeline.realtime.restart(|setup| setup).await;
    stop(&mut site.second).await;
    site.second.restart(|setup| setup).await;

    load.store(true, Ordering::Relaxed);
    let orders = orders.await.unwrap();
    let expected: HashMap<&String, Vec<_>> = orders
        .iter()
        .map(|(tenant, orders)| (tenant, changes(orders)))
        .collect();
    eventually("all sockets have seen all", async || {
        let watched = sockets.watched();
        let missing: Vec<_> = watched
            .iter()
            .filter(|client| client.seen.len() < expected[&client.tenant].len())
            .map(|client| (client.tenant.clone(), client.seen.len(), client.connects))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing),
        }
    })
    .await;
    let mut connects = 0;
    for client in sockets.watched().iter() {
        let name = |status: &str| match status {
            "PENDING" => "order.created".to_owned(),
            _ => "order.updated".to_owned(),
        };
        let seen = client.seen.iter();
        let mut told: Vec<_> = seen
            .map(|(_, id, status, _)| (name(status), id.clone()))
            .collect();
        told.sort();
        assert_eq!(told, expected[&client.tenant], "{}", client.tenant);
        assert!(client.seen.is_sorted_by_key(|(sequence, ..)| *sequence));
        assert_eq!((client.resets, client.strange.len()), (0, 0), "{client:?}");
        connects += client.connects;
    }
    // Each daemon had some of them, and each was stopped.
    assert!(connects >= 2 * TENANTS, "{connects}");

    for (n, (all, follower)) in followers.into_iter().enumerate() {
        let expected = &expected[&tenant(n)];
        all.send_replace(Some(expected.len()));
        let told = timeout(LIMIT, follower).await;
        let (mut told, returns) = told.expect("it is told all").unwrap();
        told.sort();
        assert_eq!(&told, expected);
        assert!(returns >= 1, "{returns}");
    }
    site.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_drain_ends_at_once_with_a_second_signal_and_is_none_for_ctrl_c() {
    let drains = |edge: Setup| edge.env("ORDERS_DRAIN", "5m");
    let mut pipeline = Pipeline::start_with("1h", drains).await;
    let edge = &mut pipeline.edge;
    let (http, url) = (reqwest::Client::new(), format!("{}/api/orders", edge.url()));
    edge.signal(Signal::TERM);
    edge.unready("draining").await;
    // A connection that is open moves elsewhere, too, with its next request.
    let created = http.post(&url).json(&order("t-1", "r1")).send().await;
    let created = created.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()["connection"], "close");
    let began = Instant::now();
    edge.signal(Signal::TERM);
    assert_eq!(edge.ended().await.code(), Some(128 + 15));
    assert!(began.elapsed() < Duration::from_secs(1));

    edge.restart(|setup| setup).await;
    let began = Instant::now();
    edge.signal(Signal::INT);
    assert!(edge.ended().await.success());
    assert!(began.elapsed() < SHUTDOWN);
    pipeline.stack.clean_up().await;
}
