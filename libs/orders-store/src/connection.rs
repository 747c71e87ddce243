//! The connection to the database, which follows the file with its URL.

use std::{
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use mongodb::{
    Client, Collection, Database,
    error::{Error as DriverError, ErrorKind},
    options::{Acknowledgment, ClientOptions, CollectionOptions, WriteConcern},
};
use orders_service::{chain, config::Mongo};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{Error, error::Driver};

/// The database when the URL names none.
const DEFAULT_DATABASE: &str = "orders";
/// How long the driver looks for a usable server, and how long one connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections per daemon when the URL names no `maxPoolSize`. Batches keep few busy; an edge has one for each read.
pub(crate) const POOL_SIZE: u32 = 16;
/// How long a majority may take; below the deadline of an operation, so that the server answers before it.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(4);
/// How often the file with the URL is read again.
const REREAD: Duration = Duration::from_secs(10);

/// The database, by the login that was read last. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<RwLock<Database>>);

impl From<Database> for Connection {
    fn from(database: Database) -> Self {
        Self(Arc::new(RwLock::new(database)))
    }
}

impl Connection {
    /// Opens the database of the settings; and how many connections it may have at once.
    pub(crate) async fn open(settings: &Mongo, app_name: &str) -> Result<(Self, u32), Error> {
        settings.warn_if_public();
        let url = settings.uri().map_err(Error::refused)?;
        let server = Server::parse(&url, settings, app_name).await?;
        let connections = server.connections;
        let connection = Self::from(server.database);
        if settings.has_file() {
            let follower = Follower {
                settings: settings.clone(),
                app_name: app_name.to_owned(),
                hosts: server.hosts,
                url,
                trouble: None,
            };
            tokio::spawn(follower.run(Arc::downgrade(&connection.0)));
        }
        Ok((connection, connections))
    }

    pub(crate) fn database(&self) -> Database {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        let options = CollectionOptions::builder()
            .write_concern(durable())
            .build();
        self.database().collection_with_options(name, options)
    }
}

/// What a URL says.
struct Server {
    database: Database,
    hosts: Vec<String>,
    connections: u32,
}

impl Server {
    async fn parse(url: &str, settings: &Mongo, app_name: &str) -> Result<Self, Error> {
        let setting = settings.setting();
        let mut options = ClientOptions::parse(url)
            .await
            .map_err(|error| bad_url(url, setting, error))?;
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
        let name = options.default_database.clone();
        let mut hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        hosts.sort();
        let client = Client::with_options(options).map_err(|error| bad_url(url, setting, error))?;
        Ok(Self {
            database: client.database(name.as_deref().unwrap_or(DEFAULT_DATABASE)),
            hosts,
            connections,
        })
    }
}

/// Reads the file with the URL again and again, and takes a new login over.
struct Follower {
    settings: Mongo,
    app_name: String,
    hosts: Vec<String>,
    /// The URL that was looked at last.
    url: String,
    /// What the log has about the file since it was last fine.
    trouble: Option<String>,
}

impl Follower {
    async fn run(mut self, shared: Weak<RwLock<Database>>) {
        loop {
            sleep(REREAD).await;
            let Some(current) = shared.upgrade() else {
                return;
            };
            match self.settings.uri() {
                Ok(url) if url == self.url => {}
                Ok(url) => self.take_over(url, &current).await,
                Err(invalid) => self.warn(&invalid.to_string()),
            }
        }
    }

    async fn take_over(&mut self, url: String, current: &RwLock<Database>) {
        let name = current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .name()
            .to_owned();
        match Server::parse(&url, &self.settings, &self.app_name).await {
            // Streams and database belong together, which was checked at the start.
            Ok(server) if server.hosts != self.hosts || server.database.name() != name => {
                self.warn("it names another database, which takes a restart");
            }
            Ok(server) => {
                info!(
                    "{} has a new login, which is used now",
                    self.settings.setting()
                );
                *current.write().unwrap_or_else(PoisonError::into_inner) = server.database;
                self.trouble = None;
            }
            // To resolve a host may work next time.
            Err(error) if error.is_transient() => return,
            Err(error) => self.warn(&chain(&error)),
        }
        self.url = url;
    }

    fn warn(&mut self, trouble: &str) {
        if self.trouble.as_deref() != Some(trouble) {
            let setting = self.settings.setting();
            warn!("{setting} has changed, but the old login stays in use: {trouble}");
            self.trouble = Some(trouble.to_owned());
        }
    }
}

/// What a client was told to be stored survives the loss of any one server.
pub(crate) fn durable() -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(MAJORITY_TIMEOUT)
        .build()
}

fn bad_url(url: &str, setting: &str, error: DriverError) -> Error {
    match &*error.kind {
        ErrorKind::DnsResolve { .. } => return Error::unavailable(Driver(error)),
        // About a file that the URL names.
        ErrorKind::InvalidTlsConfig { message, .. } => {
            return Error::refused(format!("{setting}: {message}"));
        }
        ErrorKind::Io(cause) => {
            return Error::refused(format!("{setting}: tlsCertificateKeyFile: {cause}"));
        }
        _ => {}
    }
    if url.contains("compressors=") {
        let hint = "`compressors` is not supported; leave it out";
        return Error::refused(format!("{setting}: {hint}"));
    }
    if url.contains('@') {
        // The driver repeats parts of a URL it cannot read, which may be parts of a password.
        let hint = "are user name and password percent-encoded?";
        return Error::refused(format!("{setting}: not a MongoDB URL ({hint})"));
    }
    Error::refused(Driver(error)).about(setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_login_is_taken_over_and_another_database_is_not() {
        let mut settings = Mongo::default();
        settings.elsewhere.uri_file = Some("uri".into());
        let url = |login: &str, place: &str| format!("mongodb://{login}@{place}");
        let first = url("u:old", "h1,h2/d");
        let server = Server::parse(&first, &settings, "test").await.unwrap();
        let current = RwLock::new(server.database);
        let mut follower = Follower {
            settings,
            app_name: "test".to_owned(),
            hosts: server.hosts,
            url: first,
            trouble: None,
        };
        for (url, trouble) in [
            (url("u:new", "h1,h2/e"), Some("another database")),
            (url("u:new", "h1/d"), Some("another database")),
            (url("u:n/w", "h1,h2/d"), Some("percent-encoded")),
            (url("u:new", "h2,h1/d"), None),
        ] {
            follower.take_over(url.clone(), &current).await;
            let told = follower.trouble.as_deref();
            assert_eq!(told.is_some(), trouble.is_some(), "{told:?}");
            assert!(
                told.unwrap_or_default()
                    .contains(trouble.unwrap_or_default())
            );
            assert!(!told.unwrap_or_default().contains("n/w"));
            assert_eq!(follower.url, url);
        }
    }
}
