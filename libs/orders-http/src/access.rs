use std::time::Duration;

use axum::http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Origins, TrustedProxies};

/// The settings for those who call: browsers, other clients, and the proxies in front.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// The origins whose pages may call the API and connect, separated by commas, besides the host that they call.
    #[schemars(with = "String")]
    pub cors_origin: Origins,
    /// The URL at which clients reach the edge, perhaps with a path; when unset, the host that each client names counts.
    #[schemars(with = "Option<String>")]
    pub public_url: Option<PublicUrl>,
    /// The proxies whose `X-Forwarded-*` and `Forwarded` count, as addresses and networks separated by commas, or none.
    #[schemars(with = "String")]
    pub trusted_proxies: TrustedProxies,
    /// How long SIGTERM leaves the daemon in service, unready, so that load balancers send new requests elsewhere; its
    /// sockets and streams close one by one meanwhile. Then it stops within 4 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "0s", "x-longest" = "10m"))]
    pub drain: Duration,
}

impl Access {
    /// The defaults when the pages have this port.
    #[must_use]
    pub fn of_pages_on(port: u16) -> Self {
        let pages = format!("http://localhost:{port},http://127.0.0.1:{port}");
        Self {
            cors_origin: Origins::try_from(pages).expect("origins"),
            public_url: None,
            trusted_proxies: TrustedProxies::default(),
            drain: Duration::ZERO,
        }
    }
}

/// A URL of HTTP or HTTPS without a query or a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `https://host` of `https://host/path`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
    }

    /// `host` of `https://host/path`.
    pub(crate) fn authority(&self) -> &str {
        self.0.split('/').nth(2).unwrap_or_default()
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_base = |url: Uri| {
            let authority = url.authority()?.as_str();
            let is_web = matches!(url.scheme_str(), Some("http" | "https"));
            (is_web && !authority.contains('@') && url.query().is_none()).then_some(())
        };
        let text = text.trim().trim_end_matches('/');
        match text.parse().ok().and_then(is_base) {
            Some(()) => Ok(Self(text.to_owned())),
            None => Err("must be like https://host/path"),
        }
    }
}

impl From<PublicUrl> for String {
    fn from(PublicUrl(url): PublicUrl) -> Self {
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_the_beginning_of_others() {
        let read = |text: &str| PublicUrl::try_from(text.to_owned()).map(String::from);
        assert_eq!(
            read("https://shop.example/orders/"),
            Ok("https://shop.example/orders".to_owned())
        );
        assert_eq!(
            read("http://localhost:3001"),
            Ok("http://localhost:3001".to_owned())
        );
        for bad in [
            "shop.example",
            "https://shop.example/?q",
            "/orders",
            "https://",
            "ftp://h",
            "http://u@h",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
