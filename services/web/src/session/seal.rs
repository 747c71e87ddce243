//! Cookies that only this service can read or make: AES-256-GCM, under one of several keys.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

const VERSION: &str = "v1";
/// The bytes of a key's digest that name it.
const ID_BYTES: usize = 4;

/// The keys of the cookies. The first one seals, all of them open, so a new first key logs nobody out.
pub(crate) struct Ring(Vec<Key>);

struct Key {
    id: String,
    key: LessSafeKey,
}

/// What is wrong with a file of keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKeys {
    #[error("has no key: write one with `openssl rand -base64 32`")]
    None,
    #[error("line {0} is not 32 bytes in base64: write one with `openssl rand -base64 32`")]
    Line(usize),
    #[error("line {0} has a key for the second time")]
    Again(usize),
}

impl Ring {
    /// Reads keys, one a line; empty lines do not count.
    pub(crate) fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut keys = Vec::new();
        let mut ids = BTreeSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let key = Key::parse(line.trim()).ok_or(BadKeys::Line(number))?;
            if !ids.insert(key.id.clone()) {
                return Err(BadKeys::Again(number));
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(BadKeys::None),
            false => Ok(Self(keys)),
        }
    }

    /// Seals the value of the cookie `name`, as `v1.<key id>.<nonce and ciphertext>`.
    pub(crate) fn seal(&self, name: &str, plain: &[u8]) -> String {
        let key = &self.0[0];
        let nonce = random::<NONCE_LEN>();
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(name), &mut sealed[NONCE_LEN..])
            .expect("a cookie is shorter than 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        format!("{VERSION}.{}.{}", key.id, BASE64URL_NOPAD.encode(&sealed))
    }

    /// What was sealed as the value of the cookie `name`, unless it was changed, or sealed with another key.
    pub(crate) fn open(&self, name: &str, sealed: &str) -> Option<Vec<u8>> {
        let (id, sealed) = sealed
            .strip_prefix(VERSION)?
            .strip_prefix('.')?
            .split_once('.')?;
        let key = self.0.iter().find(|key| key.id == id)?;
        let mut sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key.key.open_in_place(nonce, Aad::from(name), sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.as_bytes()).ok()?;
        let id = HEXLOWER.encode(&digest(&SHA256, &bytes).as_ref()[..ID_BYTES]);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?);
        Some(Self { id, key })
    }
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(keys: &[u8]) -> Ring {
        let lines: Vec<_> = keys.iter().map(|key| BASE64.encode(&[*key; 32])).collect();
        Ring::parse(&lines.join("\n")).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_under_its_name_alone(plain: Vec<u8>, other in "[a-z_]{1,20}") {
            let sealed = ring(&[1]).seal("name", &plain);
            prop_assert_eq!(ring(&[1]).open("name", &sealed), Some(plain));
            prop_assume!(other != "name");
            prop_assert_eq!(ring(&[1]).open(&other, &sealed), None);
        }

        #[test]
        fn whatever_is_changed_opens_no_more(plain: Vec<u8>, place: prop::sample::Index, byte in 0x21..0x7f_u8) {
            let sealed = ring(&[1]).seal("name", &plain);
            let mut changed = sealed.clone().into_bytes();
            let place = place.index(changed.len());
            changed[place] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assume!(changed != sealed);
            prop_assert_eq!(ring(&[1, 2]).open("name", &changed), None);
            prop_assert_eq!(ring(&[1]).open("name", &sealed[..place]), None);
            prop_assert_eq!(ring(&[1]).open("name", &format!("{sealed}A")), None);
        }

        #[test]
        fn other_text_opens_to_nothing(text: String) {
            prop_assert_eq!(ring(&[1]).open("name", &text), None);
            prop_assert_eq!(ring(&[1]).open("name", &format!("v1.{}.{text}", ring(&[1]).0[0].id)), None);
        }

        #[test]
        fn a_new_first_key_opens_what_older_ones_sealed(plain: Vec<u8>) {
            let before = ring(&[1]).seal("name", &plain);
            let rotated = ring(&[2, 1]);
            prop_assert_eq!(rotated.open("name", &before), Some(plain.clone()));
            let after = rotated.seal("name", &plain);
            prop_assert_eq!(ring(&[2]).open("name", &after), Some(plain));
            prop_assert_eq!(ring(&[1]).open("name", &after), None);
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let ring = ring(&[1]);
        assert_ne!(ring.seal("name", b"x"), ring.seal("name", b"x"));
    }

    #[test]
    fn keys_are_lines_of_base64() {
        let wrong = |text: &str| Ring::parse(text).err();
        let key = BASE64.encode(&[1; 32]);
        assert_eq!(wrong(&format!("\n{key}\r\n\n")), None);
        assert_eq!(wrong(""), Some(BadKeys::None));
        assert_eq!(wrong(" \n"), Some(BadKeys::None));
        assert_eq!(wrong(&format!("{key}\nsecret")), Some(BadKeys::Line(2)));
        assert_eq!(wrong(&BASE64.encode(&[1; 16])), Some(BadKeys::Line(1)));
        assert_eq!(wrong(&format!("{key}\n\n{key}")), Some(BadKeys::Again(3)));
        let shown = wrong(&format!("{key}x")).unwrap().to_string();
        assert!(!shown.contains(&key), "{shown}");
    }
}
