//! Webhooks of payments while NATS is away: all that is decided before a message is sent.

use orders_webhooks::{Secret, Signed, header};
use tempfile::TempDir;

use super::*;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const STRIPE: &str = "whsec_of_an_endpoint_at_stripe";

/// Settings by which webhooks come both ways, and the folder of their files.
pub(super) fn with_payments() -> (Config, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let [standard, stripe] = [("standard", SECRET), ("stripe", STRIPE)].map(|(name, secret)| {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).unwrap();
        path
    });
    let config = Config {
        payment: PaymentSecrets {
            webhook_secrets_file: Some(standard),
            stripe_secrets_file: Some(stripe),
        },
        ..Config::default()
    };
    (config, folder)
}

/// Sends `body` as it is signed `ago` seconds ago.
async fn send(body: &str, ago: i64, more: &[(&str, &str)]) -> Answer {
    let (config, _folder) = with_payments();
    let seconds = orders_contracts::Timestamp::now().millis() / 1_000 - ago;
    let timestamp = seconds.to_string();
    let signed = Signed {
        id: "msg_1",
        timestamp: &timestamp,
        body: body.as_bytes(),
    };
    let secret: Secret = SECRET.parse().unwrap();
    let signature = signed.sign([&secret]);
    let mut headers = vec![
        ("content-type", "application/json"),
        (header::ID, "msg_1"),
        (header::TIMESTAMP, &timestamp),
        (header::SIGNATURE, &signature),
    ];
    headers.extend(more);
    let edge = edge_with(config).await;
    ask_of(
        edge,
        "POST",
        "/api/payments/webhook",
        &headers,
        body.to_owned(),
    )
    .await
}

fn paid() -> Value {
    json!({
        "type": "payment.succeeded",
        "timestamp": "2026-12-01T09:00:00Z",
        "data": {
            "tenantId": "t-123", "orderId": "ord_qz74bke6iblutmfkqfvmtezzkq", "amount": 99.98, "reference": "pay_1",
        },
    })
}

#[tokio::test]
async fn without_a_secret_there_is_no_such_path() {
    for path in ["/api/payments/webhook", "/api/payments/stripe"] {
        let answer = post(path, paid()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let text = format!("Cannot POST {path}");
        assert_eq!(answer.body["detail"], text);
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_to_be_sent_again() {
    let answer = send(&paid().to_string(), 0, &[]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_webhook_of_something_else_is_ignored() {
    let answer = send(r#"{"type":"payment.refunded"}"#, 0, &[]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body, json!({ "accepted": false }));
}

#[tokio::test]
async fn who_has_the_secret_learns_what_is_wrong() {
    let stale = send(&paid().to_string(), 301, &[]).await;
    assert_eq!(stale.status, StatusCode::BAD_REQUEST);
    assert_eq!(stale.body["type"], "urn:orders:problem:stale-webhook");

    let mut wrong = paid();
    wrong["data"]["amount"] = json!("99.98");
    wrong["data"]["orderId"] = json!("17");
    let wrong = send(&wrong.to_string(), 0, &[]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let pointers = wrong.body["errors"].as_array().unwrap().iter();
    let pointers: Vec<&Value> = pointers.map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["#/data/orderId", "#/data/amount"]);

    let coded = [("content-encoding", "gzip")];
    let coded = send(&paid().to_string(), 0, &coded).await;
    assert_eq!(coded.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_has_no_secret_learns_nothing() {
    let (config, _folder) = with_payments();
    let edge = edge_with(config).await;
    let json = ("content-type", "application/json");
    let id = (header::ID, "msg_1");
    let time = (header::TIMESTAMP, "1");
    for (path, headers) in [
        ("/api/payments/webhook", vec![json]),
        (
            "/api/payments/webhook",
            vec![json, id, time, (header::SIGNATURE, "v1,")],
        ),
        ("/api/payments/stripe", vec![json]),
        (
            "/api/payments/stripe",
            vec![json, ("stripe-signature", "t=1,v1=00")],
        ),
    ] {
        let answer = ask_of(edge.clone(), "POST", path, &headers, "nonsense").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(
            answer.body["detail"],
            "The signature is missing or not valid"
        );
    }
}

/// A token is not asked for, and does not help.
#[tokio::test]
async fn in_mode_jwt_the_signature_is_the_login() {
    let (config, _folder) = with_payments();
    let edge = edge_with(Config {
        auth: orders_auth::AuthSettings {
            mode: orders_auth::Mode::Jwt,
            issuer: Some(format!("http://{NOWHERE}")),
            ..Default::default()
        },
        ..config
    })
    .await;
    let json = ("content-type", "application/json");
    let time = orders_contracts::Timestamp::now().millis() / 1_000;
    let event = r#"{"type":"customer.created"}"#;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, STRIPE.as_bytes());
    let tag = ring::hmac::sign(&key, format!("{time}.{event}").as_bytes());
    let tag = data_encoding::HEXLOWER.encode(tag.as_ref());
    let signature = format!("t={time},v1={tag}");
    let signed = [json, ("stripe-signature", signature.as_str())];
    let path = "/api/payments/stripe";
    let answer = ask_of(edge.clone(), "POST", path, &signed, event).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let token = [json, ("authorization", "Bearer a.b.c")];
    let answer = ask_of(edge, "POST", path, &token, event).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
