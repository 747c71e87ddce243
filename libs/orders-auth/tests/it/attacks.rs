//! Tokens that must be refused, by an issuer that signs whatever it is told.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use orders_auth::{Reason, Refusal, Scope};
use orders_testkit::{Issuer, SigningKey, Token};
use ring::hmac;
use serde_json::{Value, json};

use crate::{MINUTE, Running};

const YEAR: u64 = 365 * 24 * 60 * 60;

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

async fn refused(running: &Running, cases: Vec<(&str, String, Reason)>) {
    for (name, token, reason) in cases {
        let found = running.actor(&token).await;
        assert_eq!(found, Err(Refusal::Invalid(reason)), "{name}");
    }
}

#[tokio::test]
async fn a_right_token_says_who_calls() {
    let running = Running::start(|_| ()).await;
    let token = running.issuer.token().tenant("t-1").session("s1");
    let token = token.scopes("openid orders:read orders:cancel").sign();
    let identity = running.verifier.verify(&token).await.unwrap();
    assert_eq!(identity.issuer, running.issuer.url());
    assert_eq!(identity.subject, "u1");
    assert_eq!(identity.client.as_deref(), Some("test"));
    assert_eq!(identity.session.as_deref(), Some("s1"));
    assert_eq!(identity.tenants, ["t-1".parse().unwrap()]);
    assert_eq!(identity.scopes, [Scope::OrdersRead, Scope::OrdersCancel]);
    assert!(!identity.operator && identity.token_id.is_some());

    let operator = running
        .issuer
        .token()
        .scopes("orders:read")
        .operator()
        .sign();
    let identity = running.verifier.verify(&operator).await.unwrap();
    assert!(identity.operator && identity.tenants.is_empty());

    // What a header says of other keys counts as little as the members nobody knows.
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("jwk", SigningKey::es256("evil").jwk()),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["AAAA"])),
        ("unheard-of", json!({})),
    ] {
        let token = running.issuer.token().header(name, value).sign();
        assert_eq!(running.actor(&token).await, Ok(running.u1()), "{name}");
    }
    for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        let token = running.issuer.token().header("typ", typ).sign();
        assert_eq!(running.actor(&token).await, Ok(running.u1()), "{typ}");
    }
    let several = running
        .issuer
        .token()
        .claim("aud", json!(["x", "orders-api"]));
    assert_eq!(running.actor(&several.sign()).await, Ok(running.u1()));
    let nameless = running.issuer.token().header("kid", Value::Null).sign();
    assert_eq!(running.actor(&nameless).await, Ok(running.u1()));
}

#[tokio::test]
async fn other_algorithms_and_keys_are_refused() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.token();
    let (head, _) = token()
        .sign()
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let none = |alg: &str| {
        let header = encode(json!({"alg": alg, "typ": "at+jwt"}).to_string());
        format!("{header}.{}.", encode(token().claims()))
    };
    let evil = Arc::new(SigningKey::es256("key-1"));
    let evil_issuer = Issuer::start().await;
    let ours = running.issuer.key();
    let public = ours.jwk();
    let point = [public["x"].as_str().unwrap(), public["y"].as_str().unwrap()]
        .map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
    let hs256 = |secret: &[u8]| {
        let header = encode(json!({"alg": "HS256", "kid": "key-1", "typ": "at+jwt"}).to_string());
        let message = format!("{header}.{}", encode(token().claims()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", encode(tag.as_ref()))
    };
    let by_evil =
        |name: &str, value: Value| token().key(Arc::clone(&evil)).header(name, value).sign();
    let with_kid = |id: &str| token().header("kid", id).sign();
    refused(
        &running,
        vec![
            ("alg none", none("none"), Reason::Algorithm),
            ("alg None", none("None"), Reason::Algorithm),
            (
                "alg NONE, signed",
                token().header("alg", "NONE").sign(),
                Reason::Algorithm,
            ),
            (
                "HS256 by the point",
                hs256(&point.concat()),
                Reason::Algorithm,
            ),
            (
                "HS256 by the JWK",
                hs256(public.to_string().as_bytes()),
                Reason::Algorithm,
            ),
            ("HS256 by nothing", hs256(b""), Reason::Algorithm),
            (
                "an algorithm that is not set",
                token().header("alg", "ES384").sign(),
                Reason::Algorithm,
            ),
            (
                "an algorithm of another key",
                token().header("alg", "EdDSA").sign(),
                Reason::Key,
            ),
            (
                "an RSA algorithm",
                token().header("alg", "RS256").sign(),
                Reason::Key,
            ),
            (
                "no alg",
                token().header("alg", Value::Null).sign(),
                Reason::Algorithm,
            ),
            (
                "another key of the same name",
                token().key(Arc::clone(&evil)).sign(),
                Reason::Signature,
            ),
            (
                "another key, in the header",
                by_evil("jwk", evil.jwk()),
                Reason::Signature,
            ),
            (
                "another key, at a URL",
                by_evil("jku", evil_issuer.keys_url().into()),
                Reason::Signature,
            ),
            (
                "another key, certified",
                by_evil("x5c", json!(["AAAA"])),
                Reason::Signature,
            ),
            ("kid traversal", with_kid("../../../dev/null"), Reason::Key),
            ("kid SQL", with_kid("x' UNION SELECT 'secret"), Reason::Key),
            ("kid huge", with_kid(&"k".repeat(8 << 10)), Reason::Key),
            ("kid empty", with_kid(""), Reason::Key),
            (
                "kid of another type",
                token().header("kid", 1).sign(),
                Reason::Shape,
            ),
            (
                "r = s = 0",
                format!("{head}.{}", encode([0; 64])),
                Reason::Signature,
            ),
            (
                "r = s = 1",
                format!(
                    "{head}.{}",
                    encode([[0; 31].as_slice(), &[1]].concat().repeat(2))
                ),
                Reason::Signature,
            ),
            (
                "r = s = n",
                format!("{head}.{}", encode(ORDER.repeat(2))),
                Reason::Signature,
            ),
            ("an empty signature", format!("{head}."), Reason::Signature),
            (
                "a short signature",
                format!("{head}.{}", encode([1; 63])),
                Reason::Signature,
            ),
            (
                "a long signature",
                format!("{head}.{}", encode([1; 65])),
                Reason::Signature,
            ),
        ],
    )
    .await;
    assert_eq!(
        evil_issuer.key_fetches(),
        0,
        "nobody follows a URL in a token"
    );
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[tokio::test]
async fn other_types_and_extensions_are_refused() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.token();
    let typ = |typ: Value| token().header("typ", typ).sign();
    let issuer = &running.issuer;
    refused(
        &running,
        vec![
            ("typ JWT", typ("JWT".into()), Reason::Type),
            ("no typ", typ(Value::Null), Reason::Type),
            ("typ of DPoP", typ("dpop+jwt".into()), Reason::Type),
            ("typ of another type", typ(json!(["at+jwt"])), Reason::Shape),
            (
                "an ID token",
                issuer.id_token("orders-api", "n").sign(),
                Reason::Type,
            ),
            (
                "a logout token",
                issuer.logout_token("orders-api").sign(),
                Reason::Type,
            ),
            (
                "crit",
                token().header("crit", json!(["exp"])).sign(),
                Reason::Critical,
            ),
            (
                "crit b64",
                token()
                    .header("crit", json!(["b64"]))
                    .header("b64", true)
                    .sign(),
                Reason::Critical,
            ),
            (
                "crit, empty",
                token().header("crit", json!([])).sign(),
                Reason::Critical,
            ),
            (
                "b64 false",
                token().header("b64", false).sign(),
                Reason::Shape,
            ),
            (
                "cnf",
                token().claim("cnf", json!({"jkt": "a"})).sign(),
                Reason::Confirmation,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn other_claims_are_refused() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.token();
    let claim = |name: &str, value: Value| token().claim(name, value).sign();
    let url = running.issuer.url();
    let mut cases = vec![
        (
            "exp a string",
            claim("exp", (now() + 60).to_string().into()),
            Reason::Times,
        ),
        ("exp null", claim("exp", Value::Null), Reason::Times),
        ("exp negative", claim("exp", json!(-1)), Reason::Times),
        (
            "exp an array",
            claim("exp", json!([now() + 60])),
            Reason::Shape,
        ),
        (
            "exp in a year",
            claim("exp", json!(now() + YEAR)),
            Reason::Times,
        ),
        (
            "exp in 2^63",
            claim("exp", json!(1_u64 << 63)),
            Reason::Shape,
        ),
        ("no exp", token().without("exp").sign(), Reason::Times),
        ("nbf ahead", claim("nbf", json!(now() + 60)), Reason::Times),
        ("nbf a string", claim("nbf", "0".into()), Reason::Times),
        ("iat ahead", claim("iat", json!(now() + 60)), Reason::Times),
        ("iat a string", claim("iat", "0".into()), Reason::Shape),
        ("no iat", token().without("iat").sign(), Reason::Shape),
        (
            "aud of others",
            claim("aud", json!(["orders", "api"])),
            Reason::Audience,
        ),
        ("aud of nobody", claim("aud", json!([])), Reason::Audience),
        ("aud a number", claim("aud", json!(1)), Reason::Audience),
        ("aud null", claim("aud", Value::Null), Reason::Audience),
        ("no aud", token().without("aud").sign(), Reason::Audience),
        ("iss an array", claim("iss", json!([url])), Reason::Shape),
        ("iss null", claim("iss", Value::Null), Reason::Issuer),
        ("no iss", token().without("iss").sign(), Reason::Issuer),
        ("no sub", token().without("sub").sign(), Reason::Subject),
        ("sub null", claim("sub", Value::Null), Reason::Shape),
        ("sub empty", claim("sub", "".into()), Reason::Subject),
        (
            "sub long",
            claim("sub", "s".repeat(256).into()),
            Reason::Subject,
        ),
        (
            "no client",
            token().without("client_id").sign(),
            Reason::Subject,
        ),
        ("tenant *", claim("tenant", "*".into()), Reason::Tenants),
        (
            "one tenant of many >",
            claim("tenant", json!(["a", ">"])),
            Reason::Tenants,
        ),
        (
            "a tenant in disguise",
            claim(
                "tenant",
                json!({"$serde_json::private::RawValue": "\"t-2\""}),
            ),
            Reason::Tenants,
        ),
        (
            "scope an object",
            claim("scope", json!({"orders:read": 1})),
            Reason::Scopes,
        ),
    ];
    for near in ["orders-api ", "Orders-API", "orders-ap", "orders-api\0", ""] {
        cases.push(("aud near", claim("aud", near.into()), Reason::Audience));
    }
    let near = [
        format!("{url}/"),
        format!("{url} "),
        url.to_uppercase(),
        String::new(),
    ];
    for near in near {
        cases.push(("iss near", claim("iss", near.into()), Reason::Issuer));
    }
    refused(&running, cases).await;
}

#[tokio::test]
async fn other_texts_are_refused() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.token();
    let key = running.issuer.key();
    let header = json!({"alg": "ES256", "kid": "key-1", "typ": "at+jwt"}).to_string();
    // The claims with one more member, however odd.
    let with = |member: &str| {
        let claims = token().claims();
        key.sign(
            &header,
            &format!("{},{member}}}", claims.trim_end_matches('}')),
        )
    };
    let good = token().sign();
    let segments: Vec<_> = good.split('.').collect();
    let changed = encode(token().subject("u2").claims());
    let json = json!({"protected": segments[0], "payload": segments[1], "signature": segments[2]});
    assert_eq!(running.actor(&with(r#""x":1"#)).await, Ok(running.u1()));
    refused(
        &running,
        vec![
            ("empty", String::new(), Reason::Shape),
            ("garbage", "garbage".to_owned(), Reason::Shape),
            ("JSON serialization", json.to_string(), Reason::Shape),
            ("two segments", segments[..2].join("."), Reason::Shape),
            ("four segments", format!("{good}.a"), Reason::Shape),
            ("five segments", format!("{good}.."), Reason::Shape),
            ("padding", format!("{good}=="), Reason::Shape),
            ("a space", format!("{good} "), Reason::Shape),
            ("a Unicode space", format!("{good}\u{2003}"), Reason::Shape),
            ("a line feed", format!("{good}\n"), Reason::Shape),
            (
                "no header",
                format!(".{}.{}", segments[1], segments[2]),
                Reason::Shape,
            ),
            (
                "no claims",
                format!("{}..{}", segments[0], segments[2]),
                Reason::Signature,
            ),
            (
                "changed claims",
                format!("{}.{changed}.{}", segments[0], segments[2]),
                Reason::Signature,
            ),
            (
                "exp 1e400",
                key.sign(
                    &header,
                    &token()
                        .claims()
                        .replacen("\"exp\":", "\"exp\":1e400,\"x\":", 1),
                ),
                Reason::Times,
            ),
            ("sub twice", with(r#""sub":"u2""#), Reason::Shape),
            (
                "tenant twice",
                with(r#""tenant":"a","tenant":"b""#),
                Reason::Shape,
            ),
            (
                "a member twice, deep",
                with(r#""x":[{"a":{"b":1,"b":1}}]"#),
                Reason::Shape,
            ),
            ("exp twice, escaped", with(r#""\u0065xp":1"#), Reason::Shape),
            (
                "alg twice",
                key.sign(
                    r#"{"alg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}"#,
                    &token().claims(),
                ),
                Reason::Shape,
            ),
            (
                "claims an array",
                key.sign(&header, &format!("[{}]", token().claims())),
                Reason::Shape,
            ),
            ("claims no JSON", key.sign(&header, "claims"), Reason::Shape),
            (
                "claims in UTF-16",
                key.sign(&header, "\0{\0}"),
                Reason::Shape,
            ),
            (
                "deep claims",
                with(&format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200))),
                Reason::Shape,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_has_at_most_16_kib() {
    let running = Running::start(|_| ()).await;
    let of = |pad: usize| running.issuer.token().claim("pad", "x".repeat(pad)).sign();
    let most = 16 << 10;
    let pad = (11_000..).find(|pad| of(*pad).len() >= most - 1).unwrap();
    let [fits, long] = [of(pad), of(pad + 3)];
    assert!(
        fits.len() <= most && long.len() > most,
        "{} {}",
        fits.len(),
        long.len()
    );
    assert_eq!(running.actor(&fits).await, Ok(running.u1()));
    let refused = running.actor(&long).await;
    assert_eq!(refused, Err(Refusal::Invalid(Reason::Shape)));
}

#[tokio::test]
async fn an_end_counts_after_the_leeway() {
    let running = Running::start(|_| ()).await;
    let token = |ago| running.issuer.token().expired(ago).sign();
    assert_eq!(running.actor(&token(MINUTE / 6)).await, Ok(running.u1()));
    assert_eq!(running.actor(&token(MINUTE)).await, Err(Refusal::Expired));

    let strict = Running::start(|settings| settings.leeway = std::time::Duration::ZERO).await;
    let token = strict.issuer.token().expired(MINUTE / 6).sign();
    assert_eq!(strict.actor(&token).await, Err(Refusal::Expired));
}

#[tokio::test]
async fn a_provider_without_types_is_trusted_as_far_as_its_claims_go() {
    let running = Running::start(|settings| settings.require_at_jwt = false).await;
    let issuer = &running.issuer;
    let plain = |token: Token| token.header("typ", "JWT").sign();
    assert_eq!(
        running.actor(&plain(issuer.token())).await,
        Ok(running.u1())
    );
    let untyped = issuer
        .token()
        .header("typ", Value::Null)
        .without("client_id")
        .sign();
    assert_eq!(running.actor(&untyped).await, Ok(running.u1()));
    let at_hash = issuer.token().claim("at_hash", "h");
    let own = issuer.token().claim("aud", json!(["orders-api", "test"]));
    refused(
        &running,
        vec![
            (
                "an ID token",
                issuer.id_token("orders-api", "n").sign(),
                Reason::Use,
            ),
            ("at_hash", plain(at_hash), Reason::Use),
            ("for its own client", plain(own), Reason::Use),
            (
                "a logout token",
                issuer.logout_token("orders-api").sign(),
                Reason::Type,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn eddsa_counts_unless_it_is_not_set() {
    let running = Running::start(|_| ()).await;
    running.issuer.sign_with(SigningKey::eddsa("ed"));
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert!(running.actor(&flipped).await.is_err());

    let issuer = Issuer::start().await;
    let token = issuer.token().sign();
    let other = Running::with(issuer, |settings| {
        settings.algorithms = "EdDSA".to_owned().try_into().unwrap();
    });
    let refused = other.actor(&token).await;
    assert_eq!(refused, Err(Refusal::Invalid(Reason::Algorithm)));
}
