//! The doctor tells apart what looks alike from outside, and what it advises helps.

use orders_testkit::{Stack, eventually};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::process::Command;

use super::run;
use crate::pipeline::{Pipeline, order};

/// What the doctor says of `check`, once it is red, or green and all else with it: after an outage, a message may wait
/// for its redelivery.
async fn told(stack: &Stack, check: &str, colour: &str) -> Value {
    let doctor = ["doctor", "--json", "--look", "0s", "--payment-delay", "1h"];
    let code = if colour == "green" { 0 } else { 1 };
    eventually("the doctor finds it", async || {
        let said = run(stack, &doctor).await;
        let mut lines = said.lines().into_iter();
        let line = lines.find(|line| line["check"] == check && line["colour"] == colour);
        line.filter(|_| said.code == Some(code)).ok_or(said.text)
    })
    .await
}

#[tokio::test]
async fn a_paused_consumer_is_not_taken_for_a_stuck_one() {
    let pipeline = Pipeline::open("1h").await;
    let nats = async |arguments: &[&str]| {
        let mut nats = Command::from(pipeline.stack.nats_cli());
        let output = nats.args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let check = "progress of ORDERS_EVENTS/projector";
    let pause = [
        "consumer",
        "pause",
        "ORDERS_EVENTS",
        "projector",
        "1h",
        "-f",
    ];
    nats(&pause).await;
    let line = told(&pipeline.stack, check, "red").await;
    let found = line["found"].as_str().unwrap();
    assert!(found.starts_with("paused: "), "{line}");
    let remedy = line["remedy"].as_str().unwrap();
    let command = remedy.strip_prefix("run nats ").unwrap();
    let mut resume = Vec::from_iter(command.split(' '));
    resume.push("-f");
    nats(&resume).await;
    pipeline.projector.ready().await;
    told(&pipeline.stack, check, "green").await;
    pipeline.stack.clean_up().await;
}

/// Whoever publishes to it gets no answer; nothing else in NATS shows it.
#[tokio::test]
async fn a_stream_that_a_failed_write_froze_is_told_until_a_restart() {
    let mut pipeline = Pipeline::open("1h").await;
    pipeline.create("t-1", "r1").await;
    pipeline.stack.nats.fill_disk();
    let refused = pipeline.post("/api/orders", &order("t-1", "r2")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let line = told(&pipeline.stack, "health of nats", "red").await;
    for (of, part) in [
        ("found", "ORDERS_COMMANDS' write error: "),
        ("remedy", "restart nats-server"),
    ] {
        assert!(line[of].as_str().unwrap().contains(part), "{line}");
    }
    pipeline.stack.nats.kill().await;
    pipeline.stack.nats.restart().await;
    eventually("orders are taken again", async || {
        let again = pipeline.post("/api/orders", &order("t-1", "r2")).await;
        match again.status() {
            StatusCode::CREATED | StatusCode::OK => Ok(()),
            status => Err(status),
        }
    })
    .await;
    told(&pipeline.stack, "health of nats", "green").await;
    pipeline.stack.clean_up().await;
}
