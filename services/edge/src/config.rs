use orders_http::{Access, Origins};
use orders_service::{
    Invalid, Settings,
    config::{BASE_PORT, Common, Mongo, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::in_flight::InFlight;

/// The settings of the edge.
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
    /// Those who call.
    #[serde(flatten)]
    pub access: Access,
    /// The URLs of the realtime daemons that serve `/ws`, separated by commas.
    #[schemars(with = "String")]
    pub realtime_urls: Origins,
    /// The most creates and cancels this edge keeps waiting, and a quarter more for tenants
    /// that have none; the next gets an immediate 503.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: usize,
    /// The most creates and cancels of one tenant among them; 0 for a quarter. The next gets 429 after half a second.
    pub max_in_flight_per_tenant: usize,
    /// The answers to repeated requests.
    pub idempotency: Idempotency,
}

/// The settings for repeated requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Idempotency {
    /// The answer to a request id that was used for another body: replay (200) or reject (422).
    pub on_mismatch: OnMismatch,
}

/// The answer to a request id that was used for another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMismatch {
    /// Answer 200 with the first order's id and a header that says so.
    Replay,
    /// Answer 422.
    Reject,
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

impl Config {
    pub(crate) fn in_flight(&self) -> InFlight {
        let tenant_limit = match self.max_in_flight_per_tenant {
            0 => self.max_in_flight.div_ceil(4),
            limit => limit,
        };
        InFlight::new(self.max_in_flight, tenant_limit)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        let realtime = base.saturating_add(401);
        Self {
            common: Common::new(base, 1),
            nats: Nats::default(),
            mongo: Mongo::default(),
            access: Access::of_pages_on(base),
            realtime_urls: Origins::try_from(format!("http://localhost:{realtime}"))
                .expect("an origin"),
            max_in_flight: 256,
            max_in_flight_per_tenant: 0,
            idempotency: Idempotency {
                on_mismatch: OnMismatch::Replay,
            },
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn validate(&self) -> Result<(), Invalid> {
        let mut urls = self.realtime_urls.iter();
        if urls.any(|url| !url.as_str().starts_with("http://")) {
            return Err(Invalid::new(
                "realtime_urls",
                "must be like http://host:port",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_daemons_are_where_their_defaults_say() {
        let config = Config::on_base_port(4000);
        assert_eq!(String::from(config.realtime_urls), "http://localhost:4401");
        let pages = "http://localhost:4000,http://127.0.0.1:4000";
        assert_eq!(String::from(config.access.cors_origin), pages);
    }

    #[test]
    fn realtime_speaks_http() {
        let config = |urls: &str| Config {
            realtime_urls: Origins::try_from(urls.to_owned()).unwrap(),
            ..Config::default()
        };
        assert!(config("http://a,http://b:1").validate().is_ok());
        assert!(config("http://a,https://b").validate().is_err());
    }
}
