//! NATS away, messages from the past, events out of order, orders whose event was lost.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mongodb::bson::doc;
use orders_testkit::{Daemon, Gate, Setup, Stack, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::pipeline::{Pipeline, order};

#[tokio::test]
async fn without_nats_503_at_once_and_service_again_when_it_is_back() {
    let mut pipeline = Pipeline::start("200ms").await;
    let id = pipeline.create("t-1", "r0").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline.stack.nats.kill().await;

    let start = Instant::now();
    let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    // The list needs no bus, and the daemons live on.
    assert_eq!(
        pipeline.get_json("/api/orders?tenantId=t-1").await["total"],
        1
    );
    assert_eq!(pipeline.get("/livez").await.status(), StatusCode::OK);
    pipeline.edge.unready("not connected").await;

    pipeline.stack.nats.restart().await;
    let id = eventually("orders are taken again", async || {
        let response = pipeline.post("/api/orders", &order("t-1", "r2")).await;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {
                Ok(crate::pipeline::order_id(response).await)
            }
            status => Err(status),
        }
    })
    .await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline.stack.clean_up().await;
}

/// The connection stays and nothing moves any more: no error tells the edge, only time does.
#[tokio::test]
async fn a_black_hole_before_nats_is_503_within_two_seconds() {
    let stack = Stack::start().await;
    let url = stack.nats.url();
    let gate = Gate::to(url.trim_start_matches("nats://")).await;
    let through_gate = format!("nats://{}", gate.address);
    let pipeline = Pipeline::start_on(stack, "200ms", |edge| edge.env("NATS_URL", &through_gate));
    let pipeline = pipeline.await;
    pipeline.create("t-1", "r0").await;

    gate.swallow();
    let refused = async |n: usize| {
        let start = Instant::now();
        let body = order("t-1", &format!("r{n}"));
        let response = pipeline.post("/api/orders", &body).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    };
    futures_util::future::join_all((1..=20).map(&refused)).await;
    refused(1).await;
    // Said once, not 21 times.
    let log = pipeline.edge.log();
    assert_eq!(log.matches("may not be stored").count(), 1, "{log}");

    gate.open();
    for n in 1..=20 {
        let body = order("t-1", &format!("r{n}"));
        eventually("the same request succeeds", async || {
            let response = pipeline.post("/api/orders", &body).await;
            match response.status() {
                StatusCode::CREATED | StatusCode::OK => Ok(()),
                status => Err(status),
            }
        })
        .await;
    }
    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 21);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn without_the_database_daemons_wait_and_lists_are_503() {
    let stack = Stack::start().await;
    let nowhere = format!("mongodb://127.0.0.1:{}/orders", orders_testkit::free_port());
    let writer = stack.daemon("writer").env("MONGO_URL", &nowhere).spawn();
    let edge = stack
        .daemon("edge")
        .env("MONGO_URL", &nowhere)
        .start()
        .await;
    let list = reqwest::get(format!("{}/api/orders?tenantId=t-1", edge.url()))
        .await
        .unwrap();
    assert_eq!(list.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(list.headers().contains_key("retry-after"));
    let text = list.text().await.unwrap();
    assert!(
        !text.contains("127.0.0.1") && !text.to_lowercase().contains("mongo"),
        "no internals: {text}"
    );

    let post = reqwest::Client::new()
        .post(format!("{}/api/orders", edge.url()))
        .json(&order("t-1", "r1"));
    assert_eq!(post.send().await.unwrap().status(), StatusCode::ACCEPTED);
    eventually("the writer says why it is not ready", async || {
        let answer = reqwest::get(format!("{}/readyz?verbose", writer.url()))
            .await
            .map_err(|error| error.to_string())?;
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        let told = status == StatusCode::SERVICE_UNAVAILABLE
            && text.contains("[-]mongo failed")
            && text.contains("[+]nats ok");
        if told { Ok(()) } else { Err(text) }
    })
    .await;
}

/// The database takes everything and answers nothing: each list fails in time, and what it leaves behind, such as a place in
/// the driver's queue, is nothing that those after it have to wait for.
#[tokio::test]
async fn lists_outlive_a_black_hole_before_the_database() {
    // More than an edge has connections, and some of pages by number that are far behind.
    const LISTS: usize = 40;
    let stack = Stack::start().await;
    let (gate, through_gate) = stack.database_gate().await;
    let edge = |edge: Setup| edge.env("MONGO_URL", &through_gate);
    let pipeline = Pipeline::start_on(stack, "1h", edge).await;
    pipeline.create("t-1", "r0").await;
    let lists = async || {
        let list = async |n: usize| {
            let start = Instant::now();
            let page = if n.is_multiple_of(10) { 200 } else { 1 };
            let path = format!("/api/orders?tenantId=t-1&limit=10&page={page}");
            let response = pipeline.get(&path).await;
            let seconds = start.elapsed().as_secs();
            assert!(seconds < 8, "page {page} after {seconds} s");
            response.status()
        };
        futures_util::future::join_all((0..LISTS).map(list)).await
    };
    let all_are_answered = async |what: &str| {
        eventually(what, async || {
            let answers = lists().await;
            let ok = answers.iter().filter(|&&status| status == StatusCode::OK);
            match ok.count() {
                LISTS => Ok(()),
                count => Err(count),
            }
        })
        .await;
    };
    all_are_answered("there are lists").await;

    gate.swallow();
    for _ in 0..2 {
        let expected = [StatusCode::SERVICE_UNAVAILABLE; LISTS];
        assert_eq!(lists().await, expected);
    }
    gate.open();
    let opened = Instant::now();
    all_are_answered("there are lists again").await;
    let seconds = opened.elapsed().as_secs();
    assert!(seconds < 20, "lists are back after {seconds} s");
    pipeline.stack.clean_up().await;
}

/// The database vanishes in the middle of work, for longer than a message may stay un-acked: commands are accepted, wait
/// in the bus without being counted as failures, and are carried out once each when it is back.
#[tokio::test]
async fn an_outage_of_the_database_loses_nothing_and_gives_nothing_up() {
    let mut stack = Stack::start().await;
    let (gate, through_gate) = stack.database_gate().await;
    stack.mongo_url = through_gate;
    let pipeline = Pipeline::start_on(stack, "100ms", |edge| edge).await;
    let first = pipeline.create("t-1", "r0").await;
    pipeline.until_status("t-1", &first, "PAID").await;

    gate.close();
    let mut ids = vec![first];
    for n in 1..=20 {
        let response = pipeline
            .post("/api/orders", &order("t-1", &format!("r{n}")))
            .await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "r{n}");
        ids.push(crate::pipeline::order_id(response).await);
    }
    let commands = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_COMMANDS")
        .await
        .unwrap();
    let outage = Instant::now();
    eventually("more than the ack wait has passed", async || {
        let info = commands.consumer_info("writer").await.unwrap();
        let in_hand = info.num_ack_pending;
        if in_hand > 0 && outage.elapsed() > Duration::from_secs(7) {
            Ok(())
        } else {
            Err(in_hand)
        }
    })
    .await;
    let info = commands.consumer_info("writer").await.unwrap();
    assert_eq!(
        info.num_redelivered, 0,
        "what is in hand is not delivered again"
    );

    gate.open();
    for id in &ids {
        pipeline.until_status("t-1", id, "PAID").await;
    }
    assert_eq!(
        pipeline.stack.count("orders_write", doc! {}).await,
        ids.len() as u64
    );
    let dead = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_DLQ")
        .await
        .unwrap();
    assert_eq!(dead.cached_info().state.messages, 0);
    pipeline.stack.clean_up().await;
}

/// `updated` comes before `created`, and both come twice: the row ends at the highest version.
#[tokio::test]
async fn events_out_of_order_end_in_the_newest_row() {
    let stack = Stack::start().await;
    let _projector = stack.daemon("projector").start().await;
    let jetstream = stack.jetstream().await;
    let id = format!("ord_{}", "a".repeat(26));
    for (kind, version, status) in [
        ("updated", 2, "PAID"),
        ("created", 1, "PENDING"),
        ("updated", 2, "PAID"),
        ("created", 1, "PENDING"),
    ] {
        publish_event(&jetstream, &id, kind, version, status).await;
    }
    eventually("all events are acked", async || {
        let stream = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
        let info = stream.consumer_info("projector").await.unwrap();
        if info.ack_floor.stream_sequence == 4 {
            Ok(())
        } else {
            Err(info.ack_floor.stream_sequence)
        }
    })
    .await;
    assert_eq!(
        stack
            .count(
                "orders_read",
                doc! { "_id": &id, "status": "PAID", "version": 2 }
            )
            .await,
        1
    );
    assert_eq!(stack.count("orders_read", doc! {}).await, 1);
    stack.clean_up().await;
}

/// NATS loses an acknowledged event, as a power cut without fsync can: the writer finds the order and tells again.
#[tokio::test]
async fn an_order_whose_event_was_lost_is_found_and_paid() {
    let mut pipeline = Pipeline::start("1s").await;
    pipeline.payments.kill().await;
    let id = pipeline.create("t-1", "r1").await;
    pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_EVENTS")
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
    pipeline.payments.restart(|daemon| daemon).await;

    pipeline.writer.terminate().await;
    let change = |writer: orders_testkit::Setup| {
        writer
            .env("ORDERS_HEAL__EVERY", "500ms")
            .env("ORDERS_HEAL__PENDING_FOR", "1s")
    };
    pipeline.writer.restart(change).await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let row: Value = pipeline
        .get_json(&format!("/api/orders/{id}?tenantId=t-1"))
        .await;
    assert_eq!(row["total"], 99.98);
    pipeline.stack.clean_up().await;
}

/// JetStream takes messages and acknowledges none, as it looks to a publisher when a server dies: the publisher finds
/// out about all of them at once, however many are on their way.
#[tokio::test]
async fn lost_acks_cost_one_deadline_and_not_one_each() {
    const EVENTS: u32 = 20;
    let stack = Stack::start().await;
    let jetstream = stack.jetstream().await;
    let mut writer = stack.daemon("writer").start().await;
    let projector = stack.daemon("projector").start().await;
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    let mut silent = feed.cached_info().config.clone();
    silent.no_ack = true;
    jetstream.update_stream(silent).await.unwrap();
    writer.kill().await;
    for n in 0..EVENTS {
        let suffix = char::from(b'a' + u8::try_from(n).unwrap());
        let id = format!("ord_{}", suffix.to_string().repeat(26));
        publish_event(&jetstream, &id, "created", 1, "PENDING").await;
    }
    let start = Instant::now();
    eventually("the projector tries again", async || {
        let log = projector.log();
        if log.contains("messages: not acknowledged") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    // One after the other they would take 2 s each.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    stack.clean_up().await;
}

/// A request for messages that was made while there was no connection counts on the next one: what is delivered for it
/// does not wait for the ack wait.
#[tokio::test]
async fn what_comes_during_an_outage_is_taken_at_once_after_it() {
    let stack = Stack::start().await;
    let url = stack.nats.url();
    let gate = Gate::to(url.trim_start_matches("nats://")).await;
    let through_gate = format!("nats://{}", gate.address);
    let pipeline = Pipeline::start_on(stack, "1h", |edge| edge);
    let mut pipeline = pipeline.await;
    let writer = |setup: Setup| setup.env("NATS_URL", &through_gate);
    assert!(pipeline.writer.terminate().await.success());
    pipeline.writer.restart(writer).await;
    pipeline.create("t-1", "r0").await;

    gate.close();
    // Its request for messages ends after 15 s, and it makes another one.
    sleep(Duration::from_secs(17)).await;
    for n in 1..=20 {
        let response = pipeline
            .post("/api/orders", &order("t-1", &format!("r{n}")))
            .await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    gate.open();
    eventually("the writer is back", async || {
        match pipeline.writer.log().matches(" connected to NATS").count() {
            0..3 => Err(()),
            _ => Ok(()),
        }
    })
    .await;
    let back = Instant::now();
    eventually("all are stored", async || {
        match pipeline.stack.count("orders_write", doc! {}).await {
            21 => Ok(()),
            n => Err(n),
        }
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(3),
        "no ack wait: {:?}",
        back.elapsed()
    );
    pipeline.stack.clean_up().await;
}

/// Daemons stop in time also when what they want to give back cannot be sent.
#[tokio::test]
async fn daemons_stop_within_four_seconds_while_nats_is_away() {
    let mut pipeline = Pipeline::start("1h").await;
    for n in 0..200 {
        pipeline.create("t-1", &format!("r{n}")).await;
    }
    pipeline.stack.nats.kill().await;
    for daemon in [
        &mut pipeline.payments,
        &mut pipeline.writer,
        &mut pipeline.projector,
        &mut pipeline.realtime,
        &mut pipeline.edge,
    ] {
        stops_in_time(daemon).await;
    }
    // One that waits for NATS serves nobody, so it has nobody to drain.
    let realtime = &mut pipeline.realtime;
    realtime.respawn(|realtime| realtime.env("ORDERS_DRAIN", "20s"));
    realtime.unready("").await;
    stops_in_time(realtime).await;
    pipeline.stack.clean_up().await;
}

async fn stops_in_time(daemon: &mut Daemon) {
    let start = Instant::now();
    let status = daemon.terminate().await;
    assert!(status.success(), "{status}: {}", daemon.log());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// The server delivers no more than `max_ack_pending` un-acked messages, and each pending payment is one: ten thousand
/// of them must not keep the payment-simulator from hearing of new orders.
#[tokio::test]
async fn ten_thousand_pending_payments_do_not_stall_new_ones() {
    const PENDING: u64 = 10_000;
    let pipeline = Pipeline::start("1h").await;
    let creates = (0..PENDING).map(|n| {
        let body = order("t-1", &format!("r{n}"));
        let (http, url) = (pipeline.http.clone(), pipeline.edge.url());
        async move {
            let post = http.post(format!("{url}/api/orders")).json(&body);
            post.send().await.unwrap().status()
        }
    });
    let statuses: Vec<StatusCode> = stream::iter(creates).buffer_unordered(64).collect().await;
    assert!(statuses.iter().all(StatusCode::is_success));
    let metrics = format!("{}/metrics", pipeline.payments.url());
    let pending = async |at_least: u64| {
        eventually("payments are pending", async || {
            let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
            let gauge = text
                .lines()
                .find(|line| line.starts_with("orders_payments_pending"))
                .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            match gauge {
                Some(count) if count >= at_least as f64 => Ok(()),
                other => Err(other),
            }
        })
        .await;
    };
    pending(PENDING).await;
    pipeline.create("t-1", "one more").await;
    pending(PENDING + 1).await;
    pipeline.stack.clean_up().await;
}

async fn publish_event(
    jetstream: &async_nats::jetstream::Context,
    id: &str,
    kind: &str,
    version: u32,
    status: &str,
) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", format!("{id}:{version}"));
    headers.insert("ce-type", format!("com.example.orders.order.{kind}.v1"));
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", id);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    let body = json!({
        "tenantId": "t-1", "version": version, "occurredAt": "2025-08-26T09:00:00.000Z",
        "order": {
            "orderId": id, "status": status, "createdAt": "2025-08-26T09:00:00.000Z",
            "buyerEmail": "a@b.cc", "total": 99.98,
        },
    });
    let subject = format!("orders.evt.t-1.{kind}");
    let sent = jetstream
        .publish_with_headers(subject, headers, body.to_string().into())
        .await;
    sent.unwrap().await.unwrap();
}
