use orders_service::{
    Invalid, Settings,
    config::{Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::origin::Origins;

/// The settings of realtime.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The bus.
    #[serde(flatten)]
    pub nats: Nats,
    /// The origins whose pages may connect, separated by commas.
    pub cors_origin: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3401),
            nats: Nats::default(),
            cors_origin: "http://localhost:3000,http://127.0.0.1:3000".to_owned(),
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
    }

    fn validate(&self) -> Result<(), Invalid> {
        Origins::parse(&self.cors_origin)
            .map(|_| ())
            .map_err(|reason| Invalid::new("cors_origin", reason))
    }
}
