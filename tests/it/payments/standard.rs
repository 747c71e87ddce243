//! Standard Webhooks: who is believed, and what is answered.

use std::{fs, time::Instant};

use super::*;

#[tokio::test]
async fn what_the_libraries_of_npm_and_pypi_sign_pays_its_order() {
    let payments = Payments::start().await;
    for (sender, request) in [(Sender::node(), "r1"), (Sender::python(), "r2")] {
        let id = payments.pipeline.create(TENANT, request).await;
        let mut body = succeeded(&id);
        // Members that are not described are a sender's own.
        body["version"] = json!(2);
        body["data"]["method"] = json!("card");
        let webhook = sender.sign(&format!("msg_{request}"), &body).await;
        payments.pay(&webhook).await;
        payments.pipeline.until_status(TENANT, &id, "PAID").await;
        payments.pay(&webhook).await;
    }
    // Within two minutes the stream itself drops what comes again.
    assert_eq!(payments.messages("PAYMENTS").await, 2);
    let message = {
        let jetstream = payments.pipeline.stack.jetstream().await;
        let stream = jetstream.get_stream("PAYMENTS").await.unwrap();
        stream.get_raw_message(1).await.unwrap()
    };
    assert_eq!(
        message.headers.get("ce-source").unwrap().as_str(),
        "/orders/edge/webhook"
    );
    let body: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(body["reference"], "pay_1");
    let metrics = payments
        .pipeline
        .get("/metrics")
        .await
        .text()
        .await
        .unwrap();
    let line = r#"orders_payment_webhooks_total{daemon="edge",way="webhook",outcome="accepted"} 4"#;
    assert!(metrics.contains(line), "{metrics}");
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn who_is_not_believed_pays_nothing() {
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let node = Sender::node();
    let good = node.sign("msg_1", &succeeded(&id)).await;

    let stranger = node.clone().with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let stranger = stranger.sign("msg_1", &succeeded(&id)).await;
    let mut altered = good.clone();
    altered.body = altered.body.replace("99.98", "9.98");
    let mut renamed = good.clone();
    renamed
        .headers
        .insert("webhook-id", "msg_2".parse().unwrap());
    let mut unsigned = good.clone();
    unsigned.headers.remove("webhook-signature");
    for webhook in [stranger, altered, renamed, unsigned] {
        let body = payments.refused(&webhook, StatusCode::UNAUTHORIZED).await;
        assert_eq!(body["type"], "urn:orders:problem:unauthorized");
    }
    for ago in [310, -310] {
        let stale = node.clone().ago(ago).sign("msg_1", &succeeded(&id)).await;
        let body = payments.refused(&stale, StatusCode::BAD_REQUEST).await;
        assert_eq!(body["type"], "urn:orders:problem:stale-webhook");
    }
    let mut malformed = succeeded(&id);
    malformed["data"]["amount"] = json!("99.98");
    let malformed = node.sign("msg_1", &malformed).await;
    let body = payments.refused(&malformed, StatusCode::BAD_REQUEST).await;
    assert_eq!(body["errors"][0]["pointer"], "#/data/amount");

    let other = json!({ "type": "payment.refunded", "data": {} });
    let other = node.sign("msg_3", &other).await;
    let answer = payments.send(&other).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({ "accepted": false }));

    assert_eq!(payments.messages("PAYMENTS").await, 0);
    assert_eq!(payments.order(&id).await["status"], "PENDING");
    // After all that, what was signed well is as good as before.
    payments.pay(&good).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_secret_is_rotated_without_a_restart() {
    const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiAzMiBieXRlcyBleGFjdGx5";
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let (old, new) = (Sender::node(), Sender::node().with(NEW));
    let body = succeeded(&id);
    let by_new = new.sign("msg_1", &body).await;
    payments.refused(&by_new, StatusCode::UNAUTHORIZED).await;

    fs::write(&payments.secrets, format!("{NEW}\n{SECRET}\n")).unwrap();
    payments.pay(&by_new).await;
    let by_old = old.sign("msg_2", &body).await;
    payments.pay(&by_old).await;
    // A sender that rotates may sign with both.
    let mut by_both = by_old.clone();
    let signature = |webhook: &Webhook| {
        let value = &webhook.headers["webhook-signature"];
        value.to_str().unwrap().to_owned()
    };
    let other = old.clone().with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let other = other.sign("msg_2", &body).await;
    let both = format!("{} v1a,AAAA {}", signature(&other), signature(&by_old));
    by_both
        .headers
        .insert("webhook-signature", both.parse().unwrap());
    payments.pay(&by_both).await;

    fs::write(&payments.secrets, NEW).unwrap();
    payments.refused(&by_old, StatusCode::UNAUTHORIZED).await;
    payments.pay(&by_new).await;
    // A file that is wrong changes nothing, and the log says so without what is in it.
    fs::write(&payments.secrets, "hunter2").unwrap();
    payments.pay(&by_new).await;
    let log = payments.pipeline.edge.log();
    assert!(
        log.contains("ORDERS_PAYMENT__WEBHOOK_SECRETS_FILE"),
        "{log}"
    );
    assert!(
        !log.contains("hunter2") && !log.contains("whsec_bmV3"),
        "{log}"
    );
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn without_nats_the_sender_is_asked_to_come_again() {
    let mut payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let webhook = Sender::node().sign("msg_1", &succeeded(&id)).await;
    payments.pipeline.stack.nats.kill().await;
    let began = Instant::now();
    let answer = payments.send(&webhook).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    payments.pipeline.stack.nats.restart().await;
    eventually("the webhook is accepted", async || {
        let answer = payments.send(&webhook).await;
        match answer.status() {
            StatusCode::ACCEPTED => Ok(()),
            status => Err(status),
        }
    })
    .await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    payments.pipeline.stack.clean_up().await;
}
