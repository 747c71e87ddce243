//! Orders that are there already: written straight into the pipeline's collections, as its daemons would have left them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use fastrand::Rng;
use mongodb::{
    Client, Collection, Database,
    bson::{DateTime, Decimal128, Document, doc},
};
use tokio::task::JoinSet;

const BATCH: usize = 1_000;
const WORKERS: usize = 4;
/// After how many it is told how far it is.
const STEP: usize = 50_000;
/// How many buyers each tenant has.
pub(crate) const BUYERS: usize = 1_000;
/// How far back orders go.
const YEAR_IN_MILLIS: i64 = 365 * 24 * 60 * 60 * 1_000;
/// What the ids of the pipeline are made of.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The pipeline's collections.
pub(crate) struct Stock {
    database: Database,
    pub(crate) orders: Collection<Document>,
    pub(crate) rows: Collection<Document>,
}

impl Stock {
    /// Those in the database at `url`.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let client = Client::with_uri_str(url).await?;
        let database = client.default_database();
        let database = database.context("the URL names no database")?;
        Ok(Self {
            orders: database.collection("orders_write"),
            rows: database.collection("orders_read"),
            database,
        })
    }

    /// Removes the whole database.
    pub(crate) async fn drop(&self) -> Result<()> {
        Ok(self.database.drop().await?)
    }
}

/// Inserts `count` documents, each made from its number.
pub(crate) async fn fill(
    collection: &Collection<Document>,
    count: usize,
    document: impl Fn(usize) -> Document + Send + Sync + 'static,
) -> Result<()> {
    let (document, next) = (Arc::new(document), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..WORKERS {
        let collection = collection.clone();
        let (document, next) = (Arc::clone(&document), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                let batch = (first..(first + BATCH).min(count)).map(|n| document(n));
                collection.insert_many(batch).ordered(false).await?;
                if first % STEP == 0 {
                    eprintln!("{}: {first} of {count}", collection.name());
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// The paid order `n` in `orders_write`.
pub(crate) fn order(tenant: &str, n: usize) -> Document {
    let (id, created) = identity(n);
    let price = decimal("49.99");
    let item = |sku: &str| doc! { "sku": sku, "qty": 2, "price": price };
    doc! {
        "_id": &id, "orderId": &id, "tenantId": tenant, "requestId": format!("{}-{n}", "0".repeat(32)),
        "commandId": "c".repeat(36), "bodyHash": "0".repeat(64), "status": "PAID", "version": 2,
        "buyer": { "email": buyer(n), "name": "Alice" },
        "items": [item("SKU-1"), item("SKU-2"), item("SKU-3")],
        "total": decimal("299.94"), "createdAt": created, "updatedAt": created,
    }
}

/// The row of order `n` in `orders_read`: of a hundred, 96 are paid, three are cancelled and one is pending.
pub(crate) fn row(tenant: &str, n: usize) -> Document {
    let (id, created) = identity(n);
    let (status, version) = match n % 100 {
        0 => ("PENDING", 1),
        1..=3 => ("CANCELLED", 2),
        _ => ("PAID", 2),
    };
    doc! {
        "_id": &id, "orderId": &id, "tenantId": tenant, "version": version, "status": status,
        "buyerEmail": buyer(n), "total": decimal("299.94"), "createdAt": created,
    }
}

/// The address of a buyer, as the orders of the load have it.
pub(crate) fn buyer(n: usize) -> String {
    format!("buyer{}@example.com", n % BUYERS)
}

/// The id of order `n`, and when it was created: both anywhere, so neighbours by number are none in an index.
fn identity(n: usize) -> (String, DateTime) {
    let mut random = Rng::with_seed(n as u64);
    let mut letter = || char::from(BASE32[random.usize(..BASE32.len())]);
    let id = (0..26).map(|_| letter()).collect::<String>();
    let age = random.i64(0..YEAR_IN_MILLIS);
    let created = DateTime::from_millis(DateTime::now().timestamp_millis() - age);
    (format!("ord_{id}"), created)
}

fn decimal(text: &str) -> Decimal128 {
    text.parse().expect("a decimal")
}
