use orders_http::Access;
use orders_service::{
    Settings,
    config::{BASE_PORT, Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of realtime.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The bus.
    #[serde(flatten)]
    pub nats: Nats,
    /// Those who connect.
    #[serde(flatten)]
    pub access: Access,
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        Self {
            common: Common::new(base, 401),
            nats: Nats::default(),
            access: Access::of_pages_on(base),
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}
