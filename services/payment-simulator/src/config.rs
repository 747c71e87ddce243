use std::time::Duration;

use orders_service::{
    Settings,
    config::{Log, Streams},
};
use serde::{Deserialize, Serialize};

/// The settings of the payment-simulator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port of health and metrics.
    pub port: u16,
    /// Where NATS is.
    pub nats_url: String,
    /// Whether to create and mend streams, consumers and indexes.
    pub auto_migrate: bool,
    /// What the streams need.
    pub streams: Streams,
    /// The simulated payments.
    pub payment: Payments,
    /// What is logged, and how.
    pub log: Log,
}

/// The settings of the simulated payments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payments {
    /// How long after an order was stored its payment goes through.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 3301,
            nats_url: "nats://localhost:4222".to_owned(),
            auto_migrate: true,
            streams: Streams::default(),
            payment: Payments {
                delay: Duration::from_secs(5),
            },
            log: Log::default(),
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[(
        "payment.delay",
        "how long after an order was stored its payment goes through",
    )];

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
