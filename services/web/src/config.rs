use axum::http::Uri;
use orders_service::{Invalid, Settings, config::Common};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the front end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What every daemon has.
    #[serde(flatten)]
    pub common: Common,
    /// The URL of the edge, to which `/api` and `/ws` are forwarded.
    pub edge_url: String,
    /// The origin of presigned URLs: pages may send files there, and nowhere else outside this origin.
    pub upload_origin: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3000),
            edge_url: "http://localhost:3001".to_owned(),
            upload_origin: "http://localhost:3001".to_owned(),
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
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
    use super::*;

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
