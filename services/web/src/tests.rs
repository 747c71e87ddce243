use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::connect_info::MockConnectInfo,
    http::{Request, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use orders_service::Settings;
use tower::ServiceExt;

use super::*;

/// The front end of an edge that is away.
fn site() -> Router {
    // Nobody listens on the discard port.
    site_of("http://127.0.0.1:9".to_owned())
}

fn site_of(edge_url: String) -> Router {
    let config = Config {
        edge_url,
        ..Config::default()
    };
    config.validate().unwrap();
    let web = Web::new(config, tokio_util::sync::CancellationToken::new()).unwrap();
    router(Arc::new(web)).layer(MockConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))))
}

async fn send(request: Request<Body>) -> (Response<()>, String) {
    let response = site().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (Response::from_parts(parts, ()), text)
}

async fn get(path: &str) -> (Response<()>, String) {
    send(Request::get(path).body(Body::empty()).unwrap()).await
}

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn every_page_says_what_it_may_load_and_is_not_kept() {
    for path in ["/orders", "/orders/new", "/orders/x", "/nothing", "/"] {
        let (response, _) = get(path).await;
        let headers = response.headers();
        assert_eq!(
            headers[header::CONTENT_SECURITY_POLICY],
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' \
             http://localhost:3001; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
    }
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_for_ever() {
    let (_, page) = get("/orders/new").await;
    for asset in [&ASSETS.style, &ASSETS.icon] {
        assert!(page.contains(&asset.path), "{} in {page}", asset.path);
        let (response, body) = get(&asset.path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!body.is_empty());
        assert_eq!(
            response.headers()[header::CACHE_CONTROL],
            "public, max-age=31536000, immutable"
        );
    }
    let (response, _) = get("/assets/style-000000000000.css").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");

    let request = Request::get(&ASSETS.style.path).header(header::ACCEPT_ENCODING, "gzip");
    let (response, _) = send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn without_the_edge_pages_say_so_and_keep_what_was_typed() {
    let (response, page) = get("/orders?tenantId=t-1&buyerEmail=a%40b.de").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.contains("temporarily unavailable") && page.contains("a@b.de"),
        "{page}"
    );

    let form = "requestId=r1&tenantId=t-1&buyer%2Femail=%22%3E%3Cb%3E&items%2F0%2Fsku=S";
    let request = post("/orders/new").body(Body::from(form)).unwrap();
    let (response, page) = send(request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.contains("you will not create a second order"),
        "{page}"
    );
    assert!(
        page.contains(r#"value="r1""#) && page.contains(r#"value="S""#),
        "{page}"
    );
    assert!(!page.contains("<b>"), "{page}");

    let (response, body) = get("/api/orders?tenantId=t-1").await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let problem: orders_contracts::ProblemDetails = serde_json::from_str(&body).unwrap();
    assert_eq!(problem.message, ["The API does not answer"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    // An edge that is frozen: the system accepts for it, and nobody reads.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(format!("http://{}", frozen.local_addr().unwrap()));
    let request = Request::get("/api/orders").body(Body::empty()).unwrap();
    let response = site.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);

    let silent = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, BoxError>>());
    let (response, page) = send(post("/orders/new").body(silent).unwrap()).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(page.contains("Nothing was done"), "{page}");
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        for path in [
            "/orders/new",
            "/orders/ord_qz74bke6iblutmfkqfvmtezzkq/cancel",
        ] {
            let request = post(path)
                .header(header::HOST, "localhost:3000")
                .header(name, value);
            let (response, _) = send(request.body(Body::from("tenantId=t-1")).unwrap()).await;
            assert_eq!(
                response.status(),
                StatusCode::FORBIDDEN,
                "{name}: {value} to {path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_typed_is_never_markup() {
    let (response, page) = get("/orders?tenantId=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!page.contains("<script>"), "{page}");
    assert!(!response.headers().contains_key(header::SET_COOKIE));
}

/// The build script itself, as cargo runs it on a machine without Node.
#[test]
fn without_node_the_build_warns_and_goes_on() {
    let out = tempfile::tempdir().unwrap();
    let builds = std::path::Path::new(env!("OUT_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let scripts = std::fs::read_dir(builds)
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let script = entry.path().join("build-script-build");
            let built = script.metadata().and_then(|file| file.modified()).ok()?;
            name.starts_with("web-").then_some((built, script))
        });
    let (_, script) = scripts.max().expect("this package has a build script");
    let output = std::process::Command::new(script)
        .env("PATH", out.path())
        .env("OUT_DIR", out.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(
            "cargo::warning=the pages are built without live updates: npm is not on the PATH"
        ),
        "{told}"
    );
    assert_eq!(
        std::fs::read_to_string(out.path().join("client.js")).unwrap(),
        ""
    );
}
