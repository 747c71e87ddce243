use axum::http::HeaderMap;
use orders_auth::Scope;
use orders_http::PublicUrl;
use serde_json::{Value, json};

use crate::state::Place;

/// Where the metadata is, below the host; the path of the API comes after it (RFC 9728 section 3.1).
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The API as a protected resource (RFC 9728).
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The issuer of the tokens.
    pub(crate) issuer: String,
    /// The URL of the API, if it is set.
    pub(crate) url: Option<PublicUrl>,
    pub(crate) place: Place,
}

impl Resource {
    fn url(&self, headers: &HeaderMap) -> String {
        match &self.url {
            Some(url) => url.as_str().to_owned(),
            None => self.place.url(headers),
        }
    }

    /// The origin of the provider.
    pub(crate) fn provider(&self) -> &str {
        split(&self.issuer).0
    }

    /// The URL of the metadata for whoever sent `headers`.
    pub(crate) fn metadata_url(&self, headers: &HeaderMap) -> String {
        let url = self.url(headers);
        let (origin, path) = split(&url);
        format!("{origin}{WELL_KNOWN}{path}")
    }

    /// The metadata, at the well-known place alone or followed by `path`, which is that of the API or leads nowhere.
    pub(crate) fn metadata(&self, headers: &HeaderMap, path: Option<&str>) -> Option<Value> {
        let url = self.url(headers);
        let (_, own) = split(&url);
        if path.is_some_and(|path| path != own.trim_start_matches('/')) {
            return None;
        }
        Some(json!({
            "resource": url,
            "authorization_servers": [self.issuer],
            "scopes_supported": Scope::ALL.map(Scope::as_str),
            "bearer_methods_supported": ["header"],
            "resource_name": "Orders API",
        }))
    }
}

/// The origin of a URL, and its path.
fn split(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url[authority..].find('/').map(|at| authority + at);
    url.split_at(path.unwrap_or(url.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_comes_between_host_and_path() {
        let url = |resource: Option<&str>, public: Option<&str>| {
            let url = |text: &str| PublicUrl::try_from(text.to_owned()).unwrap();
            let resource = Resource {
                issuer: "https://login.example".to_owned(),
                url: resource.map(url),
                place: Place {
                    public_url: public.map(url),
                    port: 3001,
                },
            };
            let headers = HeaderMap::new();
            let found = |path: &str| resource.metadata(&headers, Some(path)).is_some();
            assert!(resource.metadata(&headers, None).is_some());
            let found = ["shop/orders", "shop", "other"].map(found);
            (resource.metadata_url(&headers), found)
        };
        let (ok, no) = (true, false);
        let well_known = |host: &str, path: &str| format!("{host}{WELL_KNOWN}{path}");
        let shop = "https://shop.example";
        for (resource, public, expected, found) in [
            (None, None, well_known("http://localhost:3001", ""), [no; 3]),
            (None, Some(shop), well_known(shop, ""), [no; 3]),
            (
                Some("https://shop.example/shop/orders"),
                Some("https://other.example"),
                well_known(shop, "/shop/orders"),
                [ok, no, no],
            ),
            (
                None,
                Some("https://shop.example/shop"),
                well_known(shop, "/shop"),
                [no, ok, no],
            ),
        ] {
            assert_eq!(url(resource, public), (expected, found));
        }
    }
}
