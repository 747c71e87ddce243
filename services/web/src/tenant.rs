//! The tenant whose orders a page shows: that of the URL, else the last one, else the default.

use axum::http::HeaderMap;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use orders_contracts::TenantId;
use orders_http::is_secure;
use time::Duration;

const COOKIE: &str = "tenant";
const DEFAULT: &str = "t-123";
/// How long the last tenant is remembered.
const DAYS: i64 = 90;
const RULE: &str = "A tenant is 1 to 64 letters, digits, - or _";

/// The chosen tenant, or the invalid text with the reason.
pub(crate) fn chosen(asked: Option<&str>, jar: &CookieJar) -> Result<TenantId, (String, String)> {
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        return asked
            .parse()
            .map_err(|_| (asked.to_owned(), RULE.to_owned()));
    }
    let last = jar.get(COOKIE).and_then(|last| last.value().parse().ok());
    Ok(last.unwrap_or_else(|| DEFAULT.parse().expect("a tenant")))
}

/// Remembers the tenant in a cookie, unless a page in the background only refreshes itself, or another site chose it.
pub(crate) fn remember(jar: CookieJar, headers: &HeaderMap, tenant: &TenantId) -> CookieJar {
    let is_foreign = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    if is_foreign || headers.contains_key("x-refresh") {
        return jar;
    }
    let cookie = Cookie::build((COOKIE, tenant.to_string()))
        .path("/")
        .http_only(true)
        .secure(is_secure(headers))
        .same_site(SameSite::Lax)
        .max_age(Duration::days(DAYS));
    jar.add(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_another_site_chose_is_not_remembered() {
        let days = |site| {
            let headers = HeaderMap::from_iter([("sec-fetch-site".parse().unwrap(), site)]);
            let jar = remember(CookieJar::new(), &headers, &"t-1".parse().unwrap());
            jar.get(COOKIE)?.max_age().map(|age| age.whole_days())
        };
        assert_eq!(days("cross-site".parse().unwrap()), None);
        for site in ["none", "same-origin", "same-site"] {
            assert_eq!(days(site.parse().unwrap()), Some(90), "{site}");
        }
    }

    #[test]
    fn behind_tls_the_cookie_is_for_tls_only() {
        let is_secure = |headers: &HeaderMap| {
            let tenant = "t-1".parse().unwrap();
            remember(CookieJar::new(), headers, &tenant)
                .get(COOKIE)
                .and_then(Cookie::secure)
        };
        let mut headers = HeaderMap::new();
        assert_ne!(is_secure(&headers), Some(true));
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(is_secure(&headers), Some(true));
    }
}
