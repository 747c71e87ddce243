use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, header, uri::Authority};
use serde::{Deserialize, Serialize};
use tower_http::cors::AllowOrigin;
use url::Url;

/// A scheme, a host and perhaps a port, as browsers send them: in lower case, without the port that the scheme has by
/// default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0
            .split_once("://")
            .map_or("", |(_, authority)| authority)
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Reads an origin of any scheme; the error says what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('*') {
            return Err(format!(
                "{text:?} stands for many origins: write each one out, such as https://shop.example"
            ));
        }
        let url = Url::parse(text).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        let Some(url) = url
            .as_ref()
            .filter(|_| !host.is_empty() && host.chars().all(is_host))
        else {
            // A password could be in it.
            let shown = text.rsplit('@').next().unwrap_or_default();
            return Err(format!(
                "{shown:?} is not an origin: write scheme, host and port, such as http://localhost:3000"
            ));
        };
        let port = url
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        let origin = format!("{}://{}{port}", url.scheme(), host.to_ascii_lowercase());
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_bare {
            return Err(format!(
                "an origin is only scheme, host and port: write {origin}"
            ));
        }
        Ok(Self(origin))
    }
}

/// One or more origins; in text, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Each of them; never none.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    /// Lets the pages of these origins read answers.
    pub fn cors(&self) -> AllowOrigin {
        let origins = self.clone();
        AllowOrigin::predicate(move |origin, _| origins.contain(origin))
    }

    /// Whether the page that sends a request is of one of these origins or of the host that it sends the request to,
    /// which [`Front`](crate::Front) has put into `Host`. If a proxy tells a host of its own, the browser still knows; no
    /// page can put words into its `Sec-Fetch-Site`. A client that is not a browser names no origin.
    #[must_use]
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let is_own = headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "same-origin");
        is_own || self.contain(origin) || is_of_host(origin, headers)
    }

    fn contain(&self, origin: &HeaderValue) -> bool {
        let Ok(text) = origin.to_str() else {
            return false;
        };
        let is_own = |text: &str| self.0.iter().any(|own| own.as_str() == text);
        // Browsers send them as they are here; other clients add default ports.
        is_own(text)
            || text
                .parse::<Origin>()
                .is_ok_and(|origin| is_own(origin.as_str()))
    }
}

impl TryFrom<String> for Origins {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Origins> for String {
    fn from(Origins(origins): Origins) -> Self {
        let texts: Vec<_> = origins.iter().map(Origin::as_str).collect();
        texts.join(",")
    }
}

fn is_of_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match (origin, host) {
        (Some((_, origin)), Some(host)) => plain(origin).is_some_and(|origin| origin == host),
        _ => false,
    }
}

/// A host and perhaps a port, in lower case and without a port that is the default of HTTP or HTTPS; `None` for
/// anything else. Which of the two it was does not matter: a proxy may speak another one than the client.
pub(crate) fn plain(host: &str) -> Option<String> {
    let host = host.trim();
    if host.contains('@') || host.parse::<Authority>().is_err() {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let bare = host
        .strip_suffix(":443")
        .or_else(|| host.strip_suffix(":80"));
    Some(bare.unwrap_or(&host).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        Origins::try_from(text.to_owned()).map(String::from)
    }

    #[test]
    fn an_origin_is_read_as_browsers_send_it() {
        for (text, sent) in [
            ("http://localhost:3000/", "http://localhost:3000"),
            ("https://Shop.example:443", "https://shop.example"),
            ("HTTP://shop.example:80", "http://shop.example"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://LOCALHOST", "ionic://localhost"),
            (
                "tauri://localhost, https://a",
                "tauri://localhost,https://a",
            ),
        ] {
            assert_eq!(read(text), Ok(sent.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        let one = "is not an origin: write scheme, host and port, such as http://localhost:3000";
        let each = "stands for many origins: write each one out, such as https://shop.example";
        let only = "an origin is only scheme, host and port: write";
        for (text, reason) in [
            ("", format!("\"\" {one}")),
            ("http://a,", format!("\"\" {one}")),
            ("null", format!("\"null\" {one}")),
            ("localhost:3000", format!("\"localhost:3000\" {one}")),
            (
                "https://h; script-src",
                format!("\"https://h; script-src\" {one}"),
            ),
            ("https://h;x", format!("\"https://h;x\" {one}")),
            ("http://", format!("\"http://\" {one}")),
            ("mailto:u:p@h", format!("\"h\" {one}")),
            ("*", format!("\"*\" {each}")),
            (
                "https://*.shop.example",
                format!("\"https://*.shop.example\" {each}"),
            ),
            (
                "https://shop.example/orders",
                format!("{only} https://shop.example"),
            ),
            ("http://h:81?q", format!("{only} http://h:81")),
            ("http://u:p@h", format!("{only} http://h")),
        ] {
            assert_eq!(read(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn pages_of_these_origins_and_of_the_same_host_are_admitted() {
        let origins = Origins::try_from("http://localhost:3000,https://shop.example".to_owned());
        let origins = origins.unwrap();
        let admit = |origin: &'static str, host: &'static str| {
            let named = [(header::ORIGIN, origin), (header::HOST, host)];
            let named = named.into_iter().filter(|(_, value)| !value.is_empty());
            origins.admit(
                &named
                    .map(|(name, value)| (name, HeaderValue::from_static(value)))
                    .collect(),
            )
        };
        for (origin, host) in [
            ("", "a:3401"),
            ("http://localhost:3000", "a:3401"),
            ("https://shop.example", "a:3401"),
            ("https://shop.example:443", ""),
            ("http://API.example:3401", "api.example:3401"),
            ("https://api.example", "api.example"),
            ("https://api.example:443", "api.example"),
        ] {
            assert!(admit(origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "a:3401"),
            ("https://localhost:3000", "a:3401"),
            ("http://localhost:3401.evil.example", "localhost:3401"),
            ("http://a", ""),
            ("a:3401", "a:3401"),
            ("null", "null"),
        ] {
            assert!(!admit(origin, host), "{origin} at {host}");
        }
        for (site, admitted) in [
            ("same-origin", true),
            ("same-site", false),
            ("cross-site", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ORIGIN,
                HeaderValue::from_static("https://other.example"),
            );
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(origins.admit(&headers), admitted, "{site}");
        }
    }

    #[test]
    fn a_host_has_no_default_port() {
        for (host, shown) in [
            ("Shop.example:443", Some("shop.example")),
            ("shop.example:80", Some("shop.example")),
            ("shop.example:8080", Some("shop.example:8080")),
            ("[::1]:443", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("u@h", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(plain(host).as_deref(), shown, "{host}");
        }
    }
}
