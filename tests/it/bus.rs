//! What operators see on the bus: readable events, dead letters, drift.

use async_nats::{
    HeaderMap,
    jetstream::{self, stream::RetentionPolicy},
};
use futures_util::StreamExt;
use mongodb::bson::doc;
use orders_testkit::{Stack, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::pipeline::{Pipeline, order};

/// Publishes a command as a bus client would, with the headers of a well-behaved one.
async fn command(
    jetstream: &jetstream::Context,
    tenant: &str,
    kind: &str,
    order_id: &str,
    body: &str,
) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", "by-hand-1");
    headers.insert("ce-type", format!("com.example.orders.order.{kind}.v1"));
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", order_id);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    let subject = format!("orders.cmd.{tenant}.{kind}");
    let sent = jetstream
        .publish_with_headers(subject, headers, body.to_owned().into())
        .await;
    sent.unwrap().await.unwrap();
}

#[tokio::test]
async fn nats_sub_shows_readable_json_with_cloudevents_headers() {
    let pipeline = Pipeline::start("1h").await;
    let mut tap = Command::from(pipeline.stack.nats_cli())
        .args(["sub", "orders.evt.>", "--count", "1"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The tap is a core subscription: it sees what is published after it is there.
    let mut request = 0;
    let output = eventually("the tap shows an event", async || {
        request += 1;
        pipeline.create("t-123", &format!("r{request}")).await;
        match tap.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err("no event yet"),
        }
    })
    .await;
    let () = output;
    let text = String::from_utf8(tap.wait_with_output().await.unwrap().stdout).unwrap();
    for part in [
        "orders.evt.t-123.created",
        "ce-specversion: 1.0",
        "ce-type: orders.order.created.v1",
        "ce-source: /orders/writer",
        "ce-subject: ord_",
        "ce-datacontenttype: application/json",
        "ce-traceparent: 00-",
        r#""status":"PENDING""#,
        r#""total":99.98"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_trace_of_the_client_goes_through_to_the_feed() {
    let pipeline = Pipeline::start("100ms").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let post = pipeline
        .http
        .post(format!("{}/api/orders", pipeline.edge.url()))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&order("t-1", "r1"));
    assert_eq!(post.send().await.unwrap().status(), 201);
    let jetstream = pipeline.stack.jetstream().await;
    for (stream, messages) in [("ORDERS_EVENTS", 2), ("PAYMENTS", 1), ("ORDERS_FEED", 2)] {
        for sequence in 1..=messages {
            let message = eventually("the message is there", async || {
                jetstream
                    .get_stream(stream)
                    .await
                    .unwrap()
                    .get_raw_message(sequence)
                    .await
            })
            .await;
            let parent = message.headers.get("ce-traceparent").unwrap().as_str();
            assert!(
                parent.starts_with(&format!("00-{trace}-")),
                "{stream} {sequence}: {parent}"
            );
        }
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_bus_client_cannot_bypass_validation_and_poison_delays_nobody() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let good = order("t-1", "by-hand").to_string();
    let id = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa";

    jetstream
        .publish("orders.cmd.t-1.create", "garbage".into())
        .await
        .unwrap()
        .await
        .unwrap();
    jetstream
        .publish("orders.cmd.what.is.this", "{}".into())
        .await
        .unwrap()
        .await
        .unwrap();
    command(&jetstream, "t-1", "create", id, "garbage").await;
    command(&jetstream, "t-2", "create", id, &good).await;
    command(&jetstream, "t-1", "create", id, &good).await;
    command(&jetstream, "t-1", "cancel", id, r#"{"tenantId":"t-1"}"#).await;
    // Somebody else's order right behind is not held up.
    pipeline.create("t-1", "r1").await;

    let letters = eventually("all six are dead letters", async || {
        let mut stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        let count = stream.info().await.unwrap().state.messages;
        if count == 6 { Ok(stream) } else { Err(count) }
    })
    .await;
    let consumer = letters
        .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
        .await
        .unwrap();
    let letters: Vec<_> = consumer.messages().await.unwrap().take(6).collect().await;
    let mut errors = Vec::new();
    for letter in &letters {
        let letter = letter.as_ref().unwrap();
        let headers = letter.headers.as_ref().unwrap();
        let header = |name: &str| {
            headers
                .get(name)
                .map(|value| value.as_str().to_owned())
                .unwrap_or_default()
        };
        assert_eq!(header("Orders-Reason"), "invalid");
        assert!(header("Orders-Original-Subject").starts_with("orders.cmd."));
        assert!(header("Orders-Original-Position").starts_with("ORDERS_COMMANDS:"));
        assert!(
            letter.subject.starts_with("orders.dlq.writer."),
            "{}",
            letter.subject
        );
        errors.push(header("Orders-Error"));
    }
    for expected in [
        "header ce-specversion is missing",
        "the subject names no message of this pipeline",
        "body must be valid JSON",
        "tenantId must be the tenant of the subject",
        "header ce-subject must be the id derived from tenantId and requestId",
        "orderId should not be empty",
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(expected)),
            "{expected} in {errors:?}"
        );
    }
    eventually(
        "the work queue is empty: nothing is tried for ever",
        async || {
            let stream = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
            let left = stream.cached_info().state.messages;
            if left == 0 { Ok(()) } else { Err(left) }
        },
    )
    .await;
    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 1);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_reply_header_cannot_make_a_daemon_publish_elsewhere() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let client = pipeline.stack.client().await;
    let mut victim = client.subscribe("victim.>").await.unwrap();
    client.flush().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Orders-Reply-To", "victim.subject");
    let sent = jetstream
        .publish_with_headers("orders.cmd.t-1.create", headers, "garbage".into())
        .await;
    sent.unwrap().await.unwrap();
    eventually("it is refused", async || {
        let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        if stream.cached_info().state.messages == 1 {
            Ok(())
        } else {
            Err("no dead letter")
        }
    })
    .await;
    client.flush().await.unwrap();
    let heard = tokio::time::timeout(std::time::Duration::from_millis(200), victim.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn drift_is_named_and_mended() {
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let drifted = jetstream::stream::Config {
        name: "ORDERS_COMMANDS".to_owned(),
        subjects: vec!["orders.cmd.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        max_bytes: 1 << 20,
        description: Some("kept".to_owned()),
        ..Default::default()
    };
    jetstream.create_stream(drifted).await.unwrap();
    let writer = stack.daemon("writer").start().await;
    let log = writer.log();
    assert!(
        log.contains("ORDERS_COMMANDS differs in discard") && log.contains("max_bytes"),
        "{log}"
    );
    let stream = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.max_bytes, 1 << 30);
    assert_eq!(
        config.description.as_deref(),
        Some("kept"),
        "what is not declared stays"
    );
    stack.clean_up().await;
}

#[tokio::test]
async fn drift_that_cannot_be_mended_is_named_and_the_daemon_is_not_ready() {
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let wrong = jetstream::stream::Config {
        name: "ORDERS_COMMANDS".to_owned(),
        subjects: vec!["orders.cmd.>".to_owned()],
        retention: RetentionPolicy::Limits,
        ..Default::default()
    };
    jetstream.create_stream(wrong).await.unwrap();
    let writer = stack.daemon("writer").spawn();
    eventually("the field is named", async || {
        let log = writer.log();
        if log.contains("retention (server Limits, declared WorkQueue)")
            && log.contains("cannot be updated")
        {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    let ready = reqwest::get(format!("{}/readyz", writer.url()))
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
}

/// The declared streams and consumers, as the server has them.
#[tokio::test]
async fn streams_and_consumers_are_what_the_design_says() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let day = 24 * 60 * 60;
    for (name, retention, max_age, window) in [
        ("ORDERS_COMMANDS", RetentionPolicy::WorkQueue, 0, 2),
        ("ORDERS_EVENTS", RetentionPolicy::Limits, 30 * day, 2),
        ("PAYMENTS", RetentionPolicy::Limits, 7 * day, 2),
        ("ORDERS_FEED", RetentionPolicy::Limits, 3 * day, 2),
        ("ORDERS_DLQ", RetentionPolicy::Limits, 30 * day, 15),
        ("REVOCATIONS", RetentionPolicy::Limits, day + 5 * 60, 2),
        (
            "ORDERS_DROPPED",
            RetentionPolicy::Limits,
            365 * day + day / 4,
            2,
        ),
        (
            "ORDERS_AUDIT",
            RetentionPolicy::Limits,
            365 * day + day / 4,
            2,
        ),
    ] {
        let stream = jetstream.get_stream(name).await.unwrap();
        let config = &stream.cached_info().config;
        assert_eq!(config.retention, retention, "{name}");
        assert_eq!(config.max_age.as_secs(), max_age, "{name}");
        assert_eq!(config.duplicate_window.as_secs(), window * 60, "{name}");
        assert!(config.max_bytes > 0, "{name}");
        let is_append_only = name == "ORDERS_AUDIT";
        assert_eq!(config.deny_delete, is_append_only, "{name}");
        assert_eq!(config.deny_purge, is_append_only, "{name}");
    }
    for (stream, durable) in [
        ("ORDERS_COMMANDS", "writer"),
        ("PAYMENTS", "writer"),
        ("ORDERS_EVENTS", "projector"),
    ] {
        let info = jetstream
            .get_stream(stream)
            .await
            .unwrap()
            .consumer_info(durable)
            .await
            .unwrap();
        assert_eq!(info.config.ack_wait.as_secs(), 5);
        assert_eq!(info.config.max_ack_pending, 50_000);
        assert_eq!(info.config.max_deliver, -1);
        assert!(info.config.backoff.is_empty());
    }
    let stream = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    let payments = stream.consumer_info("payment-simulator").await.unwrap();
    assert_eq!(payments.config.max_ack_pending, 50_000);
    assert_eq!(payments.config.filter_subject, "orders.evt.*.created");
    pipeline.stack.clean_up().await;
}

/// Every message that passes validates against the committed schema of its kind.
#[tokio::test]
async fn messages_are_what_the_schemas_say() {
    let pipeline = Pipeline::start("100ms").await;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let jetstream = pipeline.stack.jetstream().await;
    for (stream, sequence, schema) in [
        ("ORDERS_EVENTS", 1, "events/order-event.v1.json"),
        ("ORDERS_EVENTS", 2, "events/order-event.v1.json"),
        ("PAYMENTS", 1, "events/order-paid.v1.json"),
        ("ORDERS_FEED", 1, "events/feed-entry.v1.json"),
    ] {
        let message = jetstream
            .get_stream(stream)
            .await
            .unwrap()
            .get_raw_message(sequence)
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        let text = std::fs::read_to_string(orders_testkit::checkout().join("schemas").join(schema))
            .unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{stream} {sequence}: {body}");
        assert!(
            !validator.is_valid(&json!({})),
            "the schema refuses something"
        );
    }
    pipeline.stack.clean_up().await;
}

/// Publishes the payment of an order as the payment-simulator does.
async fn payment(jetstream: &jetstream::Context, order_id: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", format!("{order_id}:by-hand"));
    headers.insert("ce-type", "orders.order.paid.v1");
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", order_id);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    let body = json!({
        "tenantId": "t-1", "orderId": order_id, "amount": 99.98, "paidAt": "2025-08-26T09:00:00Z",
    });
    let sent = jetstream
        .publish_with_headers("payments.evt.t-1.paid", headers, body.to_string().into())
        .await;
    sent.unwrap().await.unwrap();
}

/// A message that is delivered again and again and never settled is handled alone, and given up once others get through.
#[tokio::test]
async fn a_crash_loop_is_given_up_while_others_get_through() {
    let mut pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let id = pipeline.create("t-1", "r1").await;
    // An order that no version can read: whatever is tried, its payment cannot be carried out.
    let database = pipeline.stack.database().await;
    let orders = database.collection::<mongodb::bson::Document>("orders_write");
    orders
        .update_one(doc! { "_id": &id }, doc! { "$set": { "total": "corrupt" } })
        .await
        .unwrap();
    assert!(pipeline.writer.terminate().await.success());
    payment(&jetstream, &id).await;
    // As if a writer had died of it again and again.
    let stream = jetstream.get_stream("PAYMENTS").await.unwrap();
    let consumer = stream
        .get_consumer::<jetstream::consumer::pull::Config>("writer")
        .await
        .unwrap();
    for _ in 0..30 {
        let mut batch = consumer.batch().max_messages(1).messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        message
            .ack_with(jetstream::AckKind::Nak(None))
            .await
            .unwrap();
    }

    pipeline.writer.restart(|writer| writer).await;
    let good = pipeline.create("t-1", "r2").await;
    payment(&jetstream, &good).await;
    let letter = eventually("it is given up", async || {
        let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        stream.get_raw_message(1).await
    })
    .await;
    assert_eq!(
        letter.headers.get("Orders-Reason").unwrap().as_str(),
        "crash_loop"
    );
    assert_eq!(letter.headers.get("ce-subject").unwrap().as_str(), id);
    pipeline.until_status("t-1", &good, "PAID").await;
    pipeline.stack.clean_up().await;
}

/// A message that two daemons give up is two dead letters, and one as large as the server takes is one as well.
#[tokio::test]
async fn dead_letters_of_any_size_and_of_every_daemon_are_kept() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let publish = async |headers: HeaderMap, body: Vec<u8>| {
        let sent = jetstream
            .publish_with_headers("orders.evt.t-1.created", headers, body.into())
            .await;
        sent.unwrap().await.unwrap();
    };
    publish(HeaderMap::new(), b"garbage".to_vec()).await;
    let mut headers = HeaderMap::new();
    for n in 0..20 {
        headers.insert(format!("x-{n}"), "x".repeat(1_000));
    }
    publish(headers, vec![b'x'; (1 << 20) - (24 << 10)]).await;
    // Nothing behind them is held up.
    pipeline.create("t-1", "r1").await;
    eventually(
        "the projector and the payment-simulator gave up both",
        async || {
            let mut subjects = Vec::new();
            let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
            for sequence in 1..=stream.cached_info().state.messages {
                subjects.push(
                    stream
                        .get_raw_message(sequence)
                        .await
                        .unwrap()
                        .subject
                        .to_string(),
                );
            }
            subjects.sort();
            let both = [
                "orders.dlq.payment-simulator.t-1",
                "orders.dlq.projector.t-1",
            ];
            if subjects == [both[0], both[0], both[1], both[1]] {
                Ok(())
            } else {
                Err(subjects)
            }
        },
    )
    .await;
    pipeline.stack.clean_up().await;
}
