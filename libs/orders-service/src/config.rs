//! Settings: what a daemon declares, and the groups that daemons share.
//!
//! A setting is stated once, as a field: its doc comment is its line in `--help`, its [`Default`] the default.

mod auth;
mod check;
mod help;
mod known;
mod load;
mod nats;
mod redact;
mod secret;
mod secret_file;
mod traces;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use orders_contracts::Deployment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    auth::{Auth, AuthMode},
    help::environment,
    load::{Error, Loaded, from_environment, load},
    nats::{NatsAccess, NatsLogin},
    redact::redact,
    secret::{Secret, warn_if_public},
    secret_file::SecretFile,
    traces::{Attributes, Endpoint, Headers, Sampler, Traces, Trust},
};
pub(crate) use self::{
    help::{help, markdown},
    load::dump,
};

/// The settings of a daemon: a struct whose [`Default`] has every key.
///
/// Shared groups are fields with `#[serde(flatten)]`, which excludes `deny_unknown_fields`: [`load`] refuses unknown
/// keys.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// The defaults when the ports of the pipeline begin at `base`; [`Default`] has those of [`BASE_PORT`].
    fn on_base_port(base: u16) -> Self;

    /// The settings that every daemon has.
    fn common(&self) -> &Common;

    /// Whether callers have to prove who they are.
    fn auth(&self) -> Auth;

    /// Whether the daemon connects to NATS, if it has the settings for that at all.
    fn uses_nats(&self) -> bool {
        true
    }

    /// How long SIGTERM leaves the daemon in service.
    fn drain(&self) -> Duration {
        Duration::ZERO
    }

    /// Refuses what the types allow and the daemon does not, naming the key.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The first port of the pipeline, unless another one is set.
pub const BASE_PORT: u16 = 3000;

/// The settings that every daemon has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Common {
    /// The port of the pages, from which all other default ports count: the edge's is 1 higher, the writer's 101.
    pub base_port: u16,
    /// The port of the HTTP server; 0 takes any free one.
    pub port: u16,
    /// The IP address that the HTTP server listens on: `127.0.0.1`, with `::1`, for this machine alone, `0.0.0.0` for all
    /// addresses, IPv6 too.
    #[schemars(with = "String")]
    pub host: IpAddr,
    /// The IP address and port for `/readyz` and `/metrics` alone, such as `127.0.0.1:9001`; each daemon needs its own.
    #[schemars(with = "Option<String>")]
    pub admin_addr: Option<SocketAddr>,
    /// The time an HTTP connection may be idle between two requests; longer than a load balancer in front keeps it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "1s", "x-longest" = "1day"))]
    pub keep_alive: Duration,
    /// The lines that are logged, and their format.
    pub log: Logging,
    /// Traces, and where they go.
    pub otel: Traces,
    /// Whose traces are recorded.
    pub trace: Trust,
}

impl Common {
    /// The defaults of a daemon whose port is `offset` above `base`.
    #[must_use]
    pub fn new(base: u16, offset: u16) -> Self {
        Self {
            base_port: base,
            port: base.saturating_add(offset),
            host: Ipv4Addr::LOCALHOST.into(),
            admin_addr: None,
            keep_alive: Duration::from_secs(75),
            log: Logging::default(),
            otel: Traces::default(),
            trace: Trust::default(),
        }
    }
}

/// Settings for logs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Logging {
    /// The lines to log, in the syntax of `RUST_LOG`, which wins over it.
    pub filter: String,
    /// The format of the lines: text or json.
    pub format: Format,
    /// Whether lines of text begin with the time: auto (unless systemd's journal adds it), always or never.
    pub times: Times,
}

impl Default for Logging {
    fn default() -> Self {
        let filter =
            "info,async_nats=off,mongodb=warn,hyper=warn,engineioxide=warn,socketioxide=warn";
        Self {
            filter: filter.to_owned(),
            format: Format::Text,
            times: Times::Auto,
        }
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// For machines, one JSON object a line.
    Json,
}

/// Whether lines of text begin with the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Times {
    /// Unless systemd's journal adds it.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Settings of a daemon that uses NATS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Nats {
    /// The URLs of the NATS servers, separated by commas: `nats://` or `tls://`, and perhaps credentials.
    #[serde(rename = "nats_url")]
    pub url: String,
    /// The login at NATS, and TLS.
    #[serde(rename = "nats")]
    pub access: NatsAccess,
    /// What the installation chooses for all its processes.
    #[serde(flatten)]
    pub deployment: Deployment,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            access: NatsAccess::default(),
            deployment: Deployment::default(),
        }
    }
}

/// Settings of a daemon that uses the database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Mongo {
    /// The URL of MongoDB; its path names the database.
    #[serde(rename = "mongo_url")]
    pub url: String,
    /// Where else the URL may be.
    #[serde(rename = "mongo")]
    pub elsewhere: MongoElsewhere,
}

/// Where the URL of MongoDB may be, other than in `MONGO_URL`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct MongoElsewhere {
    /// The file with the URL of MongoDB, which wins over `MONGO_URL`. A new login in it is used within 10 s.
    pub uri_file: Option<PathBuf>,
}

impl Mongo {
    /// The URL, wherever it is.
    pub fn uri(&self) -> Result<String, Invalid> {
        let Some(file) = &self.elsewhere.uri_file else {
            return Ok(self.url.clone());
        };
        secret::read(file).map_err(|error| Invalid::new("mongo.uri_file", error.to_string()))
    }

    /// Whether the URL is in a file.
    pub fn has_file(&self) -> bool {
        self.elsewhere.uri_file.is_some()
    }

    /// The variable that says where the URL is, for messages.
    pub fn setting(&self) -> &'static str {
        match self.has_file() {
            true => "ORDERS_MONGO__URI_FILE",
            false => "MONGO_URL",
        }
    }

    /// Warns of a file that every user of the machine can read.
    pub fn warn_if_public(&self) {
        if let Some(file) = &self.elsewhere.uri_file {
            secret::warn_if_public(file);
        }
    }
}

impl Default for Mongo {
    fn default() -> Self {
        Self {
            url: "mongodb://localhost:27017/orders".to_owned(),
            elsewhere: MongoElsewhere::default(),
        }
    }
}

/// A setting of the right type that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", load::variable(key))]
pub struct Invalid {
    key: &'static str,
    reason: String,
}

impl Invalid {
    /// The value of `key`, as in `payment.delay`, is wrong for `reason`.
    pub fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self {
            key,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests;
