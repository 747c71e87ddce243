//! The cookies of a session, in chunks that browsers take.

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;

/// The session.
pub(crate) const SESSION: &str = "__Host-Http-orders_session";
/// A login that has begun.
pub(crate) const LOGIN: &str = "__Host-Http-orders_login";
/// A logout that still has to be told to the provider.
pub(crate) const LOGOUT: &str = "__Host-Http-orders_logout";

/// Browsers take 4,096 bytes with the name and the attributes.
const CHUNK: usize = 3_800;
/// A request has room for 16 KiB of headers.
const MOST_CHUNKS: usize = 3;

/// Whether a cookie is sent when another site leads here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SameSite {
    Lax,
    Strict,
}

/// The value of the cookie `name`, put together from its chunks.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    let mut value = jar.get(name)?.value().to_owned();
    for chunk in 1..MOST_CHUNKS {
        match jar.get(&chunk_name(name, chunk)) {
            Some(chunk) => value.push_str(chunk.value()),
            None => break,
        }
    }
    Some(value)
}

/// The `Set-Cookie` headers for a value; nothing if it is too long. They take away every chunk beyond it: whether there is
/// one is not known, as a request that another site leads here has no strict cookies.
pub(crate) fn write(
    name: &str,
    value: &str,
    same_site: SameSite,
    seconds: Option<u64>,
) -> Option<Vec<HeaderValue>> {
    let count = value.len().div_ceil(CHUNK);
    if count > MOST_CHUNKS || !value.is_ascii() {
        return None;
    }
    let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let chunks = (0..count).map(|chunk| {
        let part = &value[chunk * CHUNK..value.len().min((chunk + 1) * CHUNK)];
        let name = chunk_name(name, chunk);
        let attributes = format!("Path=/; Secure; HttpOnly; SameSite={same_site:?}{age}");
        HeaderValue::try_from(format!("{name}={part}; {attributes}")).ok()
    });
    let mut cookies: Vec<_> = chunks.collect::<Option<_>>()?;
    let beyond = (count..MOST_CHUNKS).map(|chunk| chunk_name(name, chunk));
    cookies.extend(beyond.map(|name| cleared(&name)));
    Some(cookies)
}

/// The `Set-Cookie` headers that take away the cookie `name` of a request with `headers`.
pub(crate) fn clear(headers: &HeaderMap, name: &str) -> Vec<HeaderValue> {
    let jar = CookieJar::from_headers(headers);
    let names = (0..MOST_CHUNKS).map(|chunk| chunk_name(name, chunk));
    let had = names.filter(|name| jar.get(name).is_some());
    had.map(|name| cleared(&name)).collect()
}

fn cleared(name: &str) -> HeaderValue {
    let text = format!("{name}=; Path=/; Secure; HttpOnly; Max-Age=0");
    HeaderValue::try_from(text).expect("the names of cookies are text")
}

fn chunk_name(name: &str, chunk: usize) -> String {
    match chunk {
        0 => name.to_owned(),
        chunk => format!("{name}-{chunk}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use proptest::prelude::*;

    use super::*;

    /// The `Cookie` header of a browser that got these `Set-Cookie` headers, in this order.
    fn kept(set: impl IntoIterator<Item = HeaderValue>) -> HeaderMap {
        let mut kept = std::collections::BTreeMap::new();
        for cookie in set {
            let cookie = cookie.to_str().unwrap().to_owned();
            assert!(cookie.len() <= 4_096, "{}", cookie.len());
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(name.starts_with("__Host-Http-"));
            for attribute in ["Path=/", "Secure", "HttpOnly"] {
                assert!(
                    attributes.split("; ").any(|a| a == attribute),
                    "{attributes}"
                );
            }
            match attributes.contains("Max-Age=0") {
                true => kept.remove(name),
                false => kept.insert(name.to_owned(), value.to_owned()),
            };
        }
        let pairs: Vec<_> = kept
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        match pairs.is_empty() {
            true => HeaderMap::new(),
            false => HeaderMap::from_iter([(header::COOKIE, pairs.join("; ").parse().unwrap())]),
        }
    }

    fn headers_of(value: &str) -> HeaderMap {
        kept(write(SESSION, value, SameSite::Strict, None).unwrap())
    }

    proptest! {
        #[test]
        fn a_value_comes_back_whole_whatever_was_there_before(
            before in "[A-Za-z0-9_.-]{1,11000}", after in "[A-Za-z0-9_.-]{1,11000}",
        ) {
            prop_assert_eq!(read(&headers_of(&before), SESSION), Some(before.clone()));
            let first = write(SESSION, &before, SameSite::Strict, None).unwrap();
            let second = write(SESSION, &after, SameSite::Strict, None).unwrap();
            let has = kept(first.into_iter().chain(second));
            prop_assert_eq!(read(&has, SESSION), Some(after));
        }
    }

    #[test]
    fn what_is_cleared_is_gone() {
        let value = "x".repeat(9_000);
        let set = write(SESSION, &value, SameSite::Strict, None).unwrap();
        assert_eq!(set.len(), MOST_CHUNKS);
        let cleared = clear(&headers_of(&value), SESSION);
        assert!(kept(set.into_iter().chain(cleared)).is_empty());
        assert_eq!(clear(&HeaderMap::new(), SESSION), [""; 0]);
        assert_eq!(read(&HeaderMap::new(), SESSION), None);
    }

    #[test]
    fn a_value_that_no_browser_takes_is_refused() {
        let write = |length| {
            let value = "x".repeat(length);
            write(SESSION, &value, SameSite::Strict, None).is_some()
        };
        assert!(write(CHUNK * MOST_CHUNKS));
        assert!(!write(CHUNK * MOST_CHUNKS + 1));
    }

    #[test]
    fn a_login_is_sent_when_the_provider_leads_back_and_ends_soon() {
        let set = write(LOGIN, "v", SameSite::Lax, Some(600)).unwrap();
        assert_eq!(
            set[0],
            "__Host-Http-orders_login=v; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
        );
    }
}
