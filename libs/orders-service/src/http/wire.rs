//! What every request is checked for before it is routed, and the paths that mean the same.

use axum::http::{
    HeaderValue, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};

/// Why a request names its host wrongly (RFC 9112 section 3.2), if it does.
pub(super) fn wrong_host<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (None, _) => Some("the Host header is missing\n"),
        (Some(host), None) if is_authority(host) => None,
        (Some(_), None) => Some("the Host header must be a host, perhaps with a port\n"),
        (Some(_), Some(_)) => Some("there must be one Host header\n"),
    }
}

/// Whether `host` is a host, perhaps with a port; or empty, as for a target without a host.
fn is_authority(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// Drops the slashes that clients and proxies add to a path: `//api/orders/` is `/api/orders`.
pub(super) fn drop_slashes(uri: &mut Uri) {
    let path = uri.path();
    let is_plain = path.len() < 2 || !(path.ends_with('/') || path.contains("//"));
    if is_plain || !path.starts_with('/') {
        return;
    }
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() {
        plain.push('/');
    }
    if let Some(query) = uri.query() {
        plain.push('?');
        plain.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(plain).ok();
    if let Ok(plain) = Uri::from_parts(parts) {
        *uri = plain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let fault = |version, hosts: &[&str]| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            wrong_host(&request.body(()).unwrap())
        };
        let good = [
            "shop.example",
            "shop.example:443",
            "my_service:3001",
            "127.0.0.1",
            "[::1]:3001",
            "",
        ];
        for host in good {
            assert_eq!(fault(Version::HTTP_11, &[host]), None, "{host}");
        }
        assert_eq!(fault(Version::HTTP_10, &[]), None);
        for (version, hosts) in [
            (Version::HTTP_11, &[][..]),
            (Version::HTTP_11, &["a", "a"]),
            (Version::HTTP_10, &["a", "b"]),
            (Version::HTTP_11, &["a b"]),
            (Version::HTTP_11, &["u@a"]),
            (Version::HTTP_11, &["a/b"]),
            (Version::HTTP_11, &["a, b"]),
        ] {
            assert!(fault(version, hosts).is_some(), "{hosts:?}");
        }
    }

    #[test]
    fn slashes_that_say_nothing_are_dropped() {
        for (sent, meant) in [
            ("/", "/"),
            ("/api/orders", "/api/orders"),
            ("/api/orders/", "/api/orders"),
            ("//api/orders", "/api/orders"),
            ("/api//orders///?a=//b/", "/api/orders?a=//b/"),
            ("//", "/"),
            ("//?a", "/?a"),
            ("/mock-upload/a%2F%2Fb/", "/mock-upload/a%2F%2Fb"),
            ("http://h/orders/", "http://h/orders"),
            ("*", "*"),
        ] {
            let mut uri = sent.parse().unwrap();
            drop_slashes(&mut uri);
            assert_eq!(uri, meant, "{sent}");
        }
    }
}
