//! The two collections of the orders pipeline, and the only crate that knows the MongoDB driver.
//!
//! * [`WriteModel`] is `orders_write`, the truth: an order is inserted once and moved once.
//! * [`ReadModel`] is `orders_read`: one row per order, at a version that only rises, and the list over them.
//! * [`Installation`] is the one document of `orders_installation`: the installation that the database belongs to.
//! * [`Checkpoints`] is `orders_checkpoints`: how far an operator's long work over the two has got.
//! * `orders_keys` has the secret key of the audit.
//!
//! It asks for single-document atomicity, unique indexes and unordered inserts only: no transactions, change streams
//! or update pipelines. So it runs on a standalone server, a replica set, a sharded cluster or a compatible engine.
//! Every write is idempotent by `_id` and version, so whoever gets [`Error::Unavailable`] may simply try again.

mod checkpoint;
mod connection;
mod count;
mod document;
mod emails;
mod erase;
mod error;
mod exact;
mod export;
mod index;
mod installation;
mod key;
mod list;
mod migrate;
mod operation;
mod read_model;
mod reads;
mod scan;
mod sharding;
mod unreadable;
mod uploads;
mod write_model;

use futures_util::{FutureExt, future::BoxFuture};
use mongodb::bson::doc;
use orders_service::config::Mongo;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use erase::{ERASED, Matches};
pub use error::Error;
pub use index::IndexDifference;
pub use installation::{Installation, Mismatch};
pub use key::OrderKey;
pub use list::{OrderPage, Total};
pub use orders_contracts::query::{ListFilter, ListOrders, ListPlace};
pub use read_model::ReadModel;
pub use scan::{Found, Orphan};
pub use sharding::{ShardKey, ShardedCollection};
pub use uploads::FilesOfOrders;
pub use write_model::{PendingPlace, WriteModel};

use crate::{
    connection::Connection,
    count::Counts,
    operation::{DEADLINE, timed, within},
    reads::Reads,
    unreadable::Unreadable,
};

/// A database with the two collections.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Connection,
    auto_migrate: bool,
    reads: Reads,
    counts: Counts,
    unreadable: Unreadable,
}

impl Store {
    /// Opens the database that the settings name. Does no I/O except to read the file of the URL and to resolve
    /// `mongodb+srv`, for which it may be [`Error::Unavailable`]: the driver connects in the background, and operations
    /// fail with [`Error::Unavailable`] until it has. A new login in the file is used within seconds.
    ///
    /// The URL's own time-outs and pool size count. Its write concern and read preference do not: a stored order is on
    /// the journals of a majority, and a list that follows a write shows it.
    pub async fn open(settings: &Mongo, app_name: &str) -> Result<Self, Error> {
        let (connection, connections) = Connection::open(settings, app_name).await?;
        Ok(Self {
            connection,
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
        let database = self.connection.database();
        let info = database.run_command(doc! { "buildInfo": 1 });
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
        let database = self.connection.database();
        let ping = timed("ping", DEADLINE, database.run_command(doc! { "ping": 1 }));
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
    pub fn database(&self) -> String {
        self.connection.database().name().to_owned()
    }

    /// Whether the database has the collection `orders_write`. The writer creates it at its start.
    pub async fn has_orders(&self) -> Result<bool, Error> {
        let database = self.connection.database();
        let names = within(DEADLINE, database.list_collection_names()).await?;
        Ok(names.iter().any(|name| name == "orders_write"))
    }

    /// The write model.
    pub fn write_model(&self) -> WriteModel {
        WriteModel {
            connection: self.connection.clone(),
            auto_migrate: self.auto_migrate,
            reads: self.reads.clone(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// The read model. All of one store share its limits and its counts.
    pub fn read_model(&self) -> ReadModel {
        ReadModel {
            connection: self.connection.clone(),
            auto_migrate: self.auto_migrate,
            reads: self.reads.clone(),
            counts: self.counts.clone(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// The checkpoints of an operator's work.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints {
            connection: self.connection.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
