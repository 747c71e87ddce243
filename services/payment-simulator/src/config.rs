use orders_contracts::PaymentSettings;
use orders_service::{
    Settings,
    config::{Auth, BASE_PORT, Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the payment-simulator.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// Whether callers prove who they are.
    pub auth: Auth,
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
            auth: Auth::default(),
            nats: Nats::default(),
            payment: PaymentSettings::default(),
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn auth(&self) -> Auth {
        self.auth
    }
}
