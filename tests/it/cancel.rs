//! Cancelling, and the race with the payment, which the writer decides.

use futures_util::future::join_all;
use mongodb::bson::doc;
use orders_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::pipeline::Pipeline;

async fn cancel(pipeline: &Pipeline, tenant: &str, id: &str) -> (StatusCode, Value) {
    let response = pipeline
        .post(
            &format!("/api/orders/{id}/cancel"),
            &json!({ "tenantId": tenant }),
        )
        .await;
    (
        response.status(),
        response.json().await.expect("a JSON body"),
    )
}

#[tokio::test]
async fn a_pending_order_can_be_cancelled_once_and_is_never_paid() {
    let pipeline = Pipeline::start("3s").await;
    let id = pipeline.create("t-1", "r1").await;

    let (status, body) = cancel(&pipeline, "t-2", &id).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another tenant's: {body}");
    let (status, body) = cancel(&pipeline, "t-1", &id).await;
    assert_eq!(
        (status, body),
        (
            StatusCode::OK,
            json!({ "orderId": id, "status": "CANCELLED" })
        )
    );
    // The list shows it at once, and again is the same.
    assert_eq!(pipeline.row("t-1", &id).await["status"], "CANCELLED");
    let (status, body) = cancel(&pipeline, "t-1", &id).await;
    assert_eq!(
        (status, body),
        (
            StatusCode::OK,
            json!({ "orderId": id, "status": "CANCELLED" })
        )
    );

    // The payment still comes, is counted and changes nothing.
    eventually("the payment of a cancelled order is counted", async || {
        let metrics = reqwest::get(format!("{}/metrics", pipeline.writer.url()))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let counted = metrics.lines().any(|line| {
            line.starts_with("orders_payments_of_cancelled_orders_total") && line.ends_with(" 1")
        });
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(pipeline.row("t-1", &id).await["status"], "CANCELLED");
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_paid_order_is_a_conflict() {
    let pipeline = Pipeline::start("100ms").await;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let (status, body) = cancel(&pipeline, "t-1", &id).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    pipeline.stack.clean_up().await;
}

/// Cancels arrive just when the payments do: each order ends in one status, in both collections, and the answer is
/// the truth.
#[tokio::test]
async fn the_writer_decides_the_race_with_the_payment() {
    let pipeline = Pipeline::start("500ms").await;
    let tenant = "t-1";
    let ids = join_all((0..40).map(|n| {
        let pipeline = &pipeline;
        async move { pipeline.create(tenant, &format!("r{n}")).await }
    }))
    .await;
    let answers = join_all(ids.iter().enumerate().map(|(n, id)| {
        let pipeline = &pipeline;
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(n as u64 * 20)).await;
            cancel(pipeline, tenant, id).await.0
        }
    }))
    .await;

    for (id, answer) in ids.iter().zip(&answers) {
        let expected = match *answer {
            StatusCode::OK => "CANCELLED",
            StatusCode::CONFLICT => "PAID",
            other => panic!("{other}"),
        };
        pipeline.until_status(tenant, id, expected).await;
        let filter = doc! { "_id": id, "status": expected, "version": 2 };
        assert_eq!(
            pipeline.stack.count("orders_write", filter.clone()).await,
            1
        );
        assert_eq!(pipeline.stack.count("orders_read", filter).await, 1);
    }
    pipeline.stack.clean_up().await;
}
