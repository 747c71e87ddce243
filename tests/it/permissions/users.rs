//! Creds: how they are made, how they end, and what `orderctl nats` says to bad input.

use std::os::unix::fs::PermissionsExt;

use async_nats::Event;
use orders_testkit::{Stack, eventually};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::refused::{Guest, connect};
use crate::orderctl::{Said, orderctl};

async fn nats(stack: &Stack, arguments: &[&str]) -> Said {
    let arguments = [&["nats"], arguments].concat();
    Said::of(orderctl(stack, &arguments).output().await.unwrap())
}

async fn is_cut(guest: &Guest) {
    eventually("the server cuts the connection", async || {
        let events = guest.events();
        match events.contains(&Event::Disconnected) {
            true => Ok(()),
            false => Err(events),
        }
    })
    .await;
}

#[tokio::test]
async fn creds_end_in_time_and_when_they_are_revoked() {
    let stack = Stack::guarded("").await;
    let guard = stack.guard.clone().unwrap();
    let start = Instant::now();
    guard.orderctl(&["tap", "--tenant", "short", "--ttl", "3s"]);
    let short = connect(&stack, "tap-short").await;
    is_cut(&short).await;
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(8), "after {elapsed:?}");

    guard.orderctl(&["tap", "--tenant", "lost"]);
    guard.orderctl(&["tap", "--tenant", "kept"]);
    let (lost, kept) = (
        connect(&stack, "tap-lost").await,
        connect(&stack, "tap-kept").await,
    );
    let file = guard.creds("tap-lost");
    guard.orderctl(&["revoke", &file.display().to_string()]);
    stack.nats.reload();
    is_cut(&lost).await;
    eventually("it cannot come back", async || {
        let refused = |event: &Event| event.to_string().to_lowercase().contains("authorization");
        let events = lost.events();
        match events.iter().any(refused) {
            true => Ok(()),
            false => Err(events),
        }
    })
    .await;
    assert!(!kept.events().contains(&Event::Disconnected));
    stack.clean_up().await;
}

#[tokio::test]
async fn a_daemon_takes_the_creds_that_are_there_when_its_own_have_expired() {
    let stack = Stack::guarded("").await;
    let guard = stack.guard.clone().unwrap();
    let file = guard.creds("short").display().to_string();
    let make = ["creds", "--role", "realtime", "--out", &file];
    guard.orderctl(&[&make[..], &["--ttl", "5s"]].concat());
    let realtime = stack.daemon("realtime").env("ORDERS_NATS__CREDS", &file);
    let realtime = realtime.start().await;
    realtime
        .unready("it refuses the login (ORDERS_NATS__CREDS)")
        .await;
    guard.orderctl(&make);
    realtime.ready().await;
    stack.clean_up().await;
}

#[tokio::test]
async fn the_keys_are_secret_and_stay_when_they_are_made_again() {
    let stack = Stack::open().await;
    let keys = stack.folder().join("secret");
    let dir = ["--dir", keys.to_str().unwrap()];
    let with_dir = |arguments: &[&'static str]| {
        let arguments: Vec<String> = arguments
            .iter()
            .chain(&dir)
            .map(ToString::to_string)
            .collect();
        arguments
    };
    let run = async |arguments: &[&'static str]| {
        let arguments = with_dir(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        nats(&stack, &arguments).await
    };
    let early = run(&["creds"]).await.expect(1);
    assert!(
        early.errors.contains("run `orderctl nats init --dir"),
        "{}",
        early.errors
    );

    run(&["init"]).await.expect(0);
    run(&["creds"]).await.expect(0);
    let read = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap();
    let (seed, creds) = (read("account.nk"), read("creds/writer.creds"));
    let files = [
        "account.nk",
        "role-writer.nk",
        "auth.conf",
        "creds/writer.creds",
    ];
    for name in files {
        let mode = keys.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(keys.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!read("auth.conf").contains(seed.trim()));
    let again = run(&["init"]).await.expect(0);
    assert!(again.text.contains("brought up to date"), "{}", again.text);
    assert_eq!(
        (read("account.nk"), read("creds/writer.creds")),
        (seed, creds)
    );

    for (arguments, code, text) in [
        (&["tap", "--tenant", "*"][..], 2, "must match"),
        (&["tap", "--tenant", "a.b"], 2, "must match"),
        (&["tap", "--tenant", "t-1", "--ttl", "0s"], 2, "at least 1s"),
        (&["tap", "--tenant", "t-1", "--ttl", "x"], 2, "--ttl"),
        (&["creds", "--role", "tap"], 2, "possible values: edge"),
        (&["creds", "--role", "root"], 2, "possible values: edge"),
        (&["revoke", "nobody"], 1, "neither the key of a user"),
    ] {
        let said = run(arguments).await.expect(code);
        assert!(said.errors.contains(text), "{arguments:?}: {}", said.errors);
    }
    std::fs::write(keys.join("account.nk"), "SECRET").unwrap();
    let broken = run(&["creds"]).await.expect(1);
    assert!(
        broken.errors.contains("account.nk holds no seed") && !broken.errors.contains("SECRET"),
        "{}",
        broken.errors
    );

    let listed = nats(&stack, &["permissions", "--json"]).await.expect(0);
    let roles: Vec<Value> = listed
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(roles.len(), 11);
    let denies_all = |role: &Value| role["template"]["pub"]["deny"][0] == ">";
    assert_eq!(roles.iter().filter(|role| denies_all(role)).count(), 1);
    stack.clean_up().await;
}
