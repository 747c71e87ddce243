//! `cargo xtask seed-data` against a real pipeline.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use orders_testkit::{Issuer, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

use crate::pipeline::Pipeline;

const TENANTS: [&str; 3] = ["t-123", "t-456", "t-789"];

/// Fills the pipeline behind `url`; other tests use it, too.
pub(crate) fn seed_data(url: &str) -> Command {
    let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut program = Command::new(Path::new(&binaries).join("seed-data"));
    program
        .args(["--url", url])
        .env_remove("ORDERS_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    program
}

/// What a run said: its code, and both outputs in one.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    (output.status.code(), text)
}

/// How many orders a list has, of all tenants together.
async fn number(pipeline: &Pipeline, filter: &str) -> u64 {
    let mut number = 0;
    for tenant in TENANTS {
        let path = format!("/api/orders?tenantId={tenant}{filter}");
        number += pipeline.get_json(&path).await["total"]
            .as_u64()
            .expect("a number");
    }
    number
}

#[tokio::test]
async fn a_pipeline_is_filled_once() {
    let pipeline = Pipeline::start("2s").await;
    let run = async || {
        let run = seed_data(&pipeline.edge.url())
            .args(["--orders", "60"])
            .output();
        said(&run.await.expect("it runs"))
    };
    let (code, text) = run().await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("60 of 60 orders: 60 created, 0 there already;"),
        "{text}"
    );
    assert_eq!(number(&pipeline, "").await, 60);
    eventually("all are settled", async || {
        match number(&pipeline, "&status=PENDING").await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    let cancelled = number(&pipeline, "&status=CANCELLED").await;
    assert!(
        text.contains(&format!("; {cancelled} cancelled")),
        "{cancelled}: {text}"
    );
    assert!(cancelled > 0 && cancelled < 30, "{cancelled}");

    // All that pages show is there: several currencies, lines and notes.
    let list = pipeline
        .get_json("/api/orders?tenantId=t-123&limit=100&expand=summary")
        .await;
    let rows = list["items"].as_array().expect("rows");
    for currency in ["EUR", "CHF"] {
        assert!(
            rows.iter().any(|row| row["currency"] == currency),
            "{rows:?}"
        );
    }
    let mut metadata = 0;
    for row in rows {
        let path = format!(
            "/api/orders/{}?tenantId=t-123",
            row["orderId"].as_str().expect("an id")
        );
        metadata += usize::from(pipeline.get_json(&path).await["metadata"].is_object());
    }
    assert!(metadata > 0);

    let (code, text) = run().await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("60 of 60 orders: 0 created, 60 there already; 0 cancelled\n"),
        "{text}"
    );
    assert_eq!(number(&pipeline, "").await, 60);
    assert_eq!(number(&pipeline, "&status=CANCELLED").await, cancelled);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_interrupted_run_ends_at_once_and_the_next_goes_on() {
    let pipeline = Pipeline::start("1h").await;
    let url = pipeline.edge.url();
    let run = seed_data(&url)
        .args(["--orders", "100000"])
        .spawn()
        .expect("it starts");
    eventually("it has begun", async || match number(&pipeline, "").await {
        0..20 => Err("few orders"),
        _ => Ok(()),
    })
    .await;
    let id = run.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    kill_process(id.expect("it runs"), Signal::INT).expect("it runs");
    let began = Instant::now();
    let output = run.wait_with_output().await.expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(5));
    let (code, text) = said(&output);
    assert_eq!(code, Some(130), "{text}");
    assert!(
        text.contains("the same command goes on from here"),
        "{text}"
    );

    // What it had sent is there, and counted.
    let done: u64 = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    assert!(number(&pipeline, "").await >= done, "{text}");
    let more = done + 20;
    let run = seed_data(&url)
        .args(["--orders", &more.to_string()])
        .output();
    let (code, text) = said(&run.await.expect("it runs"));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("{more} of {more} orders: ")),
        "{text}"
    );
    assert_eq!(number(&pipeline, "").await, more);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn where_a_token_is_asked_for_it_fills_one_tenant_as_fast_as_it_may() {
    let issuer = Issuer::start().await;
    let pipeline = Pipeline::start_with("1h", |edge| {
        edge.env("ORDERS_AUTH__MODE", "jwt")
            .env("ORDERS_AUTH__ISSUER", &issuer.url())
            .env("ORDERS_LIMITS__TENANT_RATE", "40")
    })
    .await;
    let url = pipeline.edge.url();
    let (code, text) = said(&seed_data(&url).output().await.expect("it runs"));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("error: the API asks who calls: set ORDERS_TOKEN"),
        "{text}"
    );

    let scopes = "orders:read orders:create orders:cancel";
    let token = issuer.token().tenant("t-123").scopes(scopes).sign();
    let mut run = seed_data(&url);
    run.args(["--orders", "50", "--tenant", "t-123"])
        .env("ORDERS_TOKEN", &token);
    let (code, text) = said(&run.output().await.expect("it runs"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("50 of 50 orders: 50 created"), "{text}");
    let list = pipeline
        .http
        .get(format!("{url}/api/orders"))
        .bearer_auth(&token);
    let list: Value = list
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a list");
    assert_eq!(list["total"], 50);
    // Others of this machine can read neither what it prints nor its help.
    let help = seed_data(&url)
        .arg("--help")
        .env("ORDERS_TOKEN", &token)
        .output();
    let (_, help) = said(&help.await.expect("it runs"));
    for text in [text, help] {
        assert!(!text.contains(&token), "{text}");
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn without_a_pipeline_it_says_so_at_once() {
    let began = Instant::now();
    // Nobody listens on the discard port.
    let (code, text) = said(
        &seed_data("http://127.0.0.1:9")
            .output()
            .await
            .expect("it runs"),
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("error: nothing answers at http://127.0.0.1:9"),
        "{text}"
    );
    assert!(
        text.contains("cargo xtask up") && text.contains("--url"),
        "{text}"
    );
}
