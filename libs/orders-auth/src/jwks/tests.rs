use serde_json::json;

use super::*;

const EC: &str = "04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY";

fn ec(more: &Value) -> Value {
    let mut key = json!({"kty": "EC", "crv": "P-256", "x": EC, "y": EC});
    let members = more.as_object().unwrap().clone();
    key.as_object_mut().unwrap().extend(members);
    key
}

fn rsa(bytes: usize, more: &Value) -> Value {
    let modulus = BASE64URL_NOPAD.encode(&vec![0xff; bytes]);
    let mut key = json!({"kty": "RSA", "n": modulus, "e": "AQAB"});
    let members = more.as_object().unwrap().clone();
    key.as_object_mut().unwrap().extend(members);
    key
}

fn read(keys: &[Value]) -> Result<Keys, &'static str> {
    let document = json!({ "keys": keys }).to_string();
    Keys::read(document.as_bytes(), &Algorithms::default())
}

#[test]
fn a_key_is_found_by_its_name_and_its_algorithm() {
    let keys = read(&[
        ec(&json!({"kid": "a"})),
        ec(&json!({"kid": "b", "alg": "ES256", "use": "sig", "key_ops": ["verify"]})),
        rsa(256, &json!({"kid": "c"})),
        rsa(256, &json!({"kid": "d", "alg": "PS256"})),
        json!({"kty": "OKP", "crv": "Ed25519", "x": EC}),
    ])
    .unwrap();
    assert_eq!(keys.count(), 5);
    for (id, algorithm, found) in [
        (Some("a"), Algorithm::ES256, true),
        (Some("a"), Algorithm::ES384, false),
        (Some("a"), Algorithm::RS256, false),
        (Some("c"), Algorithm::RS256, true),
        (Some("c"), Algorithm::PS256, true),
        (Some("c"), Algorithm::RS384, false),
        (Some("d"), Algorithm::PS256, true),
        (Some("d"), Algorithm::RS256, false),
        (Some("e"), Algorithm::ES256, false),
        (Some(""), Algorithm::EdDSA, false),
        (Some("../../etc/passwd"), Algorithm::ES256, false),
        (Some("' OR 1=1 --"), Algorithm::ES256, false),
        // Without a name only if there is no choice.
        (None, Algorithm::EdDSA, true),
        (None, Algorithm::ES256, false),
        (None, Algorithm::PS256, false),
        (None, Algorithm::RS256, true),
    ] {
        assert_eq!(
            keys.find(id, algorithm).is_some(),
            found,
            "{id:?} {algorithm:?}"
        );
    }
}

#[test]
fn keys_that_verify_nothing_are_left_out() {
    for key in [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}),
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "ES256"}),
        ec(&json!({"use": "enc"})),
        ec(&json!({"key_ops": ["encrypt"]})),
        ec(&json!({"key_ops": []})),
        ec(&json!({"alg": "ES384"})),
        ec(&json!({"alg": "HS256"})),
        ec(&json!({"alg": "RS256"})),
        ec(&json!({"alg": "unheard-of"})),
        ec(&json!({"crv": "P-521"})),
        ec(&json!({"crv": "P-384"})),
        ec(&json!({"kid": 1})),
        json!({"kty": "OKP", "crv": "X25519", "x": EC}),
        rsa(255, &json!({})),
        rsa(256, &json!({"alg": "RS384"})),
        rsa(256, &json!({"n": "=="})),
        rsa(256, &json!({"n": BASE64URL_NOPAD.encode(&[0; 512])})),
        json!({}),
        json!("key"),
    ] {
        let kept = read(&[key.clone(), ec(&json!({"kid": "good"}))]).unwrap();
        assert_eq!(kept.count(), 1, "{key}");
        assert!(read(std::slice::from_ref(&key)).is_err(), "{key}");
    }
}

#[test]
fn two_keys_of_one_name_are_none() {
    let keys = read(&[ec(&json!({"kid": "a"})), ec(&json!({"kid": "a"}))]).unwrap();
    assert!(keys.find(Some("a"), Algorithm::ES256).is_none());
}

#[test]
fn other_documents_are_refused() {
    let counting = Algorithms::default();
    for document in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
        "<html>",
    ] {
        assert!(
            Keys::read(document.as_bytes(), &counting).is_err(),
            "{document}"
        );
    }
    let many = |count| vec![ec(&json!({})); count];
    assert!(read(&many(64)).is_ok());
    assert!(read(&many(65)).is_err());
}

#[test]
fn leading_zeros_are_no_bits() {
    assert_eq!(bits(&BASE64URL_NOPAD.encode(&[0, 0, 1, 0])), Some(9));
    assert_eq!(bits(&BASE64URL_NOPAD.encode(&[0xff; 256])), Some(2048));
    assert_eq!(bits("AAAA"), None);
    assert_eq!(bits(""), None);
}
