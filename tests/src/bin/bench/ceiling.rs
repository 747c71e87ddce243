//! The most that the database can do: one process makes the four writes of each order with the raw driver, in the best
//! batches, and nothing else runs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, ensure};
use mongodb::{
    Client, Collection, Database, IndexModel,
    bson::{DateTime, Decimal128, Document, doc},
    options::{Acknowledgment, CollectionOptions, IndexOptions, WriteConcern},
};
use tokio::task::JoinSet;

use crate::site::Site;

const ORDERS: usize = 20_000;
const TRIAL_ORDERS: usize = 8_000;
const BATCHES: [usize; 3] = [250, 500, 1_000];
const WORKERS: [usize; 4] = [1, 2, 3, 4];

/// The ceiling's own collections, and how it uses them.
pub(crate) struct Ceiling {
    database: Database,
    batch: usize,
    workers: usize,
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, workers) = (self.batch, self.workers);
        write!(
            f,
            "for each order an insert into `orders_write`, one into `orders_read`, and an update of both, majority and journaled, in batches of {batch}, {workers} at a time, the fastest of {} combinations",
            BATCHES.len() * WORKERS.len()
        )
    }
}

impl Ceiling {
    /// Finds out which batches are best.
    pub(crate) async fn new(site: &Site) -> Result<Self> {
        let client = Client::with_uri_str(site.database("bench_ceiling")).await?;
        let database = client.database("bench_ceiling");
        let mut best = (0.0, 0, 0);
        for batch in BATCHES {
            for workers in WORKERS {
                let rate = run(&database, TRIAL_ORDERS, batch, workers).await?;
                eprintln!(
                    "the ceiling with batches of {batch}, {workers} at a time: {rate:.0} orders/s"
                );
                if rate > best.0 {
                    best = (rate, batch, workers);
                }
            }
        }
        let (_, batch, workers) = best;
        Ok(Self {
            database,
            batch,
            workers,
        })
    }

    /// Orders per second.
    pub(crate) async fn measure(&mut self) -> Result<f64> {
        let rate = run(&self.database, ORDERS, self.batch, self.workers).await?;
        // Or what autovacuum does for them falls on whoever comes next.
        self.database.drop().await?;
        eprintln!("  {rate:.0}/s");
        Ok(rate)
    }
}

/// Writes `count` orders into new collections.
async fn run(database: &Database, count: usize, batch: usize, workers: usize) -> Result<f64> {
    database.drop().await?;
    let (orders, rows) = collections(database).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (orders, rows, next) = (orders.clone(), rows.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                let numbers = || first..(first + batch).min(count);
                orders.insert_many(numbers().map(order)).ordered(false).await?;
                rows.insert_many(numbers().map(row)).ordered(false).await?;
                let ids: Vec<String> = numbers().map(id).collect();
                let set = doc! { "$set": { "status": "PAID", "updatedAt": DateTime::now() }, "$inc": { "version": 1 } };
                let pending = doc! { "_id": { "$in": &ids }, "status": "PENDING" };
                let paid = orders.update_many(pending, set).await?.modified_count;
                let set = doc! { "$set": { "status": "PAID", "version": 2 } };
                let older = doc! { "_id": { "$in": &ids }, "version": { "$lt": 2 } };
                let shown = rows.update_many(older, set).await?.modified_count;
                ensure!([paid, shown] == [ids.len() as u64; 2], "{paid} and {shown} of {} were updated", ids.len());
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The two collections with the indexes of the pipeline.
pub(crate) async fn collections(
    database: &Database,
) -> Result<(Collection<Document>, Collection<Document>)> {
    let durable = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build();
    let options = CollectionOptions::builder().write_concern(durable).build();
    let collection = |name| database.collection_with_options::<Document>(name, options.clone());
    let index = |keys: Document, unique: bool| {
        let options = IndexOptions::builder()
            .unique(unique.then_some(true))
            .build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    let (orders, rows) = (collection("orders_write"), collection("orders_read"));
    orders
        .create_indexes([
            index(doc! { "tenantId": 1, "requestId": 1 }, true),
            index(doc! { "tenantId": 1, "orderId": 1 }, true),
            index(doc! { "status": 1 }, false),
        ])
        .await?;
    rows.create_indexes([
        index(
            doc! { "tenantId": 1, "status": 1, "createdAt": -1, "orderId": -1 },
            false,
        ),
        index(
            doc! { "tenantId": 1, "buyerEmail": 1, "createdAt": -1, "orderId": -1 },
            false,
        ),
        index(
            doc! { "tenantId": 1, "createdAt": -1, "orderId": -1 },
            false,
        ),
    ])
    .await?;
    Ok((orders, rows))
}

/// An id as random as those of the pipeline: neighbours in time are none in the index.
fn id(n: usize) -> String {
    let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_be_bytes())
        .simple()
        .to_string();
    format!("ord_{}", &hash[..26])
}

fn order(n: usize) -> Document {
    let id = id(n);
    let price: Decimal128 = "49.99".parse().expect("a decimal");
    let item = |sku: &str| doc! { "sku": sku, "qty": 2, "price": price };
    doc! {
        "_id": &id, "orderId": &id, "tenantId": format!("bench-{}", n % 10), "requestId": format!("{}-{n}", "0".repeat(32)),
        "commandId": "c".repeat(36), "bodyHash": "0".repeat(64), "status": "PENDING", "version": 1,
        "buyer": { "email": format!("buyer{}@example.com", n % 1000), "name": "Alice" },
        "items": [item("SKU-1"), item("SKU-2"), item("SKU-3")],
        "total": price, "createdAt": DateTime::now(), "updatedAt": DateTime::now(),
    }
}

/// The row of an order in the list.
pub(crate) fn row(n: usize) -> Document {
    let id = id(n);
    let total: Decimal128 = "112.78".parse().expect("a decimal");
    doc! {
        "_id": &id, "orderId": &id, "tenantId": format!("bench-{}", n % 10), "version": 1, "status": "PENDING",
        "buyerEmail": format!("buyer{}@example.com", n % 1000), "total": total, "createdAt": DateTime::now(),
    }
}
