use axum::http::Uri;
use orders_service::{
    Invalid, Settings,
    config::{Common, Mongo, Nats},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The origins whose pages may call the API, separated by commas.
    #[schemars(with = "String")]
    pub cors_origin: Origins,
    /// The URL at which clients reach the edge; `http://localhost:<port>` when unset.
    pub public_url: Option<String>,
    /// The URLs of the realtime daemons that serve `/ws`, separated by commas.
    #[schemars(with = "String")]
    pub realtime_urls: Origins,
    /// The most creates and cancels this edge keeps waiting; the next gets an immediate 503.
    pub max_in_flight: usize,
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

/// One or more of `scheme://host[:port]`, separated by commas; http or https.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origins(Vec<String>);

impl Origins {
    /// Each of them; never none.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<String> for Origins {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let origin = |part: &str| {
            let part = part.trim().trim_end_matches('/');
            let url: Uri = part.parse().ok()?;
            let bare = is_web_url(&url) && url.path() == "/" && url.query().is_none();
            // Browsers send it in lower case.
            bare.then(|| part.to_ascii_lowercase())
        };
        let origins = text.split(',').map(|part| {
            origin(part).ok_or_else(|| format!("{:?} is not like http://host:port", part.trim()))
        });
        origins.collect::<Result<_, _>>().map(Self)
    }
}

impl From<Origins> for String {
    fn from(origins: Origins) -> Self {
        origins.0.join(",")
    }
}

fn is_web_url(url: &Uri) -> bool {
    matches!(url.scheme_str(), Some("http" | "https"))
        && url.host().is_some_and(|host| !host.is_empty())
        && url
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3001),
            nats: Nats::default(),
            mongo: Mongo::default(),
            cors_origin: Origins(vec![
                "http://localhost:3000".to_owned(),
                "http://127.0.0.1:3000".to_owned(),
            ]),
            public_url: None,
            realtime_urls: Origins(vec!["http://localhost:3401".to_owned()]),
            max_in_flight: 256,
            idempotency: Idempotency {
                on_mismatch: OnMismatch::Replay,
            },
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
    }

    fn validate(&self) -> Result<(), Invalid> {
        let is_base = |url: &Uri| is_web_url(url) && url.query().is_none();
        if let Some(url) = &self.public_url
            && !url.parse().is_ok_and(|url| is_base(&url))
        {
            return Err(Invalid::new("public_url", "must be like https://host/path"));
        }
        if self
            .realtime_urls
            .iter()
            .any(|url| !url.starts_with("http://"))
        {
            return Err(Invalid::new(
                "realtime_urls",
                "must be like http://host:port",
            ));
        }
        if self.max_in_flight == 0 {
            return Err(Invalid::new("max_in_flight", "must not be 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port_and_nothing_else() {
        let origins = Origins::try_from("http://localhost:3000/, https://Shop.example".to_owned());
        assert_eq!(
            origins.unwrap().iter().collect::<Vec<_>>(),
            ["http://localhost:3000", "https://shop.example"]
        );
        for bad in [
            "",
            "*",
            "localhost:3000",
            "http://h/path",
            "http://h?q",
            "ftp://h",
            "http://u:p@h",
            "http://a,",
        ] {
            assert!(Origins::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_checked() {
        let check = |url: &str| {
            Config {
                public_url: Some(url.to_owned()),
                ..Config::default()
            }
            .validate()
        };
        assert!(check("https://shop.example/orders/").is_ok());
        for bad in [
            "shop.example",
            "https://shop.example/?q",
            "/orders",
            "https://",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let tls = Origins::try_from("https://h".to_owned()).unwrap();
        assert!(
            Config {
                realtime_urls: tls,
                ..Config::default()
            }
            .validate()
            .is_err()
        );
    }
}
