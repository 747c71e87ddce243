//! Every daemon may be killed between any two lines: nothing is lost, nothing happens twice.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures_util::{StreamExt, stream};
use mongodb::bson::doc;
use orders_testkit::{Daemon, SocketClient, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order, order_id};

/// The classic loss: stored, crashed, delivered again, found as a duplicate, acked, and nobody was ever told.
#[tokio::test]
async fn a_crash_between_insert_and_publish_still_yields_the_event_and_the_payment() {
    let mut pipeline = Pipeline::start("500ms").await;
    stop_at(&mut pipeline.writer, "writer.stored").await;

    let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    // The writer told before it stopped, or it did not; the order is safe either way.
    assert!(
        matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::ACCEPTED
        ),
        "{}",
        response.status()
    );
    let id = order_id(response).await;
    stopped_at(&pipeline.writer, "writer.stored").await;
    assert_eq!(
        pipeline
            .stack
            .count("orders_write", doc! { "_id": &id })
            .await,
        1,
        "stored"
    );
    let events = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_EVENTS")
        .await
        .unwrap();
    assert_eq!(events.cached_info().state.messages, 0, "not told");

    stop_at(&mut pipeline.writer, "").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    assert_eq!(
        pipeline
            .stack
            .count("orders_write", doc! { "status": "PAID", "version": 2 })
            .await,
        1
    );
    pipeline.stack.clean_up().await;
}

/// The same for the payment: the order is PAID in the write model, and its event has not gone out.
#[tokio::test]
async fn a_crash_between_settling_and_publish_still_reaches_the_list() {
    let mut pipeline = Pipeline::start("500ms").await;
    stop_at(&mut pipeline.writer, "writer.settled").await;
    let id = pipeline.create("t-1", "r1").await;
    stopped_at(&pipeline.writer, "writer.settled").await;
    assert_eq!(
        pipeline
            .stack
            .count("orders_write", doc! { "status": "PAID" })
            .await,
        1
    );
    assert_eq!(pipeline.row("t-1", &id).await["status"], "PENDING");

    stop_at(&mut pipeline.writer, "").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline.stack.clean_up().await;
}

/// A projector that has stored the row of a new order and not announced it, and a client that waits for that.
async fn stopped_between_row_and_feed() -> (Pipeline, SocketClient, String) {
    let mut pipeline = Pipeline::start("1h").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    stop_at(&mut pipeline.projector, "projector.stored").await;
    let id = pipeline.create("t-1", "r1").await;
    stopped_at(&pipeline.projector, "projector.stored").await;
    (pipeline, client, id)
}

/// The row is stored and the feed has not heard of it: whoever listens is told all the same.
#[tokio::test]
async fn a_crash_between_row_and_feed_still_reaches_the_clients() {
    let (mut pipeline, mut client, id) = stopped_between_row_and_feed().await;
    assert_eq!(
        pipeline
            .stack
            .count("orders_read", doc! { "_id": &id })
            .await,
        1
    );
    let heard = client.drain(Duration::from_millis(200)).await;
    assert!(
        heard.iter().all(|(name, _)| name == "connect"),
        "not told: {heard:?}"
    );

    stop_at(&mut pipeline.projector, "").await;
    let created = client.event("order.created").await;
    assert_eq!(created[0]["orderId"], id.as_str());
    pipeline.stack.clean_up().await;
}

/// The projector dies between row and feed, and its successor gets the order's next change first: clients hear of both,
/// in order.
#[tokio::test]
async fn a_new_order_is_announced_before_its_next_change() {
    let (mut pipeline, mut client, id) = stopped_between_row_and_feed().await;
    // The created event comes again after the ack wait; the cancel's is new, so it is first.
    stop_at(&mut pipeline.projector, "").await;
    let path = format!("/api/orders/{id}/cancel");
    let cancelled = pipeline.post(&path, &json!({ "tenantId": "t-1" })).await;
    assert_eq!(cancelled.status(), 200);
    let created = client.event("order.created").await;
    assert_eq!(created[0]["orderId"], id.as_str());
    assert_eq!(created[1]["version"], 1);
    let updated = client.event("order.updated").await;
    assert_eq!(updated[0]["status"], "CANCELLED");
    pipeline.stack.clean_up().await;
}

/// nats-server can forget how often it has delivered a message, when it is killed: what was done before must be told
/// all the same, also where it comes as if for the first time.
#[tokio::test]
async fn what_was_done_before_is_told_even_when_nats_has_forgotten_that_it_was_delivered() {
    let mut pipeline = Pipeline::open("500ms").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    stop_at(&mut pipeline.writer, "writer.settled").await;
    let id = pipeline.create("t-1", "r1").await;
    stopped_at(&pipeline.writer, "writer.settled").await;
    pipeline.writer.kill().await;
    forget(&pipeline, "PAYMENTS", "writer").await;
    stop_at(&mut pipeline.projector, "projector.stored").await;
    pipeline
        .writer
        .restart(|setup| setup.env("ORDERS_FAILPOINT", ""))
        .await;
    stopped_at(&pipeline.projector, "projector.stored").await;
    pipeline.projector.kill().await;
    forget(&pipeline, "ORDERS_EVENTS", "projector").await;
    pipeline
        .projector
        .restart(|setup| setup.env("ORDERS_FAILPOINT", ""))
        .await;
    let updated = client.event("order.updated").await;
    assert_eq!(updated[0]["orderId"], id.as_str());
    assert_eq!(updated[0]["status"], "PAID");
    pipeline.stack.clean_up().await;
}

/// Payments that differed from attempt to attempt would each be stored, and several instances would keep each other from
/// ever being done.
#[tokio::test]
async fn a_payment_that_is_published_again_is_not_stored_again() {
    let mut pipeline = Pipeline::open("200ms").await;
    stop_at(&mut pipeline.payments, "payment-simulator.paid").await;
    let id = pipeline.create("t-1", "r1").await;
    stopped_at(&pipeline.payments, "payment-simulator.paid").await;
    pipeline.payments.kill().await;
    pipeline.until_status("t-1", &id, "PAID").await;
    pipeline
        .payments
        .restart(|setup| setup.env("ORDERS_FAILPOINT", ""))
        .await;
    let jetstream = pipeline.stack.jetstream().await;
    eventually("the event is acked", async || {
        let consumer = jetstream
            .get_consumer_from_stream::<pull::Config, _, _>("payment-simulator", "ORDERS_EVENTS")
            .await
            .unwrap();
        let info = consumer.cached_info();
        match (info.num_pending, info.num_ack_pending) {
            (0, 0) => Ok(()),
            left => Err(left),
        }
    })
    .await;
    let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
    assert_eq!(payments.cached_info().state.messages, 1);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn without_a_writer_202_and_the_order_appears_when_it_is_back() {
    let mut pipeline = Pipeline::start("200ms").await;
    assert!(pipeline.writer.terminate().await.success());

    let first = std::time::Instant::now();
    let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let first = first.elapsed();
    assert!(
        first >= Duration::from_secs(3),
        "the first one waits for the deadline"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], "ACCEPTED");
    // The edge has learnt that nobody answers.
    let second = std::time::Instant::now();
    let response = pipeline.post("/api/orders", &order("t-1", "r2")).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let second = second.elapsed();
    assert!(second < first / 2, "{second:?} after {first:?}");

    pipeline.writer.restart(|writer| writer).await;
    for request in ["r1", "r2"] {
        let replayed = eventually("the order is stored", async || {
            let response = pipeline.post("/api/orders", &order("t-1", request)).await;
            if response.status() == StatusCode::OK {
                Ok(response)
            } else {
                Err(response.status())
            }
        })
        .await;
        let id = order_id(replayed).await;
        pipeline.until_status("t-1", &id, "PAID").await;
    }
    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 2);
    pipeline.stack.clean_up().await;
}

/// A writer died with a create in hand, and another gets the cancel that follows long before the create comes again.
#[tokio::test]
async fn a_cancel_waits_for_the_create_of_a_writer_that_died() {
    let mut pipeline = Pipeline::start("1h").await;
    assert!(pipeline.writer.terminate().await.success());
    let created = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    let id = order_id(created).await;
    let commands = pipeline.stack.jetstream().await;
    let commands = commands.get_stream("ORDERS_COMMANDS").await.unwrap();
    let consumer = commands.get_consumer::<pull::Config>("writer").await;
    let mut batch = consumer.unwrap().fetch().max_messages(1).messages().await;
    let create = batch.as_mut().unwrap().next().await.unwrap().unwrap();
    assert_eq!(create.subject.as_str(), "orders.cmd.t-1.create");

    pipeline.writer.restart(|writer| writer).await;
    let path = format!("/api/orders/{id}/cancel");
    let body = json!({ "tenantId": "t-1" });
    let cancelled = pipeline.post(&path, &body).await;
    assert!(
        [StatusCode::OK, StatusCode::ACCEPTED].contains(&cancelled.status()),
        "{}",
        cancelled.status()
    );
    pipeline.until_status("t-1", &id, "CANCELLED").await;
    // Nothing but the one create is waited for: an order that does not exist is told so at once.
    let unknown = format!("/api/orders/ord_{}/cancel", "a".repeat(26));
    let unknown = pipeline.post(&unknown, &body).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    pipeline.stack.clean_up().await;
}

/// A run of 1,000 orders, in the middle of which everything is killed and comes back, one after the other.
#[tokio::test]
async fn a_thousand_orders_survive_the_death_of_everything() {
    const ORDERS: usize = 1_000;
    let mut pipeline = Pipeline::start("2s").await;
    let (http, edge) = (pipeline.http.clone(), pipeline.edge.url());
    let clients = stream::iter(0..ORDERS)
        .map(|n| {
            let (http, edge) = (http.clone(), edge.clone());
            async move { place(&http, &edge, &order("t-1", &format!("r{n}"))).await }
        })
        .buffer_unordered(16)
        .collect::<Vec<String>>();

    let progress = async |pipeline: &Pipeline, at_least: u64| {
        eventually("the run goes on", async || {
            let stored = pipeline.stack.count("orders_write", doc! {}).await;
            if stored >= at_least {
                Ok(())
            } else {
                Err(stored)
            }
        })
        .await;
    };
    let deaths = async {
        progress(&pipeline, 100).await;
        pipeline.writer.kill().await;
        pipeline.writer.restart(|daemon| daemon).await;
        progress(&pipeline, 220).await;
        pipeline.projector.kill().await;
        pipeline.projector.restart(|daemon| daemon).await;
        progress(&pipeline, 340).await;
        pipeline.stack.nats.kill().await;
        pipeline.stack.nats.restart().await;
        progress(&pipeline, 460).await;
        pipeline.payments.kill().await;
        pipeline.payments.restart(|daemon| daemon).await;
        progress(&pipeline, 580).await;
        pipeline.edge.kill().await;
        pipeline.edge.restart(|daemon| daemon).await;
        progress(&pipeline, 700).await;
        pipeline.realtime.kill().await;
        pipeline.realtime.restart(|daemon| daemon).await;
    };
    let (ids, ()) = tokio::join!(clients, deaths);

    assert_eq!(
        ids.iter().collect::<std::collections::HashSet<_>>().len(),
        ORDERS
    );
    for collection in ["orders_write", "orders_read"] {
        eventually(&format!("all are PAID in {collection}"), async || {
            let paid = pipeline
                .stack
                .count(collection, doc! { "status": "PAID", "version": 2 })
                .await;
            if paid == ORDERS as u64 {
                Ok(())
            } else {
                Err(paid)
            }
        })
        .await;
        assert_eq!(
            pipeline.stack.count(collection, doc! {}).await,
            ORDERS as u64,
            "once"
        );
    }
    let dead = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_DLQ")
        .await
        .unwrap();
    assert_eq!(dead.cached_info().state.messages, 0, "nothing was given up");
    pipeline.stack.clean_up().await;
}

/// Kills `daemon` and starts it again, to stop for good where it meets the failpoint `name`; nowhere for "".
async fn stop_at(daemon: &mut Daemon, name: &str) {
    daemon.kill().await;
    daemon
        .restart(|setup| setup.env("ORDERS_FAILPOINT", name))
        .await;
}

/// Makes the server deliver everything as if for the first time.
async fn forget(pipeline: &Pipeline, stream: &str, consumer: &str) {
    let jetstream = pipeline.stack.jetstream().await;
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.delete_consumer(consumer).await.unwrap();
}

/// Waits until `daemon` has met the failpoint `name`.
async fn stopped_at(daemon: &Daemon, name: &str) {
    eventually(&format!("stopped at {name}"), async || {
        let log = daemon.log();
        if log.contains(&format!("failpoint {name}")) {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}

/// Places one order as a careful client does: it tries again, with the same request id, until it is told that the
/// order is stored or accepted.
async fn place(http: &reqwest::Client, edge: &str, body: &Value) -> String {
    eventually("the order is taken", async || {
        let sent = http
            .post(format!("{edge}/api/orders"))
            .json(body)
            .send()
            .await;
        let response = sent.map_err(|error| error.to_string())?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {
                let body: Value = response.json().await.map_err(|error| error.to_string())?;
                body["orderId"]
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| body.to_string())
            }
            status => Err(status.to_string()),
        }
    })
    .await
}
