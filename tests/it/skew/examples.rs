//! The examples of messages, replies and documents in `tests/inputs/releases/unreleased` are what is written.
//!
//! With ORDERS_TEST_RECORD=1 the test writes them anew, for a change that adds to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use async_nats::{HeaderMap, Message};
use bson::Bson;
use futures_util::StreamExt;
use mongodb::bson::{Document, doc};
use orders_testkit::{Stack, checkout, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    orderctl,
    payments::{Payments, of_kind, sender::Sender},
    pipeline::{Pipeline, order},
};

const TENANT: &str = "t-123";

/// Ends what is recorded.
const END: &str = "end";
/// A message that no daemon can read.
const POISON: &str = r#"{"not":"an order"}"#;

/// Examples by their files.
type Examples = BTreeMap<PathBuf, String>;

/// Whether a daemon or an operator wrote it, to be read by another one.
fn is_ours(message: &Message) -> bool {
    let subject = message.subject.as_str();
    let is_poison = message.payload == POISON && subject.starts_with("orders.cmd.");
    let words = ["orders.", "payments.", "_INBOX_edge."];
    let asks = ["orders.health", "orders.metrics"];
    words.iter().any(|word| subject.starts_with(word)) && !asks.contains(&subject) && !is_poison
}

/// A message as a file: its subject, its headers, an empty line, its body.
fn file_of(message: &Message) -> (PathBuf, String) {
    let body = String::from_utf8(message.payload.to_vec()).unwrap();
    if message.subject.starts_with("_INBOX") {
        let answers: Value = serde_json::from_str(&body).unwrap();
        let reply = &answers[0]["reply"];
        let name = reply["reason"].as_str();
        let name = name.or_else(|| reply["outcome"].as_str());
        let name = format!("{}.json", name.unwrap());
        return (Path::new("replies").join(name), pretty(&answers));
    }
    let mut text = format!("{}\n", message.subject);
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    let mut lines: Vec<String> = headers
        .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {value}\n")))
        .collect();
    lines.sort();
    text.extend(lines);
    text += &format!("\n{body}\n");
    // Not whose it is, nor what is revoked.
    let words = message.subject.split('.');
    let words = words.filter(|word| ![TENANT, "~"].contains(word) && word.len() < 26);
    let name = format!("{}.txt", words.collect::<Vec<_>>().join("."));
    (Path::new("messages").join(name), text)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// What does not depend on values: the names of headers, and the members of a body with their types.
fn shape(text: &str) -> BTreeSet<String> {
    let (head, body) = text.split_once("\n\n").unwrap_or(("", text));
    let headers = head.lines().skip(1);
    let mut shape: BTreeSet<String> = headers
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect();
    if let Ok(body) = serde_json::from_str(body) {
        members("", &body, &mut shape);
    }
    shape
}

fn members(path: &str, value: &Value, shape: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(values) => {
            let each = format!("{path}[]");
            values.iter().for_each(|value| members(&each, value, shape));
            "array"
        }
        Value::Object(object) => {
            object
                .iter()
                .for_each(|(name, value)| members(&format!("{path}.{name}"), value, shape));
            "object"
        }
    };
    shape.insert(format!("{path}: {kind}"));
}

/// Has the pipeline write each kind of message and reply once.
async fn write_all(pipeline: &Pipeline) -> [String; 2] {
    let mut whole = order(TENANT, "r1");
    whole["currency"] = json!("EUR");
    whole["metadata"] = json!({ "cart": "17" });
    whole["attachment"] = json!({
        "filename": "invoice.pdf", "contentType": "application/pdf", "size": 6,
        "storageKey": "tenants/t-123/orders/abcd1234/invoice.pdf",
    });
    let created = pipeline.post("/api/orders", &whole).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let first = crate::pipeline::order_id(created).await;
    let cancel = async |id: &str| {
        let body = json!({ "tenantId": TENANT });
        let answer = pipeline
            .post(&format!("/api/orders/{id}/cancel"), &body)
            .await;
        answer.status().as_u16()
    };
    assert_eq!(cancel(&first).await, 200);
    assert_eq!(cancel(&first).await, 200);
    let again = pipeline.post("/api/orders", &whole).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(cancel("ord_aaaaaaaaaaaaaaaaaaaaaaaaaa").await, 404);
    let second = pipeline.create(TENANT, "r2").await;
    pipeline.until_status(TENANT, &second, "PAID").await;
    assert_eq!(cancel(&second).await, 409);

    // A message that becomes a dead letter, which an operator drops.
    let client = pipeline.stack.client().await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "poison-1");
    headers.insert("Orders-Reply-To", "_INBOX_edge.a.b");
    let subject = format!("orders.cmd.{TENANT}.create");
    let poison = client.publish_with_headers(subject, headers, POISON.into());
    poison.await.unwrap();
    let stack = &pipeline.stack;
    eventually("there is a dead letter", async || {
        let listed = orderctl::run(stack, &["dlq", "list", "--json"]).await;
        match listed.text.contains("originalSubject") {
            true => Ok(()),
            false => Err(listed.text),
        }
    })
    .await;
    let drop = ["dlq", "drop", "1", "--yes"];
    orderctl::run(stack, &drop).await.expect(0);
    let revoke = [
        "revoke",
        "--issuer",
        "https://login.example",
        "--subject",
        "u1",
        "--yes",
    ];
    orderctl::run(stack, &revoke).await.expect(0);
    [first, second]
}

/// Has somebody tell of a payment that failed.
async fn fail_a_payment(payments: &Payments) {
    let id = payments.pipeline.create(TENANT, "r3").await;
    let mut failed = of_kind("payment.failed", &id);
    failed["data"]["currency"] = json!("EUR");
    failed["data"]["reason"] = json!("card declined");
    let webhook = Sender::node().sign("msg_1", &failed).await;
    payments.pay(&webhook).await;
}

async fn documents(pipeline: &Pipeline, [cancelled, paid]: [String; 2]) -> Examples {
    let database = pipeline.stack.database().await;
    let mut examples = Examples::new();
    for (collection, name, id) in [
        ("orders_write", "cancelled", cancelled.as_str()),
        ("orders_write", "paid", &paid),
        ("orders_read", "cancelled", &cancelled),
        ("orders_read", "paid", &paid),
        ("orders_installation", "one", "installation"),
    ] {
        let documents = database.collection::<Document>(collection);
        let document = documents.find_one(doc! { "_id": id }).await.unwrap();
        let document = Bson::Document(document.expect(collection));
        let name = format!("documents/{collection}.{name}.json");
        examples.insert(name.into(), pretty(&document.into_canonical_extjson()));
    }
    examples
}

#[tokio::test]
async fn the_examples_of_this_release_are_what_it_writes() {
    let payments = Payments::start_on(Stack::open().await, "2s").await;
    let pipeline = &payments.pipeline;
    let client = pipeline.stack.client().await;
    // One subscription for all, so that they come in order.
    let mut messages = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();

    let ids = write_all(pipeline).await;
    let mut written = documents(pipeline, ids).await;
    fail_a_payment(&payments).await;
    client.publish(END, "".into()).await.unwrap();
    while let Some(message) = messages.next().await
        && message.subject.as_str() != END
    {
        if is_ours(&message) {
            let (name, text) = file_of(&message);
            written.entry(name).or_insert(text);
        }
    }

    let folder = checkout().join("tests/inputs/releases/unreleased");
    if std::env::var_os("ORDERS_TEST_RECORD").is_some() {
        let _ = fs::remove_dir_all(&folder);
        for (name, text) in &written {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    let mut names = BTreeSet::new();
    for kind in ["messages", "replies", "documents"] {
        let files = fs::read_dir(folder.join(kind)).expect("examples");
        names.extend(files.map(|file| Path::new(kind).join(file.unwrap().file_name())));
    }
    assert_eq!(names, written.keys().cloned().collect());
    for (name, text) in &written {
        let example = fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            shape(text),
            shape(&example),
            "{} is an example of something else; record it anew: ORDERS_TEST_RECORD=1",
            name.display()
        );
    }
    payments.pipeline.stack.clean_up().await;
}
