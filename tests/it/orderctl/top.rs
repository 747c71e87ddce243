//! `top`: what it sees of a pipeline that works, and of one that does not.

mod terminal;

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use orders_contracts::Timestamp;
use orders_testkit::{NatsServer, SocketClient, Stack, eventually};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{early_payment, run, until_dead_letters};
use crate::pipeline::{Pipeline, order, order_id};

const AS_JSON: [&str; 3] = ["top", "--once", "--json"];

/// The element of a list whose field has a value.
fn of<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    let mut elements = list.as_array().expect("a list").iter();
    let found = elements.find(|element| element[field] == value);
    found.unwrap_or_else(|| panic!("{field} {value} in {list}"))
}

fn consumer<'a>(seen: &'a Value, stream: &str, name: &str) -> &'a Value {
    let consumers = seen["consumers"].as_array().expect("a list").iter();
    let mut found = consumers.filter(|one| one["stream"] == stream && one["consumer"] == name);
    found
        .next()
        .unwrap_or_else(|| panic!("{stream}/{name} in {seen}"))
}

/// The names of a JSON object, and of the objects in it.
fn names(value: &Value) -> Vec<String> {
    let below = |(name, value): (&String, &Value)| {
        let below = names(value).into_iter();
        let below = below.map(|below| format!("{name}.{below}"));
        [name.clone()].into_iter().chain(below).collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(below).collect(),
        Value::Array(elements) => elements.first().map(names).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn orders_are_counted_and_their_times_measured() {
    let pipeline = Pipeline::start("200ms").await;
    let stack = &pipeline.stack;
    let mut socket = SocketClient::of_tenant(&pipeline.realtime.url(), "t-1");
    socket.event("connect").await;
    let mut orders = Vec::new();
    for number in 0..5 {
        orders.push(pipeline.create("t-1", &format!("r{number}")).await);
    }
    let again = pipeline.post("/api/orders", &order("t-1", "r0")).await;
    assert_eq!(again.status(), StatusCode::OK);
    let refused = pipeline.post("/api/orders", &json!({})).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    for id in &orders {
        pipeline.until_status("t-1", id, "PAID").await;
    }
    for _ in 0..5 {
        socket.event("order.updated").await;
    }

    let seen = run(stack, &AS_JSON).await.expect(0).last();
    let flow = &seen["orders"];
    for (what, total) in [
        ("created", 5),
        ("repeated", 1),
        ("accepted", 0),
        ("refused", 1),
        ("paid", 5),
    ] {
        assert_eq!(flow[what]["total"], total, "{what} in {flow}");
        assert_eq!(flow[what]["perSecond"], 0.0, "{what} in {flow}");
    }
    assert_eq!(flow["refusedByStatus"]["400"]["total"], 1, "{flow}");
    for (what, count) in [("create", 6), ("listed", 5), ("paid", 5), ("socket", 10)] {
        let latency = &seen["latencies"][what];
        assert_eq!(latency["lately"], Value::Null, "nothing happens now");
        let ever = &latency["sinceStart"];
        assert_eq!(ever["count"], count, "{what} in {latency}");
        let seconds = |field: &str| ever[field].as_f64().unwrap();
        let (half, most) = (seconds("p50Seconds"), seconds("p99Seconds"));
        assert!(
            0.0 < half && half <= most && most < 10.0,
            "{what} in {latency}"
        );
    }
    assert_eq!(seen["listeners"]["sockets"], 1);
    assert_eq!(seen["deadLetters"]["waiting"], 0);
    assert_eq!(seen["unseen"], json!([]));
    for (stream, name) in [
        ("ORDERS_COMMANDS", "writer"),
        ("PAYMENTS", "writer"),
        ("ORDERS_EVENTS", "projector"),
        ("ORDERS_EVENTS", "payment-simulator"),
        ("ORDERS_FEED", "realtime"),
    ] {
        let found = consumer(&seen, stream, name);
        assert_eq!(
            (&found["state"], &found["pending"]),
            (&json!("fine"), &json!(0))
        );
    }
    let events = of(&seen["streams"], "stream", "ORDERS_EVENTS");
    assert_eq!(
        (&events["messages"], &events["unread"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(seen["streams"].as_array().unwrap().len(), 8);
    let daemons = seen["daemons"].as_array().unwrap();
    assert_eq!(daemons.len(), 5, "{daemons:?}");
    for daemon in daemons {
        assert_eq!(daemon["state"], "ready", "{daemon}");
        assert!(daemon["uptimeSeconds"].is_u64(), "{daemon}");
    }

    // While orders come in, it tells how many, and how long they take.
    let load = async {
        for number in 0.. {
            pipeline.create("t-1", &format!("load-{number}")).await;
        }
    };
    let busy = tokio::select! {
        seen = run(stack, &AS_JSON) => seen.expect(0).last(),
        () = load => unreachable!("it goes on"),
    };
    assert!(
        busy["orders"]["created"]["perSecond"].as_f64() > Some(1.0),
        "{busy}"
    );
    assert!(
        busy["latencies"]["create"]["lately"]["count"].as_u64() > Some(2),
        "{busy}"
    );
    let events = of(&busy["streams"], "stream", "ORDERS_EVENTS");
    assert!(events["perSecond"].as_f64() > Some(1.0), "{busy}");

    // Scripts rely on these.
    let told = names(&busy);
    for name in [
        "time",
        "windowSeconds",
        "unseen",
        "orders.created.total",
        "orders.created.perSecond",
        "orders.refusedByStatus.400.total",
        "latencies.socket.sinceStart.p50Seconds",
        "latencies.create.lately.p99Seconds",
        "latencies.create.lately.largestSeconds",
        "listeners.followers",
        "deadLetters.oldestSeconds",
        "deadLetters.givenUp.total",
        "consumers.inHand",
        "consumers.waitingPulls",
        "consumers.oldestSeconds",
        "consumers.lost",
        "streams.maxBytes",
        "streams.fullness",
        "streams.refusesWhenFull",
        "streams.keepsSeconds",
        "streams.fullInSeconds",
        "streams.losesUnreadInSeconds",
        "daemons.instance",
        "daemons.version",
        "daemons.problem",
        "daemons.silentSeconds",
    ] {
        assert!(told.iter().any(|told| told == name), "{name} in {told:?}");
    }

    // Without a terminal it is text, once.
    let text = run(stack, &["top"]).await.expect(0).text;
    let has = |part: &str| assert!(text.contains(part), "{part} in\n{text}");
    ["CONSUMER", "ORDERS_EVENTS/projector", "payment-simulator"]
        .into_iter()
        .for_each(has);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(
        !text.contains('\x1b') && !text.contains("CANNOT SEE"),
        "{text}"
    );
    drop(socket);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_daemon_that_is_dead_or_paused_shows_and_so_does_what_waits_for_it() {
    let mut pipeline = Pipeline::start("1h").await;
    pipeline.create("t-1", "r0").await;
    let jetstream = pipeline.stack.jetstream().await;
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    eventually("the projector has nothing in hand", async || {
        let projector = events.consumer_info("projector").await.unwrap();
        match projector.num_ack_pending {
            0 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    pipeline.projector.kill().await;
    for number in 1..=4 {
        pipeline.create("t-1", &format!("r{number}")).await;
    }
    early_payment(&jetstream).await;
    until_dead_letters(&jetstream, 1).await;

    let seen = run(&pipeline.stack, &AS_JSON).await.expect(1).last();
    assert_eq!(seen["unseen"], json!(["no projector answers"]));
    let projector = of(&seen["daemons"], "daemon", "projector");
    assert_eq!(projector["state"], "silent");
    let behind = consumer(&seen, "ORDERS_EVENTS", "projector");
    assert_eq!(behind["state"], "noReader", "{behind}");
    assert_eq!(behind["pending"], 4, "{behind}");
    assert!(behind["oldestSeconds"].as_f64() > Some(1.0), "{behind}");
    let events = of(&seen["streams"], "stream", "ORDERS_EVENTS");
    // The payments of all five are held on purpose, which is no trouble.
    assert_eq!(events["unread"], 5, "{events}");
    let held = consumer(&seen, "ORDERS_EVENTS", "payment-simulator");
    assert_eq!(
        (&held["inHand"], &held["state"]),
        (&json!(5), &json!("fine"))
    );
    assert_eq!(seen["orders"]["paid"]["total"], Value::Null, "nobody tells");
    assert_eq!(seen["deadLetters"]["waiting"], 1);
    assert_eq!(seen["deadLetters"]["givenUp"]["total"], 1);

    // A paused writer has got the command and does nothing with it.
    pipeline.projector.restart(|setup| setup).await;
    pipeline.writer.signal(Signal::STOP);
    let late = pipeline.post("/api/orders", &order("t-1", "late")).await;
    assert_eq!(late.status(), StatusCode::ACCEPTED);
    let seen = run(&pipeline.stack, &AS_JSON).await.expect(1).last();
    assert_eq!(seen["unseen"], json!(["no writer answers"]));
    let stuck = consumer(&seen, "ORDERS_COMMANDS", "writer");
    assert_eq!(stuck["state"], "stuck", "{stuck}");
    assert_eq!(stuck["inHand"], 1, "{stuck}");
    assert_eq!(seen["orders"]["accepted"]["total"], 1);
    let text = run(&pipeline.stack, &["top"]).await.expect(1).text;
    let has = |part: &str| assert!(text.contains(part), "{part} in\n{text}");
    [
        "CANNOT SEE\n  no writer answers",
        "none answers",
        "stuck",
        "1 dead letter, ",
    ]
    .into_iter()
    .for_each(has);

    pipeline.writer.signal(Signal::CONT);
    let id = order_id(late).await;
    pipeline.until_status("t-1", &id, "PENDING").await;
    let seen = run(&pipeline.stack, &AS_JSON).await.expect(0).last();
    assert_eq!(
        consumer(&seen, "ORDERS_COMMANDS", "writer")["state"],
        "fine"
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn what_nats_does_not_permit_is_told() {
    let stack = Stack::open().await;
    let settings = r#"
        authorization { users: [ {
            user: operator, password: secret,
            permissions: { publish: { deny: ["orders.metrics", "$JS.API.STREAM.INFO.PAYMENTS"] } }
        } ] }
    "#;
    let server = NatsServer::start_with(stack.folder(), "limited", settings).await;
    let url = server.url().replace("://", "://operator:secret@");
    let arguments = [&AS_JSON[..], &["--nats-url", &url]].concat();
    let seen = run(&stack, &arguments).await.expect(1).last();
    let unseen = seen["unseen"].to_string();
    for part in [
        "NATS refuses: Permissions Violation for Publish to ",
        "run orderctl nats init",
        "cannot look up stream PAYMENTS",
        "stream ORDERS_EVENTS is missing",
        "no edge answers",
    ] {
        assert!(unseen.contains(part), "{part} in {unseen}");
    }
    stack.clean_up().await;
}

#[tokio::test]
async fn metrics_that_nats_does_not_take_are_told() {
    let stack = Stack::open().await;
    let server = NatsServer::start_with(stack.folder(), "small", "max_payload: 4KB").await;
    let realtime = stack.daemon("realtime").env("NATS_URL", &server.url());
    let realtime = realtime.start().await;
    let url = server.url();
    let arguments = [&AS_JSON[..], &["--nats-url", &url]].concat();
    let seen = run(&stack, &arguments).await.expect(1).last();
    let unseen = seen["unseen"].to_string();
    let part = "realtime cannot send its metrics: ";
    assert!(unseen.contains(part), "{unseen}");
    assert!(
        unseen.contains("and NATS takes 4096 (max_payload)"),
        "{unseen}"
    );
    let found = of(&seen["daemons"], "daemon", "realtime");
    assert_eq!(found["state"], "ready", "its health is small enough");
    assert_eq!(seen["listeners"]["sockets"], Value::Null);
    drop(realtime);
    stack.clean_up().await;
}

#[tokio::test]
async fn without_nats_it_ends_with_an_error() {
    let mut stack = Stack::start().await;
    stack.nats.kill().await;
    let said = run(&stack, &AS_JSON).await.expect(1);
    assert!(
        said.errors.contains("cannot reach NATS at "),
        "{}",
        said.errors
    );
    stack.nats.restart().await;
    stack.clean_up().await;
}

/// A daemon of another version whose clock is an hour ahead, as far as anybody can see.
pub(super) async fn stranger(client: &Client) {
    let mut questions = client.subscribe("orders.health").await.unwrap();
    client.flush().await.unwrap();
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let now = Timestamp::now().later(Duration::from_secs(3_600));
            let answer = json!({
                "daemon": "writer", "instance": "writer.9", "version": "9.9.9 (abc)", "problem": null,
                "id": "stranger", "uptimeSeconds": 5, "askedAt": now, "answeredAt": now,
            });
            let reply = question.reply.expect("somebody asks");
            let sent = client.publish(reply, answer.to_string().into());
            sent.await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_daemon_that_does_not_tell_its_metrics_is_named() {
    let pipeline = Pipeline::start("1h").await;
    stranger(&pipeline.stack.client().await).await;
    let seen = run(&pipeline.stack, &AS_JSON).await.expect(1).last();
    let unseen = json!(["writer.9 does not answer with its metrics"]);
    assert_eq!(seen["unseen"], unseen);
    let found = of(&seen["daemons"], "instance", "writer.9");
    assert_eq!(found["version"], "9.9.9 (abc)");
    let mut stats = pipeline.stack.nats_cli();
    let stats = stats.args(["micro", "stats", "edge"]).output().unwrap();
    let stats = String::from_utf8_lossy(&stats.stdout).into_owned();
    let endpoints = ["health", "metrics"];
    assert!(endpoints.iter().all(|name| stats.contains(name)), "{stats}");
    pipeline.stack.clean_up().await;
}
