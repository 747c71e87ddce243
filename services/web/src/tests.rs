use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, RawQuery},
    http::{Request, Response, StatusCode, Version, header},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use orders_service::Settings;
use tokio::{net::TcpListener, sync::Barrier, time::Instant};
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
    let web = Web::new(config, None, Departure::default()).unwrap();
    router(Arc::new(web), 3000)
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
             http://localhost:9; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
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

#[tokio::test]
async fn an_edge_that_has_too_much_to_do_is_asked_again() {
    let edge = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(format!("http://{}", edge.local_addr().unwrap()));
    let busy = Router::new().fallback(async || StatusCode::TOO_MANY_REQUESTS);
    tokio::spawn(axum::serve(edge, busy).into_future());
    let request = Request::get("/orders?tenantId=t-1").body(Body::empty());
    let response = site.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn half_a_file_does_not_pass_for_a_whole_one() {
    for (version, query, status) in [
        (Version::HTTP_10, "format=csv", 505),
        (Version::HTTP_10, "", 505),
        (Version::HTTP_10, "format=ndjson", 502),
        (Version::HTTP_11, "format=csv", 502),
    ] {
        for path in ["/api/orders/export", "/api//orders/export/"] {
            let path = format!("{path}?tenantId=t-1&{query}");
            let request = Request::get(&path).version(version).body(Body::empty());
            let (response, body) = send(request.unwrap()).await;
            assert_eq!(response.status(), status, "{version:?} {path}: {body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    // An edge that is frozen: the system accepts for it, and nobody reads.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(format!("http://{}", frozen.local_addr().unwrap()));
    let request = Request::get("/api/orders").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);

    // The script of a page waits 10 s.
    let began = Instant::now();
    let request = Request::get("/orders").header("x-sent", sent_orders(20));
    let response = site.oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < Duration::from_secs(10));

    let silent = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, BoxError>>());
    let (response, page) = send(post("/orders/new").body(silent).unwrap()).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(page.contains("Nothing was done"), "{page}");
}

/// The ids of `number` orders, as the script of a page names them.
fn sent_orders(number: usize) -> String {
    let letters = ('a'..='z').take(number);
    let ids = letters.map(|letter| format!("ord_{}", letter.to_string().repeat(25) + "a"));
    ids.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn orders_are_looked_up_beside_each_other() {
    // An edge that answers once all of them are asked for.
    let all = Arc::new(Barrier::new(21));
    let list = async move |RawQuery(query): RawQuery| {
        if query.is_some_and(|query| query.contains("&q=ord_")) {
            all.wait().await;
        }
        axum::Json(serde_json::json!({ "items": [], "page": 1, "limit": 10, "total": 0 }))
    };
    let edge = Router::new().route("/api/orders", axum::routing::get(list));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(axum::serve(listener, edge).into_future());

    let path = "/orders?tenantId=t-1&created=ord_qz74bke6iblutmfkqfvmtezzkq";
    let request = Request::get(path).header("x-sent", sent_orders(20));
    let response = site.oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_attachment_is_led_to_or_its_absence_is_told_in_words() {
    let lead = async |Path(id): Path<String>| {
        if id.ends_with('q') {
            let place = [(header::LOCATION, "https://files.example/a.pdf?signature=1")];
            return (StatusCode::SEE_OTHER, place).into_response();
        }
        let problem = serde_json::json!({
            "statusCode": 410, "message": ["it was removed"], "error": "Gone", "type": "about:blank",
            "title": "Gone", "status": 410, "detail": "it was <removed>", "errors": [],
        });
        (StatusCode::GONE, axum::Json(problem)).into_response()
    };
    let edge = Router::new().route("/api/orders/{orderId}/attachment", axum::routing::get(lead));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(axum::serve(listener, edge).into_future());
    let follow = async |id: &str, query: &str| {
        let path = format!("/orders/ord_qz74bke6iblutmfkqfvmtezzk{id}/attachment?{query}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        site.clone().oneshot(request).await.unwrap()
    };
    let led = follow("q", "tenantId=t-1").await;
    assert_eq!(led.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        led.headers()[header::LOCATION],
        "https://files.example/a.pdf?signature=1"
    );

    let gone = follow("a", "tenantId=t-1&list=page%3D2").await;
    assert_eq!(gone.status(), StatusCode::GONE);
    let page = gone.into_body().collect().await.unwrap().to_bytes();
    let page = String::from_utf8_lossy(&page).into_owned();
    let back = "href=\"/orders/ord_qz74bke6iblutmfkqfvmtezzka?tenantId=t-1&#38;list=page%3D2\"";
    assert!(
        page.contains("it was &#60;removed&#62;") && page.contains(back),
        "{page}"
    );
    assert_eq!(follow("q", "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_is_bounded_and_so_is_its_page() {
    let (_, blank) = get("/orders/new?tenantId=t-1").await;
    let sparse = Body::from("items/999/sku=x&add=1");
    let (response, page) = send(post("/orders/new").body(sparse).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(page.len() < 2 * blank.len(), "{} bytes", page.len());

    let many = "x&".repeat(400);
    let large = format!("buyer/name={}", "x".repeat(300 << 10));
    for form in [many, large] {
        let (response, page) = send(post("/orders/new").body(Body::from(form)).unwrap()).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(page.contains("The form is too large"), "{page}");
    }
    // The longest that somebody can fill in arrives whole.
    let line = |n: usize| {
        let sku = "%F0%9F%98%80".repeat(100);
        format!("items%2F{n}%2Fsku={sku}&items%2F{n}%2Fqty=1000000&items%2F{n}%2Fprice=1")
    };
    let longest: Vec<_> = (0..100).map(line).collect();
    let longest = Body::from(longest.join("&") + "&add=line");
    let (response, page) = send(post("/orders/new").body(longest).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(page.contains("<legend>Line 100</legend>"));

    let json = Request::post("/orders/new").header(header::CONTENT_TYPE, "application/json");
    let (response, _) = send(json.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
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
async fn forms_of_this_site_are_taken_whichever_proxy_is_before_it() {
    let answer = async |host: &str, told: &[(&str, &str)], origin: &str| {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let request = post("/orders/new")
            .extension(ConnectInfo(peer))
            .header(header::HOST, host)
            .header(header::ORIGIN, origin);
        let add = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        let request = told.iter().fold(request, add);
        send(request.body(Body::from("tenantId=t-1&add=1")).unwrap())
            .await
            .0
            .status()
    };
    let shop = "https://shop.example";
    let by_host = [("x-forwarded-host", "shop.example")];
    let by_rfc = [("forwarded", "for=203.0.113.5;host=shop.example;proto=https")];
    for (host, told) in [
        ("shop.example", &[][..]),
        ("shop.example:443", &[]),
        ("127.0.0.1:3000", &by_host),
        ("127.0.0.1:3000", &by_rfc),
    ] {
        assert_eq!(
            answer(host, told, shop).await,
            StatusCode::OK,
            "{host} {told:?}"
        );
    }
    assert_eq!(
        answer("edge", &[], "http://localhost:3000").await,
        StatusCode::OK
    );
    assert_eq!(
        answer("127.0.0.1:3000", &[], shop).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        answer("evil.example", &by_host, "https://evil.example").await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn below_a_prefix_everything_leads_back_below_it() {
    let get = async |path: &str| {
        let request = Request::get(path)
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))))
            .header("x-forwarded-prefix", "/shop");
        send(request.body(Body::empty()).unwrap()).await
    };
    for path in [
        "/orders?tenantId=t-1&buyerEmail=%2Fme",
        "/orders/new",
        "/nothing",
    ] {
        let (_, page) = get(path).await;
        for attribute in ["href", "src", "action", "data-url"] {
            let all = page.matches(&format!(" {attribute}=\"/")).count();
            let below = page.matches(&format!(" {attribute}=\"/shop/")).count();
            assert_eq!(all, below, "{attribute} of {path}: {page}");
        }
        assert!(page.contains("/shop/assets/style-"), "{page}");
        assert!(!page.contains("/shop/me"), "{page}");
    }
    let (response, _) = get("/").await;
    assert_eq!(response.headers()[header::LOCATION], "/shop/orders");
}

#[tokio::test]
async fn a_name_that_another_site_gave_this_machine_is_refused() {
    for path in ["/orders?tenantId=t-1", "/api/orders?tenantId=t-1", "/ws/"] {
        let request = Request::get(path).header(header::HOST, "evil.example:3000");
        let (response, page) = send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(
            page.contains("http://evil.example:3000") && page.contains("CORS_ORIGIN"),
            "{page}"
        );
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
