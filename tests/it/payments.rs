//! Payments that come from outside, signed by the libraries that real senders use.

mod decisions;
pub(crate) mod sender;
mod standard;
mod stripe;

use std::{fs, path::PathBuf};

use orders_testkit::{Stack, eventually};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use self::sender::{Sender, Webhook};
use crate::pipeline::Pipeline;

const TENANT: &str = "t-123";
const STANDARD: &str = "/api/payments/webhook";
const STRIPE: &str = "/api/payments/stripe";
/// The secrets at first.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const STRIPE_SECRET: &str = "whsec_of_an_endpoint_at_stripe";

/// A pipeline that takes webhooks both ways, and simulates no payment before the test is over.
pub(crate) struct Payments {
    pub(crate) pipeline: Pipeline,
    secrets: PathBuf,
    stripe_secrets: PathBuf,
}

impl Payments {
    async fn start() -> Self {
        Self::start_on(Stack::start().await, "1h").await
    }

    /// The same on `stack`, with simulated payments after `delay`.
    pub(crate) async fn start_on(stack: Stack, delay: &str) -> Self {
        let [secrets, stripe_secrets] = [
            ("webhook-secrets", SECRET),
            ("stripe-secrets", STRIPE_SECRET),
        ]
        .map(|(name, secret)| {
            let path = stack.folder().join(name);
            fs::write(&path, format!("{secret}\n")).unwrap();
            path
        });
        let pipeline = Pipeline::start_on(stack, delay, |edge| {
            edge.env(
                "ORDERS_PAYMENT__WEBHOOK_SECRETS_FILE",
                secrets.to_str().unwrap(),
            )
            .env(
                "ORDERS_PAYMENT__STRIPE_SECRETS_FILE",
                stripe_secrets.to_str().unwrap(),
            )
        })
        .await;
        Self {
            pipeline,
            secrets,
            stripe_secrets,
        }
    }

    /// Sends a webhook as it was signed.
    async fn send(&self, webhook: &Webhook) -> Response {
        let url = format!("{}{}", self.pipeline.edge.url(), webhook.path);
        let request = self
            .pipeline
            .http
            .post(url)
            .headers(webhook.headers.clone());
        let request = request.header("content-type", "application/json");
        request.body(webhook.body.clone()).send().await.unwrap()
    }

    /// Sends a webhook, which must be accepted.
    pub(crate) async fn pay(&self, webhook: &Webhook) {
        let answer = self.send(webhook).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{webhook:?}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({ "accepted": true }), "{webhook:?}");
    }

    /// Sends a webhook, which must be refused; what the answer says.
    async fn refused(&self, webhook: &Webhook, status: StatusCode) -> Value {
        let answer = self.send(webhook).await;
        assert_eq!(answer.status(), status, "{webhook:?}");
        answer.json().await.unwrap()
    }

    async fn messages(&self, stream: &str) -> u64 {
        let jetstream = self.pipeline.stack.jetstream().await;
        let stream = jetstream.get_stream(stream).await.unwrap();
        stream.cached_info().state.messages
    }

    /// Waits until the writer has settled all payments.
    async fn settled(&self) {
        let jetstream = self.pipeline.stack.jetstream().await;
        let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
        eventually("the writer has settled all payments", async || {
            let writer = payments.consumer_info("writer").await.unwrap();
            match (writer.num_pending, writer.num_ack_pending) {
                (0, 0) => Ok(()),
                left => Err(left),
            }
        })
        .await;
    }

    /// The order as its page shows it.
    async fn order(&self, id: &str) -> Value {
        let path = format!("/api/orders/{id}?tenantId={TENANT}");
        self.pipeline.get_json(&path).await
    }
}

/// What a webhook says of a payment of the seed's order.
fn succeeded(order: &str) -> Value {
    of_kind("payment.succeeded", order)
}

pub(crate) fn of_kind(kind: &str, order: &str) -> Value {
    json!({
        "type": kind,
        "timestamp": "2026-12-01T09:00:00Z",
        "data": { "tenantId": TENANT, "orderId": order, "amount": 99.98, "reference": "pay_1" },
    })
}
