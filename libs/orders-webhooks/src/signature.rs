use std::time::Duration;

use data_encoding::BASE64;
use ring::hmac::Tag;
use subtle::ConstantTimeEq as _;

use crate::Secret;

/// How far the time of a webhook may be from the receiver's clock.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The most signatures that are compared: a sender has two while it rotates its secret.
const MAX_SIGNATURES: usize = 16;
const SCHEME: &str = "v1,";

/// What a signature is about, as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The value of [`ID`](crate::header::ID).
    pub id: &'a str,
    /// The value of [`TIMESTAMP`](crate::header::TIMESTAMP).
    pub timestamp: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// The value of [`SIGNATURE`](crate::header::SIGNATURE): a signature by each of `secrets`, of which the receiver need
    /// know only one.
    pub fn sign<'s>(&self, secrets: impl IntoIterator<Item = &'s Secret>) -> String {
        let signatures = secrets.into_iter().map(|secret| {
            let tag = self.tag(secret);
            format!("{SCHEME}{}", BASE64.encode(tag.as_ref()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Whether `signatures`, the value of [`SIGNATURE`](crate::header::SIGNATURE), has one by one of `secrets`. The time
    /// that this takes does not depend on how much of a signature is right.
    pub fn is_signed<'s>(
        &self,
        signatures: &str,
        secrets: impl IntoIterator<Item = &'s Secret>,
    ) -> bool {
        let given: Vec<Vec<u8>> = signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(SCHEME))
            .take(MAX_SIGNATURES)
            .filter_map(|signature| BASE64.decode(signature.as_bytes()).ok())
            .collect();
        if given.is_empty() {
            return false;
        }
        secrets.into_iter().any(|secret| {
            let tag = self.tag(secret);
            let is_it = |given: &Vec<u8>| bool::from(given.as_slice().ct_eq(tag.as_ref()));
            given.iter().any(is_it)
        })
    }

    fn tag(&self, secret: &Secret) -> Tag {
        let mut context = secret.begin();
        for part in [
            self.id.as_bytes(),
            b".",
            self.timestamp.as_bytes(),
            b".",
            self.body,
        ] {
            context.update(part);
        }
        context.sign()
    }
}

/// Whether `timestamp` is within [`TOLERANCE`] of `now`, both in seconds since the Unix epoch.
pub fn is_fresh(timestamp: i64, now: i64) -> bool {
    timestamp.abs_diff(now) <= TOLERANCE.as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    const EXAMPLE: Signed<'_> = Signed {
        id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        timestamp: "1649367553",
        body: br#"{"email":"test@example.com","username":"test_user"}"#,
    };

    fn secret() -> Secret {
        SECRET.parse().unwrap()
    }

    #[test]
    fn the_example_of_the_specification_has_its_signature() {
        assert_eq!(EXAMPLE.sign([&secret()]), SIGNATURE);
        assert!(EXAMPLE.is_signed(SIGNATURE, [&secret()]));
    }

    #[test]
    fn one_of_several_signatures_and_secrets_is_enough() {
        let (old, new) = (Secret::fresh(), secret());
        let both = EXAMPLE.sign([&old, &new]);
        for known in [vec![&old], vec![&new], vec![&Secret::fresh(), &new]] {
            assert!(EXAMPLE.is_signed(&both, known));
        }
        assert!(EXAMPLE.is_signed(&format!("v1a,AAAA v2,BBBB {SIGNATURE}"), [&new]));
        assert!(!EXAMPLE.is_signed(&both, [&Secret::fresh()]));
        assert!(!EXAMPLE.is_signed(&both, []));
        let late = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(MAX_SIGNATURES));
        assert!(!EXAMPLE.is_signed(&late, [&new]));
    }

    #[test]
    fn a_signature_counts_only_whole_and_in_its_scheme() {
        let base64 = &SIGNATURE[3..];
        for bad in [
            "",
            "v1,",
            "v1",
            base64,
            &format!("v1a,{base64}"),
            &format!("V1,{base64}"),
            &format!("v1, {base64}"),
            &SIGNATURE[..SIGNATURE.len() - 4],
            &format!("{SIGNATURE}{SIGNATURE}"),
            &format!("v1,,{base64}"),
        ] {
            assert!(!EXAMPLE.is_signed(bad, [&secret()]), "{bad}");
        }
    }

    #[test]
    fn five_minutes_either_way_are_fresh() {
        let now = 1_800_000_000;
        for (timestamp, expected) in [
            (now - 301, false),
            (now - 300, true),
            (now, true),
            (now + 300, true),
            (now + 301, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(is_fresh(timestamp, now), expected, "{timestamp}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified_and_nothing_else_is(
            id in "[!-~]{1,80}",
            timestamp in 0i64..10_000_000_000,
            body in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let secrets = [Secret::fresh()];
            let timestamp = timestamp.to_string();
            let signed = Signed { id: &id, timestamp: &timestamp, body: &body };
            let signature = signed.sign(&secrets);
            prop_assert!(signed.is_signed(&signature, &secrets));

            let mut longer = body.clone();
            longer.push(b' ');
            let signed_longer = Signed { body: &longer, ..signed };
            prop_assert!(!signed_longer.is_signed(&signature, &secrets));
            let later = format!("{timestamp}0");
            let signed_later = Signed { timestamp: &later, ..signed };
            prop_assert!(!signed_later.is_signed(&signature, &secrets));
            if !body.is_empty() {
                let mut other = body.clone();
                other[at.index(body.len())] ^= 1 << bit;
                let signed_other = Signed { body: &other, ..signed };
                prop_assert!(!signed_other.is_signed(&signature, &secrets));
            }
            let mut bytes = signature.into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let forged = String::from_utf8_lossy(&bytes);
            prop_assert!(!signed.is_signed(&forged, &secrets), "{}", forged);
        }

        #[test]
        fn no_header_makes_it_panic(signatures in ".{0,200}") {
            prop_assert!(!EXAMPLE.is_signed(&signatures, [&secret()]));
        }
    }
}
