use std::time::Duration;

use orders_service::{
    Settings,
    config::{Auth, BASE_PORT, Common, Mongo, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the writer.
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
    /// The database.
    #[serde(flatten)]
    pub mongo: Mongo,
    /// The search for orders whose event was lost.
    pub heal: Heal,
}

/// The settings of the search for orders whose event was lost.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Heal {
    /// The time from one search for orders whose event was lost to the next.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "100ms", "x-longest" = "1day"))]
    pub every: Duration,
    /// The time an order must have been PENDING before its event is published again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "0s", "x-longest" = "14days"))]
    pub pending_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        Self {
            common: Common::new(base, 101),
            auth: Auth::default(),
            nats: Nats::default(),
            mongo: Mongo::default(),
            heal: Heal {
                every: Duration::from_secs(300),
                pending_for: Duration::from_secs(60),
            },
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn auth(&self) -> Auth {
        self.auth
    }
}
