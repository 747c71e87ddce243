//! Sockets where clients need tokens, by the unmodified client from npm.

mod limits;
mod revoked;
mod room;
mod stay;
mod streams;

use std::{collections::BTreeSet, time::Duration};

use orders_contracts::socket::{AUTH_REFRESH, RECEIVED, SENT};
use orders_testkit::{Issuer, Setup, SocketClient, Stack, Token};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ALL, Call, ask, bearer};
use crate::pipeline::{Pipeline, order};

const REQUIRED: &str = "unauthorized: token required";
const EXPIRED: &str = "unauthorized: token expired";
const FORBIDDEN: &str = "forbidden: tenant";
const FULL: &str = "limit: sockets";

/// How long nothing must come for a client to have got everything.
const QUIET: Duration = Duration::from_millis(500);

/// The pipeline, whose edge and realtime require tokens of an issuer.
struct Secured {
    pipeline: Pipeline,
    issuer: Issuer,
}

impl Secured {
    async fn start(delay: &str) -> Self {
        Self::start_with(delay, |realtime| realtime).await
    }

    /// Starts it, realtime with changes to its setup.
    async fn start_with(delay: &str, realtime: impl FnOnce(Setup) -> Setup) -> Self {
        Self::start_on(Stack::start().await, delay, realtime).await
    }

    async fn start_on(stack: Stack, delay: &str, realtime: impl FnOnce(Setup) -> Setup) -> Self {
        let issuer = Issuer::start().await;
        let secure = |daemon: Setup| {
            daemon
                .env("ORDERS_AUTH__MODE", "jwt")
                .env("ORDERS_AUTH__ISSUER", &issuer.url())
                .env("ORDERS_AUTH__LEEWAY", "1s")
                .env("ORDERS_LIMITS__TENANT_RATE", "1000000")
        };
        let realtime = |daemon| realtime(secure(daemon));
        let pipeline = Pipeline::start_both(stack, delay, secure, realtime).await;
        Self { pipeline, issuer }
    }

    /// A token of `tenant` that may do everything.
    fn token(&self, tenant: &str) -> Token {
        self.issuer.token().tenant(tenant).scopes(ALL)
    }

    /// A client with `auth`, which goes by its last offset.
    fn client(&self, auth: Value) -> SocketClient {
        self.connect(json!({ "auth": auth, "follow": true }))
    }

    /// A client with `own` options.
    fn connect(&self, own: Value) -> SocketClient {
        let mut options = json!({
            "path": "/ws", "transports": ["websocket"], "auth": {},
            "reconnectionDelay": 100, "reconnectionDelayMax": 300,
        });
        let own = own.as_object().expect("options").clone();
        options.as_object_mut().expect("options").extend(own);
        SocketClient::connect(&self.pipeline.edge.url(), &options)
    }

    /// Creates an order and returns its id.
    async fn create(&self, tenant: &str, request: &str) -> String {
        let call = Call::post("/api/orders", order(tenant, request));
        let answer = ask(&self.pipeline.edge, &call, &bearer(&self.token(tenant))).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["orderId"].as_str().expect("an id").to_owned()
    }

    async fn clean_up(self) {
        self.pipeline.stack.clean_up().await;
    }
}

/// The text with which the client was refused.
async fn refusal(client: &mut SocketClient) -> String {
    let error = client.event("connect_error").await;
    error[0]["message"].as_str().expect("a text").to_owned()
}

/// The credentials of the matrix, and what becomes of a client with them.
fn kinds(secured: &Secured) -> [(&'static str, Option<String>, Option<&'static str>); 9] {
    let issuer = &secured.issuer;
    let read = |tenant| issuer.token().tenant(tenant).scopes("orders:read");
    // So soon that the client is asked for another token at once.
    let soon = Duration::from_secs(29);
    let expired = read("t-1")
        .claim("exp", 1_700_000_000)
        .claim("iat", 1_699_999_000);
    [
        ("none", None, Some(REQUIRED)),
        ("garbage", Some("eyJx.y.z".to_owned()), Some(REQUIRED)),
        ("expired", Some(expired.sign()), Some(EXPIRED)),
        (
            "of another tenant",
            Some(read("t-2").sign()),
            Some(FORBIDDEN),
        ),
        (
            "of no tenant",
            Some(issuer.token().scopes("orders:read").sign()),
            Some(FORBIDDEN),
        ),
        (
            "of another scope",
            Some(
                issuer
                    .token()
                    .tenant("t-1")
                    .scopes("orders:create orders:cancel")
                    .sign(),
            ),
            Some(FORBIDDEN),
        ),
        (
            "for another audience",
            Some(read("t-1").claim("aud", "another").sign()),
            Some(REQUIRED),
        ),
        ("right", Some(read("t-1").expires_in(soon).sign()), None),
        (
            "of an operator",
            Some(
                issuer
                    .token()
                    .operator()
                    .scopes("orders:read orders:operator")
                    .expires_in(soon)
                    .sign(),
            ),
            None,
        ),
    ]
}

/// Every event against every kind of credentials: a client that is let in gets each of them, or may send it; one that is
/// refused gets none.
#[tokio::test]
async fn events_are_for_those_who_may_read_the_tenant() {
    let secured = Secured::start("100ms").await;
    let kinds = kinds(&secured);
    let (mut inside, mut outside) = (vec![], vec![]);
    for (kind, token, expected) in &kinds {
        for place in ["auth", "header"] {
            // The offset is none, so it is told to load its list again.
            let mut options = json!({ "auth": { "tenantId": "t-1", "serverOffset": "x" } });
            match (token, place) {
                (Some(token), "auth") => options["auth"]["token"] = json!(token),
                (Some(token), _) => {
                    options["extraHeaders"] = json!({ "Authorization": format!("Bearer {token}") });
                }
                (None, _) => {}
            }
            let mut client = secured.connect(options);
            match expected {
                None => {
                    client.sees("connected", |_| true).await;
                    inside.push((*kind, client));
                }
                Some(expected) => {
                    assert_eq!(refusal(&mut client).await, *expected, "{kind} in {place}");
                    outside.push((*kind, client));
                }
            }
        }
    }
    let id = secured.create("t-1", "r1").await;
    let foreign = secured.create("t-2", "r1").await;
    let again = secured.token("t-1").sign();
    for (kind, client) in &mut inside {
        for event in SENT {
            match event {
                AUTH_REFRESH => {
                    client
                        .tell(&json!({ "do": "ask", "args": [event, { "token": again }] }))
                        .await;
                }
                other => panic!("{other} is not in the matrix"),
            }
        }
        client
            .sees("order.updated", |args| args[0]["orderId"] == id.as_str())
            .await;
        client.sees("ack", |_| true).await;
        let events = client.drain(QUIET).await;
        let names: BTreeSet<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        for event in RECEIVED {
            assert!(
                names.contains(event),
                "{event} is not in the matrix of {kind}: {events:?}"
            );
        }
        assert!(
            !format!("{events:?}").contains(&foreign),
            "{kind}: {events:?}"
        );
        let ack = events.iter().find(|(name, _)| name == "ack");
        let ack = &ack.expect("an ack").1[0];
        assert_eq!(ack["ok"], true, "{kind}: {ack}");
    }
    for (kind, client) in &mut outside {
        let events = client.drain(Duration::from_millis(50)).await;
        assert!(events.is_empty(), "{kind}: {events:?}");
    }
    secured.clean_up().await;
}

/// Nothing but `auth.token` and `Authorization` counts: others store or send what is in URLs and cookies.
#[tokio::test]
async fn a_token_elsewhere_is_ignored() {
    let secured = Secured::start("1h").await;
    let token = secured.token("t-1").sign();
    let auth = json!({ "tenantId": "t-1" });
    for own in [
        json!({ "auth": auth, "query": { "token": token } }),
        json!({ "auth": auth, "query": { "access_token": token, "auth": token } }),
        json!({ "auth": auth, "extraHeaders": { "Cookie": format!("token={token}; access_token={token}") } }),
        json!({ "auth": { "tenantId": "t-1", "token": [token] } }),
        json!({ "auth": { "tenantId": "t-1", "token": format!("Bearer {token}") } }),
        json!({ "auth": auth, "extraHeaders": { "Authorization": format!("Basic {token}") } }),
    ] {
        for transport in ["websocket", "polling"] {
            let mut own = own.clone();
            own["transports"] = json!([transport]);
            let mut client = secured.connect(own.clone());
            assert_eq!(refusal(&mut client).await, REQUIRED, "{own}");
        }
    }
    let log = secured.pipeline.realtime.log() + &secured.pipeline.edge.log();
    assert!(!log.contains("eyJ"), "{log}");
    secured.clean_up().await;
}

/// Both transports, and a client that begins with one and goes on with the other.
#[tokio::test]
async fn a_token_counts_on_every_transport() {
    let secured = Secured::start("1h").await;
    let token = secured.token("t-1").sign();
    for transports in [
        json!(["websocket"]),
        json!(["polling"]),
        json!(["polling", "websocket"]),
    ] {
        for own in [
            json!({ "auth": { "token": token } }),
            json!({ "extraHeaders": { "Authorization": format!("Bearer {token}") } }),
            // The one in `auth` wins.
            json!({ "auth": { "token": token }, "extraHeaders": { "Authorization": "Bearer eyJ.x.y" } }),
        ] {
            let mut own = own;
            own["transports"] = transports.clone();
            let mut client = secured.connect(own.clone());
            let connected = client.event("connected").await;
            assert_eq!(connected[0]["tenantId"], "t-1", "{own}");
        }
    }
    secured.clean_up().await;
}

/// A page of another site cannot use what a browser adds to its requests.
#[tokio::test]
async fn a_forged_origin_does_not_even_get_to_the_token() {
    let secured = Secured::start("1h").await;
    let token = secured.token("t-1").sign();
    for transport in ["websocket", "polling"] {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:3000.evil.example",
        ] {
            let mut client = secured.connect(json!({
                "transports": [transport], "auth": { "token": token }, "extraHeaders": { "Origin": origin },
                "reconnection": false,
            }));
            let text = refusal(&mut client).await;
            assert!(text.contains("error"), "{origin}: {text}");
            assert!(client.drain(QUIET).await.is_empty());
        }
    }
    let mut ours = secured.connect(json!({
        "auth": { "token": token }, "extraHeaders": { "Origin": "http://localhost:3000" },
    }));
    ours.event("connected").await;
    secured.clean_up().await;
}
