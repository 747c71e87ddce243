//! `GET /api/orders/{orderId}`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{create, get, names, whole};
use crate::pipeline::{Pipeline, order};

/// What every order has, first of all what a list shows.
const ROW: [&str; 5] = ["orderId", "status", "createdAt", "buyerEmail", "total"];

#[tokio::test]
async fn an_order_is_shown_with_all_that_is_known_of_it() {
    let pipeline = Pipeline::start("1s").await;
    let sent = whole("t-1", "r1");
    let id = create(&pipeline, &sent).await;
    let path = format!("/api/orders/{id}?tenantId=t-1");

    let text = pipeline.get(&path).await.text().await.unwrap();
    let mut expected = ROW.to_vec();
    expected.extend([
        "attachment",
        "requestId",
        "buyer",
        "items",
        "metadata",
        "currency",
    ]);
    expected.extend(["updatedAt", "version", "history"]);
    assert_eq!(names(&text), expected, "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    let list = pipeline.get_json("/api/orders?tenantId=t-1").await;
    let row = &list["items"][0];
    for name in ROW {
        assert_eq!(shown[name], row[name], "{name}");
    }
    assert_eq!(
        row["attachment"],
        json!({ "filename": "invoice.pdf", "storageKey": sent["attachment"]["storageKey"] })
    );
    for name in ["attachment", "requestId", "buyer", "metadata", "currency"] {
        assert_eq!(shown[name], sent[name], "{name}");
    }
    assert_eq!(shown["buyerEmail"], "alice@example.com");
    let items = json!([
        { "sku": "SKU-1", "qty": 2, "price": 49.99, "lineTotal": 99.98 },
        { "sku": "SKU-2", "qty": 3, "price": 0.1, "lineTotal": 0.3 },
    ]);
    assert_eq!(shown["items"], items);
    assert_eq!(
        (&shown["total"], &shown["version"]),
        (&json!(100.28), &json!(1))
    );
    let created = &shown["createdAt"];
    assert_eq!(&shown["updatedAt"], created);
    assert_eq!(
        shown["history"],
        json!([{ "status": "PENDING", "at": created }])
    );

    pipeline.until_status("t-1", &id, "PAID").await;
    let paid = pipeline.get_json(&path).await;
    assert_eq!(
        (&paid["status"], &paid["version"]),
        (&json!("PAID"), &json!(2))
    );
    assert_eq!(
        (&paid["createdAt"], &paid["paidAt"]),
        (created, &paid["updatedAt"])
    );
    assert!(paid["paidAt"].as_str() > created.as_str(), "{paid}");
    assert!(paid.get("cancelledAt").is_none(), "{paid}");
    let history = json!([
        { "status": "PENDING", "at": created },
        { "status": "PAID", "at": paid["paidAt"] },
    ]);
    assert_eq!(paid["history"], history);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_order_has_no_more_than_was_sent_and_says_when_it_was_cancelled() {
    let pipeline = Pipeline::start("1h").await;
    let id = pipeline.create("t-1", "r1").await;
    let cancel = json!({ "tenantId": "t-1" });
    let cancelled = pipeline
        .post(&format!("/api/orders/{id}/cancel"), &cancel)
        .await;
    assert_eq!(cancelled.status(), StatusCode::OK);
    let path = format!("/api/orders/{id}?tenantId=t-1");
    let text = pipeline.get(&path).await.text().await.unwrap();
    let mut expected = ROW.to_vec();
    expected.extend([
        "requestId",
        "buyer",
        "items",
        "updatedAt",
        "cancelledAt",
        "version",
    ]);
    expected.push("history");
    assert_eq!(names(&text), expected, "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["history"][1]["at"], shown["cancelledAt"]);
    assert_eq!(shown["history"][1]["status"], "CANCELLED");
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_client_that_has_the_latest_version_gets_304() {
    let pipeline = Pipeline::start("1s").await;
    let id = create(&pipeline, &whole("t-1", "r1")).await;
    let path = format!("/api/orders/{id}?tenantId=t-1");
    let ask = async |known: &str| get(&pipeline, &path, &[("if-none-match", known)]).await;
    let first = pipeline.get(&path).await;
    assert_eq!(first.headers()["etag"], "\"1\"");

    pipeline.until_status("t-1", &id, "PAID").await;
    for known in ["\"1\"", "W/\"1\", \"3\"", "2", "\"2", "nonsense"] {
        let changed = ask(known).await;
        assert_eq!(changed.status(), StatusCode::OK, "{known}");
        assert_eq!(changed.headers()["etag"], "\"2\"");
        let order: Value = changed.json().await.unwrap();
        assert_eq!(order["status"], "PAID");
    }
    for known in ["\"2\"", "W/\"2\"", "\"1\", \"2\"", "\"a,b\",W/\"2\"", "*"] {
        let known_already = ask(known).await;
        assert_eq!(known_already.status(), StatusCode::NOT_MODIFIED, "{known}");
        let headers = known_already.headers();
        assert_eq!(
            (&headers["etag"], &headers["cache-control"]),
            (&"\"2\"".parse().unwrap(), &"no-store".parse().unwrap())
        );
        for of_a_body in ["content-length", "content-type"] {
            assert!(!headers.contains_key(of_a_body), "{headers:?}");
        }
        assert_eq!(known_already.text().await.unwrap(), "");
    }
    let head = pipeline
        .http
        .request(Method::HEAD, format!("{}{path}", pipeline.edge.url()));
    let head = head.send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["etag"]),
        (StatusCode::OK, &"\"2\"".parse().unwrap())
    );
    // A page of another origin may read the tag.
    let page = get(&pipeline, &path, &[("origin", "http://localhost:3000")]).await;
    let exposed = page.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("etag"), "{exposed}");
    pipeline.stack.clean_up().await;
}

/// With a tag that fits too, which an order that is not theirs must not confirm.
#[tokio::test]
async fn another_tenants_order_is_like_none_at_all() {
    let pipeline = Pipeline::start("1h").await;
    let theirs = create(&pipeline, &whole("t-2", "r1")).await;
    let nobodys = "ord_qz74bke6iblutmfkqfvmtezzkq";
    let ask = async |id: &str, known: &str| {
        let path = format!("/api/orders/{id}?tenantId=t-1");
        // The same for all, so that answers can be compared.
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let headers = [
            ("x-request-id", "r"),
            ("traceparent", trace),
            ("if-none-match", known),
        ];
        let answer = get(&pipeline, &path, &headers).await;
        let mut headers = answer.headers().clone();
        headers.remove("date");
        (answer.status(), headers, answer.bytes().await.unwrap())
    };
    for known in ["\"1\"", "*"] {
        let answer = ask(&theirs, known).await;
        assert_eq!(answer.0, StatusCode::NOT_FOUND);
        assert!(!answer.1.contains_key("etag"), "{answer:?}");
        assert_eq!(answer, ask(nobodys, known).await);
    }
    pipeline.stack.clean_up().await;
}

/// These words are operations, and no ids.
#[tokio::test]
async fn words_in_the_place_of_an_id_are_not_taken_for_one() {
    let pipeline = Pipeline::start("1h").await;
    let export = pipeline.get("/api/orders/export?tenantId=t-1").await;
    assert_eq!(export.status(), StatusCode::OK);
    let refused = pipeline
        .post("/api/orders/export", &order("t-1", "r1"))
        .await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    for word in ["exports", "export2", "EXPORT"] {
        let path = format!("/api/orders/{word}?tenantId=t-1");
        assert_eq!(
            pipeline.get(&path).await.status(),
            StatusCode::NOT_FOUND,
            "{word}"
        );
    }
    pipeline.stack.clean_up().await;
}
