use orders_service::{
    Invalid, Settings,
    config::{Log, Streams},
};
use serde::{Deserialize, Serialize};

use crate::origin::Origins;

/// The settings of realtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port of Socket.IO, health and metrics.
    pub port: u16,
    /// Where NATS is.
    pub nats_url: String,
    /// The origins whose pages may connect, separated by commas.
    pub cors_origin: String,
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
            port: 3401,
            nats_url: "nats://localhost:4222".to_owned(),
            cors_origin: "http://localhost:3000,http://127.0.0.1:3000".to_owned(),
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

    fn validate(&self) -> Result<(), Invalid> {
        Origins::parse(&self.cors_origin)
            .map(|_| ())
            .map_err(|reason| Invalid::new("cors_origin", reason))
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
