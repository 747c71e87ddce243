//! Webhooks of Stripe, as its own library signs them.

use std::fs;

use super::*;
use crate::pipeline::{order, order_id};

fn event(kind: &str, id: &str, order: &str, minor: u64, currency: &str) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2025-08-27.basil", "created": 1_764_579_600,
        "type": format!("payment_intent.{kind}"), "livemode": false, "pending_webhooks": 1,
        "data": { "object": {
            "id": format!("pi_{id}"), "object": "payment_intent", "amount": minor, "amount_received": minor,
            "currency": currency, "metadata": { "tenantId": TENANT, "orderId": order },
            "last_payment_error": null, "status": "succeeded",
        } },
    })
}

#[tokio::test]
async fn amounts_in_minor_units_pay_orders_in_their_currencies() {
    let payments = Payments::start().await;
    let mut webhooks = Vec::new();
    let orders = [
        ("EUR", json!(49.99), 9998, "eur"),
        ("JPY", json!(250), 500, "jpy"),
        ("KWD", json!(2.56), 5120, "kwd"),
    ];
    for (currency, price, minor, code) in orders {
        let mut order = order(TENANT, currency);
        order["currency"] = json!(currency);
        order["items"][0]["price"] = price;
        let id = order_id(payments.pipeline.post("/api/orders", &order).await).await;
        let event = event("succeeded", &format!("evt_{code}"), &id, minor, code);
        webhooks.push((id, event));
    }
    let bodies = std::array::from_fn::<_, 3, _>(|n| ("", webhooks[n].1.to_string()));
    for webhook in Sender::stripe().sign_all(bodies).await {
        payments.pay(&webhook).await;
    }
    for (id, _) in &webhooks {
        payments.pipeline.until_status(TENANT, id, "PAID").await;
    }
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_failed_intent_that_succeeds_later_pays() {
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let mut failed = event("payment_failed", "evt_1", &id, 9998, "eur");
    let intent = &mut failed["data"]["object"];
    intent["amount_received"] = json!(0);
    intent["last_payment_error"] =
        json!({ "code": "card_declined", "message": "Your card was declined." });
    let succeeded = event("succeeded", "evt_2", &id, 9998, "eur");
    let bodies = [("", failed.to_string()), ("", succeeded.to_string())];
    let [failed, succeeded] = Sender::stripe().sign_all(bodies).await;
    payments.pay(&failed).await;
    payments.settled().await;
    assert_eq!(payments.order(&id).await["status"], "PENDING");
    payments.pay(&succeeded).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    assert_eq!(payments.messages("PAYMENTS").await, 2);
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn only_a_secret_of_the_endpoint_is_believed() {
    const NEW: &str = "whsec_rolled_at_the_dashboard";
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let body = event("succeeded", "evt_1", &id, 9998, "eur");
    let sender = Sender::stripe();
    let good = sender.sign("", &body).await;
    let by_new = sender.clone().with(NEW).sign("", &body).await;
    let mut altered = good.clone();
    altered.body = altered.body.replace("9998", "9999");
    for webhook in [&by_new, &altered] {
        payments.refused(webhook, StatusCode::UNAUTHORIZED).await;
    }
    let stale = sender.clone().ago(310).sign("", &body).await;
    payments.refused(&stale, StatusCode::BAD_REQUEST).await;
    let mut malformed = body.clone();
    malformed["data"]["object"]["currency"] = json!("zzz");
    let malformed = sender.sign("", &malformed).await;
    let told = payments.refused(&malformed, StatusCode::BAD_REQUEST).await;
    assert_eq!(told["errors"][0]["pointer"], "#/data/object/currency");
    // Of another endpoint's secret, or another service of the same account.
    for other in [
        json!({ "id": "evt_9", "type": "customer.created" }),
        json!({ "id": "evt_9", "type": "payment_intent.succeeded", "created": 1_764_579_600,
                "data": { "object": { "id": "pi_9", "metadata": {} } } }),
    ] {
        let other = sender.sign("", &other).await;
        let answer = payments.send(&other).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(payments.messages("PAYMENTS").await, 0);

    // While a secret is rolled, Stripe signs with both.
    fs::write(&payments.stripe_secrets, format!("{NEW}\n")).unwrap();
    payments.refused(&good, StatusCode::UNAUTHORIZED).await;
    let mut both = good.clone();
    let signature = |webhook: &Webhook| {
        let value = webhook.headers["stripe-signature"].to_str().unwrap();
        let (time, signature) = value.split_once(",v1=").unwrap();
        (time.to_owned(), signature.to_owned())
    };
    let at_once = sender.clone().with(NEW).sign("", &body).await;
    let ((time, new), (_, old)) = (signature(&at_once), signature(&good));
    let value = format!("{time},v1={old},v1={new}");
    both.headers
        .insert("stripe-signature", value.parse().unwrap());
    payments.pay(&both).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    payments.pipeline.stack.clean_up().await;
}
