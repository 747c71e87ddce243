use orders_service::{
    Settings,
    config::{Common, Mongo, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the projector.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The bus.
    #[serde(flatten)]
    pub nats: Nats,
    /// The database.
    #[serde(flatten)]
    pub mongo: Mongo,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3201),
            nats: Nats::default(),
            mongo: Mongo::default(),
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
    }
}
