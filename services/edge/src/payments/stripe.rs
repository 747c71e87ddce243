//! Verifies webhooks as Stripe signs them: `Stripe-Signature: t=<seconds>,v1=<HMAC-SHA256 in hexadecimal>,...` of
//! `<seconds>.<body>`.

use std::{fmt, str::FromStr};

use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::signatures::{Refused, check_time, only};

const HEADER: &str = "stripe-signature";
/// The most signatures that are compared: Stripe sends two while a secret is rotated.
const MAX_SIGNATURES: usize = 16;

/// The signing secret of an endpoint at Stripe. Its text as it is, with the `whsec_`, is the key.
#[derive(Clone)]
pub(super) struct Secret(hmac::Key);

/// A text that is none. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret of Stripe begins with whsec_")]
pub(super) struct InvalidSecret;

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let rest = text.strip_prefix("whsec_").ok_or(InvalidSecret)?;
        let is_secret = rest.len() >= 16 && rest.bytes().all(|b| b.is_ascii_graphic());
        is_secret
            .then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
            .ok_or(InvalidSecret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether one of `secrets` signed the webhook at about `now`.
pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<(), Refused> {
    let value = only(headers, HEADER).ok_or(Refused::Unsigned)?;
    let parts = || value.split(',').filter_map(|part| part.split_once('='));
    let mut times = parts().filter(|(name, _)| *name == "t");
    let (Some((_, time)), None) = (times.next(), times.next()) else {
        return Err(Refused::Unsigned);
    };
    let given: Vec<Vec<u8>> = parts()
        .filter(|(name, _)| *name == "v1")
        .take(MAX_SIGNATURES)
        .filter_map(|(_, hex)| HEXLOWER.decode(hex.as_bytes()).ok())
        .collect();
    let is_signed = !given.is_empty()
        && secrets.iter().any(|Secret(key)| {
            let tag = tag(key, time, body);
            let is_it = |given: &Vec<u8>| bool::from(given.as_slice().ct_eq(tag.as_ref()));
            given.iter().any(is_it)
        });
    match is_signed {
        true => check_time(time, now),
        false => Err(Refused::Unsigned),
    }
}

fn tag(key: &hmac::Key, time: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const SECRET: &str = "whsec_test_secret_of_an_endpoint";
    const OTHER: &str = "whsec_another_secret_of_an_endpoint";

    fn secret(text: &str) -> Secret {
        text.parse().unwrap()
    }

    fn v1(text: &str, time: &str, body: &[u8]) -> String {
        let Secret(key) = secret(text);
        format!("v1={}", HEXLOWER.encode(tag(&key, time, body).as_ref()))
    }

    fn verify(value: &str, body: &[u8], secrets: &[Secret]) -> Result<(), Refused> {
        let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), value.parse().unwrap())]);
        super::verify(&headers, body, secrets, NOW)
    }

    #[test]
    fn one_signature_of_the_scheme_by_one_secret_is_enough() {
        let time = NOW.to_string();
        let (one, other) = (v1(SECRET, &time, b"{}"), v1(OTHER, &time, b"{}"));
        for value in [
            format!("t={time},{one}"),
            format!("t={time},{other},{one},v0=6ffbb59b"),
            format!("{one},t={time}"),
        ] {
            assert_eq!(verify(&value, b"{}", &[secret(SECRET)]), Ok(()), "{value}");
            let both = [secret(OTHER), secret(SECRET)];
            assert_eq!(verify(&value, b"{}", &both), Ok(()));
        }
        let bare = &one[3..];
        for value in [
            String::new(),
            format!("t={time}"),
            format!("t={time},v1="),
            one.clone(),
            format!("t={time},v0={bare}"),
            format!("t={time},v2={bare}"),
            format!("t={time},v1={}", &bare[2..]),
            format!("t={time},v1={}", bare.to_uppercase()),
            format!("t={time},t={time},{one}"),
            format!("t={time},{other}"),
            format!("t={time}0,{one}"),
        ] {
            assert_eq!(
                verify(&value, b"{}", &[secret(SECRET)]),
                Err(Refused::Unsigned),
                "{value}"
            );
        }
        assert_eq!(
            verify(&format!("t={time},{one}"), b"{}", &[]),
            Err(Refused::Unsigned)
        );
    }

    #[test]
    fn a_secret_begins_with_its_prefix_and_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", secret(SECRET)), "Secret(..)");
        for bad in [
            "",
            "whsec_",
            "whsec_short",
            "sk_live_0123456789abcdef",
            "whsec_0123456789 abcdef",
        ] {
            assert_eq!(bad.parse::<Secret>().unwrap_err(), InvalidSecret);
        }
    }

    proptest! {
        #[test]
        fn only_the_body_that_was_signed_is_taken_and_only_in_time(
            offset in -400i64..=400,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            other in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let time = (NOW + offset).to_string();
            let value = format!("t={time},{}", v1(SECRET, &time, &body));
            let secrets = [secret(SECRET)];
            let expected = match offset.abs() <= 300 {
                true => Ok(()),
                false => Err(Refused::Stale),
            };
            prop_assert_eq!(verify(&value, &body, &secrets), expected);
            if other != body {
                prop_assert_eq!(verify(&value, &other, &secrets), Err(Refused::Unsigned));
            }
        }

        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,200}") {
            prop_assert_eq!(verify(&value, b"{}", &[secret(SECRET)]), Err(Refused::Unsigned));
        }
    }
}
