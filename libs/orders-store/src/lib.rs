//! The two collections of the orders pipeline, and the only crate that knows the MongoDB driver.
//!
//! * [`WriteModel`] is `orders_write`, the truth: an order is inserted once and moved once.
//! * [`ReadModel`] is `orders_read`: one row per order, at a version that only rises, and the list over them.
//! * [`Installation`] is the one document of `orders_installation`: the installation that the database belongs to.
//! * [`Checkpoints`] is `orders_checkpoints`: how far an operator's long work over the two has got.
//!
//! It asks for single-document atomicity, unique indexes and unordered inserts only: no transactions, change streams
//! or update pipelines. So it runs on a standalone server, a replica set, a sharded cluster or a compatible engine.
//! Every write is idempotent by `_id` and version, so whoever gets [`Error::Unavailable`] may simply try again.

mod checkpoint;
mod count;
mod document;
mod emails;
mod error;
mod exact;
mod index;
mod installation;
mod list;
mod migrate;
mod operation;
mod read_model;
mod reads;
mod scan;
mod unreadable;
mod write_model;

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use mongodb::{
    Client, Collection, Database,
    bson::doc,
    error::{Error as DriverError, ErrorKind},
    options::{Acknowledgment, ClientOptions, CollectionOptions, WriteConcern},
};

pub use checkpoint::{Checkpoint, Checkpoints};
pub use error::Error;
pub use index::IndexDifference;
pub use installation::{Installation, Mismatch};
pub use list::{OrderPage, Total};
pub use orders_contracts::query::{ListFilter, ListOrders, ListPlace};
pub use read_model::ReadModel;
pub use scan::{Found, Orphan};
pub use write_model::{PendingPlace, WriteModel};

use crate::{
    count::Counts,
    error::Driver,
    operation::{DEADLINE, within},
    reads::Reads,
    unreadable::Unreadable,
};

/// The database when the URL names none.
const DEFAULT_DATABASE: &str = "orders";
/// How long the driver looks for a usable server, and how long one connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections per daemon when the URL names no `maxPoolSize`. Batches keep few busy; an edge has one for each read.
const POOL_SIZE: u32 = 16;
/// How long a majority may take; below the deadline of an operation, so that the server answers before it.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(4);

/// A database with the two collections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    auto_migrate: bool,
    reads: Reads,
    counts: Counts,
    unreadable: Unreadable,
}

impl Store {
    /// Reads the URL; its path names the database, `orders` when it has none. Does no I/O except to resolve
    /// `mongodb+srv`, for which it may be [`Error::Unavailable`]: the driver connects in the background, and operations
    /// fail with [`Error::Unavailable`] until it has.
    ///
    /// The URL's own time-outs and pool size count. Its write concern and read preference do not: a stored order is on
    /// the journals of a majority, and a list that follows a write shows it.
    pub async fn connect(url: &str, app_name: &str) -> Result<Self, Error> {
        let mut options = ClientOptions::parse(url)
            .await
            .map_err(|error| bad_url(url, error))?;
        options.app_name = Some(app_name.to_owned());
        options.selection_criteria = None;
        options.write_concern = Some(durable());
        options
            .server_selection_timeout
            .get_or_insert(CONNECT_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        let connections = *options.max_pool_size.get_or_insert(POOL_SIZE);
        // Where connections do not come about, two of them must not keep all others from trying.
        options.max_connecting.get_or_insert(connections);
        let database = options.default_database.clone();
        let client = Client::with_options(options).map_err(|error| bad_url(url, error))?;
        Ok(Self {
            database: client.database(database.as_deref().unwrap_or(DEFAULT_DATABASE)),
            auto_migrate: true,
            reads: Reads::new(connections),
            counts: Counts::new(count::MAX_AGE),
            unreadable: Unreadable::default(),
        })
    }

    /// Whether this process creates indexes, as it does unless told otherwise. With false a difference from the
    /// declaration is [`Error::Unmigrated`].
    #[must_use]
    pub fn auto_migrate(self, auto_migrate: bool) -> Self {
        Self {
            auto_migrate,
            ..self
        }
    }

    /// The version of the server, and which engine it is if it says that it is not MongoDB itself.
    pub async fn server_version(&self) -> Result<String, Error> {
        let info = self.database.run_command(doc! { "buildInfo": 1 });
        let info = within(DEADLINE, info).await?;
        let version = info.get_str("version").unwrap_or("unknown");
        let ferretdb = info
            .get_document("ferretdb")
            .and_then(|engine| engine.get_str("version"));
        Ok(match ferretdb {
            Ok(engine) => format!("{version} (FerretDB {engine})"),
            Err(_) => version.to_owned(),
        })
    }

    /// Whether the server answers, for readiness.
    pub async fn probe(&self) -> Result<(), Error> {
        let ping = within(DEADLINE, self.database.run_command(doc! { "ping": 1 }));
        ping.await.map(drop)
    }

    /// The readiness probe: [`probe`](Self::probe), as often as it is asked for.
    pub fn readiness(&self) -> impl Fn() -> BoxFuture<'static, Result<(), Error>> + use<> {
        let store = self.clone();
        move || {
            let store = store.clone();
            async move { store.probe().await }.boxed()
        }
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// Whether the database has the collection `orders_write`. The writer creates it at its start.
    pub async fn has_orders(&self) -> Result<bool, Error> {
        let names = self.database.list_collection_names();
        let names = operation::within(operation::DEADLINE, names).await?;
        Ok(names.iter().any(|name| name == "orders_write"))
    }

    /// The write model.
    pub fn write_model(&self) -> WriteModel {
        WriteModel {
            orders: self.collection("orders_write"),
            auto_migrate: self.auto_migrate,
            reads: self.reads.clone(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// The read model. All of one store share its limits and its counts.
    pub fn read_model(&self) -> ReadModel {
        ReadModel {
            rows: self.collection("orders_read"),
            auto_migrate: self.auto_migrate,
            reads: self.reads.clone(),
            counts: self.counts.clone(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// The checkpoints of an operator's work.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints {
            checkpoints: self.collection("orders_checkpoints"),
        }
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        let options = CollectionOptions::builder()
            .write_concern(durable())
            .build();
        self.database.collection_with_options(name, options)
    }
}

/// What a client was told to be stored survives the loss of any one server.
fn durable() -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(MAJORITY_TIMEOUT)
        .build()
}

fn bad_url(url: &str, error: DriverError) -> Error {
    if let ErrorKind::DnsResolve { .. } = &*error.kind {
        return Error::unavailable(Driver(error));
    }
    if url.contains("compressors=") {
        return Error::refused("MONGO_URL: `compressors` is not supported; leave it out");
    }
    if url.contains('@') {
        // The driver repeats parts of a URL it cannot read, which may be parts of a password.
        let hint = "are user name and password percent-encoded?";
        return Error::refused(format!("MONGO_URL: not a MongoDB URL ({hint})"));
    }
    Error::refused(Driver(error)).about("MONGO_URL")
}

#[cfg(test)]
mod tests;
