//! Documents and messages that somebody else wrote: a damaged order or row, or a forged event, harms no other order, and
//! whoever asks for it is told.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, jetstream};
use mongodb::bson::{DateTime, Document, doc};
use orders_testkit::eventually;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order, order_id};

/// Publishes an event that makes an order PAID.
async fn publish_paid(jetstream: &jetstream::Context, tenant: &str, id: &str, version: u32) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", format!("{id}:{version}:{tenant}"));
    headers.insert("ce-type", "orders.order.updated.v1");
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", id);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    let body = json!({
        "tenantId": tenant, "version": version, "occurredAt": "2025-08-26T09:00:00.000Z",
        "order": {
            "orderId": id, "status": "PAID", "createdAt": "2025-08-26T09:00:00.000Z",
            "buyerEmail": "a@b.cc", "total": 99.98,
        },
    });
    let subject = format!("orders.evt.{tenant}.updated");
    let sent = jetstream.publish_with_headers(subject, headers, body.to_string().into());
    sent.await.unwrap().await.unwrap();
}

/// The daemon and the reason of each dead letter.
async fn letters(jetstream: &jetstream::Context) -> Vec<(String, String)> {
    let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    let mut letters = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let letter = stream.get_raw_message(sequence).await.unwrap();
        let reason = letter.headers.get("Orders-Reason").unwrap().to_string();
        letters.push((letter.subject.to_string(), reason));
    }
    letters.sort();
    letters
}

async fn says_unreadable(response: Response) {
    let status = response.status();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{problem}");
    assert_eq!(
        problem["type"], "urn:orders:problem:unreadable",
        "{problem}"
    );
}

#[tokio::test]
async fn a_damaged_order_or_row_or_a_forged_event_harms_no_other() {
    let pipeline = Pipeline::start("1h").await;
    let database = pipeline.stack.database().await;
    let jetstream = pipeline.stack.jetstream().await;
    let rows = database.collection::<Document>("orders_read");
    let orders = database.collection::<Document>("orders_write");
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(pipeline.create("t-1", &format!("r{n}")).await);
    }

    // Rows: lists leave out what they cannot read, say so once, and show the rest.
    let damages = [
        (4, doc! { "status": "REFUNDED" }),
        (3, doc! { "total": 99.98 }),
        (2, doc! { "version": "1" }),
    ];
    for (n, damage) in damages {
        let set = doc! { "$set": damage };
        rows.update_one(doc! { "_id": &ids[n] }, set).await.unwrap();
    }
    let stray = doc! { "tenantId": "t-1", "createdAt": DateTime::now() };
    rows.insert_one(stray).await.unwrap();
    for limit in [1, 2, 100] {
        let mut seen = Vec::new();
        let mut path = Some(format!("/api/orders?tenantId=t-1&limit={limit}"));
        while let Some(asked) = path {
            let response = pipeline.get(&asked).await;
            path = crate::lists::next(&response);
            let list: Value = response.json().await.unwrap();
            assert_eq!(list["total"], 7, "{list}");
            let items = list["items"].as_array().unwrap();
            seen.extend(
                items
                    .iter()
                    .map(|item| item["orderId"].as_str().unwrap().to_owned()),
            );
        }
        assert_eq!(
            seen,
            [5, 1, 0].map(|n: usize| ids[n].clone()),
            "{limit} a page"
        );
    }
    let metrics = pipeline.get("/metrics").await.text().await.unwrap();
    let mut counted = metrics.lines();
    let is_counted = counted.any(|line| {
        line.starts_with("orders_unreadable_documents_total{")
            && line.contains(r#"collection="orders_read""#)
            && !line.ends_with(" 0")
    });
    assert!(is_counted, "{metrics}");
    let log = pipeline.edge.log();
    for id in [&ids[4], &ids[3], &ids[2]] {
        assert_eq!(log.matches(id.as_str()).count(), 1, "{log}");
    }
    // Its order is fine.
    let show = |id: &str| format!("/api/orders/{id}?tenantId=t-1");
    assert_eq!(pipeline.get_json(&show(&ids[3])).await["total"], 99.98);

    // An order: whoever asks for it, sends its request again or cancels it is told at once.
    let corrupt = doc! { "$set": { "items.0.price": "much" } };
    orders
        .update_one(doc! { "_id": &ids[0] }, corrupt)
        .await
        .unwrap();
    let asked = Instant::now();
    says_unreadable(pipeline.get(&show(&ids[0])).await).await;
    says_unreadable(pipeline.post("/api/orders", &order("t-1", "r0")).await).await;
    let cancel = |id: &str| format!("/api/orders/{id}/cancel");
    let body = json!({ "tenantId": "t-1" });
    says_unreadable(pipeline.post(&cancel(&ids[0]), &body).await).await;
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );

    // Events: neither another tenant nor an impossible version changes a row.
    publish_paid(&jetstream, "u-1", &ids[1], 2).await;
    publish_paid(&jetstream, "t-1", &ids[5], u32::MAX).await;
    let refused = |daemon: &str, tenant: &str| {
        (
            format!("orders.dlq.{daemon}.{tenant}"),
            "refused".to_owned(),
        )
    };
    let expected = [
        refused("projector", "u-1"),
        refused("writer", "t-1"),
        refused("writer", "t-1"),
    ];
    eventually("each is given up once", async || {
        let letters = letters(&jetstream).await;
        if letters == expected {
            Ok(())
        } else {
            Err(letters)
        }
    })
    .await;
    for n in [1, 5] {
        assert_eq!(pipeline.row("t-1", &ids[n]).await["status"], "PENDING");
        let answer = pipeline.post(&cancel(&ids[n]), &body).await;
        assert_eq!(answer.headers()["x-projected"], "true");
        pipeline.until_status("t-1", &ids[n], "CANCELLED").await;
    }
    assert_eq!(
        pipeline
            .stack
            .count("orders_read", doc! { "tenantId": "u-1" })
            .await,
        0
    );

    // Another tenant's upload is allowed, and noted.
    let mut foreign = order("t-1", "foreign");
    foreign["attachment"] = json!({
        "filename": "invoice.pdf", "contentType": "application/pdf", "size": 1, "storageKey": "tenants/u-1/orders/1/invoice.pdf",
    });
    let response = pipeline.post("/api/orders", &foreign).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let metrics = pipeline.get("/metrics").await.text().await.unwrap();
    let mut counted = metrics.lines();
    let is_counted = counted
        .any(|line| line.starts_with("orders_foreign_attachments_total{") && line.ends_with(" 1"));
    assert!(is_counted, "{metrics}");
    assert!(
        !pipeline.edge.log().contains("invoice.pdf"),
        "names of files stay out of the log"
    );
    pipeline.stack.clean_up().await;
}

/// Until an order that was accepted is stored, its `Location` says that it may come.
#[tokio::test]
async fn an_accepted_order_is_not_found_yet() {
    let mut pipeline = Pipeline::start("1h").await;
    assert!(pipeline.writer.terminate().await.success());
    let accepted = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let location = accepted.headers()["location"].to_str().unwrap().to_owned();
    let not_yet = pipeline.get(&location).await;
    assert_eq!(not_yet.status(), StatusCode::NOT_FOUND);
    assert_eq!(not_yet.headers()["retry-after"], "1");

    // The writer stores it, but nobody lists it.
    assert!(pipeline.projector.terminate().await.success());
    pipeline.writer.restart(|writer| writer).await;
    let id = eventually("it is stored", async || {
        let answer = pipeline.get(&location).await;
        match answer.status() {
            StatusCode::OK => Ok(order_id(answer).await),
            status => Err(status),
        }
    })
    .await;
    assert_eq!(pipeline.row("t-1", &id).await, Value::Null);
    pipeline.projector.restart(|projector| projector).await;
    pipeline.until_status("t-1", &id, "PENDING").await;
    let unknown = format!("/api/orders/ord_{}?tenantId=t-1", "a".repeat(26));
    let unknown = pipeline.get(&unknown).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(!unknown.headers().contains_key("retry-after"));
    pipeline.stack.clean_up().await;
}
