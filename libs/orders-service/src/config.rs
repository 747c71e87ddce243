//! Settings: what a daemon declares, and the groups that daemons share.
//!
//! A setting is stated once, as a field: its doc comment is its line in `--help`, its [`Default`] the default.

mod help;
mod load;
mod redact;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::{
    help::{help, markdown},
    load::dump,
};
pub use self::{
    load::{Error, Loaded, load},
    redact::redact,
};

/// The settings of a daemon: a struct whose [`Default`] has every key.
///
/// Shared groups are fields with `#[serde(flatten)]`, which excludes `deny_unknown_fields`: [`load`] refuses unknown
/// keys.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// The settings that every daemon has.
    fn common(&self) -> &Common;

    /// Refuses what the types allow and the daemon does not, naming the key.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The settings that every daemon has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Common {
    /// The port of the HTTP server; 0 takes any free one.
    pub port: u16,
    /// The lines that are logged, and their format.
    pub log: Logging,
}

impl Common {
    /// The defaults of a daemon that listens on `port`.
    #[must_use]
    pub fn on_port(port: u16) -> Self {
        Self {
            port,
            log: Logging::default(),
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
}

impl Default for Logging {
    fn default() -> Self {
        let filter =
            "info,async_nats=warn,mongodb=warn,hyper=warn,engineioxide=warn,socketioxide=warn";
        Self {
            filter: filter.to_owned(),
            format: Format::Text,
        }
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people, without timestamps.
    Text,
    /// For machines, one JSON object a line.
    Json,
}

/// Settings of a daemon that uses NATS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Nats {
    /// The URLs of the NATS servers, separated by commas.
    #[serde(rename = "nats_url")]
    pub url: String,
    /// Whether to create and update streams, consumers and indexes; if false, the daemon exits when one differs.
    pub auto_migrate: bool,
    /// The limits of the streams.
    pub streams: Streams,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            auto_migrate: true,
            streams: Streams { replicas: 1 },
        }
    }
}

/// Settings for streams.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Streams {
    /// The number of NATS servers that keep a copy of each stream.
    pub replicas: usize,
}

/// Settings of a daemon that uses the database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Mongo {
    /// The URL of MongoDB; its path names the database.
    #[serde(rename = "mongo_url")]
    pub url: String,
}

impl Default for Mongo {
    fn default() -> Self {
        Self {
            url: "mongodb://localhost:27017/orders".to_owned(),
        }
    }
}

/// A setting of the right type that makes no sense.
#[derive(Debug)]
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
