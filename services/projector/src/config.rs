use orders_service::{
    Settings,
    config::{Log, Streams},
};
use serde::{Deserialize, Serialize};

/// The settings of the projector.
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
    /// What is logged, and how.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 3201,
            nats_url: "nats://localhost:4222".to_owned(),
            mongo_url: "mongodb://localhost:27017/orders".to_owned(),
            auto_migrate: true,
            streams: Streams::default(),
            log: Log::default(),
        }
    }
}

impl Settings for Config {
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
