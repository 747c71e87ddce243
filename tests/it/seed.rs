//! The seed's README, step by step: what its clients do must work unchanged.

use std::time::{Duration, Instant};

use orders_testkit::SocketClient;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order};

/// Smoke test A: create, duplicate, list; and the row's exact shape.
#[tokio::test]
async fn create_duplicate_list() {
    let pipeline = Pipeline::start("5s").await;
    let mut body = order("t-123", "r1");
    body["attachment"] = json!({
        "filename": "invoice.pdf",
        "contentType": "application/pdf",
        "size": 123_456,
        "storageKey": "tenants/t-123/orders/001/invoice.pdf",
    });

    let first = pipeline.post("/api/orders", &body).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(first.headers().get("x-idempotent-replayed").is_none());
    let first: Value = first.json().await.unwrap();
    let id = first["orderId"].as_str().unwrap();
    assert!(id.starts_with("ord_"));
    assert_eq!(
        first,
        json!({ "orderId": id }),
        "nothing but orderId in the body"
    );

    // At once, without a token: the row is there.
    let page = pipeline
        .get_json("/api/orders?tenantId=t-123&page=1&limit=10")
        .await;
    let created_at = page["items"][0]["createdAt"].as_str().unwrap_or_default();
    assert_eq!(
        page,
        json!({
            "items": [{
                "orderId": id,
                "status": "PENDING",
                "createdAt": created_at,
                "buyerEmail": "alice@example.com",
                "total": 99.98,
                "attachment": {
                    "filename": "invoice.pdf",
                    "storageKey": "tenants/t-123/orders/001/invoice.pdf",
                },
            }],
            "page": 1,
            "limit": 10,
            "total": 1,
        })
    );
    assert!(
        created_at.len() == 24 && created_at.ends_with('Z'),
        "{created_at}"
    );

    let second = pipeline.post("/api/orders", &body).await;
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(second.headers()["x-idempotent-replayed"], "true");
    assert!(second.headers().get("x-idempotency-mismatch").is_none());
    assert_eq!(
        second.json::<Value>().await.unwrap(),
        json!({ "orderId": id })
    );
    assert_eq!(
        pipeline.get_json("/api/orders?tenantId=t-123").await["total"],
        1
    );
    pipeline.stack.clean_up().await;
}

/// Smoke test B: an open client of the tenant sees the order flip about five seconds after it was stored.
#[tokio::test]
async fn an_open_client_sees_the_payment_after_five_seconds() {
    let pipeline = Pipeline::start("5s").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-123");
    let connected = client.event("connected").await;
    assert_eq!(connected[0], json!({ "ok": true, "tenantId": "t-123" }));
    assert!(connected[1]["offset"].is_string());

    let id = pipeline.create("t-123", "r2").await;
    let posted = Instant::now();
    let created = client.event("order.created").await;
    assert_eq!(created[0], json!({ "orderId": id, "status": "PENDING" }));

    let updated = client.event("order.updated").await;
    let waited = posted.elapsed();
    assert_eq!(updated[0], json!({ "orderId": id, "status": "PAID" }));
    assert_eq!(updated[1]["version"], 2);
    assert!(updated[1]["offset"].is_string());
    assert!(
        (Duration::from_millis(4_500)..Duration::from_secs(15)).contains(&waited),
        "{waited:?}"
    );

    // Nobody is told before the list shows it.
    assert_eq!(pipeline.row("t-123", &id).await["status"], "PAID");
    pipeline.stack.clean_up().await;
}

/// Smoke test C: presign, PUT to the URL, create with the storage key.
#[tokio::test]
async fn presign_put_create() {
    let pipeline = Pipeline::start("5s").await;
    let upload = json!({
        "tenantId": "t-123", "filename": "invoice.pdf", "contentType": "application/pdf", "size": 6,
    });
    let presigned = pipeline.post("/api/uploads/presign", &upload).await;
    assert_eq!(presigned.status(), StatusCode::CREATED);
    let presigned: Value = presigned.json().await.unwrap();
    let key = presigned["storageKey"].as_str().unwrap();
    let parts: Vec<&str> = key.split('/').collect();
    assert!(
        matches!(parts[..], ["tenants", "t-123", "orders", random, "invoice.pdf"] if random.len() == 8),
        "{key}"
    );
    assert_eq!(
        presigned,
        json!({
            "url": format!("http://localhost:{}/mock-upload/{}", pipeline.edge.port(), key.replace('/', "%2F")),
            "storageKey": key,
            "expiresInSeconds": 120,
            "headers": { "Content-Type": "application/pdf" },
        })
    );

    let put = pipeline
        .http
        .put(presigned["url"].as_str().unwrap())
        .header("content-type", "application/pdf")
        .body("hello\n")
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    assert_eq!(
        put.json::<Value>().await.unwrap(),
        json!({ "ok": true, "storageKey": key, "size": 6 })
    );
    let log = pipeline.edge.log();
    assert!(
        log.contains("application/pdf"),
        "size and content type are logged: {log}"
    );

    let mut body = order("t-123", "r-upload-1");
    body["attachment"] = json!({
        "filename": "invoice.pdf", "contentType": "application/pdf", "size": 6, "storageKey": key,
    });
    assert_eq!(
        pipeline.post("/api/orders", &body).await.status(),
        StatusCode::CREATED
    );
    let page = pipeline.get_json("/api/orders?tenantId=t-123").await;
    assert_eq!(
        page["items"][0]["attachment"],
        json!({ "filename": "invoice.pdf", "storageKey": key })
    );
    pipeline.stack.clean_up().await;
}
