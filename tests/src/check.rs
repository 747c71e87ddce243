//! The independent checker: raw documents, raw messages, the history, and nothing of the pipeline's own code.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    history::{self, Millis, Operation},
    sockets::{Sockets, Watched},
};

/// How soon after the load everything must be settled.
pub const SETTLED: Duration = Duration::from_secs(60);

/// A span of time.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its beginning.
    pub from: Millis,
    /// Its end.
    pub to: Millis,
}

/// Something that was done to the pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// What it is counted under.
    pub class: &'static str,
    /// From when it began until all was mended.
    pub window: Window,
}

impl Window {
    /// Whether it has that moment.
    pub fn has(self, moment: Millis) -> bool {
        (self.from..=self.to).contains(&moment)
    }
}

/// A stored order, from its documents.
#[derive(Debug)]
pub struct Order {
    /// Whose it is.
    pub tenant: String,
    /// Its status.
    pub status: String,
    /// Its version.
    pub version: i64,
    /// When it was created.
    pub created: Millis,
    /// When it was changed last.
    pub updated: Millis,
    /// What the list must show of it.
    pub view: Document,
}

/// A message of a stream.
#[derive(Debug)]
pub struct Message {
    /// Its place in the stream.
    pub sequence: u64,
    /// Whose it is.
    pub tenant: String,
    /// The order it is about.
    pub order: String,
    /// The version of the order.
    pub version: u64,
    /// The status of the order.
    pub status: String,
}

/// All that is there when the load is over.
pub struct Evidence {
    /// What was asked, and what came of it.
    pub history: Vec<Operation>,
    /// What was done to the pipeline, in order.
    pub faults: Vec<Fault>,
    /// When nothing was.
    pub calm: Window,
    /// How long after the load all was settled, if it was.
    pub settled: Option<Duration>,
    /// `orders_write` by id.
    pub orders: HashMap<String, Order>,
    /// How many documents `orders_write` has for each tenant and request.
    pub stored: HashMap<(String, String), Vec<String>>,
    /// `orders_read` by id.
    pub rows: HashMap<String, Document>,
    /// ORDERS_EVENTS.
    pub events: Vec<Message>,
    /// ORDERS_FEED.
    pub feed: Vec<Message>,
    /// How many messages were given up.
    pub dead_letters: u64,
    /// What the sockets have seen.
    pub watched: Vec<Watched>,
}

impl Evidence {
    /// Waits until all is settled and reads everything.
    pub async fn gather(
        database: &mongodb::Database,
        jetstream: &jetstream::Context,
        sockets: &Sockets,
        history: &Path,
        faults: Vec<Fault>,
        calm: Window,
    ) -> Result<Self> {
        let over = Instant::now();
        let mut settled = None;
        while settled.is_none() && over.elapsed() < SETTLED {
            sleep(Duration::from_millis(250)).await;
            if is_settled(database, jetstream).await? {
                settled = Some(over.elapsed());
            }
        }
        let feed = messages(jetstream, "ORDERS_FEED").await?;
        let last = feed.last().map_or(0, |entry| entry.sequence);
        let patience = Instant::now();
        while patience.elapsed() < Duration::from_secs(30) && !have_seen(&sockets.watched(), &feed)
        {
            sleep(Duration::from_millis(250)).await;
        }
        // A moment for anything that should not come any more.
        sleep(Duration::from_secs(1)).await;
        let feed_now = messages(jetstream, "ORDERS_FEED").await?;
        let feed = if feed_now.last().is_some_and(|entry| entry.sequence > last) {
            feed_now
        } else {
            feed
        };

        let mut evidence = Self {
            history: history::read(history)?,
            faults,
            calm,
            settled,
            orders: HashMap::new(),
            stored: HashMap::new(),
            rows: HashMap::new(),
            events: messages(jetstream, "ORDERS_EVENTS").await?,
            feed,
            dead_letters: jetstream
                .get_stream("ORDERS_DLQ")
                .await?
                .cached_info()
                .state
                .messages,
            watched: sockets.watched().clone(),
        };
        let written: Vec<Document> = all(database, "orders_write").await?;
        for document in written {
            let id = document.get_str("_id")?.to_owned();
            let order = Order::read(&document).with_context(|| format!("order {id}"))?;
            let request = document.get_str("requestId")?.to_owned();
            evidence
                .stored
                .entry((order.tenant.clone(), request))
                .or_default()
                .push(id.clone());
            evidence.orders.insert(id, order);
        }
        for document in all(database, "orders_read").await? {
            let id = document.get_str("_id")?.to_owned();
            evidence.rows.insert(id, document);
        }
        Ok(evidence)
    }

    /// The latest moment by which an order created then must have its final status: 6.5 s later, or 30 s after the last
    /// of the faults that come in between, however many follow each other.
    pub fn due(&self, created: Millis) -> Millis {
        let mut due = created + 6_500.0;
        for Fault { window, .. } in &self.faults {
            if window.from <= due && window.to >= created {
                due = due.max(window.to + 30_000.0);
            }
        }
        due
    }

    /// The versions of each order as the feed first announces them.
    pub fn told(&self) -> HashMap<&str, Vec<u64>> {
        let mut told: HashMap<&str, Vec<u64>> = HashMap::new();
        for entry in &self.feed {
            let versions = told.entry(&entry.order).or_default();
            if !versions.contains(&entry.version) {
                versions.push(entry.version);
            }
        }
        told
    }

    /// The distinct versions and statuses that the events tell of each order.
    pub fn histories(&self) -> HashMap<&str, HashSet<(u64, &str)>> {
        let mut histories: HashMap<&str, HashSet<(u64, &str)>> = HashMap::new();
        for event in &self.events {
            let history = histories.entry(&event.order).or_default();
            history.insert((event.version, event.status.as_str()));
        }
        histories
    }

    /// What each client should have seen but for its beginning: the feed of its tenant.
    pub fn feeds(&self) -> BTreeMap<&str, Vec<&Message>> {
        let mut feeds: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for entry in &self.feed {
            feeds.entry(&entry.tenant).or_default().push(entry);
        }
        feeds
    }
}

impl Order {
    fn read(document: &Document) -> Result<Self> {
        let mut view = Document::new();
        for field in ["orderId", "tenantId", "status", "total", "createdAt"] {
            view.insert(field, document.get(field).context(field)?.clone());
        }
        let buyer = document.get_document("buyer")?;
        view.insert("buyerEmail", buyer.get_str("email")?);
        Ok(Self {
            tenant: document.get_str("tenantId")?.to_owned(),
            status: document.get_str("status")?.to_owned(),
            version: number(document.get("version")).context("version")?,
            created: document.get_datetime("createdAt")?.timestamp_millis() as f64,
            updated: document.get_datetime("updatedAt")?.timestamp_millis() as f64,
            view,
        })
    }
}

/// A whole number, whatever its width: engines widen what they increment.
pub fn number(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// Whether nothing is on its way any more.
async fn is_settled(database: &mongodb::Database, jetstream: &jetstream::Context) -> Result<bool> {
    for (stream, consumer) in [
        ("ORDERS_COMMANDS", "writer"),
        ("PAYMENTS", "writer"),
        ("ORDERS_EVENTS", "projector"),
        ("ORDERS_EVENTS", "payment-simulator"),
    ] {
        let stream = jetstream.get_stream_no_info(stream).await?;
        let info = stream.consumer_info(consumer).await?;
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            return Ok(false);
        }
    }
    let orders = database.collection::<Document>("orders_write");
    Ok(orders.count_documents(doc! { "status": "PENDING" }).await? == 0)
}

/// Whether every client has seen the last entry of its tenant.
fn have_seen(watched: &[Watched], feed: &[Message]) -> bool {
    let last: HashMap<&str, u64> = feed
        .iter()
        .map(|entry| (entry.tenant.as_str(), entry.sequence))
        .collect();
    watched.iter().all(|client| {
        let seen = client.seen.last().map_or(0, |(sequence, ..)| *sequence);
        last.get(client.tenant.as_str())
            .is_none_or(|last| seen >= *last)
    })
}

async fn all(database: &mongodb::Database, collection: &str) -> Result<Vec<Document>> {
    let collection = database.collection::<Document>(collection);
    Ok(collection.find(doc! {}).await?.try_collect().await?)
}

/// Every message of a stream, in order.
async fn messages(jetstream: &jetstream::Context, stream: &str) -> Result<Vec<Message>> {
    let stream = jetstream.get_stream(stream).await?;
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        memory_storage: true,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut left = consumer.cached_info().num_pending;
    let mut found = Vec::new();
    while left > 0 {
        let mut batch = consumer.fetch().max_messages(1_000).messages().await?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(anyhow::Error::from_boxed)?;
            let info = message.info().map_err(anyhow::Error::from_boxed)?;
            left = info.pending;
            let body: Value = serde_json::from_slice(&message.payload)?;
            let order = if body["order"].is_object() {
                &body["order"]
            } else {
                &body
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found.push(Message {
                sequence: info.stream_sequence,
                tenant: message
                    .subject
                    .split('.')
                    .nth(2)
                    .unwrap_or_default()
                    .to_owned(),
                order: text(&order["orderId"]),
                version: body["version"].as_u64().unwrap_or_default(),
                status: text(&order["status"]),
            });
        }
    }
    Ok(found)
}
