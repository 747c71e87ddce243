//! The provider's keys: rotation, outages, limits.

use std::time::{Duration, Instant};

use orders_auth::{Reason, Refusal};
use orders_testkit::{Behaviour, Issuer, SigningKey, eventually};

use crate::Running;

const UNKNOWN: Refusal = Refusal::Invalid(Reason::Key);

/// Verifies many tokens at the same time, each with an unknown key of its own.
async fn unknown_keys(running: &Running, count: usize) -> Vec<Result<String, Refusal>> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let token = running
            .issuer
            .token()
            .header("kid", format!("unknown-{number}"))
            .sign();
        let verifier = running.verifier.clone();
        tasks.spawn(async move {
            verifier
                .verify(&token)
                .await
                .map(|identity| identity.actor())
        });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_met_and_an_old_one_dies() {
    let running = Running::start(|_| ()).await;
    let old = running.issuer.token().sign();
    assert_eq!(running.actor(&old).await, Ok(running.u1()));
    assert_eq!(running.issuer.key_fetches(), 1);

    running.issuer.rotate("key-2");
    assert_eq!(running.actor(&old).await, Ok(running.u1()), "not known yet");
    let new = running.issuer.token().sign();
    assert_eq!(running.actor(&new).await, Ok(running.u1()));
    assert_eq!(running.issuer.key_fetches(), 2);
    assert_eq!(
        running.actor(&old).await,
        Err(UNKNOWN),
        "although it was verified before"
    );
    assert_eq!(running.actor(&new).await, Ok(running.u1()));
    assert_eq!(running.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn many_requests_with_a_new_key_wait_for_one_fetch() {
    let running = Running::start(|_| ()).await;
    running.issuer.rotate("key-2");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let token = running.issuer.token().subject(&format!("u{number}")).sign();
        let verifier = running.verifier.clone();
        tasks.spawn(async move { verifier.verify(&token).await.map(|_| ()) });
    }
    let found = tasks.join_all().await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(running.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn a_thousand_unknown_keys_are_one_fetch() {
    let running = Running::start(|_| ()).await;
    let found = unknown_keys(&running, 1000).await;
    assert!(found.iter().all(|found| *found == Err(UNKNOWN)));
    assert_eq!(running.issuer.key_fetches(), 2);
    // Nor do those that come one after the other.
    for found in unknown_keys(&running, 10).await {
        assert_eq!(found, Err(UNKNOWN));
    }
    assert_eq!(running.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn after_an_empty_set_they_are_one_fetch_too_and_old_keys_stay() {
    let running = Running::start(|_| ()).await;
    running.issuer.publish(Vec::new());
    let found = unknown_keys(&running, 1000).await;
    assert!(found.iter().all(|found| *found == Err(UNKNOWN)));
    assert_eq!(running.issuer.key_fetches(), 2);
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
}

#[tokio::test]
async fn a_fetch_does_not_end_with_its_request() {
    let running = Running::start(|_| ()).await;
    running.issuer.rotate("key-2");
    let token = running.issuer.token().sign();
    {
        // It asks for the keys, and goes away.
        let mut request = Box::pin(running.verifier.verify(&token));
        let polled = futures_util::poll!(&mut request);
        assert!(polled.is_pending());
    }
    eventually("the keys are fetched", async || {
        match running.issuer.key_fetches() {
            2 => Ok(()),
            fetches => Err(fetches),
        }
    })
    .await;
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
    assert_eq!(running.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn an_outage_keeps_old_keys() {
    let running = Running::start(|_| ()).await;
    running.issuer.behave(Behaviour::Fail);
    assert_eq!(unknown_keys(&running, 1).await, [Err(UNKNOWN)]);
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
    assert_eq!(running.verifier.ready(), Ok(()));
}

/// What an issuer does before it comes to its senses, and what the log says of it.
async fn waits_for(behaviour: Behaviour, reason: &str) {
    let issuer = Issuer::start().await;
    issuer.behave(behaviour);
    let token = issuer.token().sign();
    let running = Running::with(issuer, |_| ());
    let said = eventually("the first fetch fails", async || {
        let said = running
            .verifier
            .ready()
            .expect_err("it has no keys")
            .to_string();
        if said.contains("not fetched yet") {
            Err(said)
        } else {
            Ok(said)
        }
    })
    .await;
    assert!(said.contains(reason), "{said}");

    let fetches = running.issuer.key_fetches();
    let start = Instant::now();
    for found in unknown_keys(&running, 100).await {
        let Err(Refusal::NoKeys { retry_after }) = found else {
            panic!("{found:?}");
        };
        assert!((1..=5).contains(&retry_after.as_secs()), "{retry_after:?}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "nobody waits for it"
    );
    assert_eq!(
        running.issuer.key_fetches(),
        fetches,
        "no request asks again"
    );

    running.issuer.behave(Behaviour::Answer);
    running.has_keys().await;
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
}

#[tokio::test]
async fn it_waits_for_one_that_fails() {
    waits_for(Behaviour::Fail, "it answers 500").await;
}

#[tokio::test]
async fn it_waits_for_one_that_does_not_answer() {
    waits_for(Behaviour::Hang, "it does not answer within 5s").await;
}

#[tokio::test]
async fn it_waits_for_one_that_answers_without_end() {
    waits_for(Behaviour::Flood, "more than 262144 bytes").await;
}

#[tokio::test]
async fn it_waits_for_one_that_redirects() {
    waits_for(Behaviour::Redirect, "it answers 302").await;
}

#[tokio::test]
async fn it_waits_for_one_that_is_another() {
    waits_for(Behaviour::Pretend, "of another issuer").await;
}

#[tokio::test]
async fn too_many_keys_are_none() {
    let issuer = Issuer::start().await;
    let key = issuer.key().jwk();
    issuer.publish(vec![key.clone(); 65]);
    let running = Running::with(issuer, |_| ());
    eventually("the set is refused", async || {
        let said = running
            .verifier
            .ready()
            .expect_err("it has no keys")
            .to_string();
        if said.contains("more than 64 keys") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    // Some of them are of no use, which spoils nothing.
    let secret = serde_json::json!({"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"});
    running
        .issuer
        .publish(vec![secret, SigningKey::eddsa("other").jwk(), key]);
    running.has_keys().await;
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
}

#[tokio::test]
async fn a_url_of_the_keys_needs_no_discovery() {
    let issuer = Issuer::start().await;
    // Its discovery document is of another issuer; its keys are right.
    issuer.behave(Behaviour::Pretend);
    let url = issuer.keys_url();
    let running = Running::with(issuer, |settings| settings.jwks_url = Some(url));
    running.has_keys().await;
    let token = running.issuer.token().sign();
    assert_eq!(running.actor(&token).await, Ok(running.u1()));
}
