//! Whatever happens, no log has a name, an address or a token in it.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use mongodb::bson::{Document, doc};
use orders_testkit::{Daemon, SocketClient, Stack, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::messages;
use crate::{
    logs::{IDS, clean_logs, has_none, lines, talkative},
    pipeline::Pipeline,
    web::Site,
};

const EMAIL: &str = "canary7f3a@example.com";
const NAME: &str = "Canary7f3a McBuyer";
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnk3ZjNhIn0.c2ln";
/// What no log may have.
const NEEDLES: [&str; 3] = ["canary7f3a", "mcbuyer", "eyjhbgci"];

fn order(request: &str) -> Value {
    json!({
        "requestId": request, "tenantId": "t-1", "buyer": { "email": EMAIL, "name": NAME },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
        "attachment": {
            "filename": "canary7f3a.pdf", "contentType": "application/pdf", "size": 6,
            "storageKey": "tenants/t-1/orders/abcd1234/canary7f3a.pdf",
        },
        "metadata": { "gift of Canary7f3a": NAME },
    })
}

#[tokio::test]
async fn no_log_and_no_feed_has_personal_data_whatever_happens() {
    let stack = talkative(Stack::start().await);
    let Site { web, mut pipeline } = Site::start_on(stack, "300ms").await;
    let mut socket = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    socket.event("connected").await;

    requests(&pipeline).await;
    pages(&web, &pipeline.http).await;
    let jetstream = pipeline.stack.jetstream().await;
    garbage(&jetstream).await;
    damage(&pipeline).await;
    crashes(&mut pipeline).await;
    outage(&mut pipeline).await;
    pipeline.edge.kill().await;
    pages(&web, &pipeline.http).await;

    let feed = messages(&jetstream, "ORDERS_FEED").await;
    assert!(feed.lines().count() >= 4, "{feed}");
    has_none("the feed", &feed, &NEEDLES);
    drop(socket);
    let all = clean_logs(pipeline.stack.folder(), &NEEDLES);
    // What was looked for did happen.
    for said in [
        "gave up ORDERS_COMMANDS",
        "gave up ORDERS_EVENTS",
        "gave up PAYMENTS",
        "panicked",
        "left out of orders_read",
        "answered 400",
        "answered 503",
        "the edge does not answer",
    ] {
        assert!(all.contains(said), "{said}");
    }
    // And what was said is found by its ids.
    let daemons = [
        &web,
        &pipeline.edge,
        &pipeline.projector,
        &pipeline.payments,
        &pipeline.realtime,
    ];
    for daemon in daemons {
        assert!(!lines(daemon).is_empty());
    }
    let of_writer = lines(&pipeline.writer);
    let is_panic = |line: &&Value| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.starts_with("panicked"))
    };
    let mut panics = of_writer.iter().filter(is_panic);
    assert!(panics.any(|line| IDS.iter().all(|id| line[*id].is_string())));
    pipeline.stack.clean_up().await;
}

/// Good and bad ones, with a token that nobody asked for.
async fn requests(pipeline: &Pipeline) {
    let url = |path: &str| format!("{}{path}", pipeline.edge.url());
    let send = async |request: reqwest::RequestBuilder| {
        let request = request
            .bearer_auth(TOKEN)
            .header("cookie", format!("session={TOKEN}"));
        request.send().await.unwrap()
    };
    let post = async |body: &Value| send(pipeline.http.post(url("/api/orders")).json(body)).await;
    let created = post(&order("r1")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let id = crate::pipeline::order_id(created).await;
    assert_eq!(post(&order("r1")).await.status(), StatusCode::OK);
    let mut other = order("r1");
    other["items"][0]["qty"] = json!(3);
    assert_eq!(post(&other).await.status(), StatusCode::OK);
    post(&order("r2")).await;

    let mut bad = order("r3");
    bad[EMAIL] = json!(NAME);
    bad["buyer"][NAME] = json!(EMAIL);
    bad["metadata"][EMAIL] = json!({ NAME: EMAIL });
    bad["buyer"]["email"] = json!(NAME);
    bad["items"] = json!(EMAIL);
    assert_eq!(post(&bad).await.status(), StatusCode::BAD_REQUEST);
    let broken = format!("{{\"buyer\":{{\"email\":\"{EMAIL}\"");
    let broken = pipeline
        .http
        .post(url("/api/orders"))
        .header("content-type", "application/json")
        .body(broken);
    assert_eq!(send(broken).await.status(), StatusCode::BAD_REQUEST);
    for path in [
        format!("/api/orders?tenantId=t-1&buyerEmail={EMAIL}"),
        format!("/api/orders?tenantId=t-1&buyerEmail={EMAIL}&access_token={TOKEN}"),
        format!("/api/orders?tenantId=t-1&q={EMAIL}&requestId={EMAIL}&expand={EMAIL}"),
        format!("/api/orders/export?tenantId=t-1&buyerEmail={EMAIL}"),
        format!("/api/orders/export?tenantId=t-1&format={EMAIL}"),
        format!("/api/orders/{id}?tenantId=t-1"),
        format!("/api/orders/{EMAIL}?tenantId={EMAIL}"),
        format!("/{EMAIL}/{TOKEN}"),
        format!("/ws/?EIO=4&transport=polling&token={TOKEN}&tenantId={EMAIL}"),
    ] {
        send(pipeline.http.get(url(&path))).await;
    }
    let file = json!({
        "tenantId": "t-1", "filename": format!("{EMAIL}.pdf"), "contentType": "a/b", "size": 6,
    });
    let presigned = send(pipeline.http.post(url("/api/uploads/presign")).json(&file)).await;
    assert_eq!(presigned.status(), StatusCode::CREATED);
    let presigned: Value = presigned.json().await.unwrap();
    let upload = pipeline.http.put(presigned["url"].as_str().unwrap());
    assert_eq!(send(upload.body(NAME)).await.status(), StatusCode::OK);
    let cancel = json!({ "tenantId": "t-1" });
    let cancel = pipeline
        .http
        .post(url(&format!("/api/orders/{id}/cancel")))
        .json(&cancel);
    send(cancel).await;
}

/// The same by the pages.
async fn pages(web: &Daemon, http: &reqwest::Client) {
    for path in [
        format!("/orders?tenantId=t-1&buyerEmail={EMAIL}"),
        format!("/orders?tenantId={EMAIL}&access_token={TOKEN}"),
        format!("/{EMAIL}"),
    ] {
        let asked = http.get(format!("{}{path}", web.url())).bearer_auth(TOKEN);
        asked.send().await.unwrap();
    }
    let form = format!("tenantId=t-1&requestId=p1&buyerEmail={EMAIL}&buyerName=McBuyer&{EMAIL}=1");
    let sent = http
        .post(format!("{}/orders/new", web.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .body(form);
    sent.send().await.unwrap();
}

/// Messages that anybody with a connection to NATS may publish.
async fn garbage(jetstream: &jetstream::Context) {
    let id = "ord_qz74bke6iblutmfkqfvmtezzkq";
    let headers = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", "c1");
        headers.insert("ce-type", format!("orders.order.{kind}.v1"));
        headers.insert("ce-source", "/test");
        headers.insert("ce-subject", id);
        headers.insert("ce-time", "2025-08-26T09:00:00Z");
        headers
    };
    let mut odd = HeaderMap::new();
    for name in [
        "ce-id",
        "ce-type",
        "ce-subject",
        "ce-time",
        "ce-traceparent",
        "traceparent",
    ] {
        odd.insert(name, EMAIL);
    }
    let twice = format!(r#"{{"buyer":{{"{EMAIL}":1,"{EMAIL}":2}},"{NAME}":1}}"#);
    let event = json!({
        "tenantId": "t-1", "version": 1, "occurredAt": NAME,
        "order": { "orderId": id, "status": EMAIL, "createdAt": EMAIL, "buyerEmail": EMAIL, "total": NAME },
    });
    let payment = json!({ "tenantId": "t-1", "orderId": id, "amount": EMAIL, "paidAt": NAME });
    let garbage = [
        ("orders.cmd.t-1.create", headers("create"), twice),
        (
            "orders.cmd.t-1.create",
            HeaderMap::new(),
            format!("{NAME} {EMAIL} {TOKEN}"),
        ),
        ("orders.cmd.t-1.create", odd.clone(), order("x").to_string()),
        (
            "orders.cmd.t-1.cancel",
            headers("cancel"),
            format!(r#"{{"tenantId":"{EMAIL}"}}"#),
        ),
        (
            "orders.evt.t-1.created",
            headers("created"),
            event.to_string(),
        ),
        ("orders.evt.t-1.created", odd.clone(), format!("\"{EMAIL}")),
        (
            "payments.evt.t-1.paid",
            headers("paid"),
            payment.to_string(),
        ),
        (
            "payments.evt.t-1.paid",
            odd,
            format!("{{\"amount\":\"{EMAIL}\"}}"),
        ),
    ];
    let count = garbage.len() as u64;
    for (subject, headers, body) in garbage {
        let sent = jetstream.publish_with_headers(subject, headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
    eventually("all are dead letters", async || {
        let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        match letters.cached_info().state.messages {
            some if some >= count => Ok(()),
            few => Err(few),
        }
    })
    .await;
}

/// Documents that cannot be read.
async fn damage(pipeline: &Pipeline) {
    let rows = pipeline
        .stack
        .database()
        .await
        .collection::<Document>("orders_read");
    let set = doc! { "$set": { "status": EMAIL, "total": NAME, "createdAt": EMAIL } };
    rows.update_one(doc! { "tenantId": "t-1" }, set)
        .await
        .unwrap();
    let damaged = rows
        .find_one(doc! { "status": EMAIL })
        .await
        .unwrap()
        .unwrap();
    let id = damaged.get_str("_id").unwrap();
    pipeline
        .get(&format!("/api/orders/{id}?tenantId=t-1"))
        .await;
    pipeline
        .get(&format!(
            "/api/orders?tenantId=t-1&status=PAID&buyerEmail={EMAIL}"
        ))
        .await;
    // Lists are sorted by it.
    let set = doc! { "$set": { "createdAt": mongodb::bson::DateTime::now() } };
    rows.update_one(doc! { "_id": id }, set).await.unwrap();
    pipeline.get("/api/orders?tenantId=t-1").await;
}

/// A command that its writer cannot survive.
async fn crashes(pipeline: &mut Pipeline) {
    pipeline.writer.kill().await;
    pipeline
        .writer
        .restart(|setup| setup.env("ORDERS_POISON", "panic:r-poison"))
        .await;
    let sent = pipeline.post("/api/orders", &order("r-poison")).await;
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    eventually("it is given up", async || {
        match pipeline.writer.log().contains("as panicked") {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await;
}

/// NATS is away while orders come.
async fn outage(pipeline: &mut Pipeline) {
    pipeline.stack.nats.kill().await;
    eventually("orders are refused", async || {
        let sent = pipeline.post("/api/orders", &order("r-outage")).await;
        match sent.status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(()),
            other => Err(other),
        }
    })
    .await;
    pipeline.stack.nats.restart().await;
    eventually("orders are taken", async || {
        let sent = pipeline.post("/api/orders", &order("r-back")).await;
        match sent.status() {
            StatusCode::CREATED | StatusCode::OK => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // The reply of the daemons is in the log by now, the one of a client that leaves is not yet.
    let _ = tokio::time::timeout(
        Duration::from_millis(1),
        pipeline.post("/api/orders", &order("r-gone")),
    )
    .await;
}
