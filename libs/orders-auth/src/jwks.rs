//! The key set of a provider (RFC 7517): which of its keys verify which tokens.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

use crate::{Algorithms, strict};

/// The most keys of a set.
const MOST: usize = 64;
/// The fewest bits of an RSA key.
const SHORTEST_RSA: usize = 2048;

/// Keys that verify tokens; never none.
#[derive(Debug, PartialEq)]
pub(crate) struct Keys(Vec<Key>);

/// A public key and the algorithms it may verify.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    jwk: Jwk,
    algorithms: Vec<Algorithm>,
    /// The key as jsonwebtoken wants it.
    pub(crate) decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk && self.algorithms == other.algorithms
    }
}

impl Keys {
    /// The keys in a document that verify tokens of the algorithms that count; others are left out.
    pub(crate) fn read(document: &[u8], counting: &Algorithms) -> Result<Self, &'static str> {
        let members = strict::object(document).ok_or("its key set is not JSON")?;
        let Some(Value::Array(keys)) = members.get("keys") else {
            return Err("its key set has no keys");
        };
        if keys.len() > MOST {
            return Err("its key set has more than 64 keys");
        }
        let keys: Vec<_> = keys
            .iter()
            .filter_map(|key| Key::read(key, counting))
            .collect();
        match keys.is_empty() {
            true => Err("its key set has no key for the algorithms of ORDERS_AUTH__ALGORITHMS"),
            false => Ok(Self(keys)),
        }
    }

    /// The one key that a token's header means: that of its name or, if it names none, the only one for its algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|key| {
            key.algorithms.contains(&algorithm)
                && id.is_none_or(|id| key.jwk.common.key_id.as_deref() == Some(id))
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn read(key: &Value, counting: &Algorithms) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        if !is_for_signatures(&jwk.common) {
            return None;
        }
        let family = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256][..],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                AlgorithmFamily::Ed.algorithms()
            }
            AlgorithmParameters::RSA(key) if bits(&key.n)? >= SHORTEST_RSA => {
                AlgorithmFamily::Rsa.algorithms()
            }
            _ => return None,
        };
        let bound = jwk.common.key_algorithm.map(Algorithm::try_from);
        let algorithms: Vec<_> = match bound {
            None => family.to_vec(),
            Some(Ok(algorithm)) if family.contains(&algorithm) => vec![algorithm],
            Some(_) => return None,
        };
        let algorithms: Vec<_> = algorithms
            .into_iter()
            .filter(|algorithm| counting.contains(*algorithm))
            .collect();
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then_some(Self {
            jwk,
            algorithms,
            decoding,
        })
    }
}

fn is_for_signatures(key: &CommonParameters) -> bool {
    let purpose = key.public_key_use.as_ref();
    let operations = key.key_operations.as_ref();
    purpose.is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

fn bits(modulus: &str) -> Option<usize> {
    let bytes = BASE64URL_NOPAD.decode(modulus.as_bytes()).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let first = bytes.get(zeros)?;
    Some((bytes.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests;
