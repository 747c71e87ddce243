//! The router without a bus and a database: what it refuses, and what it says when they are away.

use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request},
    http::{HeaderMap, StatusCode},
};
use orders_service::Departure;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;

mod guarded;
mod payments;

use self::payments::with_payments;

/// A port that nobody listens on.
const NOWHERE: &str = "127.0.0.1:9";

async fn edge() -> Router {
    edge_with(Config::default()).await
}

async fn bus() -> Bus {
    let nats = orders_service::config::Nats {
        url: format!("nats://{NOWHERE}"),
        ..Default::default()
    };
    Bus::connect(&nats, Role::Edge).await.unwrap()
}

async fn edge_with(config: Config) -> Router {
    let bus = bus().await;
    let mongo = orders_service::config::Mongo {
        url: format!("mongodb://{NOWHERE}/?serverSelectionTimeoutMS=50"),
        ..Default::default()
    };
    let store = Store::open(&mongo, "edge").await.unwrap();
    let rows = store.read_model();
    let limits = Arc::new(config.limits());
    let realtime = Origins::try_from(format!("http://{NOWHERE}")).unwrap();
    let edge = Arc::new(AppState {
        commands: Commands::new(
            bus.clone(),
            rows.clone(),
            config.in_flight(),
            CancellationToken::new(),
        ),
        rows,
        orders: store.write_model(),
        exports: Exports::default(),
        limits: Arc::clone(&limits),
        intake: Intake::new(),
        uploads: Semaphore::new(routes::uploads::AT_ONCE),
        payments: Payments::open(&config.payment, bus.clone()).unwrap(),
        attachments: Attachments::open(&config.uploads).unwrap(),
        unlisted: Unlisted {
            bus,
            orders: store.write_model(),
        },
        place: config.place(3001),
        guard: Guard::new(&config, 3001, limits).unwrap(),
        realtimes: Arc::new(Realtimes::new(&realtime, Departure::default())),
        on_mismatch: config.idempotency.on_mismatch,
    });
    router(edge, &config.access, 3001)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    ask_of(edge().await, method, path, headers, body).await
}

async fn ask_of(
    edge: Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body.into()).unwrap();
    let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = edge.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

async fn get(path: &str) -> Answer {
    ask("GET", path, &[], Body::empty()).await
}

async fn post(path: &str, body: Value) -> Answer {
    ask(
        "POST",
        path,
        &[("content-type", "application/json")],
        body.to_string(),
    )
    .await
}

fn order() -> Value {
    json!({
        "requestId": "r1",
        "tenantId": "t-123",
        "buyer": { "email": "alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
    })
}

#[tokio::test]
async fn the_document_describes_every_route_and_no_other() {
    let document = openapi::document(None);
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // These are not served by this router, or not by its table.
            if !["operations", "realtime"].contains(&operation["tags"][0].as_str().unwrap())
                || path == "/openapi.json"
            {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
    }
    let mut served = BTreeSet::new();
    let (config, _folder) = with_payments();
    let limits = Arc::new(config.limits());
    let guard = Guard::new(&config, 3001, limits).unwrap();
    let payments = Payments::open(&config.payment, bus().await).unwrap();
    let edge = edge_with(config).await;
    for (path, _) in routes::table(&guard, &payments) {
        let refused = ask_of(edge.clone(), "TRACE", path, &[], Body::empty()).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let methods = refused
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD");
        let path = path.replace("{*", "{");
        served.extend(methods.map(|method| (path.clone(), method.to_owned())));
    }
    assert_eq!(described, served);
}

#[tokio::test]
async fn unknown_paths_and_methods_have_the_one_error_body() {
    let answer = get("/api/nope?x=1").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body["message"], json!(["Cannot GET /api/nope?x=1"]));
    assert_eq!(answer.body["error"], "Not Found");
    assert_eq!(answer.header("content-type"), "application/json");

    let answer = ask("DELETE", "/api/orders", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    assert_eq!(answer.body["statusCode"], 405);
}

#[tokio::test]
async fn a_client_that_names_problem_json_gets_it() {
    let accept = [("accept", "application/problem+json, application/json")];
    let answer = ask("GET", "/api/orders", &accept, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["errors"][0]["pointer"], "#/tenantId");
}

#[tokio::test]
async fn bad_orders_are_refused_with_every_fault() {
    let mut bad = order();
    bad["items"][0]["qty"] = json!("2");
    bad["extra"] = json!(1);
    let answer = post("/api/orders", bad).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let messages = [
        "items.0.qty must be an integer number",
        "property extra should not exist",
    ];
    assert_eq!(answer.body["message"], json!(messages));

    let answer = ask(
        "POST",
        "/api/orders",
        &[("content-type", "text/plain")],
        order().to_string(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = post("/api/orders", json!("x".repeat(600 * 1024))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = ("content-type", "application/json");
    let answer = ask(
        "POST",
        "/api/orders",
        &[json, ("idempotency-key", "\"r2\"")],
        order().to_string(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = ask("POST", "/api/orders", &[json], "[".repeat(5000)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_nats_commands_are_503_at_once() {
    let id = "ord_qz74bke6iblutmfkqfvmtezzkq";
    for (path, body) in [
        ("/api/orders".to_owned(), order()),
        (
            format!("/api/orders/{id}/cancel"),
            json!({ "tenantId": "t-123" }),
        ),
    ] {
        let answer = post(&path, body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn beyond_the_limit_commands_are_503_and_whoever_leaves_makes_room() {
    let json = [("content-type", "application/json")];
    for (max_in_flight, detail) in [
        (0, "Too many requests are in flight"),
        (1, "The request was not accepted"),
    ] {
        let edge = edge_with(Config {
            max_in_flight,
            limits: LimitSettings {
                tenant_in_flight: Some(1),
                ..LimitSettings::default()
            },
            ..Config::default()
        })
        .await;
        for _ in 0..2 {
            let order = order().to_string();
            let answer = ask_of(edge.clone(), "POST", "/api/orders", &json, order).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(
                answer.body["detail"].as_str().unwrap().starts_with(detail),
                "{}",
                answer.body
            );
        }
    }
}

/// Every request that names a tenant counts, and tells what is left.
#[tokio::test]
async fn beyond_its_rate_a_tenant_gets_429_for_all_it_asks() {
    let id = "ord_qz74bke6iblutmfkqfvmtezzkq";
    let file = json!({ "tenantId": "t-123", "filename": "a", "contentType": "a/b", "size": 6 });
    for (method, path, body) in [
        ("GET", "/api/orders?tenantId=t-123".to_owned(), None),
        ("GET", "/api/orders/export?tenantId=t-123".to_owned(), None),
        ("GET", format!("/api/orders/{id}?tenantId=t-123"), None),
        ("POST", "/api/orders".to_owned(), Some(order())),
        (
            "POST",
            format!("/api/orders/{id}/cancel"),
            Some(json!({ "tenantId": "t-123" })),
        ),
        ("POST", "/api/uploads/presign".to_owned(), Some(file)),
    ] {
        let edge = edge_with(Config {
            limits: LimitSettings {
                tenant_rate: Some(1),
                tenant_burst: Some(1),
                headers: Some(true),
                ..LimitSettings::default()
            },
            ..Config::default()
        })
        .await;
        let ask = async || {
            let json = [("content-type", "application/json")];
            let body = body.as_ref().map_or_else(String::new, Value::to_string);
            ask_of(edge.clone(), method, &path, &json, body).await
        };
        let (taken, refused) = tokio::join!(ask(), ask());
        assert_ne!(taken.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.header("retry-after"), "1");
        let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
        assert_eq!(refused.body["type"], kind);
        assert_eq!(refused.body["violated-policies"], json!(["tenant"]));
        for answer in [taken, refused] {
            assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=1;w=1");
            assert_eq!(answer.header("ratelimit"), "\"tenant\";r=0;t=1");
        }
    }
    let untold = get("/api/orders?tenantId=t-123").await;
    assert_eq!(untold.header("ratelimit"), "");
}

#[tokio::test]
async fn without_a_database_reads_are_503() {
    for path in [
        "/api/orders?tenantId=t",
        "/api/orders/export?tenantId=t",
        "/api/orders/ord_qz74bke6iblutmfkqfvmtezzkq?tenantId=t",
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(
        get("/api/orders/1?tenantId=t").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        post("/api/orders/1/cancel", json!({ "tenantId": "t" }))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_presigned_url_leads_to_the_upload() {
    let file = json!({ "tenantId": "t-123", "filename": "../Ré sumé.pdf", "contentType": "application/pdf", "size": 6 });
    let presigned = post("/api/uploads/presign", file).await;
    assert_eq!(presigned.status, StatusCode::CREATED);
    assert_eq!(presigned.body["expiresInSeconds"], 120);
    assert_eq!(
        presigned.body["headers"],
        json!({ "Content-Type": "application/pdf" })
    );
    let key = presigned.body["storageKey"].as_str().unwrap();
    let parts: Vec<_> = key.split('/').collect();
    assert!(
        matches!(parts[..], ["tenants", "t-123", "orders", unique, "Ré_sumé.pdf"] if unique.len() == 8),
        "{key}"
    );
    let url = presigned.body["url"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:3001").unwrap();
    assert!(
        path.starts_with("/mock-upload/tenants%2Ft-123%2Forders%2F")
            && path.ends_with("%2FR%C3%A9_sum%C3%A9.pdf"),
        "{path}"
    );

    let uploaded = ask(
        "PUT",
        path,
        &[("content-type", "application/pdf")],
        "hello\n",
    )
    .await;
    assert_eq!(uploaded.status, StatusCode::OK);
    assert_eq!(
        uploaded.body,
        json!({ "ok": true, "storageKey": key, "size": 6 })
    );
}

#[tokio::test]
async fn a_key_is_decoded_once_and_may_have_its_slashes() {
    for (path, key) in [
        ("/mock-upload/a%252Fb", "a%2Fb"),
        ("/mock-upload/a%2Fb", "a/b"),
        ("/mock-upload/a/b", "a/b"),
        ("/mock-upload/a/b%2Fc", "a/b/c"),
    ] {
        let uploaded = ask("PUT", path, &[], "").await;
        assert_eq!(uploaded.body["storageKey"], key, "{path}");
    }
    assert_eq!(
        ask("PUT", "/mock-upload/%FF", &[], "").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn pages_of_the_configured_origin_may_call_and_no_others() {
    let preflight = async |origin: &str, method: &str, path: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            (
                "access-control-request-headers",
                "content-type,idempotency-key",
            ),
        ];
        ask("OPTIONS", path, &headers, Body::empty()).await
    };
    for (origin, method, path) in [
        ("http://localhost:3000", "POST", "/api/orders"),
        ("http://localhost:3000", "PUT", "/mock-upload/a%2Fb"),
        ("http://127.0.0.1:3000", "PUT", "/mock-upload/a%2Fb"),
    ] {
        let answer = preflight(origin, method, path).await;
        assert!(answer.status.is_success());
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains(method)
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "content-type,idempotency-key"
        );
    }
    let other = preflight("http://evil.example", "POST", "/api/orders").await;
    assert_eq!(other.header("access-control-allow-origin"), "");

    // Errors too, or the page could not read them.
    let origin = [("origin", "http://localhost:3000")];
    let answer = ask("GET", "/api/nope", &origin, Body::empty()).await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://localhost:3000"
    );
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("x-idempotent-replayed")
    );
}

#[tokio::test]
async fn the_docs_need_nothing_from_elsewhere() {
    for path in [
        "/docs",
        "/docs/",
        "/docs/start.js",
        "/docs/assets/swagger-ui.css",
        "/docs/assets/swagger-ui-bundle.js",
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
    }
    assert_eq!(get("/openapi.json").await.body, openapi::document(None));
}

#[tokio::test]
async fn a_realtime_daemon_that_is_away_is_a_problem_too() {
    for path in ["/ws", "/ws/?EIO=4&transport=polling", "/ws/x"] {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{path}");
        assert_eq!(answer.body["statusCode"], 502);
    }
}
