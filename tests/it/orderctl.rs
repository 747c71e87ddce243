//! The operator's tool, as an operator calls it.

mod audit;
mod causes;
mod dead_letters;
mod doctor;
mod drift;
mod orders;
mod rebuild;
mod timeline;
mod top;

use std::{
    path::Path,
    process::{Output, Stdio},
};

use async_nats::{HeaderMap, jetstream};
use orders_testkit::{Stack, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

/// The order that tenant `t-123` makes with the request id `r1`.
const ORDER: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";

/// `orderctl` on the servers of `stack`, without a terminal.
pub(crate) fn orderctl(stack: &Stack, args: &[&str]) -> Command {
    let folder = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut command = Command::new(Path::new(&folder).join("orderctl"));
    command
        .args(args)
        .env_clear()
        .env("USER", "alice")
        .env("NATS_URL", stack.nats.url())
        .env("MONGO_URL", &stack.mongo_url)
        .env("NATS_MONITOR_URL", stack.nats.monitor_url())
        .envs(stack.login_of_orderctl(args))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What an ended `orderctl` has said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
    pub(crate) errors: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            text: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its output as JSON, an object a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        self.text.lines().map(parse).collect()
    }

    /// The last of its lines of JSON.
    pub(crate) fn last(&self) -> Value {
        self.lines().pop().expect("it says something")
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.text, self.errors);
        self
    }
}

pub(crate) async fn run(stack: &Stack, args: &[&str]) -> Said {
    Said::of(orderctl(stack, args).output().await.unwrap())
}

async fn messages(jetstream: &jetstream::Context, stream: &str) -> u64 {
    let stream = jetstream.get_stream(stream).await.unwrap();
    stream.cached_info().state.messages
}

async fn publish(jetstream: &jetstream::Context, subject: &str, headers: HeaderMap, body: Vec<u8>) {
    let sent = jetstream.publish_with_headers(subject.to_owned(), headers, body.into());
    sent.await.unwrap().await.unwrap();
}

/// The headers of a well-formed message.
fn headers(id: &str, kind: &str, order: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id);
    headers.insert("ce-type", format!("com.example.orders.{kind}.v1"));
    headers.insert("ce-source", "/test");
    headers.insert("ce-subject", order);
    headers.insert("ce-time", "2025-08-26T09:00:00Z");
    headers
}

/// The payment of an order that does not exist yet.
async fn early_payment(jetstream: &jetstream::Context) {
    let mut headers = headers("early", "order.paid", ORDER);
    headers.insert("Nats-Msg-Id", "early");
    let body = json!({
        "tenantId": "t-123", "orderId": ORDER, "amount": 99.98, "paidAt": "2025-08-26T09:00:00Z",
    });
    let body = body.to_string().into_bytes();
    publish(jetstream, "payments.evt.t-123.paid", headers, body).await;
}

async fn until_dead_letters(jetstream: &jetstream::Context, count: u64) {
    eventually("the dead letters are there", async || {
        let found = messages(jetstream, "ORDERS_DLQ").await;
        if found == count { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn drop_index(stack: &Stack, collection: &str, index: &str) {
    let database = stack.database().await;
    let collection = database.collection::<mongodb::bson::Document>(collection);
    // FerretDB does it and answers what the driver does not read; the names tell.
    let _ = collection.drop_index(index).await;
    let names = collection.list_index_names().await.unwrap();
    assert!(!names.iter().any(|name| name == index), "{names:?}");
}

/// Presses Ctrl-C.
pub(crate) async fn interrupt(process: &tokio::process::Child) {
    let id = process.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(kill.unwrap().success());
}
