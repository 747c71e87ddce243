//! Tokens that are revoked: their sockets are cut, and nobody takes them any more.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use orders_testkit::{SocketClient, Stack, Token, eventually};
use serde_json::json;
use tokio::time::sleep;

use super::{QUIET, REQUIRED, Secured, refusal};
use crate::{
    authorization::{Call, ask, bearer},
    orderctl::run,
};

impl Secured {
    /// What an HTTP request with this token gets.
    async fn status(&self, token: &Token) -> u16 {
        let list = Call::get("/api/orders?tenantId=t-1");
        ask(&self.pipeline.edge, &list, &bearer(token)).await.status
    }

    async fn enters(&self, token: &Token) -> SocketClient {
        let mut client = self.client(json!({ "token": token.clone().sign() }));
        client.event("connect").await;
        client.event("connected").await;
        client
    }

    /// Revokes by one claim, as an operator does.
    pub(super) async fn revoke(&self, claim: &str, value: &str) -> String {
        let args = [
            "revoke",
            "--yes",
            "--leeway",
            "1s",
            "--issuer",
            &self.issuer.url(),
            claim,
            value,
        ];
        run(&self.pipeline.stack, &args).await.expect(0).text
    }

    /// Revokes by the subject, as soon as NATS can take it.
    async fn revoke_at_last(&self, subject: &str) {
        let issuer = self.issuer.url();
        let args = ["revoke", "--yes", "--issuer", &issuer, "--subject", subject];
        eventually("it is revoked", async || {
            let said = run(&self.pipeline.stack, &args).await;
            if said.code == Some(0) {
                Ok(())
            } else {
                Err(said.errors)
            }
        })
        .await;
    }

    /// Waits until realtime refuses a new socket with the token.
    async fn refuses(&self, token: &Token) {
        let token = token.clone().sign();
        eventually("it is refused", async || {
            let mut client = self.client(json!({ "token": token }));
            let events = client.drain(QUIET).await;
            let is_refused = events
                .iter()
                .any(|(name, args)| name == "connect_error" && args[0]["message"] == REQUIRED);
            if is_refused { Ok(()) } else { Err(events) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_revoked_token_loses_its_sockets_and_every_door() {
    let mut secured = Secured::start("1h").await;
    for (claim, name) in [
        ("--subject", "sub"),
        ("--session", "sid"),
        ("--token", "jti"),
    ] {
        let token = |value: String| secured.token("t-1").claim(name, value);
        let (hit, spared) = (
            token(format!("hit-{name}")),
            token(format!("spared-{name}")),
        );
        let (mut inside, mut other) = (secured.enters(&hit).await, secured.enters(&spared).await);
        assert_eq!(secured.status(&hit).await, 200);

        let said = secured.revoke(claim, &format!("hit-{name}")).await;
        assert!(
            said.contains(&format!("{name} hit-{name} of {}", secured.issuer.url())),
            "{said}"
        );
        assert_eq!(
            inside.event("disconnect").await,
            [json!("transport close")],
            "{name}"
        );
        assert_eq!(refusal(&mut inside).await, REQUIRED, "{name}");
        let mut again = secured.client(json!({ "token": hit.clone().sign() }));
        assert_eq!(refusal(&mut again).await, REQUIRED, "{name}");
        eventually("HTTP refuses it", async || {
            match secured.status(&hit).await {
                401 => Ok(()),
                status => Err(status),
            }
        })
        .await;
        assert_eq!(secured.status(&spared).await, 200);
        assert!(other.drain(QUIET).await.is_empty(), "{name}");
    }

    // The issuer's clock may be ahead by as much as the leeway.
    let again = || secured.token("t-1").subject("again");
    secured.revoke("--subject", "again").await;
    secured.refuses(&again()).await;
    // A subject may log in again, but not within the leeway, and the second in which that ends.
    sleep(Duration::from_millis(2_100)).await;
    let mut client = secured.enters(&again()).await;
    assert_eq!(secured.status(&again()).await, 200);
    // A session does not come back.
    let session = secured.token("t-1").session("hit-sid");
    assert_eq!(secured.status(&session).await, 401);
    client.drain(QUIET).await;

    // Who starts later knows all of it.
    assert!(secured.pipeline.realtime.terminate().await.success());
    secured.pipeline.realtime.restart(|realtime| realtime).await;
    let mut client = secured.client(json!({ "token": session.clone().sign() }));
    assert_eq!(refusal(&mut client).await, REQUIRED);
    assert!(secured.pipeline.edge.terminate().await.success());
    secured.pipeline.edge.restart(|edge| edge).await;
    assert_eq!(secured.status(&session).await, 401);
    secured.clean_up().await;
}

/// A socket goes by the token that it has now.
#[tokio::test]
async fn a_token_that_was_replaced_may_be_revoked() {
    let secured = Secured::start("1h").await;
    let token = |id| secured.token("t-1").claim("jti", id);
    let mut client = secured.enters(&token("first")).await;
    let args = json!(["auth.refresh", { "token": token("second").sign() }]);
    client.tell(&json!({ "do": "ask", "args": args })).await;
    assert_eq!(client.event("ack").await[0]["ok"], true);
    secured.revoke("--token", "first").await;
    let mut other = secured.client(json!({ "token": token("first").sign() }));
    assert_eq!(refusal(&mut other).await, REQUIRED);
    assert!(client.drain(QUIET).await.is_empty());
    secured.revoke("--token", "second").await;
    client.event("disconnect").await;
    secured.clean_up().await;
}

/// Revocations survive what happens to NATS: the stream is made again, or the server is away for a while.
#[tokio::test]
async fn nobody_forgets_a_revocation() {
    // Where the writer may make the stream again.
    let mut secured = Secured::start_on(Stack::open().await, "1h", |realtime| realtime).await;
    let tokens = ["first", "second", "third"].map(|name| secured.token("t-1").subject(name));
    secured.revoke("--subject", "first").await;
    // Only what a daemon has learned can outlive the stream.
    secured.refuses(&tokens[0]).await;
    let jetstream = secured.pipeline.stack.jetstream().await;
    jetstream.delete_stream("REVOCATIONS").await.unwrap();
    secured.revoke_at_last("second").await;
    for token in &tokens[..2] {
        secured.refuses(token).await;
    }
    secured.pipeline.stack.nats.kill().await;
    secured.pipeline.stack.nats.restart().await;
    secured.revoke_at_last("third").await;
    for token in &tokens {
        secured.refuses(token).await;
    }
    secured.clean_up().await;
}

/// An edge that starts while NATS is away cannot know which tokens are revoked.
#[tokio::test]
async fn an_edge_lets_nobody_in_before_it_knows_the_revocations() {
    let mut secured = Secured::start("1h").await;
    let [revoked, other] = ["revoked", "other"].map(|name| secured.token("t-1").subject(name));
    secured.revoke("--subject", "revoked").await;
    secured.refuses(&revoked).await;
    assert!(secured.pipeline.edge.terminate().await.success());
    secured.pipeline.stack.nats.kill().await;
    secured.pipeline.edge.respawn(|edge| edge);
    secured.pipeline.edge.unready("[-]revocations failed").await;
    let list = Call::get("/api/orders?tenantId=t-1");
    for token in [&revoked, &other] {
        let answer = ask(&secured.pipeline.edge, &list, &bearer(token)).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.kind(), "urn:orders:problem:unavailable");
    }
    let answer = ask(&secured.pipeline.edge, &list, "").await;
    assert_eq!(answer.status, 401, "{answer:?}");

    secured.pipeline.stack.nats.restart().await;
    secured.pipeline.edge.ready().await;
    assert_eq!(secured.status(&revoked).await, 401);
    assert_eq!(secured.status(&other).await, 200);
    // From now on it serves with what it knows.
    secured.pipeline.stack.nats.kill().await;
    secured.pipeline.edge.unready("[-]nats failed").await;
    assert_eq!(secured.status(&revoked).await, 401);
    assert_eq!(secured.status(&other).await, 200);
    secured.pipeline.stack.nats.restart().await;
    secured.clean_up().await;
}

/// A full list refuses, so that no revocation is dropped for another.
#[tokio::test]
async fn a_full_list_takes_no_more_and_says_so() {
    let secured = Secured::start("1h").await;
    let jetstream = secured.pipeline.stack.jetstream().await;
    let stream = jetstream.get_stream("REVOCATIONS").await.unwrap();
    let config = stream.cached_info().config.clone();
    assert_eq!(
        (config.max_messages, config.max_messages_per_subject),
        (100_000, 1)
    );
    let full = Config {
        max_messages: 2,
        ..config
    };
    jetstream.update_stream(full).await.unwrap();
    secured.revoke("--subject", "first").await;
    secured.revoke("--subject", "second").await;
    let issuer = secured.issuer.url();
    let args = ["revoke", "--yes", "--issuer", &issuer, "--subject", "third"];
    let refused = run(&secured.pipeline.stack, &args).await.expect(1);
    assert!(
        refused.errors.contains("maximum messages"),
        "{}",
        refused.errors
    );
    // What it has can be revoked again, with a later moment.
    secured.revoke("--subject", "second").await;
    secured.clean_up().await;
}

#[tokio::test]
async fn a_revocation_asks_and_is_audited_without_naming_anybody() {
    let secured = Secured::start("1h").await;
    let (stack, issuer) = (&secured.pipeline.stack, secured.issuer.url());
    let args = [
        "revoke",
        "--issuer",
        &issuer,
        "--subject",
        "alice@example.com",
    ];
    let asked = run(stack, &args).await.expect(1);
    assert!(asked.errors.contains("--yes"), "{}", asked.errors);
    let token = secured.token("t-1").subject("alice@example.com");
    assert_eq!(secured.status(&token).await, 200);
    for wrong in [
        vec!["revoke", "--yes", "--issuer", &issuer],
        vec!["revoke", "--yes", "--subject", "a"],
        vec![
            "revoke",
            "--yes",
            "--issuer",
            &issuer,
            "--subject",
            "a",
            "--token",
            "b",
        ],
    ] {
        run(stack, &wrong).await.expect(2);
    }
    // The revocation of an API key lapses, and the key may not.
    let key = ["revoke", "--issuer", "api-key", "--subject", "robot"];
    let asked = run(stack, &key).await.expect(1).errors;
    assert!(asked.contains("for a day"), "{asked}");
    let told = run(stack, &[&key[..], &["--yes"]].concat()).await.expect(0);
    assert!(
        told.text.contains("ORDERS_AUTH__API_KEYS_FILE"),
        "{}",
        told.text
    );
    secured.revoke("--subject", "alice@example.com").await;
    let audit = run(stack, &["audit", "--action", "revoked", "--json"])
        .await
        .expect(0)
        .text;
    assert!(
        audit.contains("alice@") && audit.contains(&issuer),
        "{audit}"
    );
    assert!(!audit.contains("alice@example.com"), "{audit}");
    secured.clean_up().await;
}
