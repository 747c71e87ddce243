//! The list: filters, paging, order, and days.

use mongodb::bson::{DateTime, Document, doc};
use serde_json::Value;

use crate::pipeline::{Pipeline, order};

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["orderId"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn filters_pages_and_days() {
    let pipeline = Pipeline::start("1h").await;
    let mut created = Vec::new();
    for n in 0..25 {
        let mut body = order("t-1", &format!("r{n}"));
        if n % 5 == 0 {
            let spelling = ["bob@example.com", "Bob@Example.COM"][n % 2];
            body["buyer"]["email"] = spelling.into();
        }
        if n == 24 {
            body["buyer"]["email"] = "Carol@Bücher.example".into();
        }
        let response = pipeline.post("/api/orders", &body).await;
        created.push(crate::pipeline::order_id(response).await);
    }
    pipeline.create("t-2", "r1").await;
    let newest_first: Vec<String> = created.iter().rev().cloned().collect();

    let first = pipeline.get_json("/api/orders?tenantId=t-1").await;
    assert_eq!(
        (
            first["page"].as_u64(),
            first["limit"].as_u64(),
            first["total"].as_u64()
        ),
        (Some(1), Some(10), Some(25))
    );
    assert_eq!(ids(&first), newest_first[..10]);
    let third = pipeline
        .get_json("/api/orders?tenantId=t-1&page=3&limit=10")
        .await;
    assert_eq!(ids(&third), newest_first[20..]);
    let beyond = pipeline
        .get_json("/api/orders?tenantId=t-1&page=9007199254740991&limit=100")
        .await;
    assert_eq!(
        (ids(&beyond).len(), beyond["total"].as_u64()),
        (0, Some(25))
    );

    // Buyers are found by any spelling, also by that of a browser; the order itself keeps its own.
    let bobs: Vec<String> = [20, 15, 10, 5, 0].map(|n: usize| created[n].clone()).into();
    let carols = vec![created[24].clone()];
    for (spelling, expected) in [
        ("bob@example.com", &bobs),
        ("BOB%40Example.com", &bobs),
        ("carol@xn--bcher-kva.example", &carols),
        ("Carol@b%C3%BCcher.EXAMPLE", &carols),
    ] {
        let path = format!("/api/orders?tenantId=t-1&buyerEmail={spelling}&status=PENDING");
        let found = pipeline.get_json(&path).await;
        assert_eq!(&ids(&found), expected, "{spelling}");
    }
    let sent = doc! { "_id": &created[24], "buyer.email": "Carol@Bücher.example" };
    assert_eq!(pipeline.stack.count("orders_write", sent).await, 1);
    let shown = pipeline
        .get_json(&format!("/api/orders/{}?tenantId=t-1", created[24]))
        .await;
    assert_eq!(shown["buyerEmail"], "carol@xn--bcher-kva.example");
    let paid = pipeline
        .get_json("/api/orders?tenantId=t-1&status=PAID")
        .await;
    assert_eq!(paid["total"], 0);

    // Days are UTC days, both ends inclusive; instants are instants.
    let rows = pipeline
        .stack
        .database()
        .await
        .collection::<Document>("orders_read");
    for (id, moment) in [
        (&created[0], "2025-08-19T23:59:59.999Z"),
        (&created[1], "2025-08-20T00:00:00.000Z"),
        (&created[2], "2025-08-28T23:59:59.999Z"),
        (&created[3], "2025-08-29T00:00:00.000Z"),
    ] {
        let moment = DateTime::parse_rfc3339_str(moment).unwrap();
        rows.update_one(doc! { "_id": id }, doc! { "$set": { "createdAt": moment } })
            .await
            .unwrap();
    }
    for (range, expected) in [
        ("from=2025-08-20&to=2025-08-28", vec![2, 1]),
        ("from=2025-08-19&to=2025-08-19", vec![0]),
        ("to=2025-08-20", vec![1, 0]),
        (
            "from=2025-08-28T23:59:59.999Z&to=2025-08-29T00:00:00Z",
            vec![3, 2],
        ),
        (
            "from=2025-08-20T02:00:00%2B02:00&to=2025-08-20T00:00:00Z",
            vec![1],
        ),
        // As a browser's datetime-local sends it, with a plus that nobody encoded, and in a form without punctuation.
        ("from=2025-08-20T00:00&to=2025-08-20T00:00:00", vec![1]),
        (
            "from=2025-08-20T02:00:00+02:00&to=2025-08-20+00:00",
            vec![1],
        ),
        ("from=20250820T000000Z&to=2025-W34", vec![1]),
        ("from=2025-08-28&to=2025-08-20", vec![]),
    ] {
        let page = pipeline
            .get_json(&format!("/api/orders?tenantId=t-1&{range}"))
            .await;
        let expected: Vec<String> = expected
            .into_iter()
            .map(|n: usize| created[n].clone())
            .collect();
        assert_eq!(ids(&page), expected, "{range}");
    }
    pipeline.stack.clean_up().await;
}

/// The path of the next page, as the answer's `Link` names it.
pub(crate) fn next(response: &reqwest::Response) -> Option<String> {
    let links = response.headers()["link"].to_str().unwrap();
    let next = links
        .split(", ")
        .find_map(|link| link.strip_suffix("; rel=\"next\""))?;
    Some(next.trim_matches(['<', '>']).to_owned())
}

#[tokio::test]
async fn links_lead_through_the_list_whatever_comes_in_between() {
    let pipeline = Pipeline::start("1h").await;
    let mut created = Vec::new();
    for n in 0..7 {
        created.push(pipeline.create("t-1", &format!("r{n}")).await);
    }
    let first = "/api/orders?tenantId=t-1&status=PENDING&limit=3";
    let (mut seen, mut path, mut page) = (Vec::new(), Some(first.to_owned()), 0);
    while let Some(asked) = path {
        let response = pipeline.get(&asked).await;
        path = next(&response);
        let list: Value = response.json().await.unwrap();
        page += 1;
        assert_eq!(list["page"], page, "{asked}");
        for unneeded in ["totalAsOf", "totalRelation"] {
            assert!(list.get(unneeded).is_none(), "few are counted each time");
        }
        seen.extend(ids(&list));
        pipeline.create("t-1", &format!("later{page}")).await;
    }
    created.reverse();
    assert_eq!((seen, page), (created, 3));
    let wrong = pipeline.get(&format!("{first}&cursor=7")).await;
    assert_eq!(wrong.status(), 400);

    // Below a path prefix, nothing leads out of it.
    let base = "https://shop.example/orders";
    let edge = pipeline.stack.daemon("edge");
    let edge = edge
        .env("ORDERS_PUBLIC_URL", &format!("{base}/"))
        .start()
        .await;
    let url = format!("{}/api/orders", edge.url());
    let second = pipeline
        .http
        .get(format!("{url}?tenantId=t-1&page=2&limit=3"));
    let second = second.send().await.unwrap();
    let links = second.headers()["link"].to_str().unwrap();
    let links: Vec<_> = links
        .split(", ")
        .filter_map(|link| link.split_once(">; "))
        .collect();
    assert_eq!(links.len(), 3, "{links:?}");
    for ((url, relation), expected) in links.iter().zip(["next", "prev", "first"]) {
        assert_eq!(*relation, format!("rel=\"{expected}\""));
        assert!(
            url.starts_with(&format!("<{base}/api/orders?tenantId=t-1&limit=3")),
            "{url}"
        );
    }
    assert!(links[1].0.ends_with("&page=1"), "{links:?}");
    let created = pipeline.http.post(url).json(&order("t-1", "prefix"));
    let created = created.send().await.unwrap();
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let id = crate::pipeline::order_id(created).await;
    assert_eq!(location, format!("{base}/api/orders/{id}?tenantId=t-1"));
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_total_above_ten_thousand_is_as_of_a_moment_or_a_lower_bound() {
    let pipeline = Pipeline::start("1h").await;
    let rows = pipeline
        .stack
        .database()
        .await
        .collection::<Document>("orders_read");
    // They lack what a row has, and none is shown.
    let row = |n| doc! { "_id": format!("ord_{n:026}"), "orderId": n, "tenantId": "t-1" };
    let some: Vec<Document> = (0..10_001).map(row).collect();
    for part in some.chunks(1_000) {
        rows.insert_many(part).ordered(false).await.unwrap();
    }
    let path = "/api/orders?tenantId=t-1&page=1000000";
    let counted = loop {
        let list = pipeline.get_json(path).await;
        if list.get("totalRelation").is_none() {
            break list;
        }
        assert_eq!(list["totalRelation"], "gte");
        assert_eq!(list["total"], 10_000);
        assert!(list.get("totalAsOf").is_none(), "{list}");
    };
    assert_eq!(counted["total"], 10_001);
    assert!(counted["totalAsOf"].is_string(), "{counted}");
    let again = pipeline.get_json(path).await;
    assert_eq!(again, counted, "lists share the count");
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_seeds_indexes_are_there() {
    let pipeline = Pipeline::start("1h").await;
    let database = pipeline.stack.database().await;
    let keys = async |collection: &str| {
        let mut cursor = database
            .collection::<Document>(collection)
            .list_indexes()
            .await
            .unwrap();
        let mut keys = Vec::new();
        while cursor.advance().await.unwrap() {
            let index = cursor.deserialize_current().unwrap();
            let unique = index
                .options
                .and_then(|options| options.unique)
                .unwrap_or(false);
            keys.push((
                index.keys.keys().cloned().collect::<Vec<_>>().join(","),
                unique,
            ));
        }
        keys
    };
    let write = keys("orders_write").await;
    for expected in [
        ("tenantId,requestId", true),
        ("tenantId,orderId", true),
        // It also has the order in which the healer reads.
        ("status,createdAt,orderId", false),
    ] {
        assert!(
            write.contains(&(expected.0.to_owned(), expected.1)),
            "{expected:?} in {write:?}"
        );
    }
    let read = keys("orders_read").await;
    for expected in [
        "tenantId,status,createdAt,orderId",
        "tenantId,buyerEmail,createdAt,orderId",
        "tenantId,createdAt,orderId",
    ] {
        assert!(
            read.contains(&(expected.to_owned(), false)),
            "{expected} in {read:?}"
        );
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn money_is_exact_and_unusual_request_ids_work() {
    let pipeline = Pipeline::start("1h").await;
    let long = "é".repeat(255);
    for (n, request) in ["with.dots and spaces", "$ne", "\u{0}nul", "😀", &long]
        .into_iter()
        .enumerate()
    {
        let mut body = order("t-1", request);
        body["items"] = serde_json::json!([{ "sku": "S", "qty": 3, "price": 0.1 }]);
        let first = pipeline.post("/api/orders", &body).await;
        assert_eq!(first.status(), 201, "{request:?}");
        assert_eq!(
            pipeline.post("/api/orders", &body).await.status(),
            200,
            "{request:?}"
        );
        let text = pipeline
            .get("/api/orders?tenantId=t-1")
            .await
            .text()
            .await
            .unwrap();
        assert_eq!(text.matches(r#""total":0.3"#).count(), n + 1, "{text}");
    }
    pipeline.stack.clean_up().await;
}
