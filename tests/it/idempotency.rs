//! One order for each (tenant, request id), whoever asks and how often.

use futures_util::future::join_all;
use mongodb::bson::doc;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order, order_id};

#[tokio::test]
async fn fifty_duplicates_over_two_edges_make_one_order_and_one_201() {
    let pipeline = Pipeline::start("5s").await;
    let second = pipeline.stack.daemon("edge").start().await;
    let body = order("t-1", "same");

    let urls = [pipeline.edge.url(), second.url()];
    let posts = (0..50).map(|n| {
        let post = pipeline
            .http
            .post(format!("{}/api/orders", urls[n % 2]))
            .json(&body);
        async move {
            let response = post.send().await.unwrap();
            let replayed = response.headers().contains_key("x-idempotent-replayed");
            (response.status(), replayed, order_id(response).await)
        }
    });
    let answers = join_all(posts).await;

    let created: Vec<_> = answers
        .iter()
        .filter(|(status, ..)| *status == StatusCode::CREATED)
        .collect();
    assert_eq!(created.len(), 1, "{answers:?}");
    for (status, replayed, id) in &answers {
        assert_eq!(*status == StatusCode::OK, *replayed);
        assert!(
            *status == StatusCode::OK || *status == StatusCode::CREATED,
            "{status}"
        );
        assert_eq!(id, &created[0].2);
    }
    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 1);
    assert_eq!(pipeline.stack.count("orders_read", doc! {}).await, 1);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_same_request_id_of_two_tenants_makes_two_orders() {
    let pipeline = Pipeline::start("5s").await;
    let first = pipeline.create("t-1", "r1").await;
    let second = pipeline.create("t-2", "r1").await;
    assert_ne!(first, second);
    let other = pipeline
        .get(&format!("/api/orders/{first}?tenantId=t-2"))
        .await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn another_body_replays_by_default_and_says_so() {
    let pipeline = Pipeline::start("5s").await;
    let id = pipeline.create("t-1", "r1").await;
    let mut other = order("t-1", "r1");
    other["items"][0]["qty"] = json!(3);

    let response = pipeline.post("/api/orders", &other).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-idempotent-replayed"], "true");
    assert_eq!(response.headers()["x-idempotency-mismatch"], "true");
    assert_eq!(order_id(response).await, id);
    let row = pipeline
        .get_json(&format!("/api/orders/{id}?tenantId=t-1"))
        .await;
    assert_eq!(row["total"], 99.98, "the first body is what is stored");
    pipeline.stack.clean_up().await;
}

/// What a client notes of an order is a part of its body, in whatever order it notes it.
#[tokio::test]
async fn other_notes_make_another_body_and_no_notes_none() {
    let pipeline = Pipeline::start("5s").await;
    let noted = |notes: &str| {
        let body = order("t-1", "r1").to_string();
        body.replacen(
            '{',
            &format!(r#"{{"currency":"EUR","metadata":{notes},"#),
            1,
        )
    };
    let url = format!("{}/api/orders", pipeline.edge.url());
    let post = async |body: String| {
        let request = pipeline
            .http
            .post(&url)
            .header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let mismatch = response.headers().contains_key("x-idempotency-mismatch");
        (response.status(), mismatch)
    };
    let first = post(noted(r#"{"a":"1","b":"2"}"#)).await;
    assert_eq!(first, (StatusCode::CREATED, false));
    assert_eq!(
        post(noted(r#"{"b":"2","a":"1"}"#)).await,
        (StatusCode::OK, false)
    );
    assert_eq!(post(noted(r#"{"a":"1"}"#)).await, (StatusCode::OK, true));
    assert_eq!(
        post(order("t-1", "r1").to_string()).await,
        (StatusCode::OK, true)
    );
    pipeline.create("t-1", "r2").await;
    let nothing = noted("{}")
        .replace("r1", "r2")
        .replace(r#""currency":"EUR","#, "");
    assert_eq!(post(nothing).await, (StatusCode::OK, false));
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn another_body_is_422_when_the_operator_says_reject() {
    let pipeline = Pipeline::start_with("5s", |edge| {
        edge.env("ORDERS_IDEMPOTENCY__ON_MISMATCH", "reject")
    })
    .await;
    pipeline.create("t-1", "r1").await;
    let mut other = order("t-1", "r1");
    other["items"][0]["qty"] = json!(3);

    let response = pipeline.post("/api/orders", &other).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let same = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    assert_eq!(same.status(), StatusCode::OK);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_idempotency_key_header_stands_in_for_the_request_id() {
    let pipeline = Pipeline::start("5s").await;
    let url = format!("{}/api/orders", pipeline.edge.url());
    let mut body = order("t-1", "");
    body.as_object_mut().unwrap().remove("requestId");
    let post = |key: &'static str, body: &Value| {
        pipeline
            .http
            .post(&url)
            .header("idempotency-key", key)
            .json(body)
            .send()
    };

    let quoted = post("\"key-1\"", &body).await.unwrap();
    assert_eq!(quoted.status(), StatusCode::CREATED);
    let id = order_id(quoted).await;
    let bare = post("key-1", &body).await.unwrap();
    assert_eq!(bare.status(), StatusCode::OK);
    assert_eq!(order_id(bare).await, id);
    // The same key in the body is the same request.
    let in_body = pipeline.post("/api/orders", &order("t-1", "key-1")).await;
    assert_eq!(in_body.status(), StatusCode::OK);
    assert_eq!(order_id(in_body).await, id);

    let both = post("key-2", &order("t-1", "key-1")).await.unwrap();
    assert_eq!(both.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        both.json::<Value>().await.unwrap()["errors"][0]["pointer"],
        "#/requestId"
    );
    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 1);
    pipeline.stack.clean_up().await;
}
