use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::json;

use crate::{environment, free_port};

/// The folder of the keys, below that of the server.
const KEYS: &str = "nats-keys";

/// A NATS in operator mode: every daemon has creds of its own and may do what its role lists, and only the migrator
/// creates streams. The keys and creds are those that `orderctl nats` makes.
#[derive(Debug)]
pub struct Guard {
    folder: PathBuf,
    namespace: String,
    /// The port of the server.
    pub(crate) port: u16,
    mongo_url: String,
    /// The settings with which the streams were declared last.
    migrated: Mutex<BTreeMap<String, String>>,
}

impl Guard {
    /// Makes the keys and creds in `folder`, where the server has its configuration.
    pub(crate) fn new(folder: &Path, namespace: &str, mongo_url: &str) -> Self {
        let guard = Self {
            folder: folder.join(KEYS),
            namespace: namespace.to_owned(),
            port: free_port(),
            mongo_url: mongo_url.to_owned(),
            migrated: Mutex::default(),
        };
        guard.orderctl(&["init"]);
        guard.orderctl(&["creds"]);
        guard.orderctl(&["creds", "--role", "erase"]);
        let all = guard.creds("all");
        std::fs::write(all, guard.of_whoever_may_do_all()).expect("a writable folder");
        guard
    }

    /// The line of the server's configuration that makes it guarded.
    pub(crate) fn settings() -> String {
        format!("include {KEYS}/auth.conf")
    }

    /// The creds file of a role, or of `all`: a user of the tests who may do everything.
    pub fn creds(&self, role: &str) -> PathBuf {
        self.folder.join("creds").join(format!("{role}.creds"))
    }

    /// Runs `orderctl nats ARGUMENTS` on the keys; it must succeed.
    pub fn orderctl(&self, arguments: &[&str]) -> Output {
        let mut command = orderctl();
        command
            .arg("nats")
            .args(arguments)
            .arg("--dir")
            .arg(&self.folder);
        succeed(command.env("ORDERS_NAMESPACE", &self.namespace))
    }

    /// The settings with which whoever has a role connects.
    pub(crate) fn login(&self, role: &str) -> Vec<(&'static str, String)> {
        vec![
            ("ORDERS_NATS__CREDS", self.creds(role).display().to_string()),
            ("ORDERS_NAMESPACE", self.namespace.clone()),
        ]
    }

    /// Declares the streams for a daemon with these settings, as whoever installs it would.
    pub(crate) fn migrate(&self, settings: &BTreeMap<String, String>) {
        let declares = |name: &str| {
            name.starts_with("ORDERS_PAYMENT__") || name.starts_with("ORDERS_STREAMS__")
        };
        let mut wanted = settings.clone();
        wanted.retain(|name, _| declares(name));
        let mut migrated = self.migrated.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_empty() || *migrated == wanted {
            return;
        }
        self.declare(&wanted);
        *migrated = wanted;
    }

    /// Declares the streams.
    pub(crate) fn declare(&self, settings: &BTreeMap<String, String>) {
        let mut command = orderctl();
        command
            .args(["migrate", "--yes"])
            .env("NATS_URL", format!("nats://127.0.0.1:{}", self.port))
            .env("MONGO_URL", &self.mongo_url)
            .envs(self.login("migrator"))
            .envs(settings);
        succeed(&mut command);
    }

    /// A creds file that no role has: signed by the account itself.
    fn of_whoever_may_do_all(&self) -> String {
        let seed = std::fs::read_to_string(self.folder.join("account.nk")).expect("a key");
        let account = KeyPair::from_seed(seed.trim()).expect("a seed");
        let user = KeyPair::new_user();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let claims = json!({
            "jti": "test", "iat": now.expect("a clock").as_secs(), "iss": account.public_key(), "name": "test",
            "sub": user.public_key(),
            "nats": { "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 },
        });
        let head = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let signed = format!(
            "{head}.{}",
            BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
        );
        let signature = account.sign(signed.as_bytes()).expect("a signature");
        format!(
            "-----BEGIN NATS USER JWT-----\n{signed}.{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            BASE64URL_NOPAD.encode(&signature),
            user.seed().expect("a seed"),
        )
    }
}

fn orderctl() -> Command {
    let mut command = Command::new(Path::new(&environment("ORDERS_TEST_BIN_DIR")).join("orderctl"));
    command.env_clear();
    command
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("orderctl starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
