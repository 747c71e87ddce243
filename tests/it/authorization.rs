//! Who may do what, in mode jwt.

mod crossing;
mod docs;
mod keys;
mod limits;
mod matrix;
mod sockets;

use orders_testkit::{Daemon, Issuer, Setup, Token};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order};

/// The trace of every request.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// Every scope.
const ALL: &str = "orders:read orders:create orders:cancel uploads:create";

/// The pipeline, with an edge that requires tokens of an issuer.
struct Guarded {
    pipeline: Pipeline,
    issuer: Issuer,
}

impl Guarded {
    /// Starts it with limits that no test reaches, and answers that can be compared.
    async fn start() -> Self {
        let unlimited = |edge: Setup| {
            edge.env("ORDERS_LIMITS__TENANT_RATE", "1000000")
                .env("ORDERS_LIMITS__HEADERS", "false")
        };
        Self::start_with(unlimited).await
    }

    /// Starts it with changes to the setup of the edge.
    async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let issuer = Issuer::start().await;
        let pipeline = Pipeline::start_with("1h", |edge| {
            let edge = edge
                .env("ORDERS_AUTH__MODE", "jwt")
                .env("ORDERS_AUTH__ISSUER", &issuer.url());
            change(edge)
        })
        .await;
        Self { pipeline, issuer }
    }

    /// A token for `tenant` with every scope.
    fn token(&self, tenant: &str) -> Token {
        self.issuer.token().tenant(tenant).scopes(ALL)
    }

    async fn ask(&self, call: &Call, credentials: &str) -> Answer {
        ask(&self.pipeline.edge, call, credentials).await
    }

    /// Creates an order and returns its id.
    async fn create(&self, tenant: &str, request: &str) -> String {
        let call = Call::post("/api/orders", order(tenant, request));
        let answer = self.ask(&call, &bearer(&self.token(tenant))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["orderId"].as_str().expect("an id").to_owned()
    }
}

/// A request, apart from its credentials.
#[derive(Debug, Clone)]
struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Call {
    fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
        }
    }

    fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: Some(body),
        }
    }

    fn presign(tenant: &str) -> Self {
        let file = json!({ "tenantId": tenant, "filename": "a.pdf", "contentType": "application/pdf", "size": 1 });
        Self::post("/api/uploads/presign", file)
    }
}

/// An answer as it came, with headers in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// The value of `Authorization` with this token.
fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.sign())
}

/// Sends `call` with `credentials` as its `Authorization`, or without it if they are empty.
async fn ask(edge: &Daemon, call: &Call, credentials: &str) -> Answer {
    let url = format!("{}{}", edge.url(), call.path);
    let mut request = reqwest::Client::new()
        .request(call.method.clone(), url)
        // The same for all, so that answers can be compared.
        .header("x-request-id", "r")
        .header("traceparent", TRACE)
        .header(header::ACCEPT, "application/json");
    if !credentials.is_empty() {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    if let Some(body) = &call.body {
        request = request.json(body);
    }
    let response = request.send().await.expect("the edge answers");
    let text = |value: &header::HeaderValue| value.to_str().expect("text").to_owned();
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != header::DATE)
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    headers.sort();
    let is_stream = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type == "text/event-stream");
    Answer {
        status: response.status().as_u16(),
        headers,
        body: match is_stream {
            // It has no end.
            true => String::new(),
            false => response.text().await.expect("a body"),
        },
    }
}
