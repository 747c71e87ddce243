use std::{fmt, ops::RangeInclusive, str::FromStr};

use data_encoding::BASE64;
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};

const PREFIX: &str = "whsec_";
/// The bytes that the specification allows.
const LENGTHS: RangeInclusive<usize> = 24..=64;

/// A secret that sender and receiver share: `whsec_` and the base64 of 24 to 64 bytes. Only [`Secret::text`] tells it.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    key: hmac::Key,
}

/// A text that is not a secret. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret must be whsec_ and the base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

impl Secret {
    /// A fresh one, of 32 bytes.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn fresh() -> Self {
        let mut bytes = vec![0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system has random numbers");
        Self::new(bytes)
    }

    fn new(bytes: Vec<u8>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        Self { bytes, key }
    }

    /// The secret itself, for whoever stores it or is to know it.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.bytes))
    }

    pub(crate) fn begin(&self) -> hmac::Context {
        hmac::Context::with_key(&self.key)
    }
}

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let base64 = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let bytes = BASE64.decode(base64.as_bytes());
        let bytes = bytes.map_err(|_| InvalidSecret)?;
        match LENGTHS.contains(&bytes.len()) {
            true => Ok(Self::new(bytes)),
            false => Err(InvalidSecret),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_24_to_64_bytes_and_is_not_shown_by_accident() {
        let of = |length: usize| format!("whsec_{}", BASE64.encode(&vec![7; length]));
        for length in [24, 32, 64] {
            let secret: Secret = of(length).parse().unwrap();
            assert_eq!(secret.text(), of(length));
            assert_eq!(format!("{secret:?}"), "Secret(..)");
        }
        let no_prefix = of(32).replace("whsec_", "");
        for bad in [
            "",
            "whsec_",
            &of(23),
            &of(65),
            &no_prefix,
            "whsec_%%%",
            "whsk_AAAA",
        ] {
            assert_eq!(bad.parse::<Secret>().unwrap_err(), InvalidSecret, "{bad}");
        }
    }

    #[test]
    fn fresh_secrets_differ_and_are_read_again() {
        let (one, other) = (Secret::fresh().text(), Secret::fresh().text());
        assert_ne!(one, other);
        assert_eq!(one.parse::<Secret>().unwrap().text(), one);
    }
}
