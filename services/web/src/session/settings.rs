//! The settings of logins and sessions.

use std::{path::PathBuf, time::Duration};

use orders_auth::is_safe;
use orders_service::{
    Invalid,
    config::{Secret, warn_if_public},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{clock::Limits, seal::Ring};

/// The path of the redirect URL, below that of the pages.
pub(crate) const CALLBACK: &str = "/login/callback";

/// The login of visitors at an OpenID provider.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OidcSettings {
    /// The URL of the OpenID provider at which visitors log in; when unset, the pages have no login.
    pub issuer: Option<String>,
    /// The id that the pages have at the provider.
    pub client_id: Option<String>,
    /// The file with the secret that the pages have at the provider.
    pub client_secret_file: Option<PathBuf>,
    /// The URL to which the provider sends visitors back: that of the pages, and `/login/callback`.
    pub redirect_url: Option<String>,
    /// The scopes that the provider is asked for, separated by spaces.
    pub scopes: String,
}

impl Default for OidcSettings {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret_file: None,
            redirect_url: None,
            scopes: "openid profile offline_access orders:read orders:create orders:cancel uploads:create".to_owned(),
        }
    }
}

/// The sessions of visitors who have logged in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionSettings {
    /// The file with the keys of the session cookies, 32 random bytes in base64 in each line: the first one seals, all
    /// of them open.
    pub keys_file: Option<PathBuf>,
    /// The time without a visit after which a session ends.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "1s", "x-longest" = "1day"))]
    pub idle: Duration,
    /// The time after the login at which a session ends.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "1s", "x-longest" = "1day"))]
    pub absolute: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            keys_file: None,
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 60 * 60),
        }
    }
}

/// Both together, complete.
#[derive(Debug, Clone)]
pub(crate) struct LoginSettings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) redirect_url: String,
    /// The URL of the pages, without a slash at its end.
    pub(crate) home: String,
    pub(crate) scopes: String,
    pub(crate) keys: Secret,
    pub(crate) limits: Limits,
}

impl LoginSettings {
    /// Complains of files that every user of the machine can read.
    pub(crate) fn warn(&self) {
        for secret in [&self.client_secret, &self.keys] {
            if let Secret::File(file) = secret {
                warn_if_public(file);
            }
        }
    }

    /// What is set; nothing without a provider.
    pub(crate) fn new(
        oidc: &OidcSettings,
        session: &SessionSettings,
    ) -> Result<Option<Self>, Invalid> {
        let Some(issuer) = &oidc.issuer else {
            return Ok(None);
        };
        if !is_safe(issuer) || issuer.contains('?') {
            let reason = "must be a URL of https, or of http on this machine";
            return Err(Invalid::new("oidc.issuer", reason));
        }
        let redirect_url = given("oidc.redirect_url", oidc.redirect_url.as_ref())?;
        let home = redirect_url.strip_suffix(CALLBACK);
        let Some(home) = home.filter(|home| is_safe(home) && !home.contains('?')) else {
            let reason = "must be like https://host/login/callback, or of http on this machine";
            return Err(Invalid::new("oidc.redirect_url", reason));
        };
        if !oidc.scopes.split(' ').any(|scope| scope == "openid") {
            return Err(Invalid::new("oidc.scopes", "must have openid among them"));
        }
        let file = given("oidc.client_secret_file", oidc.client_secret_file.as_ref())?;
        let client_secret = Secret::File(file.clone());
        let read = client_secret.read();
        let is_empty = read.map_err(|e| Invalid::new("oidc.client_secret_file", e.to_string()))?;
        if is_empty.is_empty() {
            return Err(Invalid::new("oidc.client_secret_file", "is empty"));
        }
        let keys = Secret::File(given("session.keys_file", session.keys_file.as_ref())?.clone());
        read_keys(&keys)?;
        Ok(Some(Self {
            issuer: issuer.clone(),
            client_id: given("oidc.client_id", oidc.client_id.as_ref())?.clone(),
            client_secret,
            home: home.to_owned(),
            redirect_url: redirect_url.clone(),
            scopes: oidc.scopes.clone(),
            keys,
            limits: Limits {
                idle: session.idle.as_secs(),
                absolute: session.absolute.as_secs(),
            },
        }))
    }
}

/// The keys of the cookies, as the file has them now.
pub(crate) fn read_keys(file: &Secret) -> Result<Ring, Invalid> {
    let wrong = |reason: String| Invalid::new("session.keys_file", reason);
    let text = file.read().map_err(|error| wrong(error.to_string()))?;
    Ring::parse(&text).map_err(|bad| wrong(format!("{file:?} {bad}")))
}

fn given<'a, T>(key: &'static str, value: Option<&'a T>) -> Result<&'a T, Invalid> {
    value.ok_or_else(|| Invalid::new(key, "must be set, since ORDERS_OIDC__ISSUER is"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn complete(folder: &Path) -> (OidcSettings, SessionSettings) {
        let file = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            Some(file)
        };
        let oidc = OidcSettings {
            issuer: Some("https://login.example".to_owned()),
            client_id: Some("pages".to_owned()),
            client_secret_file: file("secret", "s\n"),
            redirect_url: Some("https://shop.example/shop/login/callback".to_owned()),
            ..OidcSettings::default()
        };
        let key = data_encoding::BASE64.encode(&[1; 32]);
        let session = SessionSettings {
            keys_file: file("keys", &key),
            ..SessionSettings::default()
        };
        (oidc, session)
    }

    #[test]
    fn without_a_provider_nothing_else_counts() {
        let oidc = OidcSettings {
            client_secret_file: Some("/no/such/file".into()),
            ..OidcSettings::default()
        };
        let settings = LoginSettings::new(&oidc, &SessionSettings::default());
        assert!(settings.unwrap().is_none());
    }

    #[test]
    fn with_one_everything_does() {
        let folder = tempfile::tempdir().unwrap();
        let (oidc, session) = complete(folder.path());
        let settings = LoginSettings::new(&oidc, &session).unwrap().unwrap();
        assert_eq!(settings.home, "https://shop.example/shop");
        assert!(!format!("{settings:?}").contains("\"s\""));

        type Change = fn(&mut OidcSettings, &mut SessionSettings);
        let changes: [(Change, &str); 12] = [
            (
                |o, _| o.issuer = Some("http://login.example".into()),
                "ORDERS_OIDC__ISSUER: must be a URL of https",
            ),
            (
                |o, _| o.issuer = Some("login".into()),
                "ORDERS_OIDC__ISSUER: must be a URL of https",
            ),
            (
                |o, _| o.client_id = None,
                "ORDERS_OIDC__CLIENT_ID: must be set",
            ),
            (
                |o, _| o.client_secret_file = None,
                "ORDERS_OIDC__CLIENT_SECRET_FILE: must be set",
            ),
            (
                |o, _| o.client_secret_file = Some("/no/file".into()),
                "ORDERS_OIDC__CLIENT_SECRET_FILE: /no/file: No such file",
            ),
            (
                |o, _| o.redirect_url = None,
                "ORDERS_OIDC__REDIRECT_URL: must be set",
            ),
            (
                |o, _| o.redirect_url = Some("https://shop.example/".into()),
                "ORDERS_OIDC__REDIRECT_URL: must be like",
            ),
            (
                |o, _| o.redirect_url = Some("http://shop.example/login/callback".into()),
                "ORDERS_OIDC__REDIRECT_URL: must be like",
            ),
            (
                |o, _| o.scopes = "orders:read".into(),
                "ORDERS_OIDC__SCOPES: must have openid",
            ),
            (
                |_, s| s.keys_file = None,
                "ORDERS_SESSION__KEYS_FILE: must be set",
            ),
            (
                |_, s| s.keys_file = Some("/no/file".into()),
                "ORDERS_SESSION__KEYS_FILE: /no/file: No such file",
            ),
            (
                |o, s| s.keys_file.clone_from(&o.client_secret_file),
                "line 1 is not 32 bytes in base64",
            ),
        ];
        for (change, reason) in changes {
            let (mut oidc, mut session) = (oidc.clone(), session.clone());
            change(&mut oidc, &mut session);
            let error = LoginSettings::new(&oidc, &session).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }
}
