//! What is not uploaded as it was said, or by somebody else, gets nowhere.

use std::time::Duration;

use orders_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Bucket, attachment, problem};
use crate::pipeline::order;

#[tokio::test]
async fn a_url_takes_only_the_file_that_it_was_signed_for() {
    let bucket = Bucket::start_with(|edge| edge.env("ORDERS_UPLOADS__TTL", "2s")).await;
    let http = &bucket.pipeline.http;
    let presigned = bucket.presign("t-1", 6).await;
    let url = presigned["url"].as_str().unwrap();
    let status = async |put: reqwest::RequestBuilder| put.send().await.unwrap().status();
    let put = |url: &str| http.put(url).header("content-type", "application/pdf");

    let larger = put(url).body("hello!\n");
    assert_eq!(status(larger).await, StatusCode::FORBIDDEN);
    let of_another_type = http
        .put(url)
        .header("content-type", "text/html")
        .body("hello\n");
    assert_eq!(status(of_another_type).await, StatusCode::FORBIDDEN);
    let elsewhere = url.replace("/t-1/", "/t-2/");
    assert_eq!(
        status(put(&elsewhere).body("hello\n")).await,
        StatusCode::FORBIDDEN
    );
    let longer = url.replace("X-Amz-Expires=2", "X-Amz-Expires=9999");
    assert_ne!(longer, url);
    assert_eq!(
        status(put(&longer).body("hello\n")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(status(http.get(url)).await, StatusCode::FORBIDDEN);
    assert_eq!(status(http.delete(url)).await, StatusCode::FORBIDDEN);
    eventually("it expires", async || {
        match status(put(url).body("hello\n")).await {
            StatusCode::FORBIDDEN => Ok(()),
            other => Err(other),
        }
    })
    .await;
    bucket.clean_up().await;
}

#[tokio::test]
async fn with_a_hash_a_url_takes_only_this_content() {
    let bucket = Bucket::start().await;
    // Of `hello` and a line feed.
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let file = json!({
        "tenantId": "t-1", "filename": "a.txt", "contentType": "application/pdf", "size": 6, "sha256": sha256,
    });
    let answer = bucket.pipeline.post("/api/uploads/presign", &file).await;
    let presigned: Value = answer.json().await.unwrap();
    let wrong = bucket.put(&presigned, b"HELLO\n").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let missing = bucket.order("t-1", "r1", &attachment(&presigned, 6)).await;
    assert_eq!(missing.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let right = bucket.put(&presigned, b"hello\n").await;
    assert_eq!(right.status(), StatusCode::OK, "{:?}", right.text().await);

    let mut attachment = attachment(&presigned, 6);
    attachment["sha256"] = json!("00".repeat(32));
    let refused = bucket.order("t-1", "r1", &attachment).await;
    let mismatch = |pointer: &str| {
        (
            422,
            "attachment-mismatch".to_owned(),
            vec![pointer.to_owned()],
        )
    };
    assert_eq!(problem(refused).await, mismatch("#/attachment/sha256"));
    attachment["sha256"] = json!(sha256);
    bucket.ordered("t-1", "r1", &attachment).await;

    // One that was uploaded without a hash has none.
    let mut unhashed = bucket.upload("t-1", b"hello\n").await;
    unhashed["sha256"] = json!(sha256);
    let refused = bucket.order("t-1", "r2", &unhashed).await;
    assert_eq!(problem(refused).await, mismatch("#/attachment/sha256"));
    bucket.clean_up().await;
}

#[tokio::test]
async fn an_order_has_only_what_its_tenant_uploaded_as_it_says() {
    let bucket = Bucket::start().await;
    let good = bucket.upload("t-1", b"hello\n").await;
    let others = bucket.upload("t-2", b"hello\n").await;
    let never = attachment(&bucket.presign("t-1", 6).await, 6);
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed
    };
    let key = good["storageKey"].as_str().unwrap();
    let others_key = others["storageKey"].as_str().unwrap();
    let through_own = others_key.replace("tenants/t-2", "tenants/t-1/../t-2");
    let found = [
        (
            with("size", json!(7)),
            "attachment-mismatch",
            vec!["#/attachment/size"],
        ),
        (
            with("contentType", json!("text/html")),
            "attachment-mismatch",
            vec!["#/attachment/contentType"],
        ),
        (never, "attachment-missing", vec!["#/attachment/storageKey"]),
        (
            with("storageKey", json!(key.replace("invoice", "other"))),
            "attachment-missing",
            vec!["#/attachment/storageKey"],
        ),
        (others.clone(), "foreign-attachment", vec![]),
        (
            with("storageKey", json!(through_own)),
            "foreign-attachment",
            vec![],
        ),
        (
            with("storageKey", json!(key.to_uppercase())),
            "foreign-attachment",
            vec![],
        ),
        (
            with(
                "storageKey",
                json!("tenants/t-1/orders/abcd1234/invoice.pdf"),
            ),
            "foreign-attachment",
            vec![],
        ),
    ];
    for (attachment, kind, pointers) in found {
        let answer = bucket.order("t-1", "r1", &attachment).await;
        let pointers = pointers.into_iter().map(str::to_owned).collect();
        assert_eq!(
            problem(answer).await,
            (422, kind.to_owned(), pointers),
            "{attachment}"
        );
    }
    for member in ["etag", "version"] {
        let answer = bucket.order("t-1", "r1", &with(member, json!("x"))).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{member}");
    }
    assert_eq!(bucket.count("t-1").await, 0, "nothing is stored");
    bucket.ordered("t-1", "r1", &good).await;
    bucket.clean_up().await;
}

#[tokio::test]
async fn only_what_the_settings_allow_is_presigned() {
    let bucket = Bucket::start_with(|edge| {
        edge.env("ORDERS_UPLOADS__MAX_SIZE", "1KiB")
            .env("ORDERS_UPLOADS__TYPES", "application/pdf,image/*")
    })
    .await;
    let presign = async |size: u64, content_type: &str| {
        let file = json!({ "tenantId": "t-1", "filename": "a", "contentType": content_type, "size": size });
        bucket.pipeline.post("/api/uploads/presign", &file).await
    };
    assert_eq!(
        presign(1024, "image/png").await.status(),
        StatusCode::CREATED
    );
    let both = vec!["#/size".to_owned(), "#/contentType".to_owned()];
    let refused = presign(1025, "text/html").await;
    assert_eq!(problem(refused).await, (400, "validation".to_owned(), both));
    bucket.clean_up().await;
}

/// Nothing is stored while the storage is away; orders without a file do not notice, and the same request works later.
#[tokio::test]
async fn while_the_storage_is_away_nothing_is_taken_for_granted() {
    let mut bucket = Bucket::start().await;
    let file = bucket.upload("t-1", b"hello\n").await;
    let before = bucket.ordered("t-1", "r0", &file).await;
    bucket.s3.kill().await;
    let away = bucket.order("t-1", "r1", &file).await;
    assert_eq!(away.headers()["retry-after"], "1");
    assert_eq!(problem(away).await, (503, "unavailable".to_owned(), vec![]));
    let download = bucket.attachment("t-1", &before).await;
    assert_eq!(download.status(), StatusCode::SERVICE_UNAVAILABLE);
    // It was stored before.
    let replay = bucket.order("t-1", "r0", &file).await;
    assert_eq!(replay.status(), StatusCode::OK);
    bucket.pipeline.create("t-1", "r2").await;
    assert_eq!(bucket.count("t-1").await, 2);
    bucket.presign("t-1", 6).await;

    bucket.s3.restart().await;
    let id = bucket.ordered("t-1", "r1", &file).await;
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "hello\n");
    bucket.clean_up().await;
}

/// A storage that swallows everything costs 2 s, not more.
#[tokio::test]
async fn a_storage_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let bucket = Bucket::start_with(|edge| edge.env("ORDERS_UPLOADS__ENDPOINT", &endpoint)).await;
    let presigned = bucket.presign("t-1", 6).await;
    let mut order = order("t-1", "r1");
    order["attachment"] = attachment(&presigned, 6);
    let asked = std::time::Instant::now();
    let answer = bucket.pipeline.post("/api/orders", &order).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let waited = asked.elapsed();
    let expected = Duration::from_millis(1_900)..Duration::from_secs(10);
    assert!(expected.contains(&waited), "{waited:?}");
    bucket.clean_up().await;
}
