use std::time::Duration;

use orders_service::{
    Settings,
    config::{Log, Streams},
};
use serde::{Deserialize, Serialize};

/// The settings of the writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port of health and metrics.
    pub port: u16,
    /// Where NATS is.
    pub nats_url: String,
    /// Where the database is; the path names the database.
    pub mongo_url: String,
    /// Whether to create and mend streams, consumers and indexes.
    pub auto_migrate: bool,
    /// What the streams need.
    pub streams: Streams,
    /// The search for orders whose event was lost.
    pub heal: Heal,
    /// What is logged, and how.
    pub log: Log,
}

/// The settings of the search for orders whose event was lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heal {
    /// How often to look.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How long an order must have been PENDING.
    #[serde(with = "humantime_serde")]
    pub pending_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 3101,
            nats_url: "nats://localhost:4222".to_owned(),
            mongo_url: "mongodb://localhost:27017/orders".to_owned(),
            auto_migrate: true,
            streams: Streams::default(),
            heal: Heal {
                every: Duration::from_secs(300),
                pending_for: Duration::from_secs(60),
            },
            log: Log::default(),
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        (
            "heal.every",
            "how often to look for orders whose event was lost",
        ),
        (
            "heal.pending_for",
            "how long an order must have been PENDING to be told of again",
        ),
    ];

    fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> &Log {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_setting_is_explained() {
        assert_eq!(
            orders_service::config::undocumented::<super::Config>(),
            Vec::<String>::new()
        );
    }
}
