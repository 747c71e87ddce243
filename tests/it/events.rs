//! What the daemons make of events and payments that are old, wrong, or of a newer version, and of clients whose offset
//! is of a lost past.

use std::{collections::HashMap, time::Duration};

use async_nats::{HeaderMap, jetstream};
use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use orders_testkit::{Setup, SocketClient, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::pipeline::{Pipeline, order, order_id};

/// An id that no request of a test derives.
const BY_HAND: &str = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Publishes a message about the order `id`, with the headers of a well-behaved publisher.
async fn publish(
    jetstream: &jetstream::Context,
    subject: &str,
    message_type: &str,
    id: &str,
    body: Value,
) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", "by-hand");
    headers.insert("ce-type", message_type);
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", id);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    let sent = jetstream.publish_with_headers(subject.to_owned(), headers, body.to_string().into());
    sent.await.unwrap().await.unwrap();
}

/// An event of the order [`BY_HAND`], which happened long ago.
fn event(status: &str, version: u32) -> Value {
    json!({
        "tenantId": "t-1", "version": version, "occurredAt": "2025-08-26T09:00:00.000Z",
        "order": {
            "orderId": BY_HAND, "status": status, "createdAt": "2025-08-26T09:00:00.000Z",
            "buyerEmail": "a@b.example", "total": 1.5,
        },
    })
}

const CREATED: &str = "com.example.orders.order.created.v1";
const UPDATED: &str = "com.example.orders.order.updated.v1";
const PAID: &str = "com.example.orders.order.paid.v1";

async fn count(pipeline: &Pipeline, stream: &str) -> u64 {
    let jetstream = pipeline.stack.jetstream().await;
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.cached_info().state.messages
}

/// How many events the projector has not settled.
async fn unsettled(pipeline: &Pipeline) -> u64 {
    let jetstream = pipeline.stack.jetstream().await;
    let stream = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    let info = stream.consumer_info("projector").await.unwrap();
    info.num_pending + info.num_ack_pending as u64
}

/// The body of the message at `sequence`.
async fn body(jetstream: &jetstream::Context, stream: &str, sequence: u64) -> Value {
    let stream = jetstream.get_stream(stream).await.unwrap();
    let message = stream.get_raw_message(sequence).await.unwrap();
    serde_json::from_slice(&message.payload).unwrap()
}

/// Whoever reads events needs no database; the feed, which browsers hear, names nobody.
#[tokio::test]
async fn the_first_event_of_an_order_carries_it_whole_and_the_feed_names_nobody() {
    let pipeline = Pipeline::start("200ms").await;
    let mut sent = order("t-1", "r1");
    sent["buyer"]["email"] = json!("Alice@Example.com");
    sent["metadata"] = json!({ "color": "red", "$ref": "a.b" });
    sent["currency"] = json!("EUR");
    sent["attachment"] = json!({
        "filename": "i.pdf", "contentType": "application/pdf", "size": 6,
        "storageKey": "tenants/t-1/orders/abcd1234/i.pdf",
    });
    let id = order_id(pipeline.post("/api/orders", &sent).await).await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let jetstream = pipeline.stack.jetstream().await;
    let created = body(&jetstream, "ORDERS_EVENTS", 1).await;
    let told = &created["order"];
    assert_eq!(told["buyerEmail"], "alice@example.com");
    assert_eq!(told["itemCount"], 1);
    for member in [
        "requestId",
        "buyer",
        "items",
        "attachment",
        "metadata",
        "currency",
    ] {
        assert_eq!(told[member], sent[member], "{created}");
    }
    // A change tells what the row needs, if it comes first.
    let updated = body(&jetstream, "ORDERS_EVENTS", 2).await;
    let told = &updated["order"];
    for member in ["buyer", "attachment", "currency", "itemCount"] {
        assert_eq!(told[member], created["order"][member], "{updated}");
    }
    for member in ["requestId", "items", "metadata"] {
        assert_eq!(told[member], Value::Null, "{updated}");
    }
    eventually("both are in the feed", async || {
        match count(&pipeline, "ORDERS_FEED").await {
            2 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    for (sequence, status) in [(1, "PENDING"), (2, "PAID")] {
        let entry = json!({ "orderId": id, "status": status, "version": sequence });
        assert_eq!(body(&jetstream, "ORDERS_FEED", sequence).await, entry);
    }
    let list = pipeline
        .get_json("/api/orders?tenantId=t-1&expand=summary")
        .await;
    let row = &list["items"][0];
    assert_eq!(
        (&row["buyerName"], &row["itemCount"], &row["currency"]),
        (&json!("Alice"), &json!(1), &json!("EUR"))
    );
    pipeline.stack.clean_up().await;
}

/// Streams outlive the daemons that wrote them.
#[tokio::test]
async fn events_of_version_0_1_are_listed_as_they_were() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let list = async || {
        pipeline
            .get_json("/api/orders?tenantId=t-1&expand=summary")
            .await
    };
    for (subject, kind, event) in [
        ("orders.evt.t-1.created", CREATED, event("PENDING", 1)),
        ("orders.evt.t-1.updated", UPDATED, event("CANCELLED", 2)),
    ] {
        publish(&jetstream, subject, kind, BY_HAND, event.clone()).await;
        eventually("it is listed", async || {
            let list = list().await;
            match list["items"][0] == event["order"] {
                true => Ok(()),
                false => Err(list),
            }
        })
        .await;
    }
    // The change alone makes the same row.
    let rows = pipeline
        .stack
        .database()
        .await
        .collection::<Document>("orders_read");
    rows.delete_many(doc! {}).await.unwrap();
    publish(
        &jetstream,
        "orders.evt.t-1.updated",
        UPDATED,
        BY_HAND,
        event("CANCELLED", 2),
    )
    .await;
    eventually("it is listed again", async || {
        let list = list().await;
        match list["items"][0] == event("CANCELLED", 2)["order"] {
            true => Ok(()),
            false => Err(list),
        }
    })
    .await;
    assert_eq!(count(&pipeline, "ORDERS_DLQ").await, 0);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_payment_of_another_amount_pays_nothing() {
    let pipeline = Pipeline::start("1h").await;
    let id = pipeline.create("t-1", "r1").await;
    let jetstream = pipeline.stack.jetstream().await;
    let payment = |amount: f64| json!({ "tenantId": "t-1", "orderId": id, "amount": amount, "paidAt": "2025-08-26T09:00:00.000Z" });
    let subject = "payments.evt.t-1.paid";
    publish(&jetstream, subject, PAID, &id, payment(0.01)).await;
    eventually("the payment is a dead letter", async || {
        match count(&pipeline, "ORDERS_DLQ").await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    let letter = letters.get_raw_message(1).await.unwrap();
    let header = |name| letter.headers.get(name).unwrap().as_str();
    assert_eq!(header("Orders-Reason"), "wrong_amount");
    assert_eq!(header("Orders-Error"), "the order's total is 99.98");
    let pending = doc! { "_id": &id, "status": "PENDING" };
    assert_eq!(pipeline.stack.count("orders_write", pending).await, 1);

    publish(&jetstream, subject, PAID, &id, payment(99.98)).await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline.stack.clean_up().await;
}

/// An order is paid after the delay by the server's clock, however wrong the writer's clock was.
#[tokio::test]
async fn a_clock_that_is_behind_does_not_shorten_the_wait_for_a_payment() {
    let pipeline = Pipeline::start("2s").await;
    let jetstream = pipeline.stack.jetstream().await;
    let began = Instant::now();
    let subject = "orders.evt.t-1.created";
    publish(&jetstream, subject, CREATED, BY_HAND, event("PENDING", 1)).await;
    eventually("the payment is there", async || {
        match count(&pipeline, "PAYMENTS").await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(1_900), "{waited:?}");
    pipeline.stack.clean_up().await;
}

/// During an upgrade an old daemon meets what a newer one writes: it neither loses it nor waits for it.
#[tokio::test]
async fn an_event_of_a_newer_version_stays_for_an_upgraded_daemon_and_blocks_nobody() {
    let pipeline = Pipeline::start("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    let updated = "orders.evt.t-1.updated";
    publish(&jetstream, updated, UPDATED, BY_HAND, event("SHIPPED", 3)).await;
    let later = UPDATED.replace(".v1", ".v2");
    publish(&jetstream, updated, &later, BY_HAND, json!({ "new": true })).await;
    let shipped = "orders.evt.t-1.shipped";
    publish(&jetstream, shipped, "x", BY_HAND, json!({})).await;

    for n in 0..20 {
        pipeline.create("t-1", &format!("r{n}")).await;
    }
    eventually("only they are left", async || {
        match unsettled(&pipeline).await {
            3 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(count(&pipeline, "ORDERS_DLQ").await, 0);
    pipeline.stack.clean_up().await;
}

/// A consumer that an operator removes reads its stream from the start, and clients hear nothing old again.
#[tokio::test]
async fn a_projector_whose_consumer_is_gone_tells_no_old_event_again() {
    let mut pipeline = Pipeline::open("1h").await;
    let jetstream = pipeline.stack.jetstream().await;
    for (subject, message_type, body) in [
        ("orders.evt.t-1.created", CREATED, event("PENDING", 1)),
        ("orders.evt.t-1.updated", UPDATED, event("PAID", 2)),
    ] {
        publish(&jetstream, subject, message_type, BY_HAND, body).await;
        eventually("it is settled", async || match unsettled(&pipeline).await {
            0 => Ok(()),
            other => Err(other),
        })
        .await;
    }
    assert_eq!(count(&pipeline, "ORDERS_FEED").await, 2);

    assert!(pipeline.projector.terminate().await.success());
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    events.delete_consumer("projector").await.unwrap();
    // The feed would not drop what is told again.
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    feed.purge().await.unwrap();
    pipeline.projector.restart(|daemon| daemon).await;
    eventually("both are settled", async || {
        match unsettled(&pipeline).await {
            0 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    assert_eq!(feed.cached_info().state.last_sequence, 2);
    pipeline.stack.clean_up().await;
}

/// Two projectors, and orders that are cancelled at once: clients hear of each order's creation first.
#[tokio::test]
async fn the_creation_of_an_order_is_told_before_its_change() {
    const ORDERS: usize = 200;
    let one_tenant = |edge: Setup| edge.env("ORDERS_LIMITS__TENANT_IN_FLIGHT", "256");
    let pipeline = Pipeline::start_with("1h", one_tenant).await;
    let second = pipeline.stack.daemon("projector").start().await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    let cancelled = (0..ORDERS).map(async |n| {
        let id = pipeline.create("t-1", &format!("r{n}")).await;
        let body = json!({ "tenantId": "t-1" });
        let path = format!("/api/orders/{id}/cancel");
        assert_eq!(pipeline.post(&path, &body).await.status(), 200);
        id
    });
    let ids = join_all(cancelled).await;
    for id in &ids {
        let is_it = |args: &[Value]| args[0]["orderId"] == id.as_str();
        client.sees("order.updated", is_it).await;
        client.sees("order.created", is_it).await;
    }
    let mut told: HashMap<String, Vec<u64>> = HashMap::new();
    for (name, args) in client.drain(Duration::from_millis(100)).await {
        if name.starts_with("order.") {
            let id = args[0]["orderId"].as_str().unwrap().to_owned();
            told.entry(id)
                .or_default()
                .push(args[1]["version"].as_u64().unwrap());
        }
    }
    for id in ids {
        assert_eq!(told[&id], [1, 2], "{id}");
    }
    drop(second);
    pipeline.stack.clean_up().await;
}

/// A store that was put back reuses sequences: an offset of the lost past is reset, and misses nothing unnoticed.
#[tokio::test]
async fn an_offset_whose_entry_was_lost_gets_feed_reset() {
    let pipeline = Pipeline::start("1h").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    pipeline.create("t-1", "r1").await;
    let created = client.event("order.created").await;
    pipeline.create("t-1", "r2").await;
    client.event("order.created").await;
    let offset = created[1]["offset"].as_str().unwrap();
    let (position, time) = offset.rsplit_once('.').unwrap();
    let time: u64 = time.parse().unwrap();
    for (offset, is_honoured) in [
        (offset.to_owned(), true),
        (position.to_owned(), true),
        (format!("{position}.{}", time - 1), false),
    ] {
        let auth = json!({ "tenantId": "t-1", "serverOffset": offset });
        let options = json!({ "path": "/ws", "transports": ["websocket"], "auth": auth });
        let mut client = SocketClient::connect(&pipeline.edge.url(), &options);
        client.event("connected").await;
        if is_honoured {
            client.event("order.created").await;
        } else {
            let reset = client.event("feed.reset").await;
            assert_eq!(reset[0]["reason"], "other_feed");
        }
    }
    pipeline.stack.clean_up().await;
}
