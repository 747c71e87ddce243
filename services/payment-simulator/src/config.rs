use orders_contracts::PaymentSettings;
use orders_service::{
    Settings,
    config::{BASE_PORT, Common, Nats},
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
    pub payment: PaymentSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        Self {
            common: Common::new(base, 301),
            nats: Nats::default(),
            payment: PaymentSettings::default(),
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }
}
