//! Bad input gets one clear answer, in the shape of NestJS and of RFC 9457 at once, and stores nothing.

use mongodb::bson::doc;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order};

/// Checks the one shape of every error and returns its body.
async fn problem(response: Response, status: StatusCode) -> Value {
    let path = response.url().path().to_owned();
    assert_eq!(response.status(), status, "{path}");
    let body: Value = response.json().await.expect("a JSON body");
    assert_eq!(body["statusCode"], status.as_u16(), "{body}");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    assert!(
        body["message"]
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string)),
        "{body}"
    );
    for member in ["error", "type", "title", "detail"] {
        assert!(body[member].is_string(), "{member} in {body}");
    }
    assert!(
        body["errors"].is_array() || status != StatusCode::BAD_REQUEST,
        "{body}"
    );
    body
}

#[tokio::test]
async fn every_bad_body_is_told_with_its_path_and_stores_nothing() {
    let pipeline = Pipeline::start("5s").await;
    let change = |pointer: &str, value: Value| {
        let mut body = order("t-1", "bad");
        *body.pointer_mut(pointer).expect("the seed's body has it") = value;
        body
    };
    let mut unknown = order("t-1", "bad");
    unknown["items"][0]["discount"] = json!(1);
    let with = |member: &str, value: Value| {
        let mut body = order("t-1", "bad");
        body[member] = value;
        body
    };
    let cases = [
        (
            with("metadata", json!({ "size": "L", "color": 1 })),
            "#/metadata/color",
            "metadata.color must be a string",
        ),
        (
            with("currency", json!("eur")),
            "#/currency",
            "currency must be an ISO 4217 currency code",
        ),
        (
            change("/items/0/qty", json!("2")),
            "#/items/0/qty",
            "items.0.qty must be an integer number",
        ),
        (
            change("/items/0/qty", json!(0)),
            "#/items/0/qty",
            "items.0.qty must not be less than 1",
        ),
        (
            change("/items/0/price", json!(-1)),
            "#/items/0/price",
            "items.0.price must not be less than 0",
        ),
        (
            change("/items/0/price", json!(1_000_000_000.000_001)),
            "#/items/0/price",
            "items.0.price must not have more than 15 significant digits, the most that a JSON number holds exactly",
        ),
        (
            change(
                "/items/0",
                json!({ "sku": "S", "qty": 999_999, "price": 999_999_999_999_u64 }),
            ),
            "#/items",
            "items must add up to at most 15 significant digits, the most that a JSON number holds exactly",
        ),
        (
            change("/items", json!([])),
            "#/items",
            "items must contain at least 1 elements",
        ),
        (
            change("/items", json!({"$gt": ""})),
            "#/items",
            "items must be an array",
        ),
        (
            change("/buyer/email", json!("alice")),
            "#/buyer/email",
            "buyer.email must be an email",
        ),
        (
            change("/buyer", json!(null)),
            "#/buyer",
            "buyer must be an object",
        ),
        (
            change("/requestId", json!("")),
            "#/requestId",
            "requestId should not be empty",
        ),
        (
            change("/requestId", json!("x".repeat(256))),
            "#/requestId",
            "requestId must be shorter than or equal to 255 characters",
        ),
        (
            unknown,
            "#/items/0/discount",
            "items.0.property discount should not exist",
        ),
    ];
    for (body, pointer, message) in cases {
        let found = problem(
            pipeline.post("/api/orders", &body).await,
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(found["message"], json!([message]));
        assert_eq!(found["errors"][0]["pointer"], pointer);
        assert_eq!(found["error"], "Bad Request");
    }
    for tenant in ["t.1", "*", ">", "t 1", "", "../x", "$SYS", &"x".repeat(65)] {
        let found = problem(
            pipeline.post("/api/orders", &order(tenant, "bad")).await,
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(found["errors"][0]["pointer"], "#/tenantId", "{tenant}");
    }

    // Text that is no JSON, or hostile JSON.
    let url = format!("{}/api/orders", pipeline.edge.url());
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let texts = [
        r#"{"requestId":"r","tenantId":"t-1","items":[{"sku":"S","qty":1,"price":NaN}]}"#
            .to_owned(),
        format!(r#"{{"requestId":"r","tenantId":"t-1","items":{deep}}}"#),
        deep,
        "{".to_owned(),
        String::new(),
        "\"just text\"".to_owned(),
    ];
    for text in texts {
        let request = pipeline
            .http
            .post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(text);
        problem(request.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
    }

    assert_eq!(pipeline.stack.count("orders_write", doc! {}).await, 0);
    let commands = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_COMMANDS")
        .await
        .unwrap();
    assert_eq!(
        commands.cached_info().state.last_sequence,
        0,
        "nothing was published"
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn sizes_types_methods_and_paths_have_the_same_shape() {
    let pipeline = Pipeline::start("5s").await;
    let url = format!("{}/api/orders", pipeline.edge.url());
    let post = |content_type: &'static str, body: Vec<u8>| {
        pipeline
            .http
            .post(&url)
            .header(header::CONTENT_TYPE, content_type)
            .body(body)
            .send()
    };

    let huge = post("application/json", vec![b' '; 20 << 20])
        .await
        .unwrap();
    problem(huge, StatusCode::PAYLOAD_TOO_LARGE).await;
    let text = serde_json::to_vec(&order("t-1", "r1")).unwrap();
    let wrong_type = post("text/plain", text.clone()).await.unwrap();
    problem(wrong_type, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    let with_charset = post("application/json; charset=utf-8", text).await.unwrap();
    assert_eq!(with_charset.status(), StatusCode::CREATED);

    let missing = problem(pipeline.get("/api/nothing").await, StatusCode::NOT_FOUND).await;
    assert_eq!(missing["message"], json!(["Cannot GET /api/nothing"]));
    let delete = pipeline
        .http
        .request(Method::DELETE, &url)
        .send()
        .await
        .unwrap();
    assert!(delete.headers().contains_key(header::ALLOW));
    problem(delete, StatusCode::METHOD_NOT_ALLOWED).await;

    // A client that asks for problem details gets their media type.
    let asked = pipeline
        .http
        .get(format!("{}/x", pipeline.edge.url()))
        .header(header::ACCEPT, "application/problem+json");
    let answer = asked.send().await.unwrap();
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn bad_queries_uploads_and_cancels_are_refused() {
    let pipeline = Pipeline::start("5s").await;
    for (query, pointer) in [
        ("", "#/tenantId"),
        ("tenantId=t.1", "#/tenantId"),
        ("tenantId=t-1&status[$ne]=PAID", "#/status%5B%24ne%5D"),
        ("tenantId=t-1&tenantId=t-2", "#/tenantId"),
        ("tenantId=t-1&status=DONE", "#/status"),
        ("tenantId=t-1&buyerEmail=alice", "#/buyerEmail"),
        ("tenantId=t-1&from=yesterday", "#/from"),
        ("tenantId=t-1&to=2025-13-01", "#/to"),
        ("tenantId=t-1&page=0", "#/page"),
        ("tenantId=t-1&limit=101", "#/limit"),
        ("tenantId=t-1&limit=ten", "#/limit"),
    ] {
        let found = problem(
            pipeline.get(&format!("/api/orders?{query}")).await,
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(found["errors"][0]["pointer"], pointer, "{query}");
    }

    let presign = |filename: &str| json!({ "tenantId": "t-1", "filename": filename, "contentType": "text/plain", "size": 1 });
    for bad in ["..", "a/", "", "invoice\u{202e}fdp.exe"] {
        let answer = pipeline.post("/api/uploads/presign", &presign(bad)).await;
        let found = problem(answer, StatusCode::BAD_REQUEST).await;
        assert_eq!(found["errors"][0]["pointer"], "#/filename", "{bad}");
    }
    for (sent, kept) in [
        ("../../etc/passwd", "/passwd"),
        // As macOS sends it, and one that needs its marks.
        ("cafe\u{301}.pdf", "/café.pdf"),
        ("हिन्दी.pdf", "/हिन्दी.pdf"),
    ] {
        let reduced = pipeline.post("/api/uploads/presign", &presign(sent)).await;
        assert_eq!(reduced.status(), StatusCode::CREATED);
        let reduced: Value = reduced.json().await.unwrap();
        let key = reduced["storageKey"].as_str().unwrap();
        assert!(key.ends_with(kept), "{key}");
    }

    let unknown = format!("ord_{}", "a".repeat(26));
    let cancel = |id: &str, body: Value| {
        let path = format!("/api/orders/{id}/cancel");
        let pipeline = &pipeline;
        async move { pipeline.post(&path, &body).await }
    };
    problem(cancel(&unknown, json!({})).await, StatusCode::BAD_REQUEST).await;
    problem(
        cancel(&unknown, json!({ "tenantId": "t-1" })).await,
        StatusCode::NOT_FOUND,
    )
    .await;
    problem(
        pipeline
            .get(&format!("/api/orders/{unknown}?tenantId=t-1"))
            .await,
        StatusCode::NOT_FOUND,
    )
    .await;
    problem(
        pipeline.get("/api/orders/not-an-id?tenantId=t-1").await,
        StatusCode::NOT_FOUND,
    )
    .await;
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn only_the_configured_origin_may_read_answers() {
    let pipeline = Pipeline::start("5s").await;
    let url = format!("{}/api/orders?tenantId=t-1", pipeline.edge.url());
    let ask = |origin: &'static str| {
        pipeline
            .http
            .get(&url)
            .header(header::ORIGIN, origin)
            .send()
    };

    let ours = ask("http://localhost:3000").await.unwrap();
    assert_eq!(
        ours.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "http://localhost:3000"
    );
    assert_eq!(
        ours.headers()[header::ACCESS_CONTROL_ALLOW_CREDENTIALS],
        "true"
    );
    let exposed = ours.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .unwrap()
        .to_lowercase();
    for name in [
        "x-idempotent-replayed",
        "x-idempotency-mismatch",
        "x-projected",
        "retry-after",
    ] {
        assert!(exposed.contains(name), "{name} in {exposed}");
    }
    let other = ask("http://evil.example").await.unwrap();
    assert_ne!(
        other
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .map(header::HeaderValue::as_bytes),
        Some(&b"http://evil.example"[..])
    );

    // A browser asks before it PUTs to another origin.
    let preflight = pipeline
        .http
        .request(
            Method::OPTIONS,
            format!("{}/mock-upload/tenants%2Ft", pipeline.edge.url()),
        )
        .header(header::ORIGIN, "http://localhost:3000")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert!(
        preflight.headers()[header::ACCESS_CONTROL_ALLOW_METHODS]
            .to_str()
            .unwrap()
            .contains("PUT")
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_hundred_megabytes_pass_the_upload_sink_without_filling_memory() {
    let pipeline = Pipeline::start("5s").await;
    let before = pipeline.edge.peak_memory();
    let chunk = bytes_of(1 << 20);
    let body =
        futures_util::stream::iter((0..100).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let put = pipeline
        .http
        .put(format!(
            "{}/mock-upload/tenants%2Ft-1%2Forders%2Fabcd1234%2Fbig.bin",
            pipeline.edge.url()
        ))
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .body(reqwest::Body::wrap_stream(body))
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let answer: Value = put.json().await.unwrap();
    assert_eq!(
        answer,
        json!({ "ok": true, "storageKey": "tenants/t-1/orders/abcd1234/big.bin", "size": 100 << 20 })
    );
    let grown = pipeline.edge.peak_memory() - before;
    assert!(grown < 20 << 10, "the peak grew by {grown} KiB");
    pipeline.stack.clean_up().await;
}

fn bytes_of(size: usize) -> Vec<u8> {
    vec![0x5a; size]
}
