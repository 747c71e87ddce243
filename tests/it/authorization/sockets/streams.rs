//! Streams of events: who may open one, and for how long it stays.

use std::time::{Duration, Instant};

use orders_contracts::sse::PATH;
use orders_testkit::{Daemon, Token, eventually};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Secured, kinds};
use crate::sse::{End, Follower};

/// What `daemon` answers to one with `token` who asks for a stream of t-1 after `last`.
async fn ask(daemon: &Daemon, token: Option<&str>, last: &str) -> Response {
    let request = reqwest::Client::new()
        .get(format!("{}{PATH}?tenantId=t-1", daemon.url()))
        .header("last-event-id", last);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.send().await.unwrap()
}

impl Secured {
    async fn follow(&self, token: &Token) -> Follower {
        let token = token.clone().sign();
        Follower::of(ask(&self.pipeline.edge, Some(&token), "").await).await
    }
}

/// Every event against every kind of credentials, at the edge and at the daemon behind it.
#[tokio::test]
async fn streams_are_for_those_who_may_read_the_tenant() {
    let secured = Secured::start("100ms").await;
    let mut inside = Vec::new();
    for (kind, token, expected) in kinds(&secured) {
        for daemon in [&secured.pipeline.edge, &secured.pipeline.realtime] {
            let answer = ask(daemon, token.as_deref(), "x").await;
            let Some(text) = expected else {
                let mut follower = Follower::of(answer).await;
                let reset = follower.next().await.unwrap();
                assert_eq!(reset.event, "feed.reset");
                inside.push((kind, follower));
                continue;
            };
            let status = match text.starts_with("forbidden") {
                true => StatusCode::FORBIDDEN,
                false => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(answer.status(), status, "{kind}");
            if status == StatusCode::UNAUTHORIZED {
                assert!(answer.headers().contains_key("www-authenticate"), "{kind}");
            }
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["status"], status.as_u16(), "{kind}: {problem}");
        }
    }
    let foreign = secured.create("t-2", "r1").await;
    let id = secured.create("t-1", "r1").await;
    for (kind, follower) in &mut inside {
        for event in ["order.created", "order.updated"] {
            let told = follower.next().await.unwrap();
            assert_eq!(told.event, event, "{kind}");
            assert_eq!(
                told.data["orderId"],
                id.as_str(),
                "{kind} heard of {foreign}?"
            );
        }
    }
    assert_eq!(inside.len(), 4);
    let log = secured.pipeline.realtime.log();
    assert!(log.contains("follows the feed of t-1"), "{log}");
    secured.clean_up().await;
}

/// Nobody asks for another token: the client comes back with one, and goes on where it was.
#[tokio::test]
async fn a_stream_ends_after_its_token_expired_and_the_next_one_goes_on() {
    let secured = Secured::start("1h").await;
    let lasts = Duration::from_secs(2);
    let began = Instant::now();
    let token = secured.token("t-1").expires_in(lasts);
    let mut follower = secured.follow(&token).await;
    let first = secured.create("t-1", "r1").await;
    assert_eq!(
        follower.next().await.unwrap().data["orderId"],
        first.as_str()
    );
    assert_eq!(follower.next().await, Err(End::Clean));
    let stayed = began.elapsed();
    // The leeway of 1 s, the jitter of up to 5 s, and some slack.
    assert!(
        (lasts..lasts + Duration::from_secs(9)).contains(&stayed),
        "{stayed:?}"
    );

    let edge = &secured.pipeline.edge;
    let token = token.sign();
    // The stream may have ended within the same second.
    eventually("it is refused", async || {
        match ask(edge, Some(&token), &follower.last).await.status() {
            StatusCode::UNAUTHORIZED => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let missed = secured.create("t-1", "r2").await;
    let again = secured.token("t-1").sign();
    let mut follower = Follower::of(ask(edge, Some(&again), &follower.last).await).await;
    assert_eq!(
        follower.next().await.unwrap().data["orderId"],
        missed.as_str()
    );
    secured.clean_up().await;
}

#[tokio::test]
async fn a_revocation_ends_the_streams_that_it_names_and_no_other() {
    let secured = Secured::start("1h").await;
    let (hit, spared) = (
        secured.token("t-1").subject("hit"),
        secured.token("t-1").subject("spared"),
    );
    let (mut inside, mut other) = (secured.follow(&hit).await, secured.follow(&spared).await);
    secured.revoke("--subject", "hit").await;
    assert_eq!(inside.end().await, End::Clean);
    let refused = ask(&secured.pipeline.edge, Some(&hit.sign()), "").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let id = secured.create("t-1", "r1").await;
    other.sees("order.created", &id).await;
    secured.clean_up().await;
}

#[tokio::test]
async fn a_subject_has_twenty_sockets_and_streams() {
    let secured = Secured::start("1h").await;
    let token = secured.token("t-1");
    let mut socket = secured.client(json!({ "token": token.clone().sign() }));
    socket.event("connected").await;
    let mut inside = Vec::new();
    for _ in 1..20 {
        inside.push(secured.follow(&token).await);
    }
    let full = ask(&secured.pipeline.edge, Some(&token.clone().sign()), "").await;
    assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS);
    let problem: Value = full.json().await.unwrap();
    assert_eq!(problem["violated-policies"], json!(["sockets"]));
    secured.follow(&token.subject("u2")).await;
    secured.clean_up().await;
}
