//! Tenants that no client of a realtime daemon follows: it drops their events unread, and loses nothing by that.

use std::time::Duration;

use orders_testkit::{SocketClient, eventually};
use serde_json::{Value, json};

use super::options;
use crate::pipeline::Pipeline;

/// The number at the end of the line of a metric without labels of its own.
async fn metric(pipeline: &Pipeline, name: &str) -> Option<f64> {
    let url = format!("{}/metrics", pipeline.realtime.url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn sequence(offset: &Value) -> u64 {
    let offset = offset.as_str().expect("an offset");
    let sequence = offset.split('.').nth(1).and_then(|text| text.parse().ok());
    sequence.expect("a sequence")
}

/// The changes that a client has been told, and those of the next moment.
async fn changes(client: &mut SocketClient) -> Vec<(String, Vec<Value>)> {
    let mut events = client.drain(Duration::from_millis(200)).await;
    events.retain(|(name, _)| name.starts_with("order."));
    events
}

#[tokio::test]
async fn what_nobody_follows_is_dropped_and_told_to_whoever_asks_for_it_later() {
    const ORDERS: usize = 4;
    let pipeline = Pipeline::start("100ms").await;
    let edge = pipeline.edge.url();
    let connect = |auth: Value| SocketClient::connect(&edge, &options(auth));
    let mut other = connect(json!({ "tenantId": "t-1" }));
    let start = other.event("connected").await[1]["offset"].clone();
    let mut orders = Vec::new();
    for n in 0..ORDERS {
        orders.push(pipeline.create("t-2", &format!("r{n}")).await);
    }
    for id in &orders {
        pipeline.until_status("t-2", id, "PAID").await;
    }
    let all = 2 * ORDERS as u64;
    let feed = pipeline.stack.jetstream().await;
    let feed = feed.get_stream("ORDERS_FEED").await.unwrap();
    eventually("the feed has all changes", async || {
        match feed.get_info().await.unwrap().state.last_sequence {
            last if last == all => Ok(()),
            last => Err(last),
        }
    })
    .await;

    // The head goes over what was dropped: a client that comes now begins behind it.
    let late = eventually("everything was dropped", async || {
        let mut late = connect(json!({ "tenantId": "t-3" }));
        let offset = late.event("connected").await[1]["offset"].clone();
        match sequence(&offset) {
            reached if reached == all => Ok(late),
            reached => Err(reached),
        }
    })
    .await;
    drop(late);
    let read = metric(&pipeline, "orders_feed_delay_seconds_count").await;
    assert_eq!(read, Some(0.0), "nothing was read");
    eventually("nothing is left to read", async || {
        match metric(&pipeline, "orders_feed_lag_entries").await {
            Some(0.0) => Ok(()),
            lag => Err(lag),
        }
    })
    .await;

    // A client that asks for what it missed gets all of it, and then what comes.
    let mut client = connect(json!({ "tenantId": "t-2", "serverOffset": start }));
    assert_eq!(client.event("connected").await[1]["offset"], start);
    let live = pipeline.create("t-2", "live").await;
    client
        .sees("order.updated", |args| args[0]["orderId"] == live.as_str())
        .await;
    orders.push(live);
    let events = changes(&mut client).await;
    let sequences: Vec<u64> = events
        .iter()
        .map(|(_, args)| sequence(&args[1]["offset"]))
        .collect();
    assert_eq!(sequences, (1..=all + 2).collect::<Vec<_>>());
    for id in &orders {
        let of_order = events
            .iter()
            .filter(|(_, args)| args[0]["orderId"] == id.as_str());
        let names: Vec<&str> = of_order.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["order.created", "order.updated"], "{id}");
    }

    // The client of another tenant has heard nothing of it, and hears of its own.
    let own = pipeline.create("t-1", "own").await;
    other
        .sees("order.updated", |args| args[0]["orderId"] == own.as_str())
        .await;
    let events = changes(&mut other).await;
    let is_own = |(_, args): &(String, Vec<Value>)| args[0]["orderId"] == own.as_str();
    assert!(events.iter().all(is_own), "{events:?}");
    pipeline.stack.clean_up().await;
}
