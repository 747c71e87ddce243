//! More requests than can be served: some are refused at once, so that the others are served as fast as ever.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use mongodb::bson::doc;
use orders_testkit::Stack;
use reqwest::{Response, StatusCode};

use crate::pipeline::{Pipeline, order};

/// Nobody decides, so what is in flight stays: exactly the limit is accepted, and all the rest is told at once.
#[tokio::test]
async fn beyond_its_limit_the_edge_refuses_at_once_and_publishes_nothing() {
    const LIMIT: usize = 4;
    const POSTS: usize = 60;
    let stack = Stack::start().await;
    let edge = stack
        .daemon("edge")
        .env("ORDERS_MAX_IN_FLIGHT", &LIMIT.to_string())
        .env("ORDERS_LIMITS__TENANT_IN_FLIGHT", "1000")
        .start()
        .await;
    let http = reqwest::Client::new();
    let post = async |n: usize| {
        let start = Instant::now();
        let url = format!("{}/api/orders", edge.url());
        let body = order("t-1", &format!("r{n}"));
        let response = http.post(url).json(&body).send().await.unwrap();
        (response, start.elapsed())
    };
    let answers = join_all((0..POSTS).map(&post)).await;

    let (accepted, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(response, _)| response.status() == StatusCode::ACCEPTED);
    assert_eq!(accepted.len(), LIMIT);
    for (response, elapsed) in refused {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
        // The accepted ones take three seconds to hear that no writer answers.
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    }
    let jetstream = stack.jetstream().await;
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    assert_eq!(commands.cached_info().state.messages, LIMIT as u64);
    let metrics = reqwest::get(format!("{}/metrics", edge.url()))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let shed = metrics
        .lines()
        .find(|line| line.starts_with("orders_commands_shed_total") && line.contains("\"all\""))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok());
    assert_eq!(shed, Some(POSTS - LIMIT), "{metrics}");

    // Who was answered makes room.
    assert_eq!(post(POSTS).await.0.status(), StatusCode::ACCEPTED);
}

/// One tenant that floods an edge has a quarter of its places, and others are served.
#[tokio::test]
async fn a_tenant_that_floods_the_edge_leaves_room_for_others() {
    let stack = Stack::start().await;
    // Nobody decides, so what is in flight stays.
    let edge = stack.daemon("edge").env("ORDERS_MAX_IN_FLIGHT", "8");
    let edge = edge.start().await;
    let http = reqwest::Client::new();
    let post = async |tenant: &str, n: usize| {
        let url = format!("{}/api/orders", edge.url());
        let body = order(tenant, &format!("r{n}"));
        http.post(url).json(&body).send().await.unwrap()
    };
    let flood = join_all((0..20).map(|n| post("t-1", n)));
    let (flood, others) = tokio::join!(flood, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        join_all((0..2).map(|n| post("t-2", n))).await
    });
    let (accepted, refused): (Vec<_>, Vec<_>) = flood
        .into_iter()
        .partition(|response| response.status() == StatusCode::ACCEPTED);
    assert_eq!(accepted.len(), 2);
    for response in refused {
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "1");
        let problem: serde_json::Value = response.json().await.unwrap();
        let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
        assert_eq!(problem["type"], kind);
        let policies = serde_json::json!(["tenant-in-flight"]);
        assert_eq!(problem["violated-policies"], policies);
    }
    assert!(
        others
            .iter()
            .all(|other| other.status() == StatusCode::ACCEPTED)
    );
    stack.clean_up().await;
}

/// A tenant that asks more often than its rate allows is told when to come again, and nobody else notices.
#[tokio::test]
async fn a_tenant_beyond_its_rate_is_told_when_to_come_again() {
    let limited = |edge: orders_testkit::Setup| {
        edge.env("ORDERS_LIMITS__TENANT_RATE", "10")
            .env("ORDERS_LIMITS__HEADERS", "true")
    };
    let pipeline = Pipeline::start_with("1h", limited).await;
    let post = async |tenant: &str, n: usize| {
        let order = order(tenant, &format!("r{n}"));
        pipeline.post("/api/orders", &order).await
    };
    let start = Instant::now();
    let flood = join_all((0..100).map(|n| post("t-1", n))).await;
    let took = start.elapsed().as_secs_f64();
    let (created, refused): (Vec<_>, Vec<_>) = flood
        .into_iter()
        .partition(|response| response.status() == StatusCode::CREATED);
    let most = 20 + (took * 10.0) as usize;
    assert!((20..=most).contains(&created.len()), "{}", created.len());
    for response in refused {
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            response.headers()["ratelimit-policy"],
            "\"tenant\";q=20;w=2"
        );
        let seconds: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=2).contains(&seconds), "{seconds}");
        let problem: serde_json::Value = response.json().await.unwrap();
        assert_eq!(problem["violated-policies"], serde_json::json!(["tenant"]));
    }
    let other = post("t-2", 0).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    assert_eq!(other.headers()["ratelimit"], "\"tenant\";r=19;t=1");
    pipeline.stack.clean_up().await;
}

/// While no writer runs, a tenant can fill its share of the stream of commands, and no more.
#[tokio::test]
async fn a_tenant_whose_commands_wait_leaves_room_for_others() {
    const SHARE: usize = 10_000;
    let stack = Stack::start().await;
    let edge = stack.daemon("edge").start().await;
    let jetstream = stack.jetstream().await;
    let mut stored = Vec::new();
    for _ in 0..SHARE {
        let sent = jetstream.publish("orders.cmd.t-1.create", "{}".into());
        stored.push(sent.await.unwrap());
        if stored.len() == 1_000 {
            join_all(stored.drain(..).map(IntoFuture::into_future))
                .await
                .into_iter()
                .for_each(|ack| drop(ack.unwrap()));
        }
    }
    let http = reqwest::Client::new();
    let post = async |tenant: &str| {
        let url = format!("{}/api/orders", edge.url());
        http.post(url)
            .json(&order(tenant, "r1"))
            .send()
            .await
            .unwrap()
    };
    let refused = post("t-1").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(post("t-2").await.status(), StatusCode::ACCEPTED);
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    assert_eq!(commands.cached_info().state.messages, SHARE as u64 + 1);
    stack.clean_up().await;
}

/// A crowd of sixteen times the limit: each is served in the end, and who is served is served as fast as without it.
#[tokio::test]
async fn in_a_crowd_the_accepted_keep_their_latency() {
    const LIMIT: usize = 16;
    const CROWD: usize = 16 * LIMIT;
    let limited = |edge: orders_testkit::Setup| {
        edge.env("ORDERS_MAX_IN_FLIGHT", &LIMIT.to_string())
            .env("ORDERS_LIMITS__TENANT_IN_FLIGHT", "1000")
    };
    let pipeline = Pipeline::start_with("1h", limited).await;
    let try_once = async |request: String| {
        let start = Instant::now();
        let response = pipeline.post("/api/orders", &order("t-1", &request)).await;
        (response, start.elapsed())
    };
    let calm = stream::iter(0..CROWD).map(|n| try_once(format!("calm-{n}")));
    let calm: Vec<_> = calm.buffer_unordered(LIMIT).collect().await;
    assert!(
        calm.iter()
            .all(|(response, _)| response.status() == StatusCode::CREATED)
    );
    let calm = median(calm.into_iter().map(|(_, elapsed)| elapsed));

    let insist = async |n: usize| {
        let mut refusals = 0;
        loop {
            let (response, elapsed) = try_once(format!("crowd-{n}")).await;
            if response.status() == StatusCode::CREATED {
                return (elapsed, refusals);
            }
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            refusals += 1;
            tokio::time::sleep(retry_after(&response)).await;
        }
    };
    let crowd = join_all((0..CROWD).map(insist)).await;
    let refusals: usize = crowd.iter().map(|(_, refusals)| refusals).sum();
    let accepted = median(crowd.into_iter().map(|(elapsed, _)| elapsed));
    assert!(refusals > 0, "the crowd was too small");
    assert!(
        accepted < 4 * calm + Duration::from_millis(50),
        "{accepted:?} in the crowd, {calm:?} without it, {refusals} refusals"
    );
    assert_eq!(
        pipeline.stack.count("orders_write", doc! {}).await,
        2 * CROWD as u64
    );
    pipeline.stack.clean_up().await;
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers()["retry-after"].to_str().unwrap();
    Duration::from_secs(seconds.parse().unwrap())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}
