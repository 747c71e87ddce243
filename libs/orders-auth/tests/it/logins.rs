//! ID tokens and logout tokens.

use std::sync::Arc;

use orders_auth::{IdToken, LogoutToken, Reason, Refusal};
use orders_testkit::{SigningKey, Token};
use serde_json::{Value, json};

use crate::{MINUTE, Running};

async fn login(running: &Running, token: &Token) -> Result<IdToken, Refusal> {
    let token = token.sign();
    running.verifier.verify_id_token(&token, "web", "n1").await
}

async fn logout(running: &Running, token: &Token) -> Result<LogoutToken, Refusal> {
    running
        .verifier
        .verify_logout_token(&token.sign(), "web")
        .await
}

#[tokio::test]
async fn an_id_token_says_who_has_logged_in() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.id_token("web", "n1");
    let full = token()
        .session("s1")
        .claim("name", "Ann")
        .claim("email", "a@example.com");
    let found = login(&running, &full).await.unwrap();
    assert_eq!(found.subject, "u1");
    assert_eq!(found.session.as_deref(), Some("s1"));
    assert_eq!(found.name.as_deref(), Some("Ann"));
    assert!(found.expires_at > found.issued_at);

    let named = token()
        .claim("preferred_username", "ann")
        .claim("name", json!({}));
    assert_eq!(
        login(&running, &named).await.unwrap().name.as_deref(),
        Some("ann")
    );
    assert_eq!(login(&running, &token()).await.unwrap().name, None);
    let untyped = token().header("typ", Value::Null);
    assert!(login(&running, &untyped).await.is_ok());
    let shared = token()
        .claim("aud", json!(["web", "other"]))
        .claim("azp", "web");
    assert!(login(&running, &shared).await.is_ok());
}

#[tokio::test]
async fn other_id_tokens_are_refused() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.id_token("web", "n1");
    let evil = Arc::new(SigningKey::es256("key-1"));
    for (name, token, reason) in [
        ("another nonce", token().claim("nonce", "n2"), Reason::Nonce),
        ("no nonce", token().without("nonce"), Reason::Nonce),
        (
            "another client",
            token().claim("aud", "web2"),
            Reason::Audience,
        ),
        (
            "shared, for nobody",
            token().claim("aud", json!(["web", "b"])),
            Reason::Audience,
        ),
        (
            "for another party",
            token().claim("azp", "b"),
            Reason::Audience,
        ),
        (
            "an access token",
            running
                .issuer
                .token()
                .claim("aud", "web")
                .claim("nonce", "n1"),
            Reason::Type,
        ),
        ("another key", token().key(evil), Reason::Signature),
        (
            "another issuer",
            token().claim("iss", "https://evil.example"),
            Reason::Issuer,
        ),
        ("nobody", token().without("sub"), Reason::Subject),
        ("alg none", token().header("alg", "none"), Reason::Algorithm),
    ] {
        let refused = login(&running, &token).await;
        assert_eq!(refused, Err(Refusal::Invalid(reason)), "{name}");
    }
    let refused = login(&running, &token().expired(MINUTE)).await;
    assert_eq!(refused, Err(Refusal::Expired));
}

#[tokio::test]
async fn a_logout_token_says_which_login_has_ended() {
    let running = Running::start(|_| ()).await;
    let token = || running.issuer.logout_token("web");
    let found = logout(&running, &token().session("s1")).await.unwrap();
    assert_eq!(found.subject.as_deref(), Some("u1"));
    assert_eq!(found.session.as_deref(), Some("s1"));
    let found = logout(&running, &token().without("sub").session("s1"))
        .await
        .unwrap();
    assert_eq!(found.subject, None);
    let found = logout(&running, &token()).await.unwrap();
    assert_eq!(found.session, None);

    let event = "http://schemas.openid.net/event/backchannel-logout";
    for (name, token, reason) in [
        ("typ JWT", token().header("typ", "JWT"), Reason::Type),
        (
            "an ID token",
            running.issuer.id_token("web", "n1"),
            Reason::Type,
        ),
        ("with a nonce", token().claim("nonce", "n1"), Reason::Use),
        ("no events", token().without("events"), Reason::Use),
        (
            "another event",
            token().claim("events", json!({"x": {}})),
            Reason::Use,
        ),
        (
            "an event that is none",
            token().claim("events", json!({ event: true })),
            Reason::Use,
        ),
        (
            "a list of events",
            token().claim("events", json!([event])),
            Reason::Use,
        ),
        ("no jti", token().without("jti"), Reason::Use),
        ("of nobody", token().without("sub"), Reason::Subject),
        ("of an empty login", token().session(""), Reason::Subject),
        (
            "another client",
            token().claim("aud", "web2"),
            Reason::Audience,
        ),
    ] {
        let refused = logout(&running, &token).await;
        assert_eq!(refused, Err(Refusal::Invalid(reason)), "{name}");
    }
}
