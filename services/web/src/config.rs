use axum::http::Uri;
use orders_service::{Invalid, Settings, config::Log};
use serde::{Deserialize, Serialize};

/// The settings of the front end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port of the pages, health and metrics.
    pub port: u16,
    /// The edge that `/api` and `/ws` are passed to.
    pub edge_url: String,
    /// The origin that presigned URLs lead to: the one place besides this that pages may send to.
    pub upload_origin: String,
    /// What is logged, and how.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 3000,
            edge_url: "http://localhost:3001".to_owned(),
            upload_origin: "http://localhost:3001".to_owned(),
            log: Log::default(),
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("edge_url", "the edge that /api and /ws are passed to"),
        (
            "upload_origin",
            "where presigned URLs lead, which pages may send files to",
        ),
    ];

    fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn validate(&self) -> Result<(), Invalid> {
        if !is_origin(&self.edge_url) || !self.edge_url.starts_with("http://") {
            return Err(Invalid::new("edge_url", "must be like http://host:port"));
        }
        if !is_origin(&self.upload_origin) {
            return Err(Invalid::new(
                "upload_origin",
                "must be like https://host:port",
            ));
        }
        Ok(())
    }
}

/// Whether `text` is a scheme, a host and perhaps a port, and nothing that could say more in a header.
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
    use super::*;

    #[test]
    fn every_setting_is_explained() {
        assert_eq!(
            orders_service::config::undocumented::<Config>(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn urls_are_origins() {
        let with_upload = |origin: &str| Config {
            upload_origin: origin.to_owned(),
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
