//! Socket.IO, by the unmodified client from npm: transports, rooms, refusals, catching up.

use std::time::Duration;

use orders_testkit::{SocketClient, eventually};
use serde_json::{Value, json};

use crate::pipeline::Pipeline;

fn options(auth: Value) -> Value {
    json!({ "path": "/ws", "transports": ["websocket"], "auth": auth, "reconnectionDelay": 100, "reconnectionDelayMax": 300 })
}

#[tokio::test]
async fn both_transports_work_with_tenant_by_auth_or_query() {
    let pipeline = Pipeline::start("300ms").await;
    let url = pipeline.edge.url();
    let ways = [
        json!({ "path": "/ws", "auth": { "tenantId": "t-1" } }),
        json!({ "path": "/ws", "transports": ["polling"], "auth": { "tenantId": "t-1" } }),
        json!({ "path": "/ws", "transports": ["websocket"], "query": { "tenantId": "t-1" } }),
        json!({ "path": "/ws", "transports": ["polling"], "query": { "tenantId": "t-1" } }),
    ];
    let mut clients: Vec<_> = ways
        .iter()
        .map(|options| SocketClient::connect(&url, options))
        .collect();
    // Its own port works as well.
    clients.push(SocketClient::of_tenant(&pipeline.realtime.url(), "t-1"));
    for client in &mut clients {
        assert_eq!(
            client.event("connected").await[0],
            json!({ "ok": true, "tenantId": "t-1" })
        );
    }
    let id = pipeline.create("t-1", "r1").await;
    for client in &mut clients {
        assert_eq!(
            client.event("order.created").await[0],
            json!({ "orderId": id, "status": "PENDING" })
        );
        let updated = client.event("order.updated").await;
        assert_eq!(updated.len(), 2);
        assert_eq!(updated[0], json!({ "orderId": id, "status": "PAID" }));
        assert_eq!(updated[1]["version"], 2);
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn without_a_valid_tenant_the_middleware_refuses() {
    let pipeline = Pipeline::start("1h").await;
    for auth in [
        json!({}),
        json!({ "tenantId": "" }),
        json!({ "tenantId": "t.>" }),
        json!({ "tenantId": 7 }),
    ] {
        let mut client = SocketClient::connect(&pipeline.edge.url(), &options(auth.clone()));
        let error = client.event("connect_error").await;
        assert!(
            error[0]["message"]
                .as_str()
                .is_some_and(|text| text.contains("tenantId")),
            "{auth}: {error:?}"
        );
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn rooms_keep_tenants_apart() {
    let pipeline = Pipeline::start("100ms").await;
    let mut ours = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    let mut theirs = SocketClient::of_tenant(&pipeline.edge.url(), "t-2");
    ours.event("connected").await;
    theirs.event("connected").await;
    let our_order = pipeline.create("t-1", "r1").await;
    let their_order = pipeline.create("t-2", "r1").await;
    ours.event("order.updated").await;
    theirs.event("order.updated").await;
    for (client, foreign) in [(&mut ours, &their_order), (&mut theirs, &our_order)] {
        let all = client.drain(Duration::from_millis(500)).await;
        assert!(!format!("{all:?}").contains(foreign.as_str()), "{all:?}");
    }
    pipeline.stack.clean_up().await;
}

/// A client that comes back with its offset gets what it missed, in order, each once, and then what comes.
#[tokio::test]
async fn catching_up_by_offset_has_no_gap_and_no_duplicate() {
    const MISSED: usize = 150;
    let pipeline = Pipeline::start("100ms").await;
    let mut client =
        SocketClient::connect(&pipeline.edge.url(), &options(json!({ "tenantId": "t-1" })));
    client.event("connected").await;
    let seen = pipeline.create("t-1", "seen").await;
    let last = client
        .event_where("order.updated", |args| args[0]["orderId"] == seen.as_str())
        .await;
    let offset = last[1]["offset"].clone();
    client.tell(&json!({ "do": "disconnect" })).await;
    client.event("disconnect").await;
    client.drain(Duration::from_millis(100)).await;

    let mut missed = Vec::new();
    for n in 0..MISSED {
        missed.push(pipeline.create("t-1", &format!("missed{n}")).await);
        if n % 10 == 0 {
            pipeline.create("t-2", &format!("foreign{n}")).await;
        }
    }
    client
        .tell(&json!({ "do": "connect", "auth": { "serverOffset": offset } }))
        .await;
    let connected = client.event("connected").await;
    assert_eq!(connected[1]["offset"], offset, "the client's own offset");
    // While the replay runs, live events arrive too.
    let live = pipeline.create("t-1", "live").await;
    missed.push(live.clone());
    let mut events = Vec::new();
    let end = client
        .event_where("order.updated", |args| args[0]["orderId"] == live.as_str())
        .await;
    events.extend(client.drain(Duration::from_millis(500)).await);
    events.push(("order.updated".to_owned(), end));

    let sequence = |args: &[Value]| {
        let offset = args[1]["offset"].as_str().expect("an offset");
        offset
            .rsplit('.')
            .next()
            .and_then(|text| text.parse::<u64>().ok())
            .expect("a sequence")
    };
    for kind in ["order.created", "order.updated"] {
        let of_kind: Vec<_> = events
            .iter()
            .filter(|(name, _)| name == kind)
            .map(|(_, args)| args)
            .collect();
        let mut orders: Vec<&str> = of_kind
            .iter()
            .filter_map(|args| args[0]["orderId"].as_str())
            .collect();
        orders.sort_unstable();
        let mut expected: Vec<&str> = missed.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(
            orders, expected,
            "{kind}: each once, none of another tenant"
        );
        let sequences: Vec<u64> = of_kind.iter().map(|args| sequence(args)).collect();
        assert!(sequences.is_sorted(), "{kind}: {sequences:?}");
    }
    assert!(!events.iter().any(|(name, _)| name == "feed.reset"));
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_offset_that_cannot_be_honoured_gets_feed_reset() {
    let pipeline = Pipeline::start("1h").await;
    let mut first =
        SocketClient::connect(&pipeline.edge.url(), &options(json!({ "tenantId": "t-1" })));
    let head = first.event("connected").await[1]["offset"]
        .as_str()
        .unwrap()
        .to_owned();
    let epoch = head.split('.').next().unwrap();
    for offset in [
        format!("{epoch}.999999"),
        "1.1".to_owned(),
        "nonsense".to_owned(),
        format!("{epoch}.-1"),
    ] {
        let auth = json!({ "tenantId": "t-1", "serverOffset": offset });
        let mut client = SocketClient::connect(&pipeline.edge.url(), &options(auth));
        client.event("connected").await;
        client.event("feed.reset").await;
    }
    // What the feed no longer holds cannot be replayed either.
    for n in 0..3 {
        pipeline.create("t-1", &format!("r{n}")).await;
    }
    let feed = pipeline
        .stack
        .jetstream()
        .await
        .get_stream("ORDERS_FEED")
        .await
        .unwrap();
    eventually("the feed has them", async || {
        let count = feed.get_info().await.unwrap().state.messages;
        if count == 3 { Ok(()) } else { Err(count) }
    })
    .await;
    feed.purge().await.unwrap();
    let auth = json!({ "tenantId": "t-1", "serverOffset": head });
    let mut late = SocketClient::connect(&pipeline.edge.url(), &options(auth));
    late.event("connected").await;
    late.event("feed.reset").await;
    pipeline.stack.clean_up().await;
}

/// The client of a daemon that dies comes back by itself, and with its offset nothing is missing.
#[tokio::test]
async fn clients_come_back_after_a_restart_of_realtime() {
    let mut pipeline = Pipeline::start("100ms").await;
    let mut client =
        SocketClient::connect(&pipeline.edge.url(), &options(json!({ "tenantId": "t-1" })));
    client.event("connected").await;
    assert!(pipeline.realtime.terminate().await.success());
    client.event("disconnect").await;
    pipeline.realtime.restart(|daemon| daemon).await;
    client.event("connected").await;
    let id = pipeline.create("t-1", "r1").await;
    let updated = client.event("order.updated").await;
    assert_eq!(updated[0]["orderId"], id.as_str());
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_message_above_64_kib_closes_the_connection() {
    let pipeline = Pipeline::start("1h").await;
    let mut client =
        SocketClient::connect(&pipeline.edge.url(), &options(json!({ "tenantId": "t-1" })));
    client.event("connected").await;
    client
        .tell(&json!({ "do": "emit", "args": ["hello", "x".repeat(60 << 10)] }))
        .await;
    assert!(
        client
            .drain(Duration::from_millis(500))
            .await
            .iter()
            .all(|(name, _)| name != "disconnect")
    );
    client
        .tell(&json!({ "do": "emit", "args": ["hello", "x".repeat(70 << 10)] }))
        .await;
    client.event("disconnect").await;
    pipeline.stack.clean_up().await;
}
