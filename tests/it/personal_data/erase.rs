//! `orderctl erase`: what it erases is gone from the database, the streams and the server's files, and stays gone.

use std::{process::Stdio, time::Duration};

use async_nats::HeaderMap;
use futures_util::{StreamExt, stream};
use mongodb::bson::doc;
use orders_testkit::{Stack, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{documents, is_in_files, messages};
use crate::{
    orderctl::{Said, interrupt, orderctl, run},
    pipeline::{Pipeline, order_id},
};

const EMAIL: &str = "Erasable9c1@Example.com";
const CANONICAL: &str = "erasable9c1@example.com";
/// What is in everything that holds the buyer's data.
const NEEDLES: [&str; 2] = ["erasable9c1", "buyer9c1"];

fn order(tenant: &str, request: &str, email: &str, name: &str) -> Value {
    json!({
        "requestId": request, "tenantId": tenant, "buyer": { "email": email, "name": name },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
    })
}

fn order_of_buyer(request: &str) -> Value {
    let mut order = order("t-1", request, EMAIL, "Buyer9c1");
    order["attachment"] = json!({
        "filename": "buyer9c1.pdf", "contentType": "application/pdf", "size": 6,
        "storageKey": "tenants/t-1/orders/abcd1234/buyer9c1.pdf",
    });
    order["metadata"] = json!({ "gift of Buyer9c1": "to erasable9c1" });
    order
}

async fn create(pipeline: &Pipeline, order: &Value) -> String {
    let created = pipeline.post("/api/orders", order).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    order_id(created).await
}

const BUYER: [&str; 5] = ["erase", "--tenant", "t-1", "--buyer-email", CANONICAL];

async fn erase(stack: &Stack, whose: &[&str], more: &[&str]) -> Said {
    run(stack, &[whose, more].concat()).await
}

/// Waits until no file of the server has the needles; the server may write a little later than it answers.
async fn until_gone_from_files(stack: &Stack, needles: &[&str]) {
    let folder = stack.folder().join("nats");
    eventually(
        "the server's files have nothing of it",
        async || match is_in_files(&folder, needles) {
            false => Ok(()),
            true => Err("they have"),
        },
    )
    .await;
}

#[track_caller]
fn has_none(text: &str, needles: &[&str]) {
    let lower = text.to_lowercase();
    for needle in needles {
        let line = lower.lines().find(|line| line.contains(needle));
        assert_eq!(line, None, "{needle}");
    }
}

async fn is_nowhere(stack: &Stack, needles: &[&str]) {
    has_none(&documents(stack).await, needles);
    let jetstream = stack.jetstream().await;
    for stream in [
        "ORDERS_EVENTS",
        "PAYMENTS",
        "ORDERS_FEED",
        "ORDERS_DLQ",
        "ORDERS_DROPPED",
        "ORDERS_AUDIT",
    ] {
        has_none(&messages(&jetstream, stream).await, needles);
    }
    until_gone_from_files(stack, needles).await;
}

/// Publishes what the writer gives up, with the buyer's address in it.
async fn dead_letters(stack: &Stack, count: u64) {
    let jetstream = stack.jetstream().await;
    for n in 0..count {
        let body = format!("garbage {n} of {CANONICAL}");
        let sent = jetstream.publish("orders.cmd.t-1.create", body.into());
        sent.await.unwrap().await.unwrap();
    }
    eventually("they are dead letters", async || {
        let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        match stream.cached_info().state.messages {
            found if found == count => Ok(()),
            found => Err(found),
        }
    })
    .await;
}

#[tokio::test]
async fn a_buyer_is_erased_for_good_and_the_orders_stay() {
    // Where the projector may make its consumer again.
    let mut pipeline = Pipeline::open("200ms").await;
    let paid = create(&pipeline, &order_of_buyer("r1")).await;
    let other = create(
        &pipeline,
        &order("t-1", "o1", "malice@example.com", "Mallory"),
    )
    .await;
    pipeline.until_status("t-1", &paid, "PAID").await;
    pipeline.until_status("t-1", &other, "PAID").await;
    let stack = &pipeline.stack;
    dead_letters(stack, 2).await;
    run(stack, &["dlq", "drop", "1", "--yes"]).await.expect(0);
    let folder = stack.folder().join("nats");
    assert!(
        is_in_files(&folder, &NEEDLES),
        "what is to be erased is there"
    );

    // It says what it would do, and does nothing unasked.
    let planned = erase(stack, &BUYER, &["--dry-run", "--json"])
        .await
        .expect(1);
    let expected = json!({
        "orders": 1, "rows": 1, "files": 0,
        "messages": { "ORDERS_EVENTS": 2, "ORDERS_DLQ": 1, "ORDERS_DROPPED": 1 },
    });
    assert_eq!(planned.last()["found"], expected);
    let unasked = erase(stack, &BUYER, &[]).await.expect(1);
    assert!(unasked.errors.contains("--yes"), "{}", unasked.errors);
    let text = "found 1 order, 1 row, 4 messages (2 ORDERS_EVENTS, 1 ORDERS_DLQ, 1 ORDERS_DROPPED)";
    assert!(unasked.text.contains(text), "{}", unasked.text);
    assert!(
        unasked.text.contains("a mock that stores nothing"),
        "{}",
        unasked.text
    );
    for wrong in [
        &BUYER[..3],
        &["erase", "--buyer-email", CANONICAL],
        &["erase", "--all"],
    ] {
        erase(stack, wrong, &["--yes"]).await.expect(2);
    }
    assert!(documents(stack).await.contains("Buyer9c1"));

    let path = format!("/api/orders/{paid}?tenantId=t-1");
    let before = pipeline.get(&path).await.headers()["etag"].clone();
    let said = erase(stack, &BUYER, &["--yes", "--json"]).await.expect(0);
    // Whoever has what was there must not hear that it still is.
    let url = format!("{}{path}", pipeline.edge.url());
    let again = pipeline.http.get(url).header("if-none-match", &before);
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_ne!(again.headers()["etag"], before);
    assert_eq!(said.last()["erased"], expected);
    assert_eq!(said.last()["left"], json!([]));
    is_nowhere(stack, &NEEDLES).await;
    stays_erased(&mut pipeline, &paid).await;
    is_recorded(&pipeline.stack, &paid).await;

    // The order itself is what it was, and the other buyer's is too.
    let row = pipeline
        .get_json(&format!("/api/orders/{paid}?tenantId=t-1"))
        .await;
    let file = json!({
        "filename": "erased", "storageKey": "erased", "contentType": "application/pdf", "size": 6,
    });
    assert_eq!(
        (&row["status"], &row["total"]),
        (&json!("PAID"), &json!(99.98))
    );
    assert_eq!(
        (&row["buyerEmail"], &row["attachment"]),
        (&json!("erased"), &file)
    );
    let row = pipeline
        .get_json(&format!("/api/orders/{other}?tenantId=t-1"))
        .await;
    assert_eq!(row["buyerEmail"], "malice@example.com");

    // A tenant has its own buyers.
    let elsewhere = create(&pipeline, &order("t-2", "r1", EMAIL, "Buyer9c1")).await;
    let nothing = erase(&pipeline.stack, &BUYER, &["--yes"]).await.expect(0);
    assert!(
        nothing
            .text
            .starts_with("found 0 orders, 0 rows, 0 messages"),
        "{}",
        nothing.text
    );
    let row = pipeline
        .get_json(&format!("/api/orders/{elsewhere}?tenantId=t-2"))
        .await;
    assert_eq!(row["buyerEmail"], CANONICAL);
    pipeline.stack.clean_up().await;
}

/// Nothing brings it back: no replay, no redrive, no rebuild, no repetition of the request.
async fn stays_erased(pipeline: &mut Pipeline, id: &str) {
    let jetstream = pipeline.stack.jetstream().await;
    assert!(pipeline.projector.terminate().await.success());
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    events.delete_consumer("projector").await.unwrap();
    pipeline.projector.restart(|setup| setup).await;
    eventually("all is projected again", async || {
        let projector = events.consumer_info("projector").await.unwrap();
        match projector.num_pending + projector.num_ack_pending as u64 {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    let stack = &pipeline.stack;
    run(stack, &["projection", "verify"]).await.expect(0);
    run(stack, &["projection", "rebuild", "--from-start", "--yes"])
        .await
        .expect(0);
    run(stack, &["reconcile", "--yes"]).await.expect(0);
    run(stack, &["dlq", "redrive", "--yes"]).await.expect(0);
    let restore = run(stack, &["dlq", "restore", "1", "--yes"])
        .await
        .expect(1);
    assert!(
        restore.errors.contains("it was erased"),
        "{}",
        restore.errors
    );
    let nothing = erase(stack, &BUYER, &["--yes", "--json"]).await.expect(0);
    let expected = json!({ "orders": 0, "rows": 0, "files": 0, "messages": {} });
    assert_eq!(nothing.lines(), [json!({ "found": expected })]);
    is_nowhere(stack, &NEEDLES).await;

    // The buyer sends the request again: it is the same order, and nothing of it is stored.
    let again = pipeline.post("/api/orders", &order_of_buyer("r1")).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(order_id(again).await, id);
    has_none(&documents(&pipeline.stack).await, &NEEDLES);
    until_gone_from_files(&pipeline.stack, &NEEDLES).await;
}

/// The audit says who did what to whom, without saying whom, and nobody can change it.
async fn is_recorded(stack: &Stack, id: &str) {
    let audit = run(stack, &["audit", "--action", "erased", "--json"])
        .await
        .expect(0);
    let entries = audit.lines();
    let results: Vec<_> = entries
        .iter()
        .map(|entry| entry["result"].clone())
        .collect();
    assert_eq!(results, ["begun", "begun", "done"], "{}", audit.text);
    for entry in &entries {
        assert!(
            entry["actor"].as_str().unwrap().starts_with("alice@"),
            "{entry}"
        );
        assert_eq!(entry["tenant"], "t-1");
        let hash = entry["erasure"]["buyer"].as_str().unwrap();
        assert_eq!(hash.len(), 64, "{entry}");
        assert_eq!(entry["erasure"]["buyer"], entries[0]["erasure"]["buyer"]);
    }
    assert_eq!(entries[1]["erasure"]["orders"], json!([id]));

    let jetstream = stack.jetstream().await;
    let stream = jetstream.get_stream("ORDERS_AUDIT").await.unwrap();
    let before = stream.cached_info().state.messages;
    assert!(stream.delete_message(1).await.is_err());
    assert!(stream.purge().await.is_err());
    let mut config = stream.cached_info().config.clone();
    config.deny_delete = false;
    assert!(jetstream.update_stream(config).await.is_err());
    let after = jetstream.get_stream("ORDERS_AUDIT").await.unwrap();
    assert_eq!(after.cached_info().state.messages, before);
}

/// One order of a buyer; the others stay until their turn comes.
#[tokio::test]
async fn one_order_of_a_buyer_is_erased_alone() {
    let pipeline = Pipeline::start("200ms").await;
    let [one, two] = [
        create(&pipeline, &order("t-1", "r1", EMAIL, "Single9c1")).await,
        create(&pipeline, &order("t-1", "r2", EMAIL, "Second9c1")).await,
    ];
    for id in [&one, &two] {
        pipeline.until_status("t-1", id, "PAID").await;
    }
    let stack = &pipeline.stack;
    let said = erase(stack, &BUYER, &["--order", &one, "--yes", "--json"])
        .await
        .expect(0);
    let expected =
        json!({ "orders": 1, "rows": 1, "files": 0, "messages": { "ORDERS_EVENTS": 2 } });
    assert_eq!(said.last()["erased"], expected);
    is_nowhere(stack, &["single9c1"]).await;
    let events = messages(&stack.jetstream().await, "ORDERS_EVENTS").await;
    assert!(!events.contains(&one) && events.contains(&two), "{events}");
    let row = pipeline
        .get_json(&format!("/api/orders/{two}?tenantId=t-1"))
        .await;
    assert_eq!(row["buyerEmail"], CANONICAL);
    erase(stack, &BUYER, &["--yes"]).await.expect(0);
    is_nowhere(stack, &NEEDLES).await;
    run(stack, &["projection", "verify"]).await.expect(0);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn of_an_erased_tenant_only_the_audit_stays() {
    let pipeline = Pipeline::start("200ms").await;
    let other = create(&pipeline, &order("t-2", "o1", "bob@example.com", "Bob")).await;
    for n in 0..5 {
        create(&pipeline, &order_of_buyer(&format!("r{n}"))).await;
    }
    let id = create(&pipeline, &order_of_buyer("last")).await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline.until_status("t-2", &other, "PAID").await;
    let stack = &pipeline.stack;
    dead_letters(stack, 1).await;
    let tenant = ["erase", "--tenant", "t-1", "--all"];
    erase(stack, &tenant, &["--dry-run"]).await.expect(1);
    let said = erase(stack, &tenant, &["--yes", "--json"]).await.expect(0);
    let erased = &said.last()["erased"];
    assert_eq!(
        (&erased["orders"], &erased["rows"]),
        (&json!(6), &json!(6)),
        "{erased}"
    );
    is_nowhere(stack, &NEEDLES).await;
    assert_eq!(
        stack
            .count("orders_write", doc! { "tenantId": "t-1" })
            .await,
        0
    );
    assert_eq!(
        stack.count("orders_read", doc! { "tenantId": "t-1" }).await,
        0
    );
    let jetstream = stack.jetstream().await;
    for stream in [
        "ORDERS_EVENTS",
        "PAYMENTS",
        "ORDERS_FEED",
        "ORDERS_DLQ",
        "ORDERS_DROPPED",
    ] {
        let held = messages(&jetstream, stream).await;
        assert!(!held.contains(".t-1"), "{held}");
    }
    for stream in ["ORDERS_EVENTS", "PAYMENTS", "ORDERS_FEED"] {
        assert!(
            messages(&jetstream, stream).await.contains(".t-2."),
            "{stream}"
        );
    }
    let nothing = erase(stack, &tenant, &["--yes"]).await.expect(0);
    assert!(
        nothing
            .text
            .starts_with("found 0 orders, 0 rows, 0 messages"),
        "{}",
        nothing.text
    );
    let row = pipeline
        .get_json(&format!("/api/orders/{other}?tenantId=t-2"))
        .await;
    assert_eq!(row["buyerEmail"], "bob@example.com");
    run(stack, &["projection", "verify"]).await.expect(0);
    pipeline.stack.clean_up().await;
}

/// Orders come, are listed and paid while it erases: in the end nothing is left of those that came before its end.
#[tokio::test]
async fn what_is_in_flight_is_erased_too() {
    let pipeline = Pipeline::start("300ms").await;
    let stack = &pipeline.stack;
    create(&pipeline, &order_of_buyer("first")).await;
    let post = async |n: usize| {
        let sent = pipeline
            .post("/api/orders", &order_of_buyer(&format!("r{n}")))
            .await;
        assert!(sent.status().is_success(), "{}", sent.status());
    };
    let traffic = stream::iter(0..300).for_each_concurrent(8, post);
    let (said, ()) = tokio::join!(erase(stack, &BUYER, &["--yes", "--json"]), traffic);
    let said = said.expect(0);
    assert!(
        said.last()["erased"]["orders"].as_u64().unwrap() > 1,
        "{}",
        said.text
    );
    // Those that came after its last look.
    eventually("all are paid", async || {
        match stack.count("orders_read", doc! { "status": "PAID" }).await {
            301 => Ok(()),
            some => Err(some),
        }
    })
    .await;
    erase(stack, &BUYER, &["--yes"]).await.expect(0);
    is_nowhere(stack, &NEEDLES).await;
    assert_eq!(
        stack
            .count("orders_write", doc! { "buyer.email": "erased" })
            .await,
        301
    );
    run(stack, &["projection", "verify"]).await.expect(0);
    pipeline.stack.clean_up().await;
}

/// A writer that has stored an order and not told of it: what it has in hand is said, and erased when it has gone on.
#[tokio::test]
async fn what_a_stopped_daemon_has_in_hand_is_said_and_erased_later() {
    let mut pipeline = Pipeline::start("200ms").await;
    pipeline.writer.kill().await;
    let stop = |setup: orders_testkit::Setup| setup.env("ORDERS_FAILPOINT", "writer.stored");
    pipeline.writer.restart(stop).await;
    let sent = pipeline.post("/api/orders", &order_of_buyer("r1")).await;
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    eventually("the order is stored", async || {
        match pipeline.stack.count("orders_write", doc! {}).await {
            1 => Ok(()),
            none => Err(none),
        }
    })
    .await;
    let said = erase(&pipeline.stack, &BUYER, &["--yes", "--wait", "2s"])
        .await
        .expect(1);
    assert!(
        said.text
            .contains("run it again for ORDERS_COMMANDS/writer"),
        "{}",
        said.text
    );
    has_none(&documents(&pipeline.stack).await, &NEEDLES);

    pipeline.writer.kill().await;
    pipeline
        .writer
        .restart(|setup| setup.env("ORDERS_FAILPOINT", ""))
        .await;
    // The writer tells of the order later, when it finds it PENDING for too long.
    erase(&pipeline.stack, &BUYER, &["--yes"]).await.expect(0);
    is_nowhere(&pipeline.stack, &NEEDLES).await;
    pipeline.stack.clean_up().await;
}

/// A Ctrl-C in the middle of thousands of messages; the next run finishes.
#[tokio::test]
async fn an_interrupted_erasure_is_resumed() {
    const LETTERS: u64 = 3_000;
    let stack = Stack::start().await;
    let writer = stack.daemon("writer").start().await;
    let jetstream = stack.jetstream().await;
    stream::iter(0..LETTERS)
        .for_each_concurrent(256, async |n| {
            let subject = "orders.dlq.projector.t-1";
            let body = format!("{n} of {CANONICAL}");
            let sent = jetstream.publish_with_headers(subject, HeaderMap::new(), body.into());
            sent.await.unwrap().await.unwrap();
        })
        .await;
    let left = async || {
        let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        stream.cached_info().state.messages
    };
    let begun = orderctl(&stack, &[&BUYER[..], &["--yes"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it has begun", async || match left().await {
        LETTERS => Err(LETTERS),
        _ => Ok(()),
    })
    .await;
    interrupt(&begun).await;
    let limit = tokio::time::timeout(Duration::from_secs(20), begun.wait_with_output()).await;
    Said::of(limit.unwrap().unwrap()).expect(130);
    let rest = left().await;
    assert!(
        (1..LETTERS).contains(&rest),
        "it was interrupted in the middle: {rest}"
    );
    let said = erase(&stack, &BUYER, &["--yes", "--json"]).await.expect(0);
    assert_eq!(said.last()["erased"]["messages"]["ORDERS_DLQ"], rest);
    assert_eq!(left().await, 0);
    until_gone_from_files(&stack, &NEEDLES).await;
    let audit = run(&stack, &["audit", "--json"]).await.expect(0).text;
    assert!(
        audit.contains("\"incomplete\"") && audit.contains("\"done\""),
        "{audit}"
    );
    drop(writer);
    stack.clean_up().await;
}
