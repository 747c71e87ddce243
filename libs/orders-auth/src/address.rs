//! Which URLs keys and logins may come from.

use url::{Host, Url};

/// Whether `url` is of HTTPS, or of HTTP on this machine, and has neither credentials nor a fragment.
#[must_use]
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_local = || match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    is_bare && (url.scheme() == "https" || url.scheme() == "http" && is_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in [
            "https://login.example/realm",
            "http://localhost:1",
            "http://127.0.0.1:1/a",
            "http://127.1.2.3",
            "http://[::1]:1",
        ] {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://login.example",
            "http://localhost.login.example",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "https://u:p@login.example",
            "https://login.example/#a",
            "ftp://localhost",
            "file:///etc/passwd",
            "login.example",
            "",
        ] {
            assert!(!is_safe(url), "{url}");
        }
    }
}
