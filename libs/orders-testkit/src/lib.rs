//! The ground of the system tests: real servers, the daemons as real processes, the real Socket.IO client.
//!
//! Each test has a nats-server and a database of its own, so tests run in parallel and a test may kill anything.
//! An [`Issuer`] mints tokens of any kind. Nothing here sleeps to hide a race: [`eventually`] waits for a condition, with a long limit.

mod alerts;
mod aloud;
mod balancer;
mod clamd;
mod collector;
mod daemon;
mod database;
mod ferretdb;
mod gate;
mod guard;
mod hosts;
mod issuer;
mod nats;
mod nats_cluster;
mod oidc;
mod ports;
mod s3;
mod socket;
mod victoria_metrics;
mod wait;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use alerts::Alert;
pub use aloud::aloud;
pub use balancer::Balancer;
pub use clamd::Clamd;
pub use collector::{CollectedSpan, Collector, SpanPlace};
pub use daemon::{Daemon, Setup};
pub use database::Database;
pub use ferretdb::FerretDb;
pub use gate::Gate;
pub use guard::Guard;
pub use hosts::{Host, Hosts};
pub use issuer::{Behaviour, Issuer, SigningKey, Token};
pub use nats::{NatsServer, Sync};
pub use nats_cluster::NatsCluster;
pub use oidc::{Lifetimes, OidcProvider, PASSWORD};
pub use orders_certificates::Certificates;
pub use ports::free_port;
pub use s3::S3Server;
pub use socket::SocketClient;
pub use victoria_metrics::{Sample, VictoriaMetrics};
pub use wait::{LIMIT, eventually};

/// A variable that `cargo xtask test` sets.
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

/// A nats-server and a database, both for one test alone, and the folder with the logs.
#[derive(Debug)]
pub struct Stack {
    /// The server.
    pub nats: NatsServer,
    /// The URL of the database, with its name.
    pub mongo_url: String,
    /// The keys and creds, if only whoever has them may connect to the server.
    pub guard: Option<Arc<Guard>>,
    environment: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Stack {
    /// Starts the server and names the database. With `ORDERS_TEST_PERMISSIONS` the server is [guarded](Self::guarded).
    pub async fn start() -> Self {
        match std::env::var_os("ORDERS_TEST_PERMISSIONS") {
            Some(_) => Self::guarded("").await,
            None => Self::open().await,
        }
    }

    /// Starts a server that anybody may use, for tests of what [`guarded`](Self::guarded) ones have done for them.
    pub async fn open() -> Self {
        let (folder, mongo_url) = place();
        Self {
            nats: NatsServer::start(folder.path()).await,
            mongo_url,
            guard: None,
            environment: BTreeMap::new(),
            folder,
        }
    }

    /// Starts a server on which each daemon may do what its role lists, and has the streams of the installation declared.
    pub async fn guarded(namespace: &str) -> Self {
        let (folder, mongo_url) = place();
        let guard = Guard::new(folder.path(), namespace, &mongo_url);
        let nats =
            NatsServer::start_on(guard.port, folder.path(), "nats", &Guard::settings()).await;
        guard.declare(&BTreeMap::new());
        Self {
            nats,
            mongo_url,
            guard: Some(Arc::new(guard)),
            environment: BTreeMap::new(),
            folder,
        }
    }

    /// Sets a variable of all daemons from now on.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The folder with the logs and the server's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A daemon, not yet started, that uses this stack.
    pub fn daemon(&self, name: &'static str) -> Setup {
        let setup = Setup::new(name, self.folder.path())
            .env("NATS_URL", &self.nats.url())
            .env("MONGO_URL", &self.mongo_url);
        let setup = self
            .environment
            .iter()
            .fold(setup, |setup, (name, value)| setup.env(name, value));
        match &self.guard {
            None => setup,
            Some(guard) => {
                let login = guard.login(name).into_iter();
                login
                    .fold(setup, |setup, (name, value)| setup.env(name, &value))
                    .env("ORDERS_AUTO_MIGRATE", "false")
                    .guarded(Arc::clone(guard))
            }
        }
    }

    /// The settings with which `orderctl ARGUMENTS` may connect to the server.
    pub fn login_of_orderctl(&self, arguments: &[&str]) -> Vec<(&'static str, String)> {
        let role = match arguments.first() {
            Some(&"migrate") => "migrator",
            Some(&"erase") => "erase",
            _ => "operator",
        };
        self.guard
            .as_ref()
            .map_or_else(Vec::new, |guard| guard.login(role))
    }

    /// The `nats` tool for the server, as whoever may do everything.
    pub fn nats_cli(&self) -> std::process::Command {
        let mut command = std::process::Command::new(tool("nats"));
        command.args(["--server", &self.nats.url()]);
        // Not what the user has chosen by `nats context`.
        command.env("XDG_CONFIG_HOME", self.folder());
        if let Some(guard) = &self.guard {
            // There daemons may answer.
            command.args(["--inbox-prefix", "_INBOX_health"]);
            command.arg("--creds").arg(guard.creds("all"));
        }
        command
    }

    /// A client of the test's own, who may do everything.
    pub async fn client(&self) -> async_nats::Client {
        let options = match &self.guard {
            None => async_nats::ConnectOptions::new(),
            Some(guard) => async_nats::ConnectOptions::with_credentials_file(guard.creds("all"))
                .await
                .expect("a creds file"),
        };
        let client = options.connect(self.nats.url()).await;
        client.expect("the server is up")
    }

    /// A JetStream context of the test's own.
    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.client().await)
    }

    /// The database, for looking at documents as they are stored.
    pub async fn database(&self) -> mongodb::Database {
        let client = mongodb::Client::with_uri_str(&self.mongo_url)
            .await
            .expect("a valid url");
        client.default_database().expect("the url names a database")
    }

    /// A gate before the database, and the URL that leads through it.
    pub async fn database_gate(&self) -> (Gate, String) {
        let (scheme, rest) = self.mongo_url.split_once("://").expect("a URL");
        let (address, database) = rest.split_once('/').expect("the URL names a database");
        let gate = Gate::to(address).await;
        let url = format!("{scheme}://{}/{database}", gate.address);
        (gate, url)
    }

    /// The number of documents in `collection` that match `filter`.
    pub async fn count(&self, collection: &str, filter: mongodb::bson::Document) -> u64 {
        let database = self.database().await;
        database
            .collection::<mongodb::bson::Document>(collection)
            .count_documents(filter)
            .await
            .expect("the database answers")
    }

    /// Removes the database; a failed test leaves it for inspection. Fails if anybody tried what their role does not
    /// list.
    pub async fn clean_up(self) {
        if self.guard.is_some() {
            let log = self.nats.log();
            let denied = ["Publish Violation", "Subscription Violation"];
            let is_denial = |line: &&str| denied.iter().any(|denial| line.contains(denial));
            let denials: Vec<_> = log.lines().filter(is_denial).collect();
            assert!(denials.is_empty(), "{denials:#?}");
        }
        self.database()
            .await
            .drop()
            .await
            .expect("the database answers");
    }
}

/// A folder and the URL of a database, both for one test.
fn place() -> (tempfile::TempDir, String) {
    let folder = tempfile::Builder::new()
        .prefix("orders-test-")
        .tempdir()
        .expect("a temporary folder");
    let name = format!("orders_test_{}", uuid::Uuid::new_v4().simple());
    let url = environment("ORDERS_TEST_MONGO_URL");
    let url = format!("{}/{name}", url.trim_end_matches('/'));
    (folder, url)
}

/// A program in the folders of the tools: `nats`, `overmind`.
pub fn tool(name: &str) -> PathBuf {
    let folders = environment("ORDERS_TEST_TOOLS");
    let mut programs = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let found = programs.find(|program| program.exists());
    found.unwrap_or_else(|| panic!("{name} is not in {folders}"))
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .expect("the crate is two folders deep")
        .to_owned()
}
