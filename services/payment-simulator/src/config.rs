use std::time::Duration;

use orders_service::{
    Settings,
    config::{Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the payment-simulator.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The bus.
    #[serde(flatten)]
    pub nats: Nats,
    /// The simulated payments.
    pub payment: Payments,
}

/// The settings of the simulated payments.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Payments {
    /// The time from storing an order to its payment.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3301),
            nats: Nats::default(),
            payment: Payments {
                delay: Duration::from_secs(5),
            },
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
    }
}
