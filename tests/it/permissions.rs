//! NATS in operator mode: each role may do what its list says, and nothing else.

mod refused;
mod users;

use std::collections::BTreeSet;

use futures_util::StreamExt;
use mongodb::bson::doc;
use orders_testkit::{Daemon, SocketClient, Stack, eventually};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Duration, timeout};

use crate::{
    orderctl::run,
    pipeline::{Pipeline, order, order_id},
};

/// How many things the server has denied a daemon.
async fn violations(daemon: &Daemon) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", daemon.url()));
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("orders_nats_permission_violations_total"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn everything_works_under_the_lists() {
    let stack = Stack::guarded("shop").await;
    let pipeline = Pipeline::start_on(stack, "200ms", |edge| edge).await;
    let mut socket = SocketClient::of_tenant(&pipeline.realtime.url(), "t-1");
    socket.event("connect").await;
    let paid = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &paid, "PAID").await;
    socket
        .sees("order.updated", |args| args[0]["orderId"] == paid.as_str())
        .await;

    // A create that was answered already, and one that is refused.
    let again = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(order_id(again).await, paid);

    // What nobody can read becomes a dead letter, which an operator handles.
    let jetstream = pipeline.stack.jetstream().await;
    for request in ["bad-1", "bad-2"] {
        let sent = jetstream.publish("shop.orders.cmd.t-1.create", request.into());
        sent.await.unwrap().await.unwrap();
    }
    let stack = &pipeline.stack;
    eventually("both are dead letters", async || {
        let listed = run(stack, &["dlq", "list"]).await;
        match listed.text.matches("invalid").count() {
            2 => Ok(()),
            _ => Err(listed.text),
        }
    })
    .await;
    run(stack, &["dlq", "show", "1"]).await.expect(0);
    run(stack, &["dlq", "drop", "1", "--yes"]).await.expect(0);
    run(stack, &["dlq", "restore", "1", "--yes"])
        .await
        .expect(0);
    // It comes back as another dead letter.
    run(stack, &["dlq", "redrive", "2", "--yes"])
        .await
        .expect(1);
    run(stack, &["audit"]).await.expect(0);
    run(stack, &["tap", &paid, "--no-follow"]).await.expect(0);
    run(stack, &["order", &paid]).await.expect(0);
    run(stack, &["projection", "verify"]).await.expect(0);
    run(stack, &["reconcile", "--yes"]).await.expect(0);
    let delay = ["migrate", "--check", "--payment-delay", "200ms"];
    run(stack, &delay).await.expect(0);
    run(stack, &["top", "--once"]).await.expect(0);
    let doctor = run(stack, &["doctor", "--json"]).await;
    assert!(doctor.errors.is_empty(), "{}", doctor.errors);

    for daemon in [
        &pipeline.edge,
        &pipeline.writer,
        &pipeline.projector,
        &pipeline.payments,
        &pipeline.realtime,
    ] {
        daemon.ready().await;
        assert_eq!(violations(daemon).await, 0, "{}", daemon.log());
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_daemon_creates_no_stream_and_waits_for_whoever_may() {
    let stack = Stack::guarded("").await;
    let jetstream = stack.jetstream().await;
    jetstream.delete_stream("ORDERS_FEED").await.unwrap();
    let mut realtime = stack.daemon("realtime").spawn();
    assert_eq!(realtime.ended().await.code(), Some(1));
    let log = realtime.log();
    assert!(
        log.contains("ORDERS_FEED is missing; run `orderctl migrate`"),
        "{log}"
    );
    run(&stack, &["migrate", "--yes"]).await.expect(0);
    realtime.restart(|setup| setup).await;
    stack.clean_up().await;
}

#[tokio::test]
async fn a_denial_is_counted_and_named_in_readiness() {
    let stack = Stack::guarded("").await;
    let projector = stack.guard.as_ref().unwrap().creds("projector");
    // Another's creds: it may not look at the streams it needs.
    let writer = stack
        .daemon("writer")
        .env("ORDERS_NATS__CREDS", &projector.display().to_string())
        .spawn();
    writer.unready("Permissions Violation for ").await;
    assert!(violations(&writer).await > 0);
    assert!(writer.log().contains("Permissions Violation for "));
    drop(writer);
}

#[tokio::test]
async fn what_a_pull_delivers_into_a_stream_is_given_up() {
    let stack = Stack::guarded("").await;
    let mut pipeline = Pipeline::start_on(stack, "1h", |edge| edge).await;
    pipeline.payments.kill().await;
    pipeline.create("t-1", "r1").await;

    // Whoever may pull says where to: here, into the stream of commands, to which it may not publish.
    let thief = refused::connect(&pipeline.stack, "payment-simulator").await;
    let pull = "$JS.API.CONSUMER.MSG.NEXT.ORDERS_EVENTS.payment-simulator";
    let into = "orders.cmd.victim.create";
    let jetstream = pipeline.stack.jetstream().await;
    eventually("the event is delivered into the stream", async || {
        let request = json!({ "batch": 1, "no_wait": true }).to_string();
        let sent = thief.client.publish_with_reply(pull, into, request.into());
        sent.await.unwrap();
        thief.client.flush().await.unwrap();
        let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        match letters.cached_info().state.messages {
            0 => Err("no dead letter"),
            _ => Ok(()),
        }
    })
    .await;
    let listed = run(&pipeline.stack, &["dlq", "list"]).await.expect(1);
    assert!(listed.text.contains("invalid"), "{}", listed.text);
    let orders = pipeline.stack.count("orders_write", doc! {}).await;
    assert_eq!(orders, 1, "no order came of it");
    assert!(thief.denied().is_empty(), "it may pull");
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_tap_hears_of_its_tenant_alone() {
    let stack = Stack::guarded("shop").await;
    let pipeline = Pipeline::start_on(stack, "100ms", |edge| edge).await;
    let guard = pipeline.stack.guard.clone().unwrap();
    guard.orderctl(&["tap", "--tenant", "t-1", "--ttl", "1h"]);
    let tap = refused::connect(&pipeline.stack, "tap-t-1").await;
    let mut events = tap.client.subscribe("shop.orders.evt.t-1.>").await.unwrap();
    let mut feed = tap
        .client
        .subscribe("shop.orders.feed.t-1.>")
        .await
        .unwrap();
    tap.client.flush().await.unwrap();

    let theirs = pipeline.create("t-2", "r1").await;
    let own = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-2", &theirs, "PAID").await;
    pipeline.until_status("t-1", &own, "PAID").await;
    for messages in [&mut events, &mut feed] {
        let mut seen = BTreeSet::new();
        // One message for the create and one for the payment.
        for _ in 0..2 {
            let message = timeout(Duration::from_secs(20), messages.next());
            let message = message.await.expect("it hears of its order").unwrap();
            let body = String::from_utf8_lossy(&message.payload).into_owned();
            assert!(body.contains(&own) && !body.contains(&theirs), "{body}");
            seen.insert(message.subject.to_string());
        }
        let kinds: Vec<_> = seen.iter().filter_map(|s| s.rsplit('.').next()).collect();
        assert_eq!(kinds, ["created", "updated"]);
    }
    assert!(tap.denied().is_empty());

    let others = [
        "shop.orders.evt.t-2.>",
        "shop.orders.evt.>",
        "shop.orders.evt.*.created",
        "shop.orders.feed.*.*",
        "shop.orders.cmd.t-1.>",
        "orders.evt.t-1.>",
        "_INBOX.>",
        "$JS.>",
        ">",
    ];
    tap.may_not_hear(&others).await;
    let subjects = [
        "shop.orders.cmd.t-1.create",
        "shop.orders.evt.t-1.created",
        "$JS.API.INFO",
    ];
    tap.may_not_say(&subjects).await;
    // That was all on purpose, so the server's log is full of it.
    drop(pipeline);
}
