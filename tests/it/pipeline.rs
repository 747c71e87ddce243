//! All five daemons on a stack of their own, and the calls that most tests make.

use orders_testkit::{Daemon, Setup, Stack, eventually};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// The running pipeline.
pub(crate) struct Pipeline {
    pub(crate) edge: Daemon,
    pub(crate) writer: Daemon,
    pub(crate) projector: Daemon,
    pub(crate) payments: Daemon,
    pub(crate) realtime: Daemon,
    pub(crate) http: reqwest::Client,
    // Dropped last: a failing test shows the logs, which are in its folder.
    pub(crate) stack: Stack,
}

impl Pipeline {
    /// Starts everything with payments after `delay`.
    pub(crate) async fn start(delay: &str) -> Self {
        Self::start_with(delay, |edge| edge).await
    }

    /// Starts everything on a NATS where daemons may create what is missing.
    pub(crate) async fn open(delay: &str) -> Self {
        Self::start_on(Stack::open().await, delay, |edge| edge).await
    }

    /// Starts everything, the edge with changes to its setup.
    pub(crate) async fn start_with(delay: &str, edge: impl FnOnce(Setup) -> Setup) -> Self {
        Self::start_on(Stack::start().await, delay, edge).await
    }

    /// Starts everything on `stack`.
    pub(crate) async fn start_on(
        stack: Stack,
        delay: &str,
        edge: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        Self::start_both(stack, delay, edge, |realtime| realtime).await
    }

    /// Starts everything on `stack`, the edge and realtime with changes to their setups.
    pub(crate) async fn start_both(
        stack: Stack,
        delay: &str,
        edge: impl FnOnce(Setup) -> Setup,
        realtime: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let realtime = realtime(stack.daemon("realtime")).spawn();
        let edge = edge(
            stack
                .daemon("edge")
                .env("ORDERS_REALTIME_URLS", &realtime.url()),
        )
        .spawn();
        let writer = stack.daemon("writer").spawn();
        let projector = stack.daemon("projector").spawn();
        let payments = stack
            .daemon("payment-simulator")
            .env("ORDERS_PAYMENT__DELAY", delay)
            .spawn();
        for daemon in [&realtime, &edge, &writer, &projector, &payments] {
            daemon.ready().await;
        }
        Self {
            stack,
            edge,
            writer,
            projector,
            payments,
            realtime,
            http: reqwest::Client::new(),
        }
    }

    /// Posts `body` to the edge's `path`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.edge.url());
        self.http
            .post(url)
            .json(body)
            .send()
            .await
            .expect("the edge answers")
    }

    /// Gets the edge's `path`.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.edge.url());
        self.http.get(url).send().await.expect("the edge answers")
    }

    /// The row of an order in the list of its tenant; null if there is none.
    pub(crate) async fn row(&self, tenant: &str, id: &str) -> Value {
        let path = format!("/api/orders?tenantId={tenant}&q={id}");
        self.get_json(&path).await["items"][0].clone()
    }

    /// Gets the edge's `path` and reads the 200's body.
    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("a JSON body")
    }

    /// Creates an order, which must be new, and returns its id.
    pub(crate) async fn create(&self, tenant: &str, request: &str) -> String {
        let response = self.post("/api/orders", &order(tenant, request)).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        order_id(response).await
    }

    /// Waits until the list shows the order with `status`.
    pub(crate) async fn until_status(&self, tenant: &str, id: &str, status: &str) {
        let path = format!("/api/orders?tenantId={tenant}&q={id}");
        eventually(&format!("{id} is {status}"), async || {
            let response = self.get(&path).await;
            let list: Value = response.json().await.unwrap_or_default();
            if list["items"][0]["status"] == status {
                Ok(())
            } else {
                Err(list)
            }
        })
        .await;
    }
}

/// The seed's order body.
pub(crate) fn order(tenant: &str, request: &str) -> Value {
    json!({
        "requestId": request,
        "tenantId": tenant,
        "buyer": { "email": "alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
    })
}

/// The `orderId` of a response's body.
pub(crate) async fn order_id(response: Response) -> String {
    let body: Value = response.json().await.expect("a JSON body");
    body["orderId"].as_str().expect("an orderId").to_owned()
}
