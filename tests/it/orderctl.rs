//! The operator's tool, as an operator calls it: dead letters, the timeline, drift, the doctor.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{self, stream::Config},
};
use futures_util::{StreamExt, future::join_all, stream};
use orders_testkit::{Stack, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::pipeline::Pipeline;

/// The order that tenant `t-123` makes with the request id `r1`.
const ORDER: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";

/// `orderctl` on the servers of `stack`, without a terminal.
fn orderctl(stack: &Stack, args: &[&str]) -> Command {
    let folder = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut command = Command::new(Path::new(&folder).join("orderctl"));
    command
        .args(args)
        .env_clear()
        .env("USER", "alice")
        .env("NATS_URL", stack.nats.url())
        .env("MONGO_URL", &stack.mongo_url)
        .env("NATS_MONITOR_URL", stack.nats.monitor_url())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What an ended `orderctl` has said.
struct Said {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            text: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its output as JSON, an object a line.
    fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        self.text.lines().map(parse).collect()
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.text, self.errors);
        self
    }
}

async fn run(stack: &Stack, args: &[&str]) -> Said {
    Said::of(orderctl(stack, args).output().await.unwrap())
}

async fn messages(jetstream: &jetstream::Context, stream: &str) -> u64 {
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.cached_info().state.messages
}

async fn publish(jetstream: &jetstream::Context, subject: &str, headers: HeaderMap, body: Vec<u8>) {
    let sent = jetstream.publish_with_headers(subject.to_owned(), headers, body.into());
    sent.await.unwrap().await.unwrap();
}

/// The headers of a well-formed message.
fn headers(id: &str, kind: &str, order: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id);
    headers.insert("ce-type", format!("com.example.orders.{kind}.v1"));
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", order);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    headers
}

/// The payment of an order that does not exist yet.
async fn early_payment(jetstream: &jetstream::Context) {
    let mut headers = headers("early", "order.paid", ORDER);
    headers.insert("Nats-Msg-Id", "early");
    let body = json!({
        "tenantId": "t-123", "orderId": ORDER, "amount": 99.98, "paidAt": "2025-08-26T09:00:00Z",
    });
    let body = body.to_string().into_bytes();
    publish(jetstream, "payments.evt.t-123.paid", headers, body).await;
}

async fn until_dead_letters(jetstream: &jetstream::Context, count: u64) {
    eventually("the dead letters are there", async || {
        let found = messages(jetstream, "ORDERS_DLQ").await;
        if found == count { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_found_brought_back_and_dropped() {
    let pipeline = Pipeline::start("1h").await;
    let stack = &pipeline.stack;
    let jetstream = stack.jetstream().await;
    run(stack, &["dlq", "list"]).await.expect(0);
    early_payment(&jetstream).await;
    let garbage = b"garbage".to_vec();
    publish(
        &jetstream,
        "orders.cmd.t-2.create",
        HeaderMap::new(),
        garbage.clone(),
    )
    .await;
    publish(
        &jetstream,
        "orders.cmd.what.is.this",
        HeaderMap::new(),
        garbage,
    )
    .await;
    until_dead_letters(&jetstream, 3).await;

    let list = async |filters: &[&str]| {
        let args = [&["dlq", "list", "--json"], filters].concat();
        let said = run(stack, &args).await;
        let found = said.lines();
        said.expect(i32::from(!found.is_empty()));
        found
    };
    assert_eq!(list(&[]).await.len(), 3);
    assert_eq!(list(&["--daemon", "writer"]).await.len(), 3);
    assert_eq!(list(&["--daemon", "projector"]).await.len(), 0);
    assert_eq!(list(&["--reason", "invalid"]).await.len(), 2);
    assert_eq!(list(&["--tenant", "t-2"]).await.len(), 1);
    assert_eq!(list(&["--since", "1h ago"]).await.len(), 3);
    assert_eq!(list(&["--until", "1h ago"]).await.len(), 0);
    assert_eq!(list(&["--since", "2999-01-01T00:00:00Z"]).await.len(), 0);
    let [payment] = &list(&["--reason", "unknown_order"]).await[..] else {
        panic!("one payment");
    };
    assert_eq!(payment["orderId"], ORDER);
    assert_eq!(payment["originalPosition"], "PAYMENTS:1");
    let sequence = payment["sequence"].to_string();

    let shown = run(stack, &["dlq", "show", &sequence]).await.expect(0).text;
    for part in [
        "Orders-Reason: unknown_order",
        "ce-id: early",
        r#""amount":99.98"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    run(stack, &["dlq", "show", "99"]).await.expect(1);

    let refused = run(stack, &["dlq", "redrive"]).await.expect(1);
    assert!(refused.errors.contains("--yes"), "{}", refused.errors);
    assert!(
        refused.errors.contains("1 of writer, unknown_order"),
        "{}",
        refused.errors
    );
    run(stack, &["dlq", "drop"]).await.expect(1);
    assert_eq!(
        messages(&jetstream, "ORDERS_DLQ").await,
        3,
        "nothing happens unasked"
    );

    pipeline.create("t-123", "r1").await;
    let args = [
        "dlq",
        "redrive",
        "--reason",
        "unknown_order",
        "--yes",
        "--json",
    ];
    let redriven = run(stack, &args).await.expect(0);
    assert_eq!(redriven.lines(), [json!({ "redriven": 1, "left": 0 })]);
    pipeline.until_status("t-123", ORDER, "PAID").await;
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 2);
    let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
    let again = payments.get_raw_message(2).await.unwrap();
    let header = |name: &str| again.headers.get(name).map(|value| value.as_str());
    assert_eq!(header("ce-id"), Some("early"));
    assert_ne!(header("Nats-Msg-Id"), Some("early"));
    assert_eq!(header("Orders-Reason"), None);

    // What names no message of the pipeline cannot go anywhere.
    run(stack, &["dlq", "redrive", "--tenant", "t-2", "--yes"])
        .await
        .expect(0);
    until_dead_letters(&jetstream, 2).await;
    run(
        stack,
        &["dlq", "redrive", "--since", "1h", "--until", "0s", "--yes"],
    )
    .await;
    run(stack, &["dlq", "drop", "--yes", "--operator", "bob"])
        .await
        .expect(0);
    assert_eq!(list(&[]).await.len(), 0);

    let audit = jetstream.get_stream("ORDERS_AUDIT").await.unwrap();
    let entry = audit.get_raw_message(1).await.unwrap();
    assert_eq!(entry.subject.as_str(), "orders.audit.t-123.redriven");
    let entry: Value = serde_json::from_slice(&entry.payload).unwrap();
    assert!(
        entry["operator"].as_str().unwrap().starts_with("alice@"),
        "{entry}"
    );
    assert_eq!(entry["deadLetter"]["originalPosition"], "PAYMENTS:1");
    let last = audit
        .get_last_raw_message_by_subject("orders.audit.*.dropped")
        .await
        .unwrap();
    let last: Value = serde_json::from_slice(&last.payload).unwrap();
    assert_eq!(last["operator"], "bob");
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    assert_eq!(
        letters.cached_info().state.consumer_count,
        0,
        "no consumer is left behind"
    );
    pipeline.stack.clean_up().await;
}

/// Part of a message is worse than none.
#[tokio::test]
async fn what_was_cut_to_fit_is_not_sent_again() {
    let pipeline = Pipeline::start("1h").await;
    let stack = &pipeline.stack;
    let jetstream = stack.jetstream().await;
    let body = vec![b'x'; (1 << 20) - 1_000];
    publish(&jetstream, "orders.evt.t-1.created", HeaderMap::new(), body).await;
    until_dead_letters(&jetstream, 2).await;
    let events = messages(&jetstream, "ORDERS_EVENTS").await;
    let said = run(stack, &["dlq", "redrive", "--yes"]).await.expect(1);
    assert!(
        said.errors.contains("2 of them cannot be redriven"),
        "{}",
        said.errors
    );
    let shown = run(stack, &["dlq", "show", "1"]).await.expect(0).text;
    assert!(shown.contains("incomplete, without the end of a body of 1047576 bytes"));
    assert_eq!(messages(&jetstream, "ORDERS_EVENTS").await, events);
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 2);
    run(stack, &["dlq", "drop", "1", "2", "--yes"])
        .await
        .expect(0);
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 0);
    pipeline.stack.clean_up().await;
}

/// Thousands of dead letters, a Ctrl-C and a crash in the middle: in the end each message is there exactly once.
#[tokio::test]
async fn a_redrive_that_was_cut_short_sends_nothing_twice() {
    const LETTERS: u64 = 3_000;
    let stack = Stack::start().await;
    let jetstream = stack.jetstream().await;
    run(&stack, &["migrate"]).await.expect(0);
    stream::iter(0..LETTERS)
        .for_each_concurrent(256, async |n| {
            let mut headers = headers(&format!("{ORDER}:{n}"), "feed.updated", ORDER);
            headers.insert("Orders-Reason", "refused");
            headers.insert("Orders-Original-Subject", "orders.feed.t-123.updated");
            publish(
                &jetstream,
                "orders.dlq.projector.t-123",
                headers,
                b"{}".to_vec(),
            )
            .await;
        })
        .await;
    let listed = run(&stack, &["dlq", "list", "--json"]).await.expect(1);
    assert_eq!(listed.lines().len() as u64, LETTERS);

    let slowly = [
        "dlq", "redrive", "--yes", "--batch", "100", "--pause", "200ms", "--json",
    ];
    let until_begun = async |left: u64| {
        eventually("it has begun", async || {
            let found = messages(&jetstream, "ORDERS_DLQ").await;
            if found < left { Ok(found) } else { Err(found) }
        })
        .await
    };
    let interrupted = orderctl(&stack, &slowly)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_begun(LETTERS).await;
    interrupt(&interrupted).await;
    let said = Said::of(interrupted.wait_with_output().await.unwrap()).expect(130);
    let left = messages(&jetstream, "ORDERS_DLQ").await;
    assert!(left > 0, "it was interrupted in the middle");
    assert_eq!(
        said.lines(),
        [json!({ "redriven": LETTERS - left, "left": 0 })]
    );
    assert_eq!(messages(&jetstream, "ORDERS_FEED").await, LETTERS - left);

    let mut killed = orderctl(&stack, &slowly).spawn().unwrap();
    until_begun(left).await;
    killed.kill().await.unwrap();
    let both = [["dlq", "redrive", "--yes", "--json"]; 2];
    let at_once = join_all(both.iter().map(|args| run(&stack, args))).await;
    for said in at_once {
        said.expect(0);
    }
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 0);
    assert_eq!(messages(&jetstream, "ORDERS_FEED").await, LETTERS);
    assert_eq!(messages(&jetstream, "ORDERS_AUDIT").await, LETTERS);
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    eventually(
        "the consumers are gone, that of the killed one too",
        async || match letters.get_info().await.unwrap().state.consumer_count {
            0 => Ok(()),
            count => Err(count),
        },
    )
    .await;
    stack.clean_up().await;
}

async fn drop_index(stack: &Stack, collection: &str, index: &str) {
    let database = stack.database().await;
    let collection = database.collection::<mongodb::bson::Document>(collection);
    // FerretDB does it and answers what the driver does not read; the names tell.
    let _ = collection.drop_index(index).await;
    let names = collection.list_index_names().await.unwrap();
    assert!(!names.iter().any(|name| name == index), "{names:?}");
}

/// Presses Ctrl-C.
async fn interrupt(process: &tokio::process::Child) {
    let id = process.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(kill.unwrap().success());
}

#[tokio::test]
async fn the_timeline_of_an_order_is_one_across_all_streams() {
    let pipeline = Pipeline::start("100ms").await;
    let stack = &pipeline.stack;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.create("t-2", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let said = run(stack, &["tap", &id, "--no-follow", "--json"])
        .await
        .expect(0);
    let lines = said.lines();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| {
            line["type"]
                .as_str()
                .unwrap()
                .trim_start_matches("com.example.orders.")
        })
        .collect();
    let expected = [
        "order.created.v1",
        "feed.created.v1",
        "order.paid.v1",
        "order.updated.v1",
        "feed.updated.v1",
    ];
    assert_eq!(kinds, expected);
    assert!(lines.iter().all(|line| line["orderId"] == id.as_str()));
    assert!(
        lines
            .iter()
            .all(|line| line["traceId"] == lines[0]["traceId"])
    );
    assert_eq!(lines[0]["sinceFirstMs"], 0);
    assert!(lines[4]["sinceFirstMs"].as_u64().unwrap() >= 100);
    assert_eq!(
        (&lines[4]["status"], &lines[4]["version"]),
        (&json!("PAID"), &json!(2))
    );

    // What comes, with the command.
    let mut tap = orderctl(stack, &["tap", "--tenant", "t-1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(tap.stdout.take().unwrap()).lines();
    for _ in expected {
        output.next_line().await.unwrap().unwrap();
    }
    let id = pipeline.create("t-1", "r2").await;
    let mut live = Vec::new();
    while live.len() < 6 {
        let line = tokio::time::timeout(orders_testkit::LIMIT, output.next_line()).await;
        let line: Value = serde_json::from_str(&line.unwrap().unwrap().unwrap()).unwrap();
        assert_eq!(line["orderId"], id.as_str());
        live.push(line["subject"].as_str().unwrap().to_owned());
    }
    live.sort();
    let expected = [
        "orders.cmd.t-1.create",
        "orders.evt.t-1.created",
        "orders.evt.t-1.updated",
        "orders.feed.t-1.created",
        "orders.feed.t-1.updated",
        "payments.evt.t-1.paid",
    ];
    assert_eq!(live, expected);
    interrupt(&tap).await;
    assert_eq!(tap.wait().await.unwrap().code(), Some(0));
    run(stack, &["tap"]).await.expect(2);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn drift_is_told_mended_and_refused() {
    let mut stack = Stack::start().await;
    let jetstream = stack.jetstream().await;
    let told = run(&stack, &["migrate", "--check"]).await.expect(1).text;
    for part in [
        "stream ORDERS_EVENTS: is missing",
        "consumer PAYMENTS/writer: is missing",
        "index tenantId_1_requestId_1 of orders_write is missing",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(
        jetstream.get_stream("ORDERS_EVENTS").await.is_err(),
        "nothing was made"
    );
    let refused = |name| stack.daemon(name).env("ORDERS_AUTO_MIGRATE", "false");
    for name in [
        "edge",
        "writer",
        "projector",
        "payment-simulator",
        "realtime",
    ] {
        let mut daemon = refused(name).spawn();
        assert_eq!(daemon.ended().await.code(), Some(1));
        assert!(
            daemon.log().contains("is missing; run `orderctl migrate`"),
            "{}",
            daemon.log()
        );
    }
    assert!(
        jetstream.get_stream("ORDERS_EVENTS").await.is_err(),
        "nothing was made"
    );

    let done = run(&stack, &["migrate"]).await.expect(0).text;
    assert!(
        done.contains("stream ORDERS_EVENTS: is missing; created"),
        "{done}"
    );
    run(&stack, &["migrate", "--check"]).await.expect(0);
    for name in [
        "edge",
        "writer",
        "projector",
        "payment-simulator",
        "realtime",
    ] {
        let mut daemon = refused(name).start().await;
        assert!(daemon.terminate().await.success());
    }

    // A field of a stream, one of a consumer, an index.
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    let config = events.cached_info().config.clone();
    jetstream
        .update_stream(Config {
            max_bytes: 1 << 20,
            ..config
        })
        .await
        .unwrap();
    let mut daemon = refused("projector").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let drift = "ORDERS_EVENTS differs in max_bytes (server 1048576, declared 4294967296)";
    assert!(daemon.log().contains(drift), "{}", daemon.log());
    let told = run(&stack, &["migrate", "--check"]).await.expect(1).text;
    assert!(
        told.contains(drift.trim_start_matches("ORDERS_EVENTS ")),
        "{told}"
    );
    run(&stack, &["migrate"]).await.expect(0);

    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    let mut config = commands.consumer_info("writer").await.unwrap().config;
    config.max_ack_pending = 7;
    commands.update_consumer(config).await.unwrap();
    let mut daemon = refused("writer").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let drift = "ORDERS_COMMANDS/writer differs in max_ack_pending (server 7, declared 8192)";
    assert!(daemon.log().contains(drift), "{}", daemon.log());
    run(&stack, &["migrate"]).await.expect(0);

    drop_index(&stack, "orders_write", "status_1").await;
    let mut daemon = refused("writer").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    assert!(
        daemon
            .log()
            .contains("index status_1 of orders_write is missing")
    );
    let done = run(&stack, &["migrate"]).await.expect(0).text;
    assert!(
        done.contains("index status_1 of orders_write is missing; created"),
        "{done}"
    );

    // A server that is away is waited for.
    stack.nats.kill().await;
    let writer = stack
        .daemon("writer")
        .env("ORDERS_AUTO_MIGRATE", "false")
        .spawn();
    eventually("it retries", async || {
        let log = writer.log();
        if log.contains("retrying") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    stack.nats.restart().await;
    writer.ready().await;
    drop(writer);
    stack.clean_up().await;
}

#[tokio::test]
async fn the_doctor_says_green_or_a_remedy() {
    let mut pipeline = Pipeline::start("1h").await;
    let look = [
        "doctor",
        "--json",
        "--look",
        "300ms",
        "--payment-delay",
        "1h",
    ];
    pipeline.create("t-1", "r1").await;
    let colours = async |stack: &Stack, code: i32| {
        let said = run(stack, &look).await.expect(code);
        let line = |line: Value| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                line["colour"] == "green",
                line["remedy"].is_null(),
                "{line}"
            );
            (text("check"), (text("colour"), text("found")))
        };
        said.lines()
            .into_iter()
            .map(line)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let found = colours(&pipeline.stack, 0).await;
    assert_eq!(
        found["sync of nats"],
        ("yellow".to_owned(), "every 2m".to_owned())
    );
    let others = found.iter().filter(|(check, _)| *check != "sync of nats");
    for (check, (colour, said)) in others {
        assert_eq!(colour, "green", "{check}: {said}");
    }
    let text = run(&pipeline.stack, &["doctor", "--look", "0s"]).await.text;
    assert!(!text.contains('\x1b'), "colour is for terminals");

    // A writer that is gone with work left, a dead letter, drift, a database without an index.
    let jetstream = pipeline.stack.jetstream().await;
    assert!(pipeline.writer.terminate().await.success());
    early_payment(&jetstream).await;
    publish(
        &jetstream,
        "orders.evt.t-1.created",
        HeaderMap::new(),
        b"garbage".to_vec(),
    )
    .await;
    until_dead_letters(&jetstream, 2).await;
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    let config = feed.cached_info().config.clone();
    jetstream
        .update_stream(Config {
            max_age: Duration::from_secs(3_600),
            ..config
        })
        .await
        .unwrap();
    let by_time = "tenantId_1_createdAt_-1_orderId_-1";
    drop_index(&pipeline.stack, "orders_read", by_time).await;
    let found = colours(&pipeline.stack, 1).await;
    for (check, said) in [
        ("progress of PAYMENTS/writer", "stuck: 1 not delivered"),
        ("dead letters", "2"),
        ("stream ORDERS_FEED", "differs in max_age"),
        ("indexes of orders_read", "is missing"),
    ] {
        let (colour, found) = &found[check];
        assert_eq!(colour, "red", "{check}: {found}");
        assert!(found.contains(said), "{check}: {found}");
    }

    pipeline.stack.nats.kill().await;
    let found = colours(&pipeline.stack, 1).await;
    assert_eq!(found["nats"].0, "red");
    assert_eq!(found["database"].0, "green");
    pipeline.stack.clean_up().await;
}
