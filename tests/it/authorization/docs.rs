//! The interactive documentation, in a real browser, with a real OpenID provider.

use std::process::Stdio;

use orders_testkit::{Lifetimes, OidcProvider, PASSWORD, checkout};
use tokio::process::Command;

use crate::pipeline::Pipeline;

#[tokio::test]
async fn whoever_has_a_token_or_logs_in_can_try_the_api() {
    let mut pipeline = Pipeline::start("1h").await;
    let home = pipeline.edge.url().replace("127.0.0.1", "localhost");
    let folder = pipeline.stack.folder();
    let provider = OidcProvider::start(folder, &home, Lifetimes::default()).await;
    pipeline.edge.terminate().await;
    let asks = pipeline.edge.restart(|edge| {
        edge.env("ORDERS_AUTH__MODE", "jwt")
            .env("ORDERS_AUTH__ISSUER", provider.issuer())
    });
    asks.await;
    let node = Command::new("node")
        .arg(checkout().join("tests/browser/docs.mjs"))
        .env("WEB_URL", &home)
        .env("PROVIDER_URL", provider.issuer())
        .env("TOKEN", provider.machine_token().await)
        .env("PASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = node.await.expect("node runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    pipeline.stack.clean_up().await;
}
