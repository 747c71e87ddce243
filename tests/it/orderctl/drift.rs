//! Streams, consumers and indexes that are not as declared.

use async_nats::jetstream::stream::Config;
use orders_testkit::{Stack, eventually};

use super::{drop_index, run};

#[tokio::test]
async fn drift_is_told_mended_and_refused() {
    let mut stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let told = run(&stack, &["migrate", "--check"]).await.expect(1).text;
    for part in [
        "stream ORDERS_EVENTS: is missing",
        "consumer PAYMENTS/writer: is missing",
        "index tenantId_1_requestId_1 of orders_write is missing",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(
        jetstream.get_stream("ORDERS_EVENTS").await.is_err(),
        "nothing was made"
    );
    let refused = |name| stack.daemon(name).env("ORDERS_AUTO_MIGRATE", "false");
    for name in [
        "edge",
        "writer",
        "projector",
        "payment-simulator",
        "realtime",
    ] {
        let mut daemon = refused(name).spawn();
        assert_eq!(daemon.ended().await.code(), Some(1));
        assert!(
            daemon.log().contains("is missing; run `orderctl migrate`"),
            "{}",
            daemon.log()
        );
    }
    assert!(
        jetstream.get_stream("ORDERS_EVENTS").await.is_err(),
        "nothing was made"
    );

    let asked = run(&stack, &["migrate"]).await.expect(1);
    let question = " changes?\"";
    assert!(asked.errors.contains(question), "{}", asked.errors);
    run(&stack, &["migrate", "--dry-run"]).await.expect(1);
    assert!(
        jetstream.get_stream("ORDERS_EVENTS").await.is_err(),
        "nothing was made"
    );

    let done = run(&stack, &["migrate", "--yes"]).await.expect(0).text;
    assert!(done.contains("stream ORDERS_EVENTS: created"), "{done}");
    run(&stack, &["migrate", "--check"]).await.expect(0);
    for name in [
        "edge",
        "writer",
        "projector",
        "payment-simulator",
        "realtime",
    ] {
        let mut daemon = refused(name).start().await;
        assert!(daemon.terminate().await.success());
    }

    // A field of a stream, one of a consumer, an index.
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    let config = events.cached_info().config.clone();
    jetstream
        .update_stream(Config {
            max_bytes: 1 << 20,
            ..config
        })
        .await
        .unwrap();
    let mut daemon = refused("projector").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let drift = "ORDERS_EVENTS differs in max_bytes (server 1048576, declared 4294967296)";
    assert!(daemon.log().contains(drift), "{}", daemon.log());
    let told = run(&stack, &["migrate", "--check"]).await.expect(1).text;
    assert!(
        told.contains(drift.trim_start_matches("ORDERS_EVENTS ")),
        "{told}"
    );
    run(&stack, &["migrate", "--yes"]).await.expect(0);

    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    let mut config = commands.consumer_info("writer").await.unwrap().config;
    config.max_ack_pending = 7;
    commands.update_consumer(config).await.unwrap();
    let mut daemon = refused("writer").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let drift = "ORDERS_COMMANDS/writer differs in max_ack_pending (server 7, declared 50000)";
    assert!(daemon.log().contains(drift), "{}", daemon.log());
    run(&stack, &["migrate", "--yes"]).await.expect(0);

    drop_index(&stack, "orders_write", "status_1_createdAt_1_orderId_1").await;
    let mut daemon = refused("writer").spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    assert!(
        daemon
            .log()
            .contains("index status_1_createdAt_1_orderId_1 of orders_write is missing")
    );
    let done = run(&stack, &["migrate", "--yes"]).await.expect(0).text;
    assert!(
        done.contains("index status_1_createdAt_1_orderId_1 of orders_write: created"),
        "{done}"
    );

    // A server that is away is waited for.
    stack.nats.kill().await;
    let writer = stack
        .daemon("writer")
        .env("ORDERS_AUTO_MIGRATE", "false")
        .spawn();
    eventually("it retries", async || {
        let log = writer.log();
        if log.contains("retrying") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    stack.nats.restart().await;
    writer.ready().await;
    drop(writer);
    stack.clean_up().await;
}
