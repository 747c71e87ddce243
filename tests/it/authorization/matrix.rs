//! Every operation with every kind of credentials.

use std::{collections::BTreeSet, time::Duration};

use orders_testkit::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, Answer, Call, Guarded, bearer};
use crate::pipeline::order;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Everyone, with the status of the answer.
    Everyone(u16),
    /// Those with this scope, with the status of the answer.
    With(&'static str, u16),
    /// Those whom another module asks: sockets have a handshake of their own.
    Elsewhere,
}

use Who::{Elsewhere, Everyone, With};

/// The operations of the API, as `openapi.json` names them, and what it does not describe.
const OPERATIONS: [(&str, &str, Who); 26] = [
    ("GET", "/api/orders", With("orders:read", 200)),
    ("POST", "/api/orders", With("orders:create", 201)),
    ("GET", "/api/orders/events", With("orders:read", 200)),
    ("GET", "/api/orders/export", With("orders:read", 200)),
    ("GET", "/api/orders/{orderId}", With("orders:read", 200)),
    (
        "POST",
        "/api/orders/{orderId}/cancel",
        With("orders:cancel", 200),
    ),
    // Uploads are a mock here, which stores nothing.
    (
        "GET",
        "/api/orders/{orderId}/attachment",
        With("orders:read", 404),
    ),
    ("POST", "/api/uploads/presign", With("uploads:create", 201)),
    ("PUT", "/mock-upload/{key}", Everyone(200)),
    // Here nobody may send payments; the module `payments` asks with signatures, which are the login.
    ("POST", "/api/payments/webhook", Everyone(404)),
    ("POST", "/api/payments/stripe", Everyone(404)),
    (
        "GET",
        "/.well-known/oauth-protected-resource",
        Everyone(200),
    ),
    ("GET", "/openapi.json", Everyone(200)),
    ("GET", "/livez", Everyone(200)),
    ("GET", "/healthz", Everyone(200)),
    ("GET", "/readyz", Everyone(200)),
    ("GET", "/metrics", Everyone(200)),
    ("GET", "/ws/", Elsewhere),
    // Not in the document.
    ("GET", "/docs", Everyone(200)),
    ("GET", "/docs/start.js", Everyone(200)),
    ("GET", "/docs/assets/swagger-ui.css", Everyone(200)),
    ("GET", "/docs/assets/swagger-ui-bundle.js", Everyone(200)),
    ("GET", "/docs/assets/oauth2-redirect.html", Everyone(200)),
    ("GET", "/docs/assets/oauth2-redirect.js", Everyone(200)),
    ("GET", "/nowhere", Everyone(404)),
    ("OPTIONS", "/api/orders", Everyone(200)),
];

/// An operation on the orders of `tenant`, with an order of its own.
fn operation(method: &str, path: &str, tenant: &str, order_id: &str, request: &str) -> Call {
    let path = path.replace("{orderId}", order_id).replace("{key}", "a");
    let body = match (method, path.as_str()) {
        ("POST", "/api/orders") => order(tenant, request),
        ("POST", "/api/uploads/presign") => return Call::presign(tenant),
        ("POST", _) => json!({ "tenantId": tenant }),
        ("GET", path) if path.starts_with("/api") => {
            return Call::get(format!("{path}?tenantId={tenant}"));
        }
        _ => Value::Null,
    };
    Call {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path,
        body: Some(body).filter(|body| !body.is_null()),
    }
}

/// A call without its tenant.
fn unnamed(call: &Call) -> Call {
    let mut call = call.clone();
    call.path = call.path.split('?').next().unwrap_or_default().to_owned();
    if let Some(Value::Object(body)) = &mut call.body {
        body.remove("tenantId");
    }
    call
}

fn is_refused(answer: &Answer, status: u16, challenge: &str, kind: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let told = answer.header("www-authenticate");
    match challenge {
        "" => assert_eq!(told, "", "{what}"),
        _ => assert!(told.ends_with(challenge), "{what}: {told}"),
    }
    assert_eq!(
        answer.kind(),
        format!("urn:orders:problem:{kind}"),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert!(
        answer
            .headers
            .iter()
            .any(|(name, value)| name == "vary" && value == "authorization"),
        "{what}: {answer:?}"
    );
}

#[tokio::test]
async fn every_operation_with_every_kind_of_credentials() {
    let guarded = Guarded::start().await;
    let edge = guarded.pipeline.edge.url();
    let open = async |path: &str| guarded.ask(&Call::get(path), "").await.json();

    // A route that is not here fails: the edge's own test compares its router with the document.
    let document = open("/openapi.json").await;
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let scope = operation["security"][0]["openid"][0].as_str();
            described.insert((
                method.to_uppercase(),
                path.clone(),
                scope.map(str::to_owned),
            ));
        }
    }
    let here: BTreeSet<_> = OPERATIONS[..18]
        .iter()
        .map(|(method, path, who)| {
            let scope = match who {
                With(scope, _) => Some((*scope).to_owned()),
                _ => None,
            };
            ((*method).to_owned(), (*path).to_owned(), scope)
        })
        .collect();
    assert_eq!(described, here);

    let metadata = open("/.well-known/oauth-protected-resource").await;
    let url = edge.replace("127.0.0.1", "localhost");
    assert_eq!(
        metadata,
        json!({
            "resource": url,
            "authorization_servers": [guarded.issuer.url()],
            "scopes_supported": ALL.split(' ').collect::<Vec<_>>(),
            "bearer_methods_supported": ["header"],
            "resource_name": "Orders API",
        })
    );
    let realm = format!(
        "Bearer realm=\"orders\", resource_metadata=\"{url}/.well-known/oauth-protected-resource\""
    );
    let invalid =
        ", error=\"invalid_token\", error_description=\"The token is not valid, or not any more\"";

    let own = guarded.create("t-1", "own").await;
    let others = guarded.create("t-2", "others").await;
    let good = bearer(&guarded.token("t-1"));
    let expired = guarded.token("t-1").expired(Duration::from_secs(60));
    let operator = || guarded.issuer.token().scopes(ALL).operator();
    for (n, (method, path, who)) in OPERATIONS.into_iter().enumerate() {
        let what = format!("{method} {path}");
        let mine = |request: &str| operation(method, path, "t-1", &own, &format!("{request}-{n}"));
        let ask = async |call: &Call, credentials: &str| guarded.ask(call, credentials).await;
        let (scope, status) = match who {
            Elsewhere => continue,
            Everyone(status) => {
                let all = [String::new(), "Bearer garbage".to_owned(), bearer(&expired)];
                for credentials in all.into_iter().chain([good.clone(), bearer(&operator())]) {
                    let answer = ask(&mine("r"), &credentials).await;
                    assert_eq!(answer.status, status, "{what} with {credentials}");
                    assert_eq!(answer.header("www-authenticate"), "", "{what}");
                }
                continue;
            }
            With(scope, status) => (scope, status),
        };
        let call = mine("refused");
        let none = ask(&call, "").await;
        assert_eq!(none.header("www-authenticate"), realm, "{what}");
        is_refused(&none, 401, &realm, "unauthorized", &what);
        for credentials in ["Bearer garbage", "Bearer a.b.c", "Bearer ok_a_b"] {
            is_refused(
                &ask(&call, credentials).await,
                401,
                invalid,
                "unauthorized",
                &what,
            );
        }
        is_refused(
            &ask(&call, "Basic dTpw").await,
            401,
            &realm,
            "unauthorized",
            &what,
        );
        is_refused(
            &ask(&call, "Bearer").await,
            400,
            ", error=\"invalid_request\"",
            "validation",
            &what,
        );
        let expired = bearer(&expired);
        is_refused(
            &ask(&call, &expired).await,
            401,
            invalid,
            "unauthorized",
            &what,
        );

        let other = bearer(&guarded.token("t-2"));
        is_refused(&ask(&call, &other).await, 403, "", "forbidden", &what);
        let unknown = operation(method, path, "no-such-tenant", &own, "r");
        let as_unknown = ask(&unknown, &other).await;
        assert_eq!(
            as_unknown,
            ask(&call, &other).await,
            "{what}: whether it exists"
        );

        let lacking: Vec<_> = ALL.split(' ').filter(|one| *one != scope).collect();
        let lacking = bearer(
            &guarded
                .issuer
                .token()
                .tenant("t-1")
                .scopes(&lacking.join(" ")),
        );
        let challenge = format!(", error=\"insufficient_scope\", scope=\"{scope}\"");
        let refused = ask(&call, &lacking).await;
        is_refused(&refused, 403, &challenge, "insufficient-scope", &what);
        let operators = bearer(&guarded.issuer.token().scopes("orders:operator").operator());
        let refused = ask(&call, &operators).await;
        is_refused(&refused, 403, &challenge, "insufficient-scope", &what);

        let answer = ask(&mine("right"), &good).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let answer = ask(&unnamed(&mine("unnamed")), &good).await;
        assert_eq!(answer.status, status, "{what} without a tenant: {answer:?}");
        let two = bearer(&guarded.token("t-1").tenant("t-2"));
        let answer = ask(&mine("two"), &two).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let answer = ask(&unnamed(&mine("two")), &two).await;
        is_refused(&answer, 400, "", "validation", &what);
        let answer = ask(&mine("operator"), &bearer(&operator())).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        eventually("the audit names the operator", async || {
            let log = guarded.pipeline.edge.log();
            let actor = format!("{}|u1", guarded.issuer.url());
            let is_told = |line: &str| {
                line.contains("audit")
                    && line.contains(&actor)
                    && line.contains(&what)
                    && line.contains(&status.to_string())
            };
            if log.lines().any(is_told) {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await;

        if method == "GET" {
            let head = Call {
                method: Method::HEAD,
                ..call.clone()
            };
            assert_eq!(ask(&head, "").await.status, 401, "HEAD {path}");
        }
        // Another tenant's order is as unknown as one that nobody has.
        if path.contains("{orderId}") {
            let nobodys = "ord_qz74bke6iblutmfkqfvmtezzkq";
            let about = |id| operation(method, path, "t-1", id, "r");
            let other = ask(&about(&others), &good).await;
            let nobody = ask(&about(nobodys), &good).await;
            assert_eq!(other.status, 404, "{what}");
            assert_eq!(other, nobody, "{what}");
        }
    }
    guarded.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_order_names_only_uploads_of_its_own_tenant() {
    let guarded = Guarded::start().await;
    let token = bearer(&guarded.token("t-1"));
    let presigned = guarded.ask(&Call::presign("t-1"), &token).await.json();
    let with = |key: &str, request: &str| {
        let mut order = order("t-1", request);
        order["attachment"] = json!({
            "filename": "a.pdf", "contentType": "application/pdf", "size": 1, "storageKey": key,
        });
        Call::post("/api/orders", order)
    };
    let own = presigned["storageKey"].as_str().unwrap();
    assert_eq!(guarded.ask(&with(own, "r1"), &token).await.status, 201);
    for key in [
        "tenants/t-2/orders/00000001/a.pdf",
        "tenants/t-10/orders/00000001/a.pdf",
        "tenants/t-1",
        "/tenants/t-1/orders/00000001/a.pdf",
        "orders/a.pdf",
    ] {
        let answer = guarded.ask(&with(key, "r2"), &token).await;
        assert_eq!(answer.status, 422, "{key}: {answer:?}");
        assert_eq!(answer.kind(), "urn:orders:problem:foreign-attachment");
        assert!(!answer.body.contains("t-2"), "{answer:?}");
    }
    // Nothing of a refused order is stored.
    let list = guarded.ask(&Call::get("/api/orders"), &token).await.json();
    assert_eq!(list["total"], 1);
    guarded.pipeline.stack.clean_up().await;
}

/// A page of the configured origin may send a token, and read why it was refused.
#[tokio::test]
async fn pages_may_send_tokens() {
    let guarded = Guarded::start().await;
    let url = format!("{}/api/orders", guarded.pipeline.edge.url());
    let http = &guarded.pipeline.http;
    let origin = "http://localhost:3000";
    let preflight = http
        .request(Method::OPTIONS, &url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let allowed = answer.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap();
    assert!(allowed.contains("authorization"), "{allowed}");
    let answer = http
        .get(&url)
        .header("origin", origin)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    let exposed = answer.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
    guarded.pipeline.stack.clean_up().await;
}

/// Where its clients know the API by a URL with a path, the metadata is also where RFC 9728 puts it.
#[tokio::test]
async fn the_metadata_is_found_by_the_path_of_the_api() {
    let guarded = Guarded::start().await;
    let mut pipeline = guarded.pipeline;
    pipeline.edge.terminate().await;
    let resource = "https://shop.example/shop/api";
    pipeline
        .edge
        .restart(|edge| edge.env("ORDERS_AUTH__RESOURCE", resource))
        .await;
    let path = "/.well-known/oauth-protected-resource";
    for below in ["", "/shop/api"] {
        let metadata = pipeline.get_json(&format!("{path}{below}")).await;
        assert_eq!(metadata["resource"], resource);
    }
    assert_eq!(pipeline.get(&format!("{path}/shop")).await.status(), 404);
    let refused = pipeline.get("/api/orders").await;
    let told = refused.headers()["www-authenticate"].to_str().unwrap();
    let expected =
        "resource_metadata=\"https://shop.example/.well-known/oauth-protected-resource/shop/api\"";
    assert!(told.ends_with(expected), "{told}");
    pipeline.stack.clean_up().await;
}
