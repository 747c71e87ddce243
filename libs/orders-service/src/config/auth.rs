use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// Whether callers have to prove who they are, for a daemon that checks no tokens itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Auth {
    /// Whether callers prove who they are: off (anyone who reaches the pipeline can act as any tenant) or jwt.
    pub mode: AuthMode,
    /// Whether a daemon may listen beyond this machine while the mode is off.
    pub allow_off: bool,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Not at all: the tenant is what the caller says.
    #[default]
    Off,
    /// By a token, which says for which tenants they act.
    Jwt,
}

impl Auth {
    /// Refuses to listen on `host` if it [forbids](Self::forbids) that.
    pub(super) fn check(self, host: IpAddr) -> Result<(), Invalid> {
        match self.forbids(host) {
            Some(reason) => Err(Invalid::new("host", reason)),
            None => Ok(()),
        }
    }

    /// Why not to listen on `host`, if that lets other machines act as any tenant and nobody has said that they may.
    pub(crate) fn forbids(self, host: IpAddr) -> Option<String> {
        let is_open = self.mode == AuthMode::Off && !self.allow_off;
        (is_open && !host.to_canonical().is_loopback()).then(|| {
            format!(
                "{host} is reached from other machines, and with ORDERS_AUTH__MODE=off anyone who reaches it can act as any \
                 tenant; set ORDERS_AUTH__ALLOW_OFF=true if that is meant"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_is_open_beyond_this_machine() {
        let refused = |mode, allow_off, host: &str| {
            let auth = Auth { mode, allow_off };
            auth.check(host.parse().unwrap()).is_err()
        };
        for host in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(!refused(AuthMode::Off, false, host), "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "192.0.2.1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(refused(AuthMode::Off, false, host), "{host}");
            assert!(!refused(AuthMode::Off, true, host), "{host}");
            assert!(!refused(AuthMode::Jwt, false, host), "{host}");
        }
    }
}
