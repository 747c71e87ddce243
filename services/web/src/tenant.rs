//! The tenant whose orders a page shows: that of the URL, else the last one, else the default.

use axum::http::{HeaderMap, StatusCode};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use orders_contracts::TenantId;
use orders_http::{is_secure, name_tenant};
use time::Duration;

use crate::session::{Person, Visitor};

const COOKIE: &str = "tenant";
const DEFAULT: &str = "t-123";
/// How long the last tenant is remembered.
const DAYS: i64 = 90;
const RULE: &str = "A tenant is 1 to 64 letters, digits, - or _";

/// A tenant that cannot be chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoTenant {
    /// It as typed.
    pub(crate) typed: String,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    /// Why not.
    pub(crate) reason: &'static str,
}

/// The chosen tenant, for the log lines of the request too: of somebody who has logged in, one of their own.
pub(crate) fn chosen(asked: Option<&str>, jar: &CookieJar) -> Result<TenantId, NoTenant> {
    choose(asked, jar, Visitor::current().who.person()).inspect(name_tenant)
}

fn choose(
    asked: Option<&str>,
    jar: &CookieJar,
    person: Option<&Person>,
) -> Result<TenantId, NoTenant> {
    let may_see = |tenant: &TenantId| person.is_none_or(|person| person.may_see(tenant));
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        let tenant = asked.parse().map_err(|_| NoTenant {
            typed: asked.to_owned(),
            status: StatusCode::BAD_REQUEST,
            title: "Invalid tenant",
            reason: RULE,
        })?;
        return match may_see(&tenant) {
            true => Ok(tenant),
            false => Err(not_yours(asked)),
        };
    }
    let last = jar.get(COOKIE).and_then(|last| last.value().parse().ok());
    let own = || person.and_then(Person::tenants)?.first().cloned();
    let default = || Some(DEFAULT.parse().expect("a tenant")).filter(may_see);
    let tenant = last.filter(may_see).or_else(own).or_else(default);
    tenant.ok_or_else(|| not_yours(""))
}

fn not_yours(typed: &str) -> NoTenant {
    NoTenant {
        typed: typed.to_owned(),
        status: StatusCode::FORBIDDEN,
        title: "Not your tenant",
        reason: match typed {
            "" => "Your login is for no tenant",
            _ => "Your login is not for this tenant",
        },
    }
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
