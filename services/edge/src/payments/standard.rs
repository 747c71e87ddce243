//! Verifies webhooks by the specification Standard Webhooks.

use axum::http::HeaderMap;
use orders_webhooks::{Secret, Signed, header};

use super::signatures::{Refused, check_time, only};

/// The longest id of a webhook.
const LONGEST_ID: usize = 255;

/// The id of a webhook that one of `secrets` signed at about `now`.
pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<String, Refused> {
    let get = |name| only(headers, name).ok_or(Refused::Unsigned);
    let (id, timestamp) = (get(header::ID)?, get(header::TIMESTAMP)?);
    let signed = Signed {
        id,
        timestamp,
        body,
    };
    let is_id = (1..=LONGEST_ID).contains(&id.len());
    if !is_id || !signed.is_signed(get(header::SIGNATURE)?, secrets) {
        return Err(Refused::Unsigned);
    }
    check_time(timestamp, now)?;
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let pairs = [
            (header::ID, id),
            (header::TIMESTAMP, timestamp),
            (header::SIGNATURE, signature),
        ];
        let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.into_iter().collect()
    }

    fn signed(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> HeaderMap {
        let message = Signed {
            id,
            timestamp,
            body,
        };
        headers(id, timestamp, &message.sign([secret]))
    }

    #[test]
    fn a_webhook_needs_its_three_headers_once_each() {
        let secrets = [Secret::fresh()];
        let good = signed(&secrets[0], "msg_1", "1800000000", b"{}");
        assert_eq!(verify(&good, b"{}", &secrets, NOW), Ok("msg_1".to_owned()));
        for name in [header::ID, header::TIMESTAMP, header::SIGNATURE] {
            let mut without = good.clone();
            let value = without.remove(name).unwrap();
            assert_eq!(
                verify(&without, b"{}", &secrets, NOW),
                Err(Refused::Unsigned)
            );
            let mut twice = good.clone();
            twice.append(name, value);
            assert_eq!(verify(&twice, b"{}", &secrets, NOW), Err(Refused::Unsigned));
        }
        let long = "m".repeat(LONGEST_ID + 1);
        let long = signed(&secrets[0], &long, "1800000000", b"{}");
        assert_eq!(verify(&long, b"{}", &secrets, NOW), Err(Refused::Unsigned));
    }

    #[test]
    fn only_who_has_a_secret_learns_that_a_webhook_is_stale() {
        let secrets = [Secret::fresh()];
        for timestamp in [
            "1799999699",
            "1800000301",
            "x",
            "-1",
            "99999999999999999999",
        ] {
            let known = signed(&secrets[0], "msg_1", timestamp, b"{}");
            assert_eq!(verify(&known, b"{}", &secrets, NOW), Err(Refused::Stale));
            let unknown = signed(&Secret::fresh(), "msg_1", timestamp, b"{}");
            assert_eq!(
                verify(&unknown, b"{}", &secrets, NOW),
                Err(Refused::Unsigned)
            );
        }
    }

    proptest! {
        #[test]
        fn only_the_body_that_was_signed_is_taken(
            id in "[!-~]{1,255}",
            offset in -300i64..=300,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            other in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let secrets = [Secret::fresh(), Secret::fresh()];
            let good = signed(&secrets[1], &id, &(NOW + offset).to_string(), &body);
            prop_assert_eq!(verify(&good, &body, &secrets, NOW), Ok(id));
            if other != body {
                prop_assert_eq!(verify(&good, &other, &secrets, NOW), Err(Refused::Unsigned));
            }
            prop_assert_eq!(verify(&good, &body, &secrets[..1], NOW), Err(Refused::Unsigned));
        }
    }
}
