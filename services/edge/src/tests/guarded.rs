//! Mode jwt, before the provider's keys are known.

use orders_auth::{AuthSettings, Mode};

use super::*;

async fn guarded() -> Router {
    edge_with(Config {
        auth: AuthSettings {
            mode: Mode::Jwt,
            issuer: Some(format!("http://{NOWHERE}")),
            ..AuthSettings::default()
        },
        ..Config::default()
    })
    .await
}

/// The operations that require a scope, with a path of theirs.
fn operations(edge: &Value) -> Vec<(String, String)> {
    let paths = edge["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, operations)| {
        let secured = operations.as_object().unwrap().iter();
        let secured = secured.filter(|(_, operation)| operation["security"].is_array());
        let path = path.replace("{orderId}", "ord_qz74bke6iblutmfkqfvmtezzkq");
        secured.map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn nothing_of_a_request_is_read_before_its_credentials() {
    let edge = guarded().await;
    let document = ask_of(edge.clone(), "GET", "/openapi.json", &[], Body::empty()).await;
    let operations = operations(&document.body);
    assert_eq!(operations.len(), 8, "{operations:?}");
    for (method, path) in operations {
        for (credentials, status) in [
            (&[][..], StatusCode::UNAUTHORIZED),
            (&[("authorization", "Basic dTpw")], StatusCode::UNAUTHORIZED),
            (&[("authorization", "Bearer a b")], StatusCode::BAD_REQUEST),
            (&[("authorization", "Bearer")], StatusCode::BAD_REQUEST),
            (
                &[
                    ("authorization", "Bearer a.b.c"),
                    ("authorization", "Bearer a.b.c"),
                ],
                StatusCode::BAD_REQUEST,
            ),
        ] {
            // The body, its type and the query are wrong too, but who asks comes first.
            let path = format!("{path}?tenantId=a.b");
            let answer = ask_of(edge.clone(), &method, &path, credentials, "nonsense").await;
            assert_eq!(answer.status, status, "{method} {path} {credentials:?}");
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer realm=\"orders\""),
                "{challenge}"
            );
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
}

#[tokio::test]
async fn what_names_nobodys_orders_is_for_everyone() {
    let edge = guarded().await;
    for (method, path) in [
        ("PUT", "/mock-upload/a"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/docs/start.js"),
        ("GET", "/docs/assets/oauth2-redirect.html"),
        ("GET", "/.well-known/oauth-protected-resource"),
        ("OPTIONS", "/api/orders"),
    ] {
        let answer = ask_of(edge.clone(), method, path, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}");
    }
    let unknown = ask_of(edge.clone(), "DELETE", "/api/orders", &[], Body::empty()).await;
    assert_eq!(unknown.status, StatusCode::METHOD_NOT_ALLOWED);
    let docs = ask_of(edge, "GET", "/docs", &[], Body::empty()).await;
    let policy = docs.header("content-security-policy");
    let provider = format!("connect-src 'self' http://{NOWHERE};");
    assert!(policy.contains(&provider), "{policy}");
    // In mode off nobody can log in.
    assert_eq!(
        get("/.well-known/oauth-protected-resource").await.status,
        StatusCode::NOT_FOUND
    );
    assert!(
        !get("/docs")
            .await
            .header("content-security-policy")
            .contains("http:")
    );
}
