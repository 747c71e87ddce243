use std::collections::BTreeMap;

use jsonwebtoken::crypto;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};

use super::*;
use crate::{Algorithms, jwks::Keys, jws::Jws};

const ALL: &str = "ES256,ES384,EdDSA,RS256,RS384,RS512,PS256,PS384,PS512";

/// Whether the signature of a token passes, on the way of every token, for a provider with this key alone.
fn passes(token: &str, key: &Value) -> bool {
    install();
    let algorithms = Algorithms::try_from(ALL.to_owned()).unwrap();
    let document = json!({ "keys": [key] }).to_string();
    let Ok(keys) = Keys::read(document.as_bytes(), &algorithms) else {
        return false;
    };
    let Ok(jws) = Jws::read(token) else {
        return false;
    };
    let Some(algorithm) = algorithms.find(&jws.algorithm) else {
        return false;
    };
    let Some(key) = keys.find(jws.key_id.as_deref(), algorithm) else {
        return false;
    };
    let (message, signature) = token.rsplit_once('.').unwrap();
    crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm).unwrap_or(false)
}

fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

fn message(algorithm: &str) -> String {
    let header = json!({ "alg": algorithm }).to_string();
    format!("{}.{}", encode(header.as_bytes()), encode(b"{}"))
}

/// A right signature passes, and no signature or message that differs in a bit does.
fn check(algorithm: &str, key: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) {
    let message = message(algorithm);
    let signature = sign(message.as_bytes());
    assert!(passes(&format!("{message}.{}", encode(&signature)), key));
    for byte in 0..signature.len() {
        let mut changed = signature.clone();
        changed[byte] ^= 1;
        let token = format!("{message}.{}", encode(&changed));
        assert!(!passes(&token, key), "{algorithm}, byte {byte}");
    }
    let other = message.replacen(".e30", ".e31", 1);
    assert!(!passes(&format!("{other}.{}", encode(&signature)), key));
}

fn ecdsa(algorithm: &str, curve: &str, signing: &'static EcdsaSigningAlgorithm) -> Value {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let key = json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)});
    check(algorithm, &key, |message| {
        pair.sign(&random, message).unwrap().as_ref().to_vec()
    });
    key
}

#[test]
fn curves_verify_what_their_keys_have_signed() {
    let p256 = ecdsa("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = ecdsa("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = encode(pair.public_key().as_ref());
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    check("EdDSA", &ed25519, |message| {
        pair.sign(message).as_ref().to_vec()
    });
    for (algorithm, key, length) in [
        ("ES256", p256, 64),
        ("ES384", p384, 96),
        ("EdDSA", ed25519, 64),
    ] {
        for byte in [0, 1, 0xff] {
            let token = format!("{}.{}", message(algorithm), encode(&vec![byte; length]));
            assert!(!passes(&token, &key), "{algorithm}, all {byte}");
        }
        assert!(
            !passes(&format!("{}.", message(algorithm)), &key),
            "{algorithm}"
        );
    }
}

#[derive(Deserialize)]
struct Vectors {
    key: Value,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    jws: String,
    valid: bool,
}

#[test]
fn rsa_takes_no_padding_but_the_right_one() {
    let vectors: Vectors = serde_json::from_str(include_str!("rsa.json")).unwrap();
    for Vector { name, jws, valid } in &vectors.tests {
        assert_eq!(passes(jws, &vectors.key), *valid, "{name}");
    }
    assert_eq!(
        vectors.tests.iter().filter(|vector| vector.valid).count(),
        6
    );
}

/// Project Wycheproof's attacks on JSON Web Signatures, and right signatures beside them.
#[test]
fn what_wycheproof_calls_invalid_is_refused_and_what_it_calls_valid_passes() {
    let set = TestSet::load(TestName::JsonWebSignature).unwrap();
    let mut passed = BTreeMap::new();
    for group in &set.test_groups {
        let keys = [&group.public_key, &group.private_key];
        let key = keys.into_iter().flatten().next().expect("a key");
        let algorithm = key["alg"].as_str().unwrap_or_default();
        for test in &group.tests {
            let Some(Value::String(token)) = &test.jws else {
                panic!("{test:?}");
            };
            // In two vectors the token is of another algorithm than its key names.
            let is_ours =
                ALL.split(',').any(|ours| ours == algorithm) && test.comment != "Figure20";
            let passes = passes(token, key);
            assert_eq!(passes, is_ours && !test.result.must_fail(), "{test:?}");
            *passed.entry(algorithm).or_insert(0) += usize::from(passes);
        }
    }
    eprintln!("{} vectors, of which pass: {passed:?}", set.number_of_tests);
    for algorithm in [
        "ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    ] {
        assert!(passed[algorithm] > 0, "{algorithm}");
    }
    for algorithm in ["HS256", "ES521"] {
        assert_eq!(passed[algorithm], 0, "{algorithm}");
    }
    assert!(set.number_of_tests > 300, "{}", set.number_of_tests);
}

#[test]
fn a_key_of_another_family_verifies_nothing() {
    let key = DecodingKey::from_secret(b"secret").unwrap();
    assert!(verifier(&Algorithm::ES256, &key).is_err());
    assert!(verifier(&Algorithm::HS256, &key).is_ok_and(|verifier| {
        let mac = hmac(b"secret", b"message");
        verifier.verify(b"message", &mac).is_err()
    }));
    let key = DecodingKey::from_rsa_raw_components(&[0xff; 256], &[1, 0, 1]);
    assert!(verifier(&Algorithm::EdDSA, &key).is_err());
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}
