//! The examples of README.md, as they stand there.

use std::process::Stdio;

use orders_testkit::{LIMIT, Stack, checkout};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::pipeline::Pipeline;

/// The first block of `language` in README.md that contains `part`.
pub(crate) fn example(language: &str, part: &str) -> String {
    block("README.md", language, part)
}

/// The first block of `language` in a page that contains `part`.
pub(crate) fn block(page: &str, language: &str, part: &str) -> String {
    let text = std::fs::read_to_string(checkout().join(page)).unwrap();
    let mut blocks = text.split("```").skip(1).step_by(2);
    let block = blocks.find(|block| block.starts_with(language) && block.contains(part));
    let block = block.unwrap_or_else(|| panic!("{page} has no example with {part}"));
    block[language.len()..].to_owned()
}

/// What a shell prints that runs `script` against `edge`.
pub(crate) async fn shell(script: &str, edge: &str) -> String {
    let script = script.replace("http://localhost:3001", edge);
    let run = Command::new("bash").args(["-c", &script]).output();
    let output = run.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_commands_work() {
    let pipeline = Pipeline::start("5s").await;
    let edge = pipeline.edge.url();
    let create = example("sh", "/api/orders ");
    let first = shell(&create, &edge).await;
    assert!(first.starts_with("HTTP/1.1 201"), "{first}");
    let second = shell(&create, &edge).await;
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert!(second.contains("x-idempotent-replayed: true"), "{second}");
    let list = shell(&example("sh", "/api/orders?"), &edge).await;
    assert!(list.contains(r#""total": 1"#), "{list}");
    let read = shell(&example("sh", "requestId=r1"), &edge).await;
    assert!(read.contains(r#""buyerName": "Alice""#), "{read}");
    assert!(read.contains(r#""requestId":"r1""#), "{read}");
    // Unless it was paid by then.
    let is_known = read.contains("HTTP/1.1 304");
    assert!(is_known || read.contains(r#"etag: "2""#), "{read}");
    let exported = shell(&example("sh", "format=ndjson"), &edge).await;
    assert_eq!(exported, "{\"exported\":1,\"complete\":true}\n");
    let upload = shell(&example("sh", "presign"), &edge).await;
    assert!(upload.contains(r#""ok":true"#), "{upload}");
    pipeline.stack.clean_up().await;
}

/// It says of each order what lists show.
#[tokio::test]
async fn the_command_that_follows_goes_on() {
    let pipeline = Pipeline::start("100ms").await;
    let follow = example("sh", "/api/orders/events");
    let mut curl = Command::new("bash")
        .arg("-c")
        .arg(
            format!("exec {}", follow.trim())
                .replace("http://localhost:3001", &pipeline.edge.url()),
        )
        .stdout(Stdio::piped())
        // Where it shows its progress.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut block = async || {
        let mut block = Vec::new();
        while let Some(line) = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap() {
            if line.is_empty() {
                return block.join("\n");
            }
            block.push(line);
        }
        panic!("curl ended after {block:?}");
    };
    assert!(block().await.contains("retry: "));
    for request in ["r1", "r2"] {
        let id = pipeline.create("t-123", request).await;
        for (event, status) in [("created", "PENDING"), ("updated", "PAID")] {
            let told = block().await;
            assert!(told.contains(&format!("event: order.{event}\n")), "{told}");
            assert!(
                told.contains(&format!(r#""orderId":"{id}","status":"{status}""#)),
                "{told}"
            );
        }
    }
    pipeline.stack.clean_up().await;
}

/// It catches up after a lost connection.
#[tokio::test]
async fn the_script_for_socket_io_misses_nothing() {
    let mut pipeline = Pipeline::start("100ms").await;
    let mut node = Command::new("node")
        .arg(checkout().join("tests/socketio/readme.mjs"))
        .arg(pipeline.edge.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let script = example("js", "serverOffset");
    let mut input = node.stdin.take().unwrap();
    input.write_all(script.as_bytes()).await.unwrap();
    drop(input);
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut line = async || timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();

    assert_eq!(line().await.as_deref(), Some("connected"));
    let first = pipeline.create("t-123", "r1").await;
    assert_eq!(line().await, Some(format!("{first} PAID")));
    assert!(pipeline.realtime.terminate().await.success());
    let second = pipeline.create("t-123", "r2").await;
    pipeline.until_status("t-123", &second, "PAID").await;
    pipeline.realtime.restart(|daemon| daemon).await;
    let mut after = [line().await, line().await].map(Option::unwrap);
    after.sort();
    let mut wanted = ["connected".to_owned(), format!("{second} PAID")];
    wanted.sort();
    assert_eq!(after, wanted);
    pipeline.stack.clean_up().await;
}

/// openssl signs as the libraries of Standard Webhooks do.
#[tokio::test]
async fn the_command_that_pays_is_believed() {
    let stack = Stack::start().await;
    let sign = example("sh", "/api/payments/webhook");
    let secret = sign.lines().find_map(|line| line.strip_prefix("SECRET="));
    let file = stack.folder().join("secrets");
    std::fs::write(&file, secret.unwrap()).unwrap();
    let pipeline = Pipeline::start_on(stack, "1h", |edge| {
        edge.env(
            "ORDERS_PAYMENT__WEBHOOK_SECRETS_FILE",
            file.to_str().unwrap(),
        )
    })
    .await;
    let id = pipeline.create("t-123", "r1").await;
    let answer = shell(&sign, &pipeline.edge.url()).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(answer.ends_with(r#"{"accepted":true}"#), "{answer}");
    pipeline.until_status("t-123", &id, "PAID").await;
    pipeline.stack.clean_up().await;
}
