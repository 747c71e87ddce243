use std::time::Duration;

use axum::http::Uri;
use orders_auth::{AuthSettings, Mode};
use orders_http::{Access, PublicUrl};
use orders_service::{
    Invalid, Settings,
    config::{Auth, BASE_PORT, Common, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::{LoginSettings, OidcSettings, SessionSettings};

/// The settings of the front end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The bus, which tells in mode jwt which sessions have ended.
    #[serde(flatten)]
    pub nats: Nats,
    /// Those who visit.
    #[serde(flatten)]
    pub access: Access,
    /// The URL of the edge, to which `/api` and `/ws` are forwarded.
    pub edge_url: String,
    /// The origin of presigned URLs: pages may send files there, and nowhere else outside this origin;
    /// when unset, that of `ORDERS_PUBLIC_URL` or else `http://localhost:<port of the edge>`.
    pub upload_origin: Option<String>,
    /// How access tokens are verified.
    pub auth: AuthSettings,
    /// The login.
    pub oidc: OidcSettings,
    /// The sessions.
    pub session: SessionSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

impl Config {
    /// The origin of presigned URLs: unless it is set, that of the public URL, or else of the edge on this machine.
    pub(crate) fn upload_origin(&self) -> String {
        let public = || self.access.public_url.as_ref().map(PublicUrl::origin);
        self.upload_origin
            .clone()
            .or_else(public)
            .unwrap_or_else(|| {
                let edge = self.edge_url.parse::<Uri>().ok();
                let port = edge.and_then(|url| url.port_u16()).unwrap_or(80);
                format!("http://localhost:{port}")
            })
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        let edge = base.saturating_add(1);
        Self {
            common: Common::new(base, 0),
            nats: Nats::default(),
            access: Access::of_pages_on(base),
            edge_url: format!("http://localhost:{edge}"),
            upload_origin: None,
            auth: AuthSettings::default(),
            oidc: OidcSettings::default(),
            session: SessionSettings::default(),
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

    fn uses_nats(&self) -> bool {
        self.auth.mode == Mode::Jwt
    }

    fn validate(&self) -> Result<(), Invalid> {
        if self.auth.mode == Mode::Jwt && self.oidc.issuer.is_none() {
            return Err(Invalid::new("oidc.issuer", "auth.mode jwt needs it"));
        }
        if !is_origin(&self.edge_url) || !self.edge_url.starts_with("http://") {
            return Err(Invalid::new("edge_url", "must be like http://host:port"));
        }
        if !self.upload_origin.as_deref().is_none_or(is_origin) {
            return Err(Invalid::new(
                "upload_origin",
                "must be like https://host:port",
            ));
        }
        LoginSettings::new(&self.oidc, &self.session).map(drop)
    }
}

/// Whether `text` is a scheme, a host and perhaps a port, without a character that means something in a CSP header.
fn is_origin(text: &str) -> bool {
    let Ok(url) = text.parse::<Uri>() else {
        return false;
    };
    matches!(url.scheme_str(), Some("http" | "https"))
        && url.path() == "/"
        && !text.ends_with('/')
        && url.query().is_none()
        && !text.contains(['@', ';', ',', '\'', '*'])
}

#[cfg(test)]
mod tests {
    use orders_service::config::load;

    use super::*;

    #[test]
    fn the_settings_of_nats_count_in_mode_jwt_alone() {
        let with = |mode: &str| {
            let set = [
                ("ORDERS_AUTH__MODE", mode),
                ("ORDERS_NATS__CREDS", "/no/such/file"),
            ];
            let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
            load::<Config>(None, set).map_err(|error| error.to_string())
        };
        assert!(with("off").is_ok());
        let wrong = with("jwt").unwrap_err();
        assert!(wrong.starts_with("ORDERS_NATS__CREDS: "), "{wrong}");
    }

    #[test]
    fn files_go_to_the_edge_unless_told_otherwise() {
        let origin = |edge: &str, upload: Option<&str>| {
            let config = Config {
                edge_url: edge.to_owned(),
                upload_origin: upload.map(str::to_owned),
                ..Config::default()
            };
            config.upload_origin()
        };
        let edge = "http://127.0.0.1:4001";
        assert_eq!(origin(edge, None), "http://localhost:4001");
        assert_eq!(origin("http://edge", None), "http://localhost:80");
        let other = "https://files.example";
        assert_eq!(origin(edge, Some(other)), other);
    }

    #[test]
    fn urls_are_origins() {
        let with_upload = |origin: &str| Config {
            upload_origin: Some(origin.to_owned()),
            ..Config::default()
        };
        for good in ["https://files.example", "http://localhost:3001"] {
            assert!(with_upload(good).validate().is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "localhost:3001",
            "https://h/",
            "https://h/path",
            "https://h?q",
            "https://u@h",
            "https://h;script-src",
            "https://*",
            "https://*.h",
            "ftp://h",
        ] {
            assert!(with_upload(bad).validate().is_err(), "{bad}");
        }
        let tls = Config {
            edge_url: "https://h".to_owned(),
            ..Config::default()
        };
        assert!(tls.validate().is_err());
    }
}
