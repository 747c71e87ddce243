//! The benchmark of the running pipeline, next to what the database alone can do in the same run.
//!
//! `cargo xtask bench` starts the servers and the daemons and calls it with `EDGE_URL`, `WEB_URL` and `MONGO_URL` set. All load
//! goes to those addresses, is bounded in count and time, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use mongodb::{
    Collection, IndexModel,
    bson::{DateTime, Decimal128, Document, doc},
    options::IndexOptions,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;

/// Measures the pipeline at EDGE_URL, its pages at WEB_URL and the database at MONGO_URL.
#[derive(Parser)]
struct Options {
    /// How long each of the two loads runs, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Orders per second of the paced load
    #[arg(long, default_value_t = 60)]
    rate: u32,
    /// Connections of the saturating load
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The payment delay that the pipeline runs with, in seconds
    #[arg(long, default_value_t = 5.0)]
    payment_delay: f64,
}

const TENANT: &str = "bench";

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let edge = std::env::var("EDGE_URL").context("EDGE_URL: run `cargo xtask bench`")?;
    let web = std::env::var("WEB_URL").context("WEB_URL: run `cargo xtask bench`")?;
    let mongo = std::env::var("MONGO_URL").context("MONGO_URL: run `cargo xtask bench`")?;
    let http = reqwest::Client::new();

    eprintln!("warming up");
    stream::iter(0..200)
        .map(|_| place(&http, &edge))
        .buffer_unordered(8)
        .try_collect::<Vec<_>>()
        .await?;

    eprintln!("{} orders/s for {} s", options.rate, options.seconds);
    let paid = listen(&edge).await?;
    let (latencies, told) = paced(&http, &edge, &options).await?;
    let after_payment = until_told(&told, &paid, options.payment_delay).await;

    eprintln!("the list, as a page and as JSON");
    let list = read(&http, &format!("{edge}/api/orders?tenantId={TENANT}")).await?;
    let page = read(&http, &format!("{web}/orders?tenantId={TENANT}")).await?;

    eprintln!(
        "{} connections for {} s",
        options.connections, options.seconds
    );
    let before = DateTime::now();
    let (saturated, elapsed) = saturate(&http, &edge, &options).await?;
    let (payments, pending) = payments_since(before, &mongo, options.payment_delay).await?;
    let per_second = saturated.len() as f64 / elapsed.as_secs_f64();

    eprintln!("the database alone");
    let database = mongodb::Client::with_uri_str(&mongo)
        .await?
        .database("orders_bench");
    let batched = ceiling_batched(&database.collection("batched")).await?;
    let single = baseline_single(&database, options.connections).await?;
    database.drop().await?;

    println!("| what | result |");
    println!("|---|---|");
    println!(
        "| create at {} orders/s, POST to 201 | {} |",
        options.rate,
        summary(latencies)
    );
    println!(
        "| from 201 to the socket event, minus {} s | {} |",
        options.payment_delay,
        summary(after_payment)
    );
    println!("| the list as a page | {} |", summary(page));
    println!(
        "| in the same run: the same list as JSON, from the edge | {} |",
        summary(list)
    );
    println!(
        "| orders/s at {} connections, stored and listed | {per_second:.0}/s, {} |",
        options.connections,
        summary(saturated)
    );
    println!(
        "| payments of those, minus {} s, with up to {pending} pending at once | {} |",
        options.payment_delay,
        summary(payments)
    );
    println!(
        "| baseline: two single inserts an order by the raw driver, {} at a time | {single:.0}/s |",
        options.connections
    );
    println!(
        "| ceiling: raw insert_many of 500 with the indexes of orders_write | {batched:.0}/s |"
    );
    Ok(())
}

/// Places one new order, which must be stored and listed; how long it took, and its id.
async fn place(http: &reqwest::Client, edge: &str) -> Result<(Duration, String)> {
    let body = json!({
        "requestId": uuid::Uuid::new_v4(),
        "tenantId": TENANT,
        "buyer": { "email": "alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
    });
    let start = Instant::now();
    let response = http
        .post(format!("{edge}/api/orders"))
        .json(&body)
        .send()
        .await?;
    let (status, listed) = (
        response.status(),
        response.headers().get("x-projected").cloned(),
    );
    let body: Value = response.json().await?;
    let elapsed = start.elapsed();
    ensure!(status == StatusCode::CREATED, "{status}: {body}");
    ensure!(
        listed.is_some_and(|listed| listed == "true"),
        "not listed in time"
    );
    Ok((
        elapsed,
        body["orderId"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// Reads `url` 500 times, one after the other.
async fn read(http: &reqwest::Client, url: &str) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        let response = http.get(url).send().await?.error_for_status()?;
        response.bytes().await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

type Moments = HashMap<String, Instant>;

/// An open load: the next order is due whether or not the last one was answered.
async fn paced(
    http: &reqwest::Client,
    edge: &str,
    options: &Options,
) -> Result<(Vec<Duration>, Moments)> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / options.rate);
    let mut orders = Vec::new();
    for _ in 0..u64::from(options.rate) * options.seconds {
        ticks.tick().await;
        let (http, edge) = (http.clone(), edge.to_owned());
        orders.push(tokio::spawn(async move {
            let placed = place(&http, &edge).await;
            placed.map(|(elapsed, id)| (elapsed, id, Instant::now()))
        }));
    }
    let (mut latencies, mut told) = (Vec::new(), HashMap::new());
    for order in orders {
        let (elapsed, id, answered) = order.await??;
        latencies.push(elapsed);
        told.insert(id, answered);
    }
    Ok((latencies, told))
}

/// A closed load: each connection places the next order when the last one was answered.
async fn saturate(
    http: &reqwest::Client,
    edge: &str,
    options: &Options,
) -> Result<(Vec<Duration>, Duration)> {
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let connections = (0..options.connections).map(|_| {
        let (http, edge) = (http.clone(), edge.to_owned());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                latencies.push(place(&http, &edge).await?.0);
            }
            Ok::<_, anyhow::Error>(latencies)
        })
    });
    let mut all = Vec::new();
    for connection in connections.collect::<Vec<_>>() {
        all.extend(connection.await??);
    }
    Ok((all, start.elapsed()))
}

/// How much later than its delay each order created since `start` was paid, and how many were pending at once at most.
async fn payments_since(
    start: DateTime,
    mongo: &str,
    delay: f64,
) -> Result<(Vec<Duration>, usize)> {
    let client = mongodb::Client::with_uri_str(mongo).await?;
    let database = client.default_database().context("a database")?;
    let orders = database.collection::<Document>("orders_write");
    let deadline = Instant::now() + Duration::from_secs_f64(delay + 60.0);
    while orders.count_documents(doc! { "status": "PENDING" }).await? > 0 {
        ensure!(Instant::now() < deadline, "some orders were not paid");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let since = doc! { "tenantId": TENANT, "createdAt": { "$gte": start } };
    let found: Vec<Document> = orders.find(since).await?.try_collect().await?;
    let mut late = Vec::new();
    let mut changes = Vec::new();
    for order in &found {
        let created = order.get_datetime("createdAt")?.timestamp_millis();
        let paid = order.get_datetime("updatedAt")?.timestamp_millis();
        changes.extend([(created, 1_isize), (paid, -1)]);
        late.push(Duration::from_secs_f64(
            ((paid - created) as f64 / 1e3 - delay).max(0.0),
        ));
    }
    changes.sort_unstable();
    let counts = changes.iter().scan(0, |pending, (_, change)| {
        *pending += change;
        Some(*pending)
    });
    let most = counts.max().unwrap_or_default().unsigned_abs();
    Ok((late, most))
}

/// Opens a Socket.IO connection and notes when each order is told to be PAID.
async fn listen(edge: &str) -> Result<Arc<Mutex<Moments>>> {
    let url = format!(
        "{}/ws/?EIO=4&transport=websocket",
        edge.replacen("http", "ws", 1)
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    socket
        .send(Message::text(
            json!({ "tenantId": TENANT })
                .to_string()
                .replacen('{', "40{", 1),
        ))
        .await?;
    let paid = Arc::new(Mutex::new(HashMap::new()));
    let noted = Arc::clone(&paid);
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.to_text() else {
                continue;
            };
            if text == "2" {
                let _ = socket.send(Message::text("3")).await;
            } else if let Some(event) = text.strip_prefix("42") {
                let event: Value = serde_json::from_str(event).unwrap_or_default();
                if event[0] == "order.updated" {
                    let id = event[1]["orderId"].as_str().unwrap_or_default().to_owned();
                    noted.lock().await.insert(id, Instant::now());
                }
            }
        }
    });
    Ok(paid)
}

/// How much later than the payment delay each order of `told` was told to be paid.
async fn until_told(told: &Moments, paid: &Mutex<Moments>, delay: f64) -> Vec<Duration> {
    let deadline = Instant::now() + Duration::from_secs_f64(delay + 10.0);
    while Instant::now() < deadline
        && !told.keys().all({
            let paid = paid.lock().await;
            move |id| paid.contains_key(id)
        })
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let paid = paid.lock().await;
    let delay = Duration::from_secs_f64(delay);
    // The delay runs from the moment the order was stored, which is a little before its 201.
    told.iter()
        .filter_map(|(id, told)| Some(paid.get(id)?.duration_since(*told).saturating_sub(delay)))
        .collect()
}

fn document(n: usize) -> Document {
    let id = format!("ord_{n:026}");
    let total: Decimal128 = "99.98".parse().expect("a decimal");
    doc! {
        "_id": &id, "orderId": &id, "tenantId": TENANT, "requestId": format!("r{n}"), "commandId": format!("c{n}"),
        "bodyHash": "0".repeat(64), "status": "PENDING", "version": 1,
        "buyer": { "email": "alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": total }],
        "total": total, "createdAt": DateTime::now(), "updatedAt": DateTime::now(),
    }
}

async fn with_indexes(orders: &Collection<Document>) -> Result<()> {
    let unique = || IndexOptions::builder().unique(true).build();
    let index = |keys, options: Option<IndexOptions>| {
        IndexModel::builder().keys(keys).options(options).build()
    };
    orders
        .create_indexes([
            index(doc! { "tenantId": 1, "requestId": 1 }, Some(unique())),
            index(doc! { "tenantId": 1, "orderId": 1 }, Some(unique())),
            index(doc! { "status": 1 }, None),
        ])
        .await?;
    Ok(())
}

/// What the raw driver can store at most: unordered batches, nothing else going on.
async fn ceiling_batched(orders: &Collection<Document>) -> Result<f64> {
    const BATCHES: usize = 20;
    const BATCH: usize = 500;
    with_indexes(orders).await?;
    let start = Instant::now();
    for batch in 0..BATCHES {
        let documents = (0..BATCH).map(|n| document(batch * BATCH + n));
        orders.insert_many(documents).ordered(false).await?;
    }
    Ok((BATCHES * BATCH) as f64 / start.elapsed().as_secs_f64())
}

/// The seed's own way without its framework: each request inserts the order and then its row.
async fn baseline_single(database: &mongodb::Database, connections: usize) -> Result<f64> {
    const ORDERS: usize = 4_000;
    let (orders, rows) = (
        database.collection("single_write"),
        database.collection("single_read"),
    );
    with_indexes(&orders).await?;
    with_indexes(&rows).await?;
    let start = Instant::now();
    stream::iter(0..ORDERS)
        .map(|n| {
            let (orders, rows) = (&orders, &rows);
            async move {
                orders.insert_one(document(n)).await?;
                rows.insert_one(document(n)).await
            }
        })
        .buffer_unordered(connections)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(ORDERS as f64 / start.elapsed().as_secs_f64())
}

fn summary(mut values: Vec<Duration>) -> String {
    values.sort_unstable();
    let at = |part: f64| {
        let index = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
        values
            .get(index)
            .map_or(f64::NAN, |value| value.as_secs_f64() * 1e3)
    };
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms (n = {})",
        at(0.5),
        at(0.99),
        at(1.0),
        values.len()
    )
}
