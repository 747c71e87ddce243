//! The operations for whoever takes payments.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    components::{ORDER_ID, problem},
    paths::{answer, body, with_problems},
};

/// `POST /api/payments/webhook`
pub(super) fn standard() -> Value {
    let header = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": { "type": "string" }, "example": example,
        })
    };
    json!({
        "tags": ["payments"], "operationId": "receivePaymentWebhook", "summary": "Tell of a payment, by Standard Webhooks",
        "description": "Signed by the specification Standard Webhooks 1.0 with a secret of `ORDERS_PAYMENT__WEBHOOK_SECRETS_FILE`; no token is needed. A webhook that comes again changes nothing. The order becomes PAID if the amount is its total; after a payment that fails it waits, and a later one still pays. An operator is told of a payment that fails, and of whatever else is wrong with one. Webhooks of other types, and members that are not described, are ignored.",
        "parameters": [
            header("webhook-id", "The webhook's id, the same on every attempt", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            header("webhook-timestamp", "When the attempt was sent, in seconds since the Unix epoch, within 5 minutes of now", "1764579600"),
            header("webhook-signature", "The signatures `v1,<base64>`, separated by spaces, one of which has to be valid", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ],
        "requestBody": body("PaymentWebhook", &json!({
            "type": "payment.succeeded",
            "timestamp": "2026-12-01T09:00:00Z",
            "data": { "tenantId": "t-123", "orderId": ORDER_ID, "amount": 99.98, "currency": "EUR", "reference": "pay_1" },
        })),
        "responses": responses(),
    })
}

/// `POST /api/payments/stripe`
pub(super) fn stripe() -> Value {
    let mut request = json!({ "required": true, "content": { "application/json": {
        "schema": { "type": "object", "description": "An event of Stripe" },
    } } });
    request["content"]["application/json"]["example"] = json!({
        "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": 1_764_579_600,
        "data": { "object": {
            "id": "pi_1", "object": "payment_intent", "amount": 9998, "amount_received": 9998, "currency": "eur",
            "metadata": { "tenantId": "t-123", "orderId": ORDER_ID },
        } },
    });
    json!({
        "tags": ["payments"], "operationId": "receiveStripeEvent", "summary": "Tell of a payment, as Stripe does",
        "description": "Signed with a secret of `ORDERS_PAYMENT__STRIPE_SECRETS_FILE`; no token is needed. Events `payment_intent.succeeded` and `payment_intent.payment_failed` count if the metadata of the payment intent have a `tenantId` and an `orderId`; all others are ignored.",
        "parameters": [{
            "name": "Stripe-Signature", "in": "header", "required": true,
            "description": "`t=<seconds>,v1=<HMAC-SHA256 in hexadecimal>` of `<seconds>.<body>`, within 5 minutes of now",
            "schema": { "type": "string" },
        }],
        "requestBody": request,
        "responses": responses(),
    })
}

fn responses() -> Value {
    with_problems(
        json!({
            "202": answer(
                "A payment that is stored now, whatever becomes of it; or, with `\"accepted\": false`, something else that is ignored",
                "PaymentAnswer", &json!({ "accepted": true }), &[],
            ),
            "400": problem(StatusCode::BAD_REQUEST, "The body is malformed; or, of the type `urn:orders:problem:stale-webhook`, the webhook is more than 5 minutes old or ahead"),
            "401": problem(StatusCode::UNAUTHORIZED, "The signature is missing or not valid"),
            "404": problem(StatusCode::NOT_FOUND, "The service takes no such webhooks"),
        }),
        &["408", "413", "415", "429", "503"],
    )
}
