//! What both ways of signing have in common.

use axum::http::HeaderMap;

/// Why a webhook is refused before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// There is no signature by any of the secrets.
    #[error("no valid signature")]
    Unsigned,
    /// There is one, but for another time.
    #[error("its time is more than 5 minutes from now")]
    Stale,
}

/// The value of a header that comes once. One that comes twice means different things to different readers.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => value.to_str().ok(),
        Some(_) => None,
    }
}

/// Whether a time in seconds, as it was sent, is close enough to `now`.
pub(super) fn check_time(timestamp: &str, now: i64) -> Result<(), Refused> {
    let timestamp: i64 = timestamp.parse().map_err(|_| Refused::Stale)?;
    match orders_webhooks::is_fresh(timestamp, now) {
        true => Ok(()),
        false => Err(Refused::Stale),
    }
}
