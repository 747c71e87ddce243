//! Two tenants ask for each other's orders, in every way, many times: nothing of either reaches the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};

use super::{Call, Guarded, bearer};

/// So many requests, of both tenants together: each connection asks for each thing in each way, most several times.
///
/// `ORDERS_TEST_CROSSINGS=100000 cargo xtask test -- -p orders-tests --test it -- crossing:: --nocapture` makes more.
const REQUESTS: usize = 4_000;
/// The connections, half of each tenant.
const CONNECTIONS: usize = 32;
/// Among so many requests in a row is each kind.
const KINDS: usize = 64;
const ORDERS: usize = 10;

/// A tenant, and words that only its own answers may have.
struct Side {
    tenant: String,
    credentials: String,
    canary: String,
    orders: Vec<String>,
    /// A place in its list.
    cursor: String,
    storage_key: String,
}

impl Side {
    async fn new(guarded: &Guarded, tenant: &str) -> Self {
        let canary = format!("canary-of-{tenant}");
        let hour = Duration::from_secs(3_600);
        let credentials = bearer(&guarded.token(tenant).expires_in(hour));
        let presign = json!({ "filename": format!("{canary}.pdf"), "contentType": "application/pdf", "size": 1 });
        let presigned = guarded
            .ask(&Call::post("/api/uploads/presign", presign), &credentials)
            .await;
        let storage_key = presigned.json()["storageKey"]
            .as_str()
            .expect("a key")
            .to_owned();
        let mut orders = Vec::new();
        for n in 0..ORDERS {
            let order = json!({
                "requestId": format!("{canary}-{n}"),
                "buyer": { "email": format!("{canary}@example.com"), "name": canary },
                "items": [{ "sku": canary, "qty": 1, "price": 1 }],
                "attachment": { "filename": format!("{canary}.pdf"), "contentType": "application/pdf", "size": 1, "storageKey": storage_key },
            });
            let created = guarded
                .ask(&Call::post("/api/orders", order), &credentials)
                .await;
            assert_eq!(created.status, 201, "{created:?}");
            orders.push(
                created.json()["orderId"]
                    .as_str()
                    .expect("an id")
                    .to_owned(),
            );
        }
        let page = guarded
            .ask(&Call::get("/api/orders?limit=5"), &credentials)
            .await;
        assert!(
            page.body.contains(&canary),
            "the canary sings for its own tenant: {page:?}"
        );
        let cursor = page
            .header("link")
            .split("cursor=")
            .nth(1)
            .expect("a next page");
        let cursor = cursor
            .split(['&', '>'])
            .next()
            .unwrap_or_default()
            .to_owned();
        Self {
            tenant: tenant.to_owned(),
            credentials,
            canary,
            orders,
            cursor,
            storage_key,
        }
    }

    /// The `n`th request for what `other` has, and the statuses that may answer it.
    fn crossing(&self, other: &Self, n: usize) -> (Call, &'static [u16]) {
        let (own, theirs) = (&self.tenant, &other.tenant);
        let order = &other.orders[n / KINDS % ORDERS];
        // The writer and the database take longer than the edge alone, so they are asked less often.
        match n % KINDS {
            0 => {
                let body = json!({ "tenantId": own });
                return (
                    Call::post(format!("/api/orders/{order}/cancel"), body),
                    &[404],
                );
            }
            1 => {
                return (
                    Call::get(format!("/api/orders/{order}?tenantId={own}")),
                    &[404],
                );
            }
            2 => {
                return (
                    Call::get(format!("/api/orders?cursor={}", other.cursor)),
                    &[200],
                );
            }
            3 => {
                let buyer = format!("{}@example.com", other.canary);
                return (Call::get(format!("/api/orders?buyerEmail={buyer}")), &[200]);
            }
            4 => return (Call::get(format!("/api/orders?q={order}")), &[200]),
            5 => {
                let request = format!("{}-0", other.canary);
                let query = format!("requestId={request}&expand=summary");
                return (Call::get(format!("/api/orders?{query}")), &[200]);
            }
            6 => {
                let query = format!("tenantId={theirs}&format=ndjson");
                return (Call::get(format!("/api/orders/export?{query}")), &[403]);
            }
            _ => {}
        }
        let list = |query: String| Call::get(format!("/api/orders?{query}"));
        let cancel = |body| Call::post(format!("/api/orders/{order}/cancel"), body);
        match n % 13 {
            0 => (list(format!("tenantId={theirs}")), &[403]),
            1 => (
                list(format!("tenantId={theirs}&status=PENDING&limit=100")),
                &[403],
            ),
            2 => (list(format!("tenantId={own}&tenantId={theirs}")), &[400]),
            3 => (list(format!("tenantId={own}&tenantId[]={theirs}")), &[400]),
            4 => (
                Call::get(format!("/api/orders/{order}?tenantId={theirs}")),
                &[403],
            ),
            5 => (
                Call::get(format!("/api/orders/{theirs}%2F{order}?tenantId={own}")),
                &[404],
            ),
            6 => (
                Call::get(format!("/api/orders/../orders?tenantId={theirs}")),
                &[404],
            ),
            7 => (cancel(json!({ "tenantId": theirs })), &[403]),
            8 => (
                cancel(json!({ "tenantId": own, "tenantid": theirs })),
                &[400],
            ),
            9 => (Call::presign(theirs), &[403]),
            10 => (
                Call::post("/api/orders", self.order(own, &other.storage_key)),
                &[422],
            ),
            11 => (
                Call::post("/api/orders", self.order(theirs, &self.storage_key)),
                &[403],
            ),
            _ => (
                Call::post("/api/orders", json!({ "tenantId": theirs, "buyer": order })),
                &[400],
            ),
        }
    }

    fn order(&self, tenant: &str, storage_key: &str) -> Value {
        json!({
            "requestId": format!("{}-crosses", self.canary),
            "tenantId": tenant,
            "buyer": { "email": "a@example.com", "name": "A" },
            "items": [{ "sku": "S", "qty": 1, "price": 1 }],
            "attachment": { "filename": "a.pdf", "contentType": "application/pdf", "size": 1, "storageKey": storage_key },
        })
    }
}

/// A connection of a tenant's own; a test client that opens one for each request would be slower than the edge.
async fn connect(port: u16) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("the edge listens");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn send(edge: &mut SendRequest<Full<Bytes>>, call: &Call, credentials: &str) -> Reply {
    let body = call
        .body
        .as_ref()
        .map_or_else(String::new, Value::to_string);
    let request = Request::builder()
        .method(call.method.as_str())
        .uri(&call.path)
        .header("host", "localhost")
        .header("authorization", credentials)
        .header("content-type", "application/json")
        .body(Full::from(body))
        .expect("a request");
    edge.ready().await.expect("the edge keeps the connection");
    let (head, body) = edge
        .send_request(request)
        .await
        .expect("an answer")
        .into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    Reply {
        status: head.status.as_u16(),
        headers: format!("{:?}", head.headers),
        body,
    }
}

struct Reply {
    status: u16,
    headers: String,
    body: String,
}

/// Asks `times`, as one of the tenants.
async fn cross(sides: Arc<[Side; 2]>, which: usize, port: u16, first: usize, times: usize) {
    let (own, other) = (&sides[which], &sides[1 - which]);
    let mut edge = connect(port).await;
    for n in first..first + times {
        let (call, expected) = own.crossing(other, n);
        let Reply {
            status,
            headers,
            body,
        } = send(&mut edge, &call, &own.credentials).await;
        assert!(expected.contains(&status), "{call:?}: {status} {body}");
        // A canary that the request does not have itself, and no row of the other's at all.
        let (mut secrets, asked) = (vec![&other.canary], format!("{call:?}"));
        secrets.extend(&other.orders);
        for secret in secrets {
            let is_told = body.contains(secret) || headers.contains(secret);
            assert!(
                asked.contains(secret) || !is_told,
                "{call:?}: {headers} {body}"
            );
        }
        if status == 200 {
            let list: Value = serde_json::from_str(&body).expect("a list");
            let is_own = |row: &Value| own.orders.iter().any(|id| row["orderId"] == *id);
            assert!(
                list["items"].as_array().expect("rows").iter().all(is_own),
                "{call:?}: {body}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_tenant_reaches_another() {
    let guarded = Guarded::start().await;
    let sides = [
        Side::new(&guarded, "t-1").await,
        Side::new(&guarded, "t-2").await,
    ];
    let sides = Arc::new(sides);
    let requests = std::env::var("ORDERS_TEST_CROSSINGS");
    let requests = requests.map_or(REQUESTS, |text| text.parse().expect("a number"));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let port = guarded.pipeline.edge.port();
    let each = requests / CONNECTIONS;
    assert!(each >= KINDS, "too few for every kind");
    for n in 0..CONNECTIONS {
        tasks.spawn(cross(Arc::clone(&sides), n % 2, port, n * each, each));
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("nothing leaks");
    }
    eprintln!("{requests} requests in {:.1?}", began.elapsed());
    // Nor has anything changed.
    for side in sides.iter() {
        let page = guarded
            .ask(&Call::get("/api/orders?limit=100"), &side.credentials)
            .await
            .json();
        let rows = page["items"].as_array().expect("rows");
        assert_eq!(rows.len(), ORDERS);
        assert!(rows.iter().all(|row| row["status"] == "PENDING"), "{page}");
    }
    guarded.pipeline.stack.clean_up().await;
}
