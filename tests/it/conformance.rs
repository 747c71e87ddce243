//! The edge does what its OpenAPI document says, as schemathesis sees it.

use std::{process::Stdio, time::Duration};

use mongodb::bson::doc;
use orders_testkit::{Issuer, checkout};
use tokio::process::Command;

use crate::pipeline::Pipeline;

/// How many requests schemathesis makes up for each operation, in each of its phases: about 1,200 cases in all.
///
/// `ORDERS_TEST_EXAMPLES=2000 cargo xtask test -- -p orders-tests --test it -- conformance:: --nocapture` makes more than
/// 10,000 and shows the report.
const EXAMPLES: u32 = 100;

#[tokio::test]
async fn the_api_keeps_what_its_document_promises() {
    let pipeline = Pipeline::start("1s").await;
    explore(pipeline, None).await;
}

/// With a token; schemathesis also leaves it out, and expects to be refused. A tenth of the requests, because each costs
/// three, and what is in them matters no less without a token.
#[tokio::test]
async fn in_mode_jwt_it_does_so_for_those_with_a_token() {
    let issuer = Issuer::start().await;
    let pipeline = Pipeline::start_with("1s", |edge| {
        edge.env("ORDERS_AUTH__MODE", "jwt")
            .env("ORDERS_AUTH__ISSUER", &issuer.url())
            .env("ORDERS_LIMITS__TENANT_RATE", "1000000")
    })
    .await;
    let scopes = "orders:read orders:create orders:cancel uploads:create";
    let token = issuer.token().tenant(TENANT).scopes(scopes);
    let token = token.expires_in(Duration::from_secs(3_600)).sign();
    explore(pipeline, Some(&token)).await;
}

/// The tenant of the token, which most requests are about.
const TENANT: &str = "t-123";

async fn explore(pipeline: Pipeline, token: Option<&str>) {
    let python = std::env::var("ORDERS_TEST_PYTHON").expect("run `cargo xtask test`");
    let examples = std::env::var("ORDERS_TEST_EXAMPLES");
    let examples = examples.map_or(EXAMPLES, |text| text.parse().expect("a number"));
    let examples = if token.is_some() {
        examples / 10
    } else {
        examples
    };
    let folder = checkout().join("tests/conformance");
    let mut schemathesis = Command::new(python);
    schemathesis
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", pipeline.edge.url()))
        .args(["--max-examples", &examples.to_string(), "--seed", "1"])
        // With more of them, Python 3.11 may fail to build a syntax tree (python/cpython#106905).
        .args(["--workers", "1", "--continue-on-failure", "--no-color"])
        .args(["--generation-database", "none"])
        .env("SCHEMATHESIS_HOOKS", folder.join("hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(pipeline.stack.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(token) = token {
        schemathesis
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .env("ORDERS_TEST_TENANT", TENANT);
    }
    let output = schemathesis.output().await.expect("python runs");
    let report = String::from_utf8_lossy(&output.stdout);
    eprintln!("{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "schemathesis: {}", output.status);
    // It got through to orders that are there.
    assert!(pipeline.stack.count("orders_read", doc! {}).await > 0);
    pipeline.stack.clean_up().await;
}
