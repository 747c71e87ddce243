//! The installation that a database belongs to.

use mongodb::{
    Collection,
    bson::{Document, doc},
};
use orders_contracts::{InstallationId, Namespace};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Store,
    operation::{DEADLINE, within},
};

const THE_ONE: &str = "installation";

/// The installation that a database belongs to: the one document of `orders_installation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    #[serde(rename = "_id")]
    name: String,
    /// The id that its streams have too.
    pub id: InstallationId,
    /// The namespace of its streams.
    pub namespace: Namespace,
    /// The streams that have been told of every order: the text that [`Store::set_told`] was given last.
    pub told: Option<String>,
}

/// Why a process must not use a database and the streams at NATS together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// They belong to two installations.
    #[error(
        "the database {database} belongs to installation {ours}, the streams at NATS to {theirs}; correct MONGO_URL or \
         NATS_URL, or give each installation an ORDERS_NAMESPACE"
    )]
    TwoInstallations {
        /// The name of the database.
        database: String,
        /// Its installation.
        ours: InstallationId,
        /// That of the streams.
        theirs: InstallationId,
    },
    /// The streams belong to an installation, and the database to none.
    #[error(
        "the streams at NATS belong to installation {theirs}, and the database {database} to none; correct MONGO_URL, \
         or restore its backup; only if the database is the right one, run `orderctl migrate --adopt`"
    )]
    UnknownDatabase {
        /// The name of the database.
        database: String,
        /// The installation of the streams.
        theirs: InstallationId,
    },
    /// The installation of the database has its streams in another namespace.
    #[error(
        "ORDERS_NAMESPACE is {ours:?}, but the streams of database {database} are in {theirs:?}; correct the setting, or, \
         to leave those streams behind, run `orderctl migrate --adopt`",
        ours = .ours.to_string(),
        theirs = .theirs.to_string(),
    )]
    OtherNamespace {
        /// The name of the database.
        database: String,
        /// The setting.
        ours: Namespace,
        /// The namespace that the database names.
        theirs: Namespace,
    },
    /// The database belongs to no installation, and this process may not change that.
    #[error(
        "the installation of database {database} is missing; run `orderctl migrate`, or set ORDERS_AUTO_MIGRATE=true"
    )]
    Unmigrated {
        /// The name of the database.
        database: String,
    },
}

impl Store {
    /// The installation that the database belongs to; `None` for a new one.
    pub async fn installation(&self) -> Result<Option<Installation>, Error> {
        let installations = self.installations();
        within(DEADLINE, installations.find_one(doc! { "_id": THE_ONE })).await
    }

    /// The id of the installation, provided that the database and the streams are both its own; `streams` is the
    /// installation that the streams belong to, as far as any of them says. A new database with new streams gets a fresh
    /// id. A new database with streams that belong to somebody is [`Mismatch::UnknownDatabase`], because that is what a
    /// wrong database usually looks like.
    ///
    /// Look at the streams first: whoever gives them an id has stored it here before.
    pub async fn join(
        &self,
        namespace: &Namespace,
        streams: Option<&InstallationId>,
    ) -> Result<InstallationId, Error> {
        let mut stored = self.installation().await?;
        if stored.is_none() && streams.is_none() && self.auto_migrate {
            self.found(namespace, InstallationId::fresh()).await?;
            stored = self.installation().await?;
        }
        self.check(stored, namespace, streams).map_err(Error::from)
    }

    /// Whether [`Self::join`] fails unless the database is adopted first. A database of another installation than
    /// `streams` is an error: it cannot be adopted.
    pub async fn needs_adoption(
        &self,
        namespace: &Namespace,
        streams: Option<&InstallationId>,
    ) -> Result<bool, Error> {
        let stored = self.installation().await?;
        match self.check(stored, namespace, streams) {
            Err(Mismatch::UnknownDatabase { .. } | Mismatch::OtherNamespace { .. }) => Ok(true),
            Err(two @ Mismatch::TwoInstallations { .. }) => Err(two.into()),
            Err(Mismatch::Unmigrated { .. }) | Ok(_) => Ok(false),
        }
    }

    /// Makes the database belong to the installation of `streams` and to `namespace`, if it [needs](Self::needs_adoption)
    /// that. A namespace that it had before is replaced, an id is not.
    pub async fn adopt(
        &self,
        namespace: &Namespace,
        streams: Option<&InstallationId>,
    ) -> Result<(), Error> {
        if !self.needs_adoption(namespace, streams).await? {
            return Ok(());
        }
        let id = streams.map_or_else(InstallationId::fresh, InstallationId::clone);
        self.found(namespace, id).await?;
        self.update(doc! { "$set": { "namespace": namespace.to_string() } })
            .await
    }

    /// Records that the streams which `streams` describes have been told of every order, or were there before it.
    pub async fn set_told(&self, streams: &str) -> Result<(), Error> {
        self.update(doc! { "$set": { "told": streams } }).await
    }

    /// Stores an installation, unless there is one.
    async fn found(&self, namespace: &Namespace, id: InstallationId) -> Result<(), Error> {
        let new = doc! {
            "$setOnInsert": { "id": id.as_str(), "namespace": namespace.to_string() },
        };
        let installations = self.installations();
        let insert = installations.update_one(doc! { "_id": THE_ONE }, new);
        within(DEADLINE, insert.upsert(true)).await.map(drop)
    }

    async fn update(&self, change: Document) -> Result<(), Error> {
        let installations = self.installations();
        let update = installations.update_one(doc! { "_id": THE_ONE }, change);
        within(DEADLINE, update).await.map(drop)
    }

    fn check(
        &self,
        stored: Option<Installation>,
        namespace: &Namespace,
        streams: Option<&InstallationId>,
    ) -> Result<InstallationId, Mismatch> {
        let database = self.database();
        match (stored, streams.cloned()) {
            (None, None) => Err(Mismatch::Unmigrated { database }),
            (None, Some(theirs)) => Err(Mismatch::UnknownDatabase { database, theirs }),
            (Some(stored), Some(theirs)) if stored.id != theirs => {
                Err(Mismatch::TwoInstallations {
                    database,
                    ours: stored.id,
                    theirs,
                })
            }
            (Some(stored), _) if stored.namespace != *namespace => Err(Mismatch::OtherNamespace {
                database,
                ours: namespace.clone(),
                theirs: stored.namespace,
            }),
            (Some(stored), _) => Ok(stored.id),
        }
    }

    fn installations(&self) -> Collection<Installation> {
        self.connection.collection("orders_installation")
    }
}
