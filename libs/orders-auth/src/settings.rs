use std::{path::PathBuf, time::Duration};

use orders_service::{Invalid, config::Auth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    address::is_safe,
    pointer::{Match, Pointer},
};

mod algorithms;

pub use self::algorithms::Algorithms;
pub use orders_service::config::AuthMode as Mode;

/// The longest leeway.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// The settings of a daemon that asks who calls.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AuthSettings {
    /// Whether callers must prove who they are: off (a request says its tenant) or jwt (its token does).
    pub mode: Mode,
    /// Whether mode off may serve others than this machine.
    pub allow_off: bool,
    /// The OpenID provider whose tokens count, as its `iss` is written: `https://login.example/realm`.
    pub issuer: Option<String>,
    /// The audience (`aud`) that access tokens must be for.
    pub audience: String,
    /// The URL of the provider's keys; when unset, its discovery document names it.
    pub jwks_url: Option<String>,
    /// The signature algorithms that count, separated by commas; never none or HS256.
    #[schemars(with = "String")]
    pub algorithms: Algorithms,
    /// How far the clocks of provider and daemon may differ.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "0s", "x-longest" = "5m"))]
    pub leeway: Duration,
    /// Whether access tokens must be of the type `at+jwt` (RFC 9068); false for providers that write `JWT`.
    pub require_at_jwt: bool,
    /// The JSON pointer of the tenants in a token: a string, an array of strings, or an object by its keys.
    #[schemars(with = "String")]
    pub tenant_claim: Pointer,
    /// The JSON pointer of the scopes in a token; if they are not there, `/scp` and `/permissions` are asked.
    #[schemars(with = "String")]
    pub scope_claim: Pointer,
    /// The scope that an operator needs, besides the claim.
    pub operator_scope: String,
    /// The claim that an operator needs, besides the scope: a JSON pointer, `=` and a value.
    #[schemars(with = "String")]
    pub operator_claim: Match,
    /// The URL of this API as its clients know it, for the metadata of RFC 9728; when unset, from the public URL.
    pub resource: Option<String>,
    /// The JSON file with the API keys, a list of `{"id", "sha256", "tenant", "scopes", "expires"}`; read on change.
    pub api_keys_file: Option<PathBuf>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            mode: Mode::Off,
            allow_off: false,
            issuer: None,
            audience: text("orders-api"),
            jwks_url: None,
            algorithms: Algorithms::default(),
            leeway: Duration::from_secs(30),
            require_at_jwt: true,
            tenant_claim: Pointer::try_from(text("/tenant")).expect("a pointer"),
            scope_claim: Pointer::try_from(text("/scope")).expect("a pointer"),
            operator_scope: text("orders:operator"),
            operator_claim: Match::try_from(text("/roles=orders-operators")).expect("a claim"),
            resource: None,
            api_keys_file: None,
        }
    }
}

impl From<&AuthSettings> for Auth {
    fn from(settings: &AuthSettings) -> Self {
        Self {
            mode: settings.mode,
            allow_off: settings.allow_off,
        }
    }
}

impl AuthSettings {
    /// Refuses settings that do not go together or open what must stay closed.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.mode == Mode::Jwt && self.issuer.is_none() {
            return Err(Invalid::new("auth.issuer", "mode jwt needs it"));
        }
        let safe = "must be like https://host/path; http only on this machine";
        let urls = [
            ("auth.issuer", &self.issuer),
            ("auth.jwks_url", &self.jwks_url),
        ];
        for (key, url) in urls {
            if url.as_deref().is_some_and(|url| !is_safe(url)) {
                return Err(Invalid::new(key, safe));
            }
        }
        if self.audience.trim().is_empty() {
            return Err(Invalid::new("auth.audience", "must not be empty"));
        }
        if self.leeway > MAX_LEEWAY {
            return Err(Invalid::new("auth.leeway", "must be at most 5m"));
        }
        // Supabase lets users write theirs.
        for (key, pointer) in [
            ("auth.tenant_claim", &self.tenant_claim),
            ("auth.scope_claim", &self.scope_claim),
            ("auth.operator_claim", &self.operator_claim.pointer),
        ] {
            if pointer.is_below("user_metadata") {
                return Err(Invalid::new(key, "users write their user_metadata"));
            }
        }
        if self.operator_scope.is_empty() || self.operator_scope.contains(' ') {
            return Err(Invalid::new("auth.operator_scope", "must be one scope"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
