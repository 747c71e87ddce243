//! The timeline of an order.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{interrupt, orderctl, run};
use crate::pipeline::Pipeline;

#[tokio::test]
async fn the_timeline_of_an_order_is_one_across_all_streams() {
    let pipeline = Pipeline::start("100ms").await;
    let stack = &pipeline.stack;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.create("t-2", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let said = run(stack, &["tap", &id, "--no-follow", "--json"])
        .await
        .expect(0);
    let lines = said.lines();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap().trim_start_matches("orders."))
        .collect();
    let expected = [
        "order.created.v1",
        "feed.created.v1",
        "order.paid.v1",
        "order.updated.v1",
        "feed.updated.v1",
    ];
    assert_eq!(kinds, expected);
    assert!(lines.iter().all(|line| line["orderId"] == id.as_str()));
    assert!(
        lines
            .iter()
            .all(|line| line["traceId"] == lines[0]["traceId"])
    );
    assert_eq!(lines[0]["sinceFirstMs"], 0);
    assert!(lines[4]["sinceFirstMs"].as_u64().unwrap() >= 100);
    assert_eq!(
        (&lines[4]["status"], &lines[4]["version"]),
        (&json!("PAID"), &json!(2))
    );

    let said = run(stack, &["tap", &id, "--no-follow"])
        .await
        .expect(0)
        .text;
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    assert!(said.starts_with("TIME (UTC)"), "{said}");
    let ghost = format!("ord_{}", "z".repeat(26));
    let said = run(stack, &["tap", &ghost, "--no-follow"]).await.expect(1);
    assert!(
        said.errors
            .contains(&format!("no stream holds anything of {ghost}")),
        "{}",
        said.errors
    );

    // What comes, with the command.
    let mut tap = orderctl(stack, &["tap", "--tenant", "t-1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(tap.stdout.take().unwrap()).lines();
    for _ in expected {
        output.next_line().await.unwrap().unwrap();
    }
    let id = pipeline.create("t-1", "r2").await;
    let mut live = Vec::new();
    while live.len() < 6 {
        let line = tokio::time::timeout(orders_testkit::LIMIT, output.next_line()).await;
        let line: Value = serde_json::from_str(&line.unwrap().unwrap().unwrap()).unwrap();
        assert_eq!(line["orderId"], id.as_str());
        live.push(line["subject"].as_str().unwrap().to_owned());
    }
    live.sort();
    let expected = [
        "orders.cmd.t-1.create",
        "orders.evt.t-1.created",
        "orders.evt.t-1.updated",
        "orders.feed.t-1.created",
        "orders.feed.t-1.updated",
        "payments.evt.t-1.paid",
    ];
    assert_eq!(live, expected);
    interrupt(&tap).await;
    assert_eq!(tap.wait().await.unwrap().code(), Some(0));
    run(stack, &["tap"]).await.expect(2);
    pipeline.stack.clean_up().await;
}
