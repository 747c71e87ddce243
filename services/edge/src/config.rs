use std::time::Duration;

use orders_auth::{AuthSettings, Mode};
use orders_http::{Access, Origins, PublicUrl};
use orders_service::{
    Invalid, Settings,
    config::{Auth, BASE_PORT, Common, Mongo, Nats},
};
use orders_uploads::UploadSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    in_flight::InFlight, limits::Limits, payments::PaymentSecrets, rate::Rate, state::Place,
};

/// The settings of the edge.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// How callers prove who they are.
    pub auth: AuthSettings,
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
    /// How much one tenant may ask for.
    pub limits: LimitSettings,
    /// The answers to repeated requests.
    pub idempotency: Idempotency,
    /// Where files are uploaded to.
    pub uploads: UploadSettings,
    /// Who may tell of payments from outside.
    pub payment: PaymentSecrets,
}

/// The settings for how much one tenant may ask for. Each edge counts for itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct LimitSettings {
    /// The requests a second that this edge takes from one tenant, where a body counts as one more for each 16 KiB; a
    /// subject has a quarter, and an address as many without valid credentials. The next gets 429 after half a second.
    /// Unset, it is 100 in mode `jwt`, and there is no limit in mode `off`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tenant_rate: Option<u32>,
    /// How many of these may come at once after a pause; unset, twice the rate.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tenant_burst: Option<u32>,
    /// The most creates and cancels of one tenant among those in flight; unset, a quarter. The next gets 429 after half a
    /// second.
    #[schemars(range(min = 1, max = 100_000))]
    pub tenant_in_flight: Option<usize>,
    /// Whether answers say in `RateLimit` and `RateLimit-Policy` what is left; unset, they do in mode `jwt`.
    pub headers: Option<bool>,
}

/// The requests a second of one tenant where callers prove who they are.
const TENANT_RATE: u32 = 100;

impl LimitSettings {
    /// The rate of one tenant, if there is one; `by_default` there is.
    pub(crate) fn tenant(&self, by_default: bool) -> Option<Rate> {
        let rate = self
            .tenant_rate
            .or_else(|| by_default.then_some(TENANT_RATE))?;
        let burst = self.tenant_burst.unwrap_or_else(|| rate.saturating_mul(2));
        Some(Rate::per_second(rate, burst))
    }
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
    /// The URL by which tokens may name the API.
    pub(crate) fn resource(&self) -> Result<Option<PublicUrl>, Invalid> {
        let url = self.auth.resource.clone().map(PublicUrl::try_from);
        url.transpose()
            .map_err(|rule| Invalid::new("auth.resource", rule))
    }

    /// Where clients find the edge that listens on `port`.
    pub(crate) fn place(&self, port: u16) -> Place {
        Place {
            public_url: self.access.public_url.clone(),
            port,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new(&self.limits, self.auth.mode == Mode::Jwt)
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        let quarter = || self.max_in_flight.div_ceil(4);
        let tenant_limit = self.limits.tenant_in_flight.unwrap_or_else(quarter);
        InFlight::new(self.max_in_flight, tenant_limit)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        let realtime = base.saturating_add(401);
        Self {
            common: Common::new(base, 1),
            auth: AuthSettings::default(),
            nats: Nats::default(),
            mongo: Mongo::default(),
            access: Access::of_pages_on(base),
            realtime_urls: Origins::try_from(format!("http://localhost:{realtime}"))
                .expect("an origin"),
            max_in_flight: 256,
            limits: LimitSettings::default(),
            idempotency: Idempotency {
                on_mismatch: OnMismatch::Replay,
            },
            uploads: UploadSettings::default(),
            payment: PaymentSecrets::default(),
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn auth(&self) -> Auth {
        (&self.auth).into()
    }

    fn drain(&self) -> Duration {
        self.access.drain
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.auth.validate()?;
        self.uploads.validate()?;
        self.resource()?;
        let mut urls = self.realtime_urls.iter();
        if urls.any(|url| !url.as_str().starts_with("http://")) {
            return Err(Invalid::new(
                "realtime_urls",
                "must be like http://host:port",
            ));
        }
        let has_rate = self.limits.tenant(self.auth.mode == Mode::Jwt).is_some();
        if self.limits.tenant_burst.is_some() && !has_rate {
            let reason = "needs ORDERS_LIMITS__TENANT_RATE";
            return Err(Invalid::new("limits.tenant_burst", reason));
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
    fn a_burst_is_twice_the_rate_and_needs_one() {
        let limits = |tenant_rate, tenant_burst| LimitSettings {
            tenant_rate,
            tenant_burst,
            ..LimitSettings::default()
        };
        assert_eq!(limits(None, None).tenant(false), None);
        let rate = Some(Rate::per_second(100, 200));
        assert_eq!(limits(None, None).tenant(true), rate);
        assert_eq!(limits(None, Some(200)).tenant(true), rate);
        assert_eq!(limits(Some(100), None).tenant(false), rate);
        assert_eq!(limits(Some(100), Some(200)).tenant(true), rate);
        let config = Config {
            limits: limits(None, Some(1)),
            ..Config::default()
        };
        let error = config.validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "ORDERS_LIMITS__TENANT_BURST: needs ORDERS_LIMITS__TENANT_RATE"
        );
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
