use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::cors::{AllowHeaders, CorsLayer};

/// The `Host` that the client asked a proxy for.
const FORWARDED_HOST: &str = "x-forwarded-host";
/// The body of an Engine.IO server's 403.
const FORBIDDEN: &str = r#"{"code":4,"message":"Forbidden"}"#;

/// The origins whose pages may connect, besides those from the same host.
///
/// CORS alone does not keep a foreign page out: it does not apply to WebSockets.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Arc<[HeaderValue]>);

impl Origins {
    /// Reads a list separated by commas.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let origins = list.split(',').map(|origin| {
            let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
            let uri = origin.parse::<Uri>().ok().filter(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.path() == "/"
                    && uri.query().is_none()
            });
            match (uri, HeaderValue::from_str(&origin)) {
                (Some(_), Ok(value)) => Ok(value),
                _ => Err(format!(
                    "{origin:?} is not an origin such as http://localhost:3000"
                )),
            }
        });
        Ok(Self(origins.collect::<Result<_, _>>()?))
    }

    /// Lets the pages of these origins read the answers to polling.
    pub(crate) fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(self.0.to_vec())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .allow_credentials(true)
    }

    /// Refuses requests from the pages of other origins. A client that is not a browser names none.
    pub(crate) async fn guard(
        State(origins): State<Self>,
        request: Request,
        next: Next,
    ) -> Response {
        if origins.admits(request.headers()) {
            return next.run(request).await;
        }
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        (StatusCode::FORBIDDEN, content_type, FORBIDDEN).into_response()
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        self.0.contains(origin) || is_same_host(origin, headers)
    }
}

/// Whether `origin` is the host that the request was sent to.
fn is_same_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some((_, origin)) = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    [header::HOST.as_str(), FORWARDED_HOST]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|hosts| hosts.split(','))
        .any(|host| host.trim().eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        Origins::parse("http://localhost:3000, https://shop.example/")
            .unwrap()
            .admits(&headers)
    }

    #[test]
    fn pages_of_the_configured_origins_and_of_the_same_host_may_connect() {
        assert!(admits(&[("host", "localhost:3401")]));
        assert!(admits(&[
            ("host", "localhost:3401"),
            ("origin", "http://localhost:3000")
        ]));
        assert!(admits(&[("origin", "https://shop.example")]));
        assert!(admits(&[
            ("host", "api.example:3401"),
            ("origin", "http://API.example:3401")
        ]));
        assert!(admits(&[
            ("host", "127.0.0.1:3401"),
            ("x-forwarded-host", "web.example, api.example:3001"),
            ("origin", "https://api.example:3001"),
        ]));
    }

    #[test]
    fn pages_of_other_origins_may_not() {
        for origin in [
            "http://evil.example",
            "http://localhost:3001",
            "https://localhost:3000",
            "http://localhost:3401.evil.example",
            "null",
            "localhost:3401",
            "",
        ] {
            assert!(
                !admits(&[("host", "localhost:3401"), ("origin", origin)]),
                "{origin}"
            );
        }
    }

    #[test]
    fn what_is_no_origin_is_no_setting() {
        for bad in [
            "",
            "*",
            "localhost:3000",
            "http://",
            "http://a/b",
            "http://a?b",
            "ftp://a",
            "http://a,",
        ] {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }
}
