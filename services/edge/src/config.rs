use axum::http::Uri;
use orders_service::{
    Invalid, Settings,
    config::{Log, Streams},
};
use serde::{Deserialize, Serialize};

/// The settings of the edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port of the API, health and metrics.
    pub port: u16,
    /// Where NATS is.
    pub nats_url: String,
    /// Where the database is; the path names the database.
    pub mongo_url: String,
    /// The web pages that may call.
    pub cors_origin: Origins,
    /// Where clients reach the edge; `http://localhost:<port>` when unset.
    pub public_url: Option<String>,
    /// The realtime daemons that `/ws` is passed to.
    pub realtime_urls: Origins,
    /// Whether to create and mend streams, consumers and indexes.
    pub auto_migrate: bool,
    /// How many creates and cancels may be in flight at once; what comes on top is refused.
    pub max_in_flight: usize,
    /// What a repeated request means.
    pub idempotency: Idempotency,
    /// What the streams need.
    pub streams: Streams,
    /// What is logged, and how.
    pub log: Log,
}

/// The settings for repeated requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// What to do with a request id that was used for another body.
    pub on_mismatch: OnMismatch,
}

/// What to do with a request id that was used for another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMismatch {
    /// Answer 200 with the first order's id, and say so in a header.
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
            port: 3001,
            nats_url: "nats://localhost:4222".to_owned(),
            mongo_url: "mongodb://localhost:27017/orders".to_owned(),
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
            auto_migrate: true,
            streams: Streams::default(),
            log: Log::default(),
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        (
            "public_url",
            "where clients reach this API, http://localhost:<port> when unset",
        ),
        (
            "realtime_urls",
            "realtime daemons that serve /ws, separated by commas",
        ),
        (
            "max_in_flight",
            "creates and cancels in flight at once; what comes on top is answered 503",
        ),
        (
            "idempotency.on_mismatch",
            "a request id used again for another body: replay (200) or reject (422)",
        ),
    ];

    fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> &Log {
        &self.log
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
    fn every_setting_is_explained() {
        assert_eq!(
            orders_service::config::undocumented::<Config>(),
            Vec::<String>::new()
        );
    }

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
