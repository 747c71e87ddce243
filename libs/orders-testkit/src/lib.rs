//! The ground of the system tests: real servers, the daemons as real processes, the real Socket.IO client.
//!
//! Each test has a nats-server and a database of its own, so tests run in parallel and a test may kill anything.
//! Nothing here sleeps to hide a race: [`eventually`] waits for a condition, with a long limit.

mod certificates;
mod daemon;
mod ferretdb;
mod gate;
mod nats;
mod ports;
mod socket;
mod wait;

use std::path::{Path, PathBuf};

pub use certificates::Certificates;
pub use daemon::{Daemon, Setup};
pub use ferretdb::FerretDb;
pub use gate::Gate;
pub use nats::NatsServer;
pub use ports::free_port;
pub use socket::SocketClient;
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
    folder: tempfile::TempDir,
}

impl Stack {
    /// Starts the server and names the database.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("orders-test-")
            .tempdir()
            .expect("a temporary folder");
        let name = format!("orders_test_{}", uuid::Uuid::new_v4().simple());
        let mongo_url = format!(
            "{}/{name}",
            environment("ORDERS_TEST_MONGO_URL").trim_end_matches('/')
        );
        let nats = NatsServer::start(folder.path()).await;
        Self {
            nats,
            mongo_url,
            folder,
        }
    }

    /// The folder with the logs and the server's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A daemon, not yet started, that uses this stack.
    pub fn daemon(&self, name: &'static str) -> Setup {
        Setup::new(name, self.folder.path())
            .env("NATS_URL", &self.nats.url())
            .env("MONGO_URL", &self.mongo_url)
    }

    /// A JetStream context of the test's own.
    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        let client = async_nats::connect(self.nats.url())
            .await
            .expect("the server is up");
        async_nats::jetstream::new(client)
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

    /// Removes the database; a failed test leaves it for inspection.
    pub async fn clean_up(self) {
        self.database()
            .await
            .drop()
            .await
            .expect("the database answers");
    }
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
