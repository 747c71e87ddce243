//! Socket.IO, by the unmodified client from npm: transports, rooms, refusals, catching up.

mod unfollowed;

use std::time::Duration;

use orders_testkit::{SocketClient, eventually};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order, order_id};

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
    client
        .sees("order.updated", |args| args[0]["orderId"] == live.as_str())
        .await;
    // An order from just before may be paid just after.
    let events = client.drain(Duration::from_millis(500)).await;

    let sequence = |args: &[Value]| {
        let offset = args[1]["offset"].as_str().expect("an offset");
        offset
            .split('.')
            .nth(1)
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

/// Clients stay connected while NATS restarts, and hear of what happens after.
#[tokio::test]
async fn a_restart_of_nats_leaves_clients_connected_and_loses_nothing() {
    let mut pipeline = Pipeline::start("100ms").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    pipeline.stack.nats.kill().await;
    pipeline.stack.nats.restart().await;
    let id = eventually("orders are taken again", async || {
        let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
        if response.status().is_success() {
            Ok(order_id(response).await)
        } else {
            Err(response.status())
        }
    })
    .await;
    assert_eq!(
        client.event("order.created").await[0]["orderId"],
        id.as_str()
    );
    assert_eq!(
        client.event("order.updated").await[0]["orderId"],
        id.as_str()
    );
    let rest = client.drain(Duration::from_millis(200)).await;
    assert!(
        rest.iter().all(|(name, _)| name != "disconnect"),
        "{rest:?}"
    );
    pipeline.stack.clean_up().await;
}

/// Another feed has other offsets: everybody is made to come back and is told to load anew.
#[tokio::test]
async fn a_feed_that_was_created_anew_resets_everybody() {
    let pipeline = Pipeline::open("1h").await;
    let mut client =
        SocketClient::connect(&pipeline.edge.url(), &options(json!({ "tenantId": "t-1" })));
    let head = client.event("connected").await[1]["offset"].clone();
    client
        .tell(&json!({ "do": "auth", "auth": { "serverOffset": head } }))
        .await;
    pipeline
        .stack
        .jetstream()
        .await
        .delete_stream("ORDERS_FEED")
        .await
        .unwrap();
    client.event("disconnect").await;
    client.event("connected").await;
    let reset = client.event("feed.reset").await;
    assert_eq!(reset[0]["reason"], "other_feed");
    let id = pipeline.create("t-1", "r1").await;
    assert_eq!(
        client.event("order.created").await[0]["orderId"],
        id.as_str()
    );
    pipeline.stack.clean_up().await;
}

/// A session on polling lives in one realtime daemon; the edge always finds the same one.
#[tokio::test]
async fn polling_through_the_edge_sticks_to_one_of_several_realtime_daemons() {
    let pipeline = Pipeline::start("100ms").await;
    let second = pipeline.stack.daemon("realtime").start().await;
    let both = format!("{},{}", pipeline.realtime.url(), second.url());
    let edge = pipeline
        .stack
        .daemon("edge")
        .env("ORDERS_REALTIME_URLS", &both)
        .start()
        .await;
    let polling =
        json!({ "path": "/ws", "transports": ["polling"], "auth": { "tenantId": "t-1" } });
    let upgrading = json!({ "path": "/ws", "auth": { "tenantId": "t-1" } });
    let mut clients: Vec<_> = [&polling, &upgrading, &polling, &upgrading]
        .into_iter()
        .map(|options| SocketClient::connect(&edge.url(), options))
        .collect();
    clients.extend((0..4).map(|_| SocketClient::of_tenant(&edge.url(), "t-1")));
    for client in &mut clients {
        client.event("connected").await;
    }
    let sockets = async |url: String| {
        let metrics = reqwest::get(format!("{url}/metrics"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("orders_socket_connections"))
            .unwrap_or_default();
        line.rsplit(' ')
            .next()
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    assert!(
        sockets(pipeline.realtime.url()).await >= 2.0,
        "bare websockets go by turn"
    );
    assert!(
        sockets(second.url()).await >= 2.0,
        "bare websockets go by turn"
    );

    let id = pipeline.create("t-1", "r1").await;
    for client in &mut clients {
        assert_eq!(
            client.event("order.updated").await[0]["orderId"],
            id.as_str()
        );
        assert!(
            client
                .drain(Duration::from_millis(50))
                .await
                .iter()
                .all(|(name, _)| name != "disconnect")
        );
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect() {
    let pipeline = Pipeline::start("1h").await;
    let open = |origin: &'static str| {
        let url = format!("{}/ws/?EIO=4&transport=polling", pipeline.edge.url());
        pipeline.http.get(url).header("origin", origin).send()
    };
    let ours = open("http://localhost:3000").await.unwrap();
    assert_eq!(ours.status(), 200);
    let headers = ours.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(
        headers
            .get_all("access-control-allow-origin")
            .iter()
            .count(),
        1
    );
    assert_eq!(open("http://evil.example").await.unwrap().status(), 403);
    pipeline.stack.clean_up().await;
}
