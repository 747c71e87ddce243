use std::{num::NonZeroUsize, time::Duration};

use orders_auth::{AuthSettings, Mode};
use orders_http::Access;
use orders_service::{
    Invalid, Settings,
    config::{Auth, BASE_PORT, Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most sockets of one tenant where clients need tokens.
const SOCKETS_PER_TENANT: usize = 1_000;

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
    /// Whether clients need tokens, and which.
    pub auth: AuthSettings,
    /// The limits of sockets.
    pub limits: Limits,
}

/// The limits of sockets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// The most sockets of one tenant at this daemon; when unset, 1000 with ORDERS_AUTH__MODE=jwt, and no limit without.
    pub sockets_per_tenant: Option<NonZeroUsize>,
}

impl Config {
    /// The most sockets of one tenant, if there is a limit.
    pub(crate) fn sockets_per_tenant(&self) -> Option<usize> {
        let default = match self.auth.mode {
            Mode::Off => None,
            Mode::Jwt => Some(SOCKETS_PER_TENANT),
        };
        self.limits
            .sockets_per_tenant
            .map(NonZeroUsize::get)
            .or(default)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        Self {
            common: Common::new(base, 401),
            nats: Nats::default(),
            access: Access::of_pages_on(base),
            auth: AuthSettings::default(),
            limits: Limits::default(),
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
        self.auth.validate()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_sockets_needs_tokens_or_a_setting() {
        let limit = |mode, set| {
            let config = Config {
                auth: AuthSettings {
                    mode,
                    ..AuthSettings::default()
                },
                limits: Limits {
                    sockets_per_tenant: NonZeroUsize::new(set),
                },
                ..Config::default()
            };
            config.sockets_per_tenant()
        };
        assert_eq!(limit(Mode::Off, 0), None);
        assert_eq!(limit(Mode::Off, 7), Some(7));
        assert_eq!(limit(Mode::Jwt, 0), Some(1_000));
        assert_eq!(limit(Mode::Jwt, 7), Some(7));
    }
}
