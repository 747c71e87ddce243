//! Streams that are lost, full, changed or missing.

use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        stream::{Config, State},
    },
};
use futures_util::future::join_all;
use mongodb::bson::doc;
use orders_testkit::{Daemon, Stack, eventually};
use reqwest::StatusCode;
use tokio::{process::Command, time::sleep};

use crate::{
    orderctl::run,
    pipeline::{Pipeline, order},
};

impl Pipeline {
    fn daemons(&self) -> [&Daemon; 5] {
        [
            &self.edge,
            &self.writer,
            &self.projector,
            &self.payments,
            &self.realtime,
        ]
    }
}

async fn state(jetstream: &jetstream::Context, stream: &str) -> State {
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.cached_info().state.clone()
}

async fn config(jetstream: &jetstream::Context, stream: &str) -> Config {
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.cached_info().config.clone()
}

/// NATS comes back with nothing, under load; then it loses one stream after the other. Nobody helps.
#[tokio::test]
async fn what_nats_lost_is_made_again_and_told_again() {
    let mut pipeline = Pipeline::open("500ms").await;
    let (stop, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let url = format!("{}/api/orders", pipeline.edge.url());
    let http = pipeline.http.clone();
    let client = async |client: usize| {
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let body = order("t-1", &format!("c{client}-{n}"));
            let status = http.post(&url).json(&body).send().await.unwrap().status();
            if status == StatusCode::CREATED {
                accepted.fetch_add(1, Ordering::Relaxed);
            } else {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let load = join_all((0..8).map(&client));
    let lose = async {
        let many = async |count: usize| {
            eventually("orders are accepted", async || {
                match accepted.load(Ordering::Relaxed) {
                    enough if enough >= count => Ok(()),
                    few => Err(few),
                }
            })
            .await;
        };
        many(200).await;
        pipeline.stack.nats.kill().await;
        pipeline.stack.nats.lose_store();
        for daemon in pipeline.daemons() {
            daemon.unready("not connected").await;
        }
        let back = Instant::now();
        pipeline.stack.nats.restart().await;
        for daemon in pipeline.daemons() {
            daemon.ready().await;
        }
        let seconds = back.elapsed().as_secs();
        assert!(seconds < 30, "ready after {seconds} s");
        many(accepted.load(Ordering::Relaxed) + 200).await;

        let jetstream = pipeline.stack.jetstream().await;
        for stream in [
            "ORDERS_COMMANDS",
            "ORDERS_EVENTS",
            "PAYMENTS",
            "ORDERS_FEED",
        ] {
            let lost = Instant::now();
            jetstream.delete_stream(stream).await.unwrap();
            eventually("the stream is made again", async || {
                jetstream.get_stream(stream).await.map(drop)
            })
            .await;
            for daemon in pipeline.daemons() {
                daemon.ready().await;
            }
            let seconds = lost.elapsed().as_secs();
            assert!(seconds < 30, "ready after {seconds} s");
            many(accepted.load(Ordering::Relaxed) + 50).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, lose);

    let stack = &pipeline.stack;
    eventually("every order is paid and listed as that", async || {
        let of = async |collection| {
            let all = stack.count(collection, doc! {}).await;
            (
                all,
                stack.count(collection, doc! { "status": "PAID" }).await,
            )
        };
        let (orders, rows) = (of("orders_write").await, of("orders_read").await);
        match orders == rows && orders.0 == orders.1 {
            true => Ok(()),
            false => Err((orders, rows)),
        }
    })
    .await;
    let orders = stack.count("orders_write", doc! {}).await;
    assert!(orders >= accepted.load(Ordering::Relaxed) as u64);
    pipeline.stack.clean_up().await;
}

/// Daemons that may not change streams say what they miss, and go on when an operator has seen to it.
#[tokio::test]
async fn readiness_names_what_is_missing_and_bad_messages_wait_beside_the_others() {
    const BAD: u64 = 8_200;
    let stack = Stack::open().await;
    let migrate = ["migrate", "--yes", "--payment-delay", "1h"];
    run(&stack, &migrate).await.expect(0);
    let daemon = |name| {
        let daemon = stack.daemon(name).env("ORDERS_AUTO_MIGRATE", "false");
        daemon.env("ORDERS_PAYMENT__DELAY", "1h").start()
    };
    let (edge, writer, projector) =
        tokio::join!(daemon("edge"), daemon("writer"), daemon("projector"));
    let jetstream = stack.jetstream().await;
    let http = reqwest::Client::new();
    let create = async |request: &str| {
        let post = http.post(format!("{}/api/orders", edge.url()));
        let post = post.json(&order("t-1", request)).send();
        post.await.unwrap().status()
    };

    let nats = async |args: &[&str]| {
        let mut nats = Command::from(stack.nats_cli());
        nats.args(args);
        let status = nats.stdout(Stdio::null()).status().await.unwrap();
        assert!(status.success(), "{args:?}");
    };
    nats(&[
        "consumer",
        "pause",
        "ORDERS_EVENTS",
        "projector",
        "1h",
        "-f",
    ])
    .await;
    projector.unready("ORDERS_EVENTS/projector is paused").await;
    nats(&["consumer", "resume", "ORDERS_EVENTS", "projector", "-f"]).await;
    projector.ready().await;

    // A full stream refuses commands, which only shows when somebody sends one.
    let whole = config(&jetstream, "ORDERS_COMMANDS").await;
    let full = Config {
        max_bytes: 1,
        ..whole.clone()
    };
    jetstream.update_stream(full).await.unwrap();
    assert_eq!(create("r0").await, StatusCode::SERVICE_UNAVAILABLE);
    edge.unready("a message was refused").await;
    jetstream.update_stream(whole).await.unwrap();
    edge.ready().await;

    jetstream.delete_stream("ORDERS_DLQ").await.unwrap();
    writer.unready("ORDERS_DLQ is missing").await;
    let client = stack.client().await;
    for _ in 0..BAD {
        let bad = client.publish("orders.cmd.t-1.create", "garbage".into());
        bad.await.unwrap();
    }
    client.flush().await.unwrap();
    // What comes while the writer reads them for the first time waits for the writer, not for what becomes of them.
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    eventually("each was read and has come again", async || {
        let writer = commands.consumer_info("writer").await.unwrap();
        match (writer.num_pending, writer.num_redelivered as u64) {
            (0, BAD) => Ok(()),
            both => Err(both),
        }
    })
    .await;
    // On a slow machine a create may be answered 202: a try of thousands takes its time. It is carried out all the same.
    for n in 1..=5 {
        let status = create(&format!("r{n}")).await;
        assert!(
            matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED),
            "r{n}: {status}"
        );
    }
    eventually("the others are stored", async || {
        match stack.count("orders_write", doc! {}).await {
            5 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    // An order is stored before its command is acknowledged.
    eventually("only the bad ones wait", async || {
        match state(&jetstream, "ORDERS_COMMANDS").await.messages {
            BAD => Ok(()),
            other => Err(other),
        }
    })
    .await;
    run(&stack, &migrate).await.expect(0);
    eventually("each is a dead letter", async || {
        let letters = state(&jetstream, "ORDERS_DLQ").await.messages;
        let commands = state(&jetstream, "ORDERS_COMMANDS").await.messages;
        match (letters, commands) {
            (BAD, 0) => Ok(()),
            both => Err(both),
        }
    })
    .await;
    writer.ready().await;

    jetstream.delete_stream("ORDERS_COMMANDS").await.unwrap();
    edge.unready("ORDERS_COMMANDS is missing").await;
    writer.unready("ORDERS_COMMANDS is missing").await;
    run(&stack, &migrate).await.expect(0);
    edge.ready().await;
    writer.ready().await;
    eventually("commands are taken again", async || {
        match create("r6").await {
            StatusCode::CREATED | StatusCode::OK => Ok(()),
            status => Err(status),
        }
    })
    .await;
    stack.clean_up().await;
}

/// What an operator gave a stream stays; what would lose messages does not.
#[tokio::test]
async fn limits_are_settings_that_a_start_never_lowers() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let mut projector = stack.daemon("projector").start().await;
    let before = config(&jetstream, "ORDERS_EVENTS").await;
    let edited = Config {
        max_age: 90 * DAY,
        max_messages: 10,
        max_messages_per_subject: 1,
        ..before.clone()
    };
    jetstream.update_stream(edited).await.unwrap();
    assert!(projector.terminate().await.success());
    let more = |setup: orders_testkit::Setup| {
        setup
            .env("ORDERS_STREAMS__EVENTS__MAX_BYTES", "5GiB")
            .env("ORDERS_STREAMS__EVENTS__DUPLICATE_WINDOW", "20s")
    };
    projector.restart(more).await;
    let log = projector.log();
    for part in [
        "ORDERS_EVENTS keeps max_age (server 7776000s, declared 2592000s)",
        "max_msgs (server 10, declared -1)",
        "max_msgs_per_subject (server 1, declared -1)",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    let after = config(&jetstream, "ORDERS_EVENTS").await;
    let expected = Config {
        max_age: 90 * DAY,
        max_bytes: 5 << 30,
        ..before.clone()
    };
    assert_eq!(after, expected);

    let migrate = ["migrate", "--yes", "--payment-delay", "5s"];
    let kept = run(&stack, &migrate).await.expect(0).text;
    let told = "stream ORDERS_EVENTS: is higher in max_age (server 7776000s, declared 2592000s)";
    assert!(kept.contains(told), "{kept}");
    assert_eq!(config(&jetstream, "ORDERS_EVENTS").await, expected);
    run(&stack, &["migrate", "--check"]).await.expect(0);
    run(&stack, &["migrate", "--check", "--lower-limits"])
        .await
        .expect(1);
    let unasked = run(&stack, &["migrate", "--lower-limits"]).await.expect(1);
    assert!(unasked.errors.contains("--yes"), "{}", unasked.errors);
    run(&stack, &["migrate", "--lower-limits", "--yes"])
        .await
        .expect(0);
    assert_eq!(config(&jetstream, "ORDERS_EVENTS").await, before);
    stack.clean_up().await;
}

/// An audit of an earlier version becomes append-only, and never stops being it.
#[tokio::test]
async fn migrate_makes_an_audit_of_an_earlier_version_append_only() {
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let earlier = Config {
        name: "ORDERS_AUDIT".to_owned(),
        subjects: vec!["orders.audit.>".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(earlier).await.unwrap();
    let old = r#"{"action":"dropped","operator":"bob","at":"2026-11-23T09:00:00.000Z","deadLetter":{
        "sequence":7,"time":"2026-11-23T08:00:00.000Z","daemon":"writer","tenant":"t-1","reason":"invalid",
        "error":"why","originalSubject":"orders.cmd.t-1.create","originalPosition":"ORDERS_COMMANDS:3",
        "deliveries":"3","id":null,"orderId":null,"truncated":null,"size":9}}"#;
    let sent = jetstream.publish("orders.audit.t-1.dropped", old.into());
    sent.await.unwrap().await.unwrap();
    let checked = run(&stack, &["migrate", "--check"]).await.expect(1).text;
    let told =
        "deny_delete (server false, declared true), deny_purge (server false, declared true)";
    assert!(checked.contains(told), "{checked}");
    run(&stack, &["migrate", "--yes"]).await.expect(0);
    let now = config(&jetstream, "ORDERS_AUDIT").await;
    assert!(now.deny_delete && now.deny_purge);
    run(&stack, &["migrate", "--check"]).await.expect(0);
    let listed = run(&stack, &["audit"]).await.expect(0).text;
    for part in ["dropped", "dead letter 7", "bob", "migrated", "alice@"] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    stack.clean_up().await;
}

/// Ids that came before do not hide what comes now: neither those of dead letters of a stream that was lost, nor those
/// that somebody else took.
#[tokio::test]
async fn a_message_id_that_was_taken_hides_nothing() {
    let pipeline = Pipeline::open("200ms").await;
    let jetstream = pipeline.stack.jetstream().await;
    let garbage = async || {
        let sent = jetstream.publish("orders.cmd.t-1.create", "garbage".into());
        assert_eq!(sent.await.unwrap().await.unwrap().sequence, 1);
    };
    let letters = async |count: u64| {
        eventually(&format!("{count} dead letters"), async || {
            match state(&jetstream, "ORDERS_DLQ").await.messages {
                n if n == count => Ok(()),
                n => Err(n),
            }
        })
        .await;
    };
    garbage().await;
    letters(1).await;
    jetstream.delete_stream("ORDERS_COMMANDS").await.unwrap();
    eventually("the stream is made again", async || {
        jetstream.get_stream("ORDERS_COMMANDS").await.map(drop)
    })
    .await;
    garbage().await;
    letters(2).await;

    // The ids of both events and of both feed entries of the order that comes next.
    let id = "ord_qz74bke6iblutmfkqfvmtezzkq";
    for subject in ["orders.evt.t-123.created", "orders.feed.t-123.created"] {
        for version in [1, 2] {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{id}:{version}"));
            headers.insert("ce-id", format!("{id}:{version}"));
            let junk = jetstream.publish_with_headers(subject, headers, "junk".into());
            junk.await.unwrap().await.unwrap();
        }
    }
    assert_eq!(pipeline.create("t-123", "r1").await, id);
    pipeline.until_status("t-123", id, "PAID").await;
    eventually("the feed has both changes", async || {
        match state(&jetstream, "ORDERS_FEED").await.messages {
            4 => Ok(()),
            n => Err(n),
        }
    })
    .await;
    pipeline.stack.clean_up().await;
}
