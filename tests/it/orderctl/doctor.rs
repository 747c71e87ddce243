//! The doctor: green, or a remedy.

use std::{process::Stdio, time::Duration};

use async_nats::{HeaderMap, jetstream::stream::Config};
use orders_testkit::{Stack, eventually, free_port};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{drop_index, early_payment, publish, run, top::stranger, until_dead_letters};
use crate::pipeline::Pipeline;

#[tokio::test]
async fn the_doctor_says_green_or_a_remedy() {
    let mut pipeline = Pipeline::start("1h").await;
    let look = [
        "doctor",
        "--json",
        "--look",
        "300ms",
        "--payment-delay",
        "1h",
    ];
    pipeline.create("t-1", "r1").await;
    let colours = async |stack: &Stack, code: i32| {
        let said = run(stack, &look).await.expect(code);
        let line = |line: Value| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                line["colour"] == "green",
                line["remedy"].is_null(),
                "{line}"
            );
            (text("check"), (text("colour"), text("found")))
        };
        said.lines()
            .into_iter()
            .map(line)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let found = colours(&pipeline.stack, 0).await;
    assert_eq!(
        found["sync of nats"],
        ("yellow".to_owned(), "every 2m".to_owned())
    );
    assert_eq!(found["web"].0, "yellow", "nobody has started it");
    assert_eq!(found["daemon edge"].1, "1 ready");
    assert_eq!(
        found["sample of the list"].1,
        "no difference in 1 order and 1 row of about 1 order"
    );
    // A build may be older than the others.
    let others = found
        .iter()
        .filter(|(check, _)| !["sync of nats", "web", "versions"].contains(&check.as_str()));
    for (check, (colour, said)) in others {
        assert_eq!(colour, "green", "{check}: {said}");
    }
    let text = run(&pipeline.stack, &["doctor", "--look", "0s"]).await.text;
    assert!(!text.contains('\x1b'), "colour is for terminals");

    // A writer that is gone with work left, a dead letter, drift, a database without an index.
    let jetstream = pipeline.stack.jetstream().await;
    assert!(pipeline.writer.terminate().await.success());
    early_payment(&jetstream).await;
    publish(
        &jetstream,
        "orders.evt.t-1.created",
        HeaderMap::new(),
        b"garbage".to_vec(),
    )
    .await;
    until_dead_letters(&jetstream, 2).await;
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    let config = feed.cached_info().config.clone();
    jetstream
        .update_stream(Config {
            max_age: Duration::from_secs(3_600),
            ..config
        })
        .await
        .unwrap();
    let by_time = "tenantId_1_createdAt_-1_orderId_-1";
    drop_index(&pipeline.stack, "orders_read", by_time).await;
    let orders = pipeline.stack.database().await;
    let orders = orders.collection::<mongodb::bson::Document>("orders_write");
    orders.delete_many(mongodb::bson::doc! {}).await.unwrap();
    let found = colours(&pipeline.stack, 1).await;
    for (check, said) in [
        ("progress of PAYMENTS/writer", "stuck: 1 not delivered"),
        ("daemon writer", "none answers"),
        (
            "progress of ORDERS_COMMANDS/writer",
            "queue empty, but no writer is connected",
        ),
        ("dead letters", "2 dead letters"),
        ("sample of the list", "1 difference (1 orphan)"),
        ("stream ORDERS_FEED", "differs in max_age"),
        ("indexes of orders_read", "is missing"),
    ] {
        let (colour, found) = &found[check];
        assert_eq!(colour, "red", "{check}: {found}");
        assert!(found.contains(said), "{check}: {found}");
    }

    pipeline.stack.nats.kill().await;
    let found = colours(&pipeline.stack, 1).await;
    assert_eq!(found["nats"].0, "red");
    assert_eq!(found["database"].0, "green");
    pipeline.stack.clean_up().await;
}

/// A server whose disk was full has switched JetStream off, and answers everything else.
#[tokio::test]
async fn a_server_without_jetstream_is_told_from_one_that_is_away() {
    let stack = Stack::start().await;
    let port = free_port();
    let server = std::env::var("ORDERS_TEST_NATS_SERVER").expect("run `cargo xtask test`");
    let _server = Command::new(server)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let url = format!("nats://127.0.0.1:{port}");
    let said = run(&stack, &["doctor", "--json", "--nats-url", &url])
        .await
        .expect(1);
    let nats = &said.lines()[0];
    assert_eq!(
        (&nats["check"], &nats["colour"]),
        (&json!("nats"), &json!("red"))
    );
    for (part, of) in [
        ("JetStream is off", "found"),
        ("free space on its disk", "remedy"),
    ] {
        assert!(nats[of].as_str().unwrap().contains(part), "{nats}");
    }
    stack.clean_up().await;
}

#[tokio::test]
async fn other_versions_wrong_clocks_and_raised_limits_are_told() {
    let pipeline = Pipeline::start("1h").await;
    pipeline.create("t-1", "r1").await;
    let look = ["doctor", "--json", "--look", "0s", "--payment-delay", "1h"];
    let told = async |check: &str| {
        let said = run(&pipeline.stack, &look).await.expect(0);
        let mut lines = said.lines().into_iter();
        let line = lines.find(|line| line["check"] == check);
        line.unwrap_or_else(|| panic!("{check} in {}", said.text))
    };
    let clocks = told("clocks").await;
    assert_eq!(clocks["colour"], "green", "{clocks}");
    assert_eq!(clocks["found"], "7 clocks, none 500 ms off another");

    let jetstream = pipeline.stack.jetstream().await;
    let feed = jetstream.get_stream("ORDERS_FEED").await.unwrap();
    let config = feed.cached_info().config.clone();
    let raised = Config {
        max_bytes: 2 * config.max_bytes,
        duplicate_window: Duration::from_secs(600),
        ..config
    };
    jetstream.update_stream(raised).await.unwrap();
    stranger(&pipeline.stack.client().await).await;
    for (check, parts) in [
        ("versions", &["9.9.9 (abc): writer.9", "this orderctl"][..]),
        ("clocks", &["writer.9 is 3600.", " s ahead of "]),
        (
            "stream ORDERS_FEED",
            &[
                "higher limits than the settings: ",
                "max_bytes (server 2147483648",
                "duplicate_window",
            ],
        ),
    ] {
        let line = told(check).await;
        assert_eq!(line["colour"], "yellow", "{line}");
        let found = line["found"].as_str().unwrap();
        assert!(parts.iter().all(|part| found.contains(part)), "{line}");
    }
    pipeline.stack.clean_up().await;
}

/// Nothing new reaches a payment-simulator that holds as many orders as it may.
#[tokio::test]
async fn a_consumer_with_nearly_as_much_in_hand_as_it_may_is_told() {
    const CHECK: &str = "progress of ORDERS_EVENTS/payment-simulator";
    let stack = Stack::open()
        .await
        .env("ORDERS_PAYMENT__MAX_ACK_PENDING", "2");
    let pipeline = Pipeline::start_on(stack, "1h", |edge| edge).await;
    pipeline.create("t-1", "r1").await;
    let look = ["doctor", "--json", "--look", "0s", "--payment-delay", "1h"];
    let look = [&look[..], &["--max-ack-pending", "2"]].concat();
    let told = async |in_hand: u64| {
        let holds = format!("0 not delivered, {in_hand} in hand");
        eventually("the orders are held", async || {
            let said = run(&pipeline.stack, &look).await.expect(0);
            let mut lines = said.lines().into_iter();
            let line = lines.find(|line| line["check"] == CHECK).unwrap();
            match line["found"].as_str().unwrap().starts_with(&holds) {
                true => Ok(line),
                false => Err(line),
            }
        })
        .await
    };
    assert_eq!(told(1).await["colour"], "green");
    pipeline.create("t-1", "r2").await;
    let line = told(2).await;
    assert_eq!(line["colour"], "yellow", "{line}");
    assert!(line["found"].as_str().unwrap().ends_with("no more than 2"));
    let remedy = line["remedy"].as_str().unwrap();
    assert!(remedy.contains("ORDERS_PAYMENT__MAX_ACK_PENDING"), "{line}");
    pipeline.stack.clean_up().await;
}

/// `nats micro ls` shows what the doctor asks.
#[tokio::test]
async fn every_instance_of_a_daemon_tells_how_it_is() {
    let stack = Stack::start().await;
    let writer = stack.daemon("writer").env("PS", "writer.1").start().await;
    let second = stack.daemon("writer").env("PS", "writer.2").start().await;
    let (database, url) = stack.database_gate().await;
    let lame = stack
        .daemon("writer")
        .env("PS", "writer.3")
        .env("MONGO_URL", &url)
        .start()
        .await;
    database.close();
    eventually("it is not ready", async || {
        let ready = reqwest::get(format!("{}/readyz", lame.url())).await;
        match ready.unwrap().status().as_u16() {
            503 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let said = run(&stack, &["doctor", "--json", "--look", "0s"])
        .await
        .expect(1);
    let lines = said.lines();
    let line = lines
        .iter()
        .find(|line| line["check"] == "daemon writer")
        .unwrap();
    assert_eq!(line["colour"], "yellow");
    assert!(
        line["found"]
            .as_str()
            .unwrap()
            .starts_with("writer.3: mongo: "),
        "{line}"
    );
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .ends_with("2 of 3 are ready"),
        "{line}"
    );
    let listed = Command::from(stack.nats_cli())
        .args(["micro", "ls"])
        .output()
        .await
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    // A line of its table has the id of an instance.
    let is_instance = |line: &&str| line.starts_with('│') && !line.contains("ID");
    let instances = listed.lines().skip(3).filter(is_instance);
    assert_eq!(instances.count(), 3, "{listed}");
    drop((writer, second, lame));
    stack.clean_up().await;
}
