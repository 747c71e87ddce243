//! What `GET /api/orders` finds, and what more it tells of each order.

use serde_json::{Value, json};

use super::{create, faults, names, whole};
use crate::{
    lists::next,
    pipeline::{Pipeline, order},
};

fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items").iter();
    items
        .map(|item| item["orderId"].as_str().expect("an id"))
        .collect()
}

fn of(email: &str, request: &str) -> Value {
    let mut order = order("t-1", request);
    order["buyer"]["email"] = email.into();
    order
}

#[tokio::test]
async fn orders_are_found_by_the_beginning_of_an_id_or_of_an_address() {
    let pipeline = Pipeline::start("1h").await;
    let mut created = Vec::new();
    for (n, email) in [
        "Alice@Example.com",
        "alice+shop@example.com",
        "alicia@example.com",
        "bob@bücher.example",
        "b_b@example.com",
        "bob%25@example.com",
    ]
    .into_iter()
    .enumerate()
    {
        created.push(create(&pipeline, &of(email, &format!("r{n}"))).await);
    }
    let mut theirs = of("alice@example.com", "r1");
    theirs["tenantId"] = "t-2".into();
    let theirs = create(&pipeline, &theirs).await;
    let find = async |query: &str| {
        let path = format!("/api/orders?tenantId=t-1&{query}");
        let list = pipeline.get_json(&path).await;
        assert_eq!(list["total"], ids(&list).len(), "{query}");
        list
    };

    for (q, expected) in [
        ("alice@example.com", &[0][..]),
        ("ALICE@", &[0]),
        ("ali", &[2, 1, 0]),
        ("alice%2B", &[1]),
        ("bob@b%C3%BCcher.example", &[3]),
        ("bob@xn--bcher", &[3]),
        ("bob", &[5, 3]),
        // No character means others.
        ("b_", &[4]),
        ("bob%25", &[5]),
        ("a.*", &[]),
        ("^a", &[]),
        ("%25", &[]),
        ("*", &[]),
        ("$", &[]),
        ("a%00", &[]),
        ("%F0%9F%98%80", &[]),
        // The end of an address is not its beginning.
        ("example.com", &[]),
    ] {
        let list = find(&format!("q={q}")).await;
        let expected: Vec<_> = expected
            .iter()
            .map(|n: &usize| created[*n].as_str())
            .collect();
        assert_eq!(ids(&list), expected, "{q}");
    }
    let own = &created[0];
    for part in [own.as_str(), &own[..12], &own.to_uppercase()] {
        assert_eq!(ids(&find(&format!("q={part}")).await), [own], "{part}");
    }
    // Every id begins so.
    let all: Vec<_> = created.iter().rev().map(String::as_str).collect();
    assert_eq!(ids(&find("q=ord_").await), all);
    assert!(ids(&find(&format!("q={theirs}")).await).is_empty());

    // Other filters narrow what is found, and links keep looking for it.
    let cancel = json!({ "tenantId": "t-1" });
    let path = format!("/api/orders/{}/cancel", created[1]);
    assert_eq!(pipeline.post(&path, &cancel).await.status(), 200);
    assert_eq!(
        ids(&find("q=alic&status=PENDING").await),
        [&created[2], &created[0]]
    );
    assert_eq!(ids(&find("q=alic&status=CANCELLED").await), [&created[1]]);
    assert_eq!(
        ids(&find("q=alic&buyerEmail=alicia@example.com").await),
        [&created[2]]
    );
    assert!(ids(&find("q=alic&to=2020-01-01").await).is_empty());
    let (mut seen, mut path) = (
        Vec::new(),
        Some("/api/orders?tenantId=t-1&q=ALI&limit=1".to_owned()),
    );
    while let Some(asked) = path {
        let response = pipeline.get(&asked).await;
        path = next(&response);
        let list: Value = response.json().await.unwrap();
        assert_eq!(list["total"], 3);
        seen.extend(ids(&list).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, [2, 1, 0].map(|n: usize| created[n].clone()));
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_order_of_a_request_is_found_by_its_request_id() {
    let pipeline = Pipeline::start("1h").await;
    let request = "r 1/ü&?";
    let id = pipeline.create("t-1", request).await;
    pipeline.create("t-1", "r2").await;
    pipeline.create("t-2", "r3").await;
    let encoded = "r%201%2F%C3%BC%26%3F";
    for (query, expected) in [
        (format!("requestId={encoded}"), 1),
        (format!("requestId={encoded}&status=PENDING&limit=1"), 1),
        (format!("requestId={encoded}&q=ali"), 1),
        (format!("requestId={encoded}&status=PAID"), 0),
        (format!("requestId={encoded}&q=bob"), 0),
        ("requestId=r4".to_owned(), 0),
        ("requestId=r3".to_owned(), 0),
    ] {
        let list = pipeline
            .get_json(&format!("/api/orders?tenantId=t-1&{query}"))
            .await;
        let found = vec![id.as_str(); expected];
        assert_eq!(
            (ids(&list), &list["total"]),
            (found, &json!(expected)),
            "{query}"
        );
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_list_tells_more_of_each_order_if_it_is_asked_to() {
    let pipeline = Pipeline::start("1h").await;
    let plain = pipeline.create("t-1", "r1").await;
    let whole = create(&pipeline, &whole("t-1", "r2")).await;
    let text = async |query: &str| {
        let path = format!("/api/orders?tenantId=t-1{query}");
        pipeline.get(&path).await.text().await.unwrap()
    };

    // As it always was, to the byte.
    let list = text("").await;
    let parsed: Value = serde_json::from_str(&list).unwrap();
    let at = |n: usize| parsed["items"][n]["createdAt"].as_str().unwrap();
    let file = r#""attachment":{"filename":"invoice.pdf","storageKey":"tenants/t-1/orders/abcd1234/invoice.pdf"}"#;
    let expected = format!(
        r#"{{"items":[{{"orderId":"{whole}","status":"PENDING","createdAt":"{}","buyerEmail":"alice@example.com","total":100.28,{file}}},{{"orderId":"{plain}","status":"PENDING","createdAt":"{}","buyerEmail":"alice@example.com","total":99.98}}],"page":1,"limit":10,"total":2}}"#,
        at(0),
        at(1)
    );
    assert_eq!(list, expected);

    let more = text("&expand=summary").await;
    let parsed: Value = serde_json::from_str(&more).unwrap();
    let row = serde_json::to_string(&parsed["items"][0]).unwrap();
    assert_eq!(names(&row).len(), 9, "{row}");
    let first = format!(r#"{file},"buyerName":"Alice","itemCount":2,"currency":"EUR"}}"#);
    assert!(more.contains(&first), "{more}");
    let rows = parsed["items"].as_array().unwrap();
    let told = |n: usize, name: &str| rows[n].get(name).cloned().unwrap_or_default();
    assert_eq!(
        (
            told(0, "buyerName"),
            told(0, "itemCount"),
            told(0, "currency")
        ),
        (json!("Alice"), json!(2), json!("EUR"))
    );
    assert_eq!(
        (
            told(1, "buyerName"),
            told(1, "itemCount"),
            told(1, "currency")
        ),
        (json!("Alice"), json!(1), Value::Null)
    );
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_with_the_name_of_the_parameter() {
    let pipeline = Pipeline::start("1h").await;
    let long = |parameter: &str, length| format!("{parameter}={}", "é".repeat(length));
    for (query, pointer, rule) in [
        ("q=".to_owned(), "#/q", "should not be empty"),
        (
            long("q", 255),
            "#/q",
            "must be shorter than or equal to 254 characters",
        ),
        (
            "q=a&q=b".to_owned(),
            "#/q",
            "must not be given more than once",
        ),
        (
            "requestId=".to_owned(),
            "#/requestId",
            "should not be empty",
        ),
        (
            long("requestId", 256),
            "#/requestId",
            "must be shorter than or equal to 255 characters",
        ),
        (
            "expand=".to_owned(),
            "#/expand",
            "must be one of the following values: summary",
        ),
        (
            "expand=items".to_owned(),
            "#/expand",
            "must be one of the following values: summary",
        ),
        ("format=csv".to_owned(), "#/format", "should not exist"),
    ] {
        let path = format!("/api/orders?tenantId=t-1&{query}");
        let refused = faults(pipeline.get(&path).await).await;
        assert_eq!(
            refused,
            (400, vec![(pointer.to_owned(), rule.to_owned())]),
            "{query}"
        );
    }
    for (query, pointer, rule) in [
        (
            "format=xlsx",
            "#/format",
            "must be one of the following values: csv, ndjson",
        ),
        (
            "format=",
            "#/format",
            "must be one of the following values: csv, ndjson",
        ),
        ("page=2", "#/page", "should not exist"),
        ("limit=10", "#/limit", "should not exist"),
        ("expand=summary", "#/expand", "should not exist"),
        (
            "status=paid",
            "#/status",
            "must be one of the following values: PENDING, PAID, CANCELLED",
        ),
    ] {
        let path = format!("/api/orders/export?tenantId=t-1&{query}");
        let refused = faults(pipeline.get(&path).await).await;
        assert_eq!(
            refused,
            (400, vec![(pointer.to_owned(), rule.to_owned())]),
            "{query}"
        );
    }
    let path = format!(
        "/api/orders?tenantId=t-1&{}&{}",
        long("q", 254),
        long("requestId", 255)
    );
    assert_eq!(pipeline.get_json(&path).await["total"], 0);
    pipeline.stack.clean_up().await;
}
