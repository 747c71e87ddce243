//! Verified tokens are remembered, and forgotten in time; API keys and tokens pass the same door.

use std::{fs, time::Duration};

use chrono::{TimeDelta, Utc};
use orders_auth::{Identity, Reason, Refusal};
use orders_contracts::{Claim, Revocable, Revocation, Timestamp};
use orders_testkit::eventually;
use ring::digest::SHA256;
use serde_json::json;

use crate::Running;

const REVOKED: Result<String, Refusal> = Err(Refusal::Invalid(Reason::Revoked));

fn revoke(running: &Running, issuer: &str, claim: Claim, value: &str) {
    let what = Revocable::new(issuer, claim, value);
    let revocation = Revocation::at(Timestamp::now(), claim);
    assert!(running.verifier.revocations().apply(what, revocation));
}

#[tokio::test]
async fn a_remembered_token_ends_in_time() {
    let running = Running::start(|settings| settings.leeway = Duration::ZERO).await;
    let token = running
        .issuer
        .token()
        .expires_in(Duration::from_secs(2))
        .sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
    eventually("it ends", async || match running.actor(&token).await {
        Err(Refusal::Expired) => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_remembered_token_can_be_revoked() {
    let running = Running::start(|_| ()).await;
    let url = running.issuer.url();
    let token = || running.issuer.token().session("s1").claim("jti", "j1");
    let [one, other] = [token().sign(), token().claim("jti", "j2").sign()];
    for token in [&one, &other] {
        assert_eq!(running.actor(token).await, Ok(running.u1()));
    }
    revoke(&running, &url, Claim::Token, "j1");
    assert_eq!(running.actor(&one).await, REVOKED);
    assert_eq!(running.actor(&other).await, Ok(running.u1()));
    revoke(&running, &url, Claim::Session, "s1");
    assert_eq!(running.actor(&other).await, REVOKED);

    let third = running.issuer.token().sign();
    assert_eq!(running.actor(&third).await, Ok(running.u1()));
    revoke(&running, "https://other.example", Claim::Subject, "u1");
    assert_eq!(running.actor(&third).await, Ok(running.u1()));
    revoke(&running, &url, Claim::Subject, "u1");
    assert_eq!(running.actor(&third).await, REVOKED);
    // A later login is another matter.
    let later = Utc::now() + TimeDelta::seconds(5);
    let fresh = running
        .issuer
        .token()
        .claim("iat", later.timestamp())
        .sign();
    assert_eq!(running.actor(&fresh).await, Ok(running.u1()));
}

#[tokio::test]
async fn an_api_key_is_a_credential_too() {
    let key = "ok_robot_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let sha256 = ring::digest::digest(&SHA256, key.as_bytes());
    let sha256 = data_encoding::HEXLOWER.encode(sha256.as_ref());
    let entry =
        json!({"id": "robot", "sha256": sha256, "tenant": "t-1", "scopes": ["orders:read"]});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, json!([entry]).to_string()).unwrap();
    let running = Running::start(|settings| settings.api_keys_file = Some(file)).await;
    assert_eq!(running.actor(key).await, Ok("api-key|robot".to_owned()));
    let unknown = Err(Refusal::Invalid(Reason::ApiKey));
    assert_eq!(running.actor(&key.replace("robot", "other")).await, unknown);
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));

    revoke(&running, Identity::API_KEYS, Claim::Subject, "robot");
    assert_eq!(running.actor(key).await, REVOKED);
}

#[tokio::test]
async fn an_api_key_needs_no_provider() {
    let issuer = orders_testkit::Issuer::start().await;
    issuer.behave(orders_testkit::Behaviour::Fail);
    let running = Running::with(issuer, |_| ());
    let refused = running.actor("ok_robot_x").await;
    assert_eq!(refused, Err(Refusal::Invalid(Reason::ApiKey)));
}
