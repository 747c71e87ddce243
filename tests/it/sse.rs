//! Server-Sent Events: changes as they come, catching up, limits, the end of a daemon.

mod follower;

use std::{
    collections::BTreeSet,
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use orders_contracts::sse::PATH;
use orders_testkit::{Daemon, LIMIT, SocketClient, Stack, checkout, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

pub(crate) use self::follower::{End, Follower, ask};
use crate::pipeline::Pipeline;

/// How many streams a daemon has open.
async fn streams(realtime: &Daemon) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", realtime.url())).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("orders_stream_connections"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// A second realtime daemon, and an edge before both.
async fn second(pipeline: &Pipeline) -> (Daemon, Daemon) {
    let second = pipeline.stack.daemon("realtime").start().await;
    let both = format!("{},{}", pipeline.realtime.url(), second.url());
    let edge = pipeline.stack.daemon("edge");
    let edge = edge.env("ORDERS_REALTIME_URLS", &both).start().await;
    (second, edge)
}

#[tokio::test]
async fn a_tenants_changes_come_as_lists_show_them() {
    let pipeline = Pipeline::start("300ms").await;
    for url in [pipeline.edge.url(), pipeline.realtime.url()] {
        let mut ours = Follower::open(&url, "t-1", None).await;
        assert_eq!(ours.header("cache-control"), "no-store");
        assert_eq!(ours.header("x-accel-buffering"), "no");
        pipeline.create("t-2", &url).await;
        let id = pipeline.create("t-1", &url).await;
        let created = ours.next().await.unwrap();
        assert_eq!(created.event, "order.created");
        let expected = json!({ "orderId": id, "status": "PENDING", "version": 1 });
        assert_eq!(created.data, expected);
        let updated = ours.next().await.unwrap();
        assert_eq!(updated.event, "order.updated");
        let expected = json!({ "orderId": id, "status": "PAID", "version": 2 });
        assert_eq!(updated.data, expected);
        assert!(updated.sequence() > created.sequence());
    }
    pipeline.stack.clean_up().await;
}

/// The client leaves again and again while orders are made and paid.
#[tokio::test]
async fn coming_back_has_no_gap_and_no_duplicate_under_load() {
    const ORDERS: usize = 300;
    let pipeline = Pipeline::start("50ms").await;
    let (second, edge) = second(&pipeline).await;
    let create = async {
        let ids = stream::iter(0..ORDERS).map(async |n| {
            if n % 10 == 0 {
                pipeline.create("t-2", &format!("foreign{n}")).await;
            }
            pipeline.create("t-1", &format!("r{n}")).await
        });
        let mut ids: Vec<String> = ids.buffer_unordered(4).collect().await;
        ids.sort();
        ids
    };
    let follow = async {
        let mut seen = Vec::new();
        let mut last = Follower::open(&edge.url(), "t-1", None).await.last;
        let mut visits = 0;
        while seen.len() < 2 * ORDERS {
            let mut follower = Follower::open(&edge.url(), "t-1", Some(&last)).await;
            assert_eq!(follower.last, last, "it goes on where the client was");
            // More each time.
            for _ in 0..(visits % 40).min(2 * ORDERS - seen.len()) {
                seen.push(follower.next().await.unwrap());
            }
            last = follower.last;
            visits += 1;
        }
        (seen, visits)
    };
    let (ids, (seen, visits)) = tokio::join!(create, follow);
    eprintln!("{visits} visits");
    let sequences: Vec<u64> = seen.iter().map(|told| told.sequence()).collect();
    assert!(
        sequences.is_sorted_by(|one, next| one < next),
        "{sequences:?}"
    );
    for name in ["order.created", "order.updated"] {
        let told = seen.iter().filter(|told| told.event == name);
        let told = told.map(|told| told.data["orderId"].as_str().unwrap().to_owned());
        let mut told: Vec<String> = told.collect();
        told.sort();
        assert_eq!(told, ids, "{name}: each once, none of another tenant");
    }
    eventually("nobody is left", async || {
        match (streams(&pipeline.realtime).await, streams(&second).await) {
            (0, 0) => Ok(()),
            left => Err(left),
        }
    })
    .await;
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_offset_that_cannot_be_honoured_gets_feed_reset() {
    let pipeline = Pipeline::start("1h").await;
    let url = pipeline.edge.url();
    let mut first = Follower::open(&url, "t-1", None).await;
    let start = first.last.clone();
    let (epoch, _) = start.split_once('.').unwrap();
    let future = format!("{epoch}.999999");
    let mut followers = Vec::new();
    for (offset, reason) in [
        ("nonsense", "malformed"),
        ("7.-1", "malformed"),
        ("1.1", "other_feed"),
        (future.as_str(), "future"),
    ] {
        let mut follower = Follower::open(&url, "t-1", Some(offset)).await;
        let reset = follower.next().await.unwrap();
        assert_eq!(
            (reset.event.as_str(), &reset.data["reason"]),
            ("feed.reset", &json!(reason))
        );
        assert_eq!(reset.id, start, "from here it goes on");
        followers.push(follower);
    }
    // And then what comes.
    let id = pipeline.create("t-1", "r1").await;
    for follower in followers.iter_mut().chain([&mut first]) {
        let created = follower.next().await.unwrap();
        assert_eq!(
            (created.event.as_str(), &created.data["orderId"]),
            ("order.created", &json!(id))
        );
    }
    // What the feed no longer holds cannot be replayed either.
    pipeline.create("t-1", "r2").await;
    first.next().await.unwrap();
    let feed = pipeline.stack.jetstream().await;
    feed.get_stream("ORDERS_FEED")
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
    let mut late = Follower::open(&url, "t-1", Some(&start)).await;
    assert_eq!(late.next().await.unwrap().data["reason"], "expired");
    pipeline.stack.clean_up().await;
}

/// A daemon that stops ends its streams, one that dies breaks them, and any other goes on from where they were.
#[tokio::test]
async fn a_client_goes_on_at_another_daemon() {
    let mut pipeline = Pipeline::start("1h").await;
    let (mut second, mut edge) = second(&pipeline).await;
    let url = edge.url();
    let mut followers = [
        Follower::open(&url, "t-1", None).await,
        Follower::open(&url, "t-1", None).await,
    ];
    assert_eq!(
        (streams(&pipeline.realtime).await, streams(&second).await),
        (1, 1)
    );
    for how in [End::Clean, End::Broken] {
        let began = Instant::now();
        match how {
            End::Clean => assert!(second.terminate().await.success()),
            End::Broken => second.kill().await,
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{how:?}");
        let id = pipeline.create("t-1", &format!("{how:?}")).await;
        let mut ends = Vec::new();
        for follower in &mut followers {
            loop {
                match follower.next().await {
                    Ok(told) => {
                        assert_eq!(told.data["orderId"], id.as_str(), "{how:?}");
                        break;
                    }
                    Err(end) => {
                        ends.push(end);
                        let last = follower.last.clone();
                        *follower = Follower::open(&url, "t-1", Some(&last)).await;
                    }
                }
            }
        }
        assert_eq!(ends, [how]);
        second.restart(|realtime| realtime).await;
        // So that each has one again.
        while streams(&second).await == 0 {
            let last = followers[1].last.clone();
            followers[1] = Follower::open(&url, "t-1", Some(&last)).await;
        }
    }
    // The edge ends what goes through it.
    let began = Instant::now();
    assert!(edge.terminate().await.success());
    assert!(began.elapsed() < Duration::from_secs(4));
    for follower in &mut followers {
        assert_eq!(follower.end().await, End::Clean);
    }
    let log = edge.log();
    assert!(!log.contains("still open"), "{log}");
    pipeline.realtime.kill().await;
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_event_source_comes_back_by_itself() {
    let mut pipeline = Pipeline::start("1h").await;
    let (mut second, edge) = second(&pipeline).await;
    let mut node = Command::new("node")
        .arg("--experimental-eventsource")
        .arg(checkout().join("tests/socketio/events.mjs"))
        .arg(format!("{}{PATH}?tenantId=t-1", edge.url()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str::<Value>(&line.expect("node runs")).unwrap()
    };
    let mut told = Vec::new();
    assert_eq!(line().await["name"], "open");
    let first = pipeline.create("t-1", "r1").await;
    told.push(line().await);
    let has_it = match streams(&pipeline.realtime).await {
        1 => &mut pipeline.realtime,
        _ => &mut second,
    };
    assert!(has_it.terminate().await.success());
    let missed = pipeline.create("t-1", "r2").await;
    assert_eq!(line().await["name"], "error");
    assert_eq!(line().await["name"], "open");
    told.push(line().await);
    let live = pipeline.create("t-1", "r3").await;
    told.push(line().await);
    for (told, id) in told.iter().zip([first, missed, live]) {
        assert_eq!(told["name"], "order.created");
        assert_eq!(told["data"]["orderId"], id.as_str());
        assert!(told["id"].as_str().is_some_and(|id| !id.is_empty()));
    }
    let ids: BTreeSet<_> = told.iter().map(|told| told["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    pipeline.stack.clean_up().await;
}

/// A stream counts as a socket does, and its place is free as soon as its client has left, through the edge too.
#[tokio::test]
async fn streams_and_sockets_share_the_limit_of_a_tenant() {
    let limited =
        |realtime: orders_testkit::Setup| realtime.env("ORDERS_LIMITS__SOCKETS_PER_TENANT", "2");
    let pipeline = Pipeline::start_both(Stack::start().await, "1h", |edge| edge, limited).await;
    let url = pipeline.edge.url();
    let mut socket = SocketClient::of_tenant(&url, "t-1");
    socket.event("connected").await;
    let inside = Follower::open(&url, "t-1", None).await;
    for (url, accepted) in [
        (&url, "application/problem+json"),
        (&pipeline.realtime.url(), "*/*"),
    ] {
        let refused = reqwest::Client::new()
            .get(format!("{url}{PATH}?tenantId=t-1"))
            .header("accept", accepted);
        let refused = refused.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            refused.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(refused.headers()["retry-after"], "1");
    }
    Follower::open(&url, "t-2", None).await;
    drop(inside);
    let began = Instant::now();
    eventually("there is room again", async || {
        match ask(&url, "t-1", None).await.status() {
            StatusCode::OK => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // Sooner than by the next comment, which the client would not take.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn what_is_no_request_for_a_stream_is_answered_at_once() {
    let pipeline = Pipeline::start("1h").await;
    let ask = async |method: Method, query: &str| {
        let url = format!("{}{PATH}{query}", pipeline.edge.url());
        // As elsewhere, nobody asks which types the client accepts.
        let request = pipeline.http.request(method, url);
        let request = request.header("accept", "application/json").body("ignored");
        request.send().await.unwrap()
    };
    let head = ask(Method::HEAD, "?tenantId=t-1").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.text().await.unwrap(), "");
    for (query, pointer) in [
        ("", "#/tenantId"),
        ("?tenantId=a.b", "#/tenantId"),
        ("?tenantId=a&tenantId=b", "#/tenantId"),
        ("?tenantId=a&lastEventId=1.2", "#/lastEventId"),
    ] {
        let refused = ask(Method::GET, query).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}");
    }
    let posted = ask(Method::POST, "?tenantId=t-1").await;
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.headers()["allow"], "GET,HEAD");
    Follower::of(ask(Method::GET, "?tenantId=t-1").await).await;
    eventually("nobody is left", async || {
        match streams(&pipeline.realtime).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    pipeline.stack.clean_up().await;
}
