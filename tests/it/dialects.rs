//! Clients that speak another dialect of Socket.IO, are slow to connect, or are written in another language.

use std::{fs, time::Duration};

use orders_testkit::{Daemon, SocketClient, Stack, checkout, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

#[tokio::test]
async fn clients_that_cannot_connect_are_told_why_and_leave_nothing() {
    let stack = Stack::start().await;
    let realtime = stack.daemon("realtime").start().await;
    let edge = stack
        .daemon("edge")
        .env("ORDERS_REALTIME_URLS", &realtime.url())
        .start()
        .await;
    let before = connections(&realtime);

    let slow = json!({ "path": "/ws", "authAfter": 6_000, "auth": { "tenantId": "t-1" } });
    let mut slow = SocketClient::connect(&edge.url(), &slow);
    let elsewhere = format!("{}/admin", edge.url());
    for transport in ["polling", "websocket"] {
        let options = |more: Value| {
            let mut options =
                json!({ "path": "/ws", "transports": [transport], "auth": { "tenantId": "t-1" } });
            options
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            options
        };
        let mut old = SocketClient::connect(&edge.url(), &options(json!({ "version": 2 })));
        let told = old.event("error").await;
        assert!(
            told[0]
                .as_str()
                .is_some_and(|text| text.contains("version 3")),
            "{told:?}"
        );

        let mut msgpack = SocketClient::connect(&edge.url(), &options(json!({ "msgpack": true })));
        let told = msgpack.event("connect_error").await;
        assert!(
            told[0]["message"]
                .as_str()
                .is_some_and(|text| text.contains("`parser`")),
            "{told:?}"
        );
        let rest = msgpack.drain(Duration::from_millis(500)).await;
        assert!(
            rest.iter().all(|(name, _)| name == "disconnect"),
            "it does not try again: {rest:?}"
        );

        let mut other = SocketClient::connect(&elsewhere, &options(json!({})));
        assert_eq!(
            other.event("connect_error").await[0]["message"],
            "Invalid namespace"
        );

        let python =
            Command::new(std::env::var("ORDERS_TEST_PYTHON").expect("run `cargo xtask test`"))
                .arg(checkout().join("tests/socketio/client.py"))
                .args([&edge.url(), "t-1", transport])
                .output()
                .await
                .unwrap();
        let said = String::from_utf8_lossy(&python.stdout);
        let complaint = String::from_utf8_lossy(&python.stderr);
        assert_eq!(
            said.trim(),
            r#"{"ok": true, "tenantId": "t-1"}"#,
            "{complaint}"
        );
    }
    assert_eq!(slow.event("connected").await[0]["tenantId"], "t-1");
    assert!(
        slow.drain(Duration::ZERO)
            .await
            .iter()
            .all(|(name, _)| name == "connect")
    );
    drop(slow);
    eventually("no connection is left", async || {
        match connections(&realtime) {
            left if left > before => Err(left),
            _ => Ok(()),
        }
    })
    .await;
    stack.clean_up().await;
}

/// How many sockets a daemon has open.
fn connections(daemon: &Daemon) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", daemon.id()))
        .unwrap()
        .flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}
