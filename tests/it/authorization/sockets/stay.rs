//! How long a client stays: until its token expires, or longer if it sends another one.

use std::{
    cell::Cell,
    collections::BTreeMap,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use orders_testkit::{LIMIT, SocketClient, Token, checkout};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    time::{sleep, timeout},
};

use super::{EXPIRED, QUIET, Secured, refusal};

/// The leeway that the tests set, and the longest jitter.
const GRACE: Duration = Duration::from_secs(1 + 5);

/// Has the client send another token; the ack.
async fn refresh(client: &mut SocketClient, token: Token) -> Value {
    let args = json!(["auth.refresh", { "token": token.sign() }]);
    client.tell(&json!({ "do": "ask", "args": args })).await;
    client.event("ack").await[0].clone()
}

#[tokio::test]
async fn a_client_is_warned_and_its_connection_closes_after_its_token_expired() {
    let secured = Secured::start("1h").await;
    let lasts = Duration::from_secs(2);
    let began = Instant::now();
    let token = secured.token("t-1").expires_in(lasts).sign();
    let mut client = secured.connect(json!({ "auth": { "token": token }, "again": 100 }));
    client.event("connected").await;
    let expiring = client.event("auth.expiring").await;
    assert_eq!(expiring.len(), 1);
    assert!(expiring[0]["expiresAt"].is_string(), "{expiring:?}");

    // The transport closes, after which the client comes back by itself.
    assert_eq!(client.event("disconnect").await, [json!("transport close")]);
    let stayed = began.elapsed();
    assert!(stayed >= lasts, "{stayed:?}");
    assert!(
        stayed < lasts + GRACE + Duration::from_secs(3),
        "{stayed:?}"
    );
    assert_eq!(refusal(&mut client).await, EXPIRED);
    // With a fresh token the handler of the refusal gets it in again.
    let auth = json!({ "token": secured.token("t-1").sign() });
    client.tell(&json!({ "do": "auth", "auth": auth })).await;
    client.event("connected").await;
    secured.clean_up().await;
}

#[tokio::test]
async fn another_token_keeps_the_client_in() {
    let secured = Secured::start("1h").await;
    let short = || secured.token("t-1").expires_in(Duration::from_secs(2));
    let mut client = secured.client(json!({ "token": short().sign() }));
    let mut idle = secured.client(json!({ "token": short().sign() }));
    client.event("auth.expiring").await;
    let ack = refresh(&mut client, secured.token("t-1")).await;
    assert_eq!(ack["ok"], true, "{ack}");
    assert!(ack["expiresAt"].is_string(), "{ack}");
    // Another one is too much for now, whatever it is.
    let ack = refresh(&mut client, secured.token("t-1")).await;
    assert_eq!(ack, json!({ "ok": false, "code": "too_soon" }));

    // Whoever sent none has gone, and with that so much time has passed that this client would have too.
    let began = Instant::now();
    idle.event("disconnect").await;
    sleep((GRACE + Duration::from_secs(3)).saturating_sub(began.elapsed())).await;
    let id = secured.create("t-1", "r1").await;
    client
        .sees("order.created", |args| args[0]["orderId"] == id.as_str())
        .await;
    let events = client.drain(QUIET).await;
    let gone = |(name, _): &(String, Vec<Value>)| name == "disconnect" || name == "auth.expiring";
    assert!(!events.iter().any(gone), "{events:?}");
    secured.clean_up().await;
}

#[tokio::test]
async fn only_a_token_of_the_same_subject_and_tenant_is_taken() {
    let secured = Secured::start("1h").await;
    let other_issuer = orders_testkit::Issuer::start().await;
    let token = || secured.token("t-1");
    let refused = [
        (token().subject("u2"), "subject"),
        (secured.token("t-2"), "tenant"),
        (secured.issuer.token().scopes("orders:read"), "tenant"),
        (
            secured.issuer.token().tenant("t-1").scopes("orders:create"),
            "scope",
        ),
        (
            token()
                .claim("exp", 1_700_000_000)
                .claim("iat", 1_699_999_000),
            "expired",
        ),
        (token().claim("aud", "another"), "unauthorized"),
        (
            other_issuer.token().tenant("t-1").scopes("orders:read"),
            "unauthorized",
        ),
    ];
    let mut clients = vec![];
    for _ in 0..=refused.len() {
        let mut client = secured.client(json!({ "token": token().sign() }));
        client.event("connected").await;
        clients.push(client);
    }
    let mut malformed = clients.pop().expect("one more");
    for args in [
        json!(["auth.refresh", {}]),
        json!(["auth.refresh", "x"]),
        json!(["auth.refresh"]),
    ] {
        malformed.tell(&json!({ "do": "ask", "args": args })).await;
        let ack = malformed.event("ack").await;
        assert_eq!(
            ack[0],
            json!({ "ok": false, "code": "unauthorized" }),
            "{args}"
        );
    }
    for ((next, code), client) in refused.into_iter().zip(&mut clients) {
        let ack = refresh(client, next).await;
        assert_eq!(ack, json!({ "ok": false, "code": code }));
    }
    // None of them has lost or gained anything by that.
    let id = secured.create("t-1", "r1").await;
    for client in &mut clients {
        client
            .sees("order.created", |args| args[0]["orderId"] == id.as_str())
            .await;
    }
    secured.clean_up().await;
}

/// Orders come all the time, while a client is cut twice and comes back with another token each time.
#[tokio::test]
async fn coming_back_with_another_token_has_no_gap_and_no_duplicate() {
    let secured = Secured::start("100ms").await;
    let lasts = |seconds| {
        secured
            .token("t-1")
            .expires_in(Duration::from_secs(seconds))
    };
    let mut client = secured.client(json!({ "token": lasts(3).sign() }));
    client.event("connect").await;
    client.event("connected").await;
    let done = Cell::new(false);
    let reconnect = async {
        for token in [lasts(3 + GRACE.as_secs() + 4), lasts(300)] {
            let auth = json!({ "token": token.sign() });
            client.tell(&json!({ "do": "auth", "auth": auth })).await;
            client.event("disconnect").await;
            client.event("connect").await;
        }
        done.set(true);
    };
    let create = async {
        let mut ids: Vec<String> = vec![];
        while !done.get() {
            let request = format!("r{}", ids.len());
            ids.push(secured.create("t-1", &request).await);
            // Often enough for an order to come whenever the client is away.
            sleep(Duration::from_millis(20)).await;
        }
        // One more, for which the client is in.
        ids.push(secured.create("t-1", "last").await);
        ids
    };
    let ((), ids) = tokio::join!(reconnect, create);
    let last = ids.last().expect("some orders").clone();
    client
        .sees("order.updated", |args| args[0]["orderId"] == last.as_str())
        .await;
    let events = client.drain(QUIET).await;
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, args) in &events {
        if let Some(id) = args.first().and_then(|change| change["orderId"].as_str()) {
            told.entry(name).or_default().push(id);
        }
    }
    assert_eq!(
        told["order.created"], ids,
        "in the order of their creation, each once"
    );
    let mut updated = told["order.updated"].clone();
    updated.sort_unstable();
    let mut expected: Vec<&str> = ids.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(updated, expected);
    assert!(!told.contains_key("feed.reset"), "{events:?}");
    secured.clean_up().await;
}

/// The client of the documents: it stays with fresh tokens, and comes back after one that was refused.
#[tokio::test]
async fn a_client_with_fresh_tokens_misses_nothing() {
    let secured = Secured::start("1h").await;
    // The first is worthless, the second makes the server ask for a third at once, which lasts.
    let expired = secured
        .token("t-1")
        .claim("iat", 1_699_999_000)
        .claim("exp", 1_700_000_000);
    let soon = secured.token("t-1").expires_in(Duration::from_secs(25));
    let tokens = [expired.sign(), soon.sign(), secured.token("t-1").sign()];
    let next = Arc::new(AtomicUsize::new(0));
    let give = move || {
        let token = tokens[next.fetch_add(1, Ordering::Relaxed).min(2)].clone();
        async { token }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token_url = format!("http://{}/", listener.local_addr().unwrap());
    let provider = Router::new().route("/", get(give));
    tokio::spawn(async move { axum::serve(listener, provider).await });

    let mut node = Command::new("node")
        .arg(checkout().join("tests/socketio/token.mjs"))
        .args([secured.pipeline.edge.url(), token_url, "t-1".to_owned()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut line = async || {
        timeout(LIMIT, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    };
    assert_eq!(line().await, "connected");
    assert_eq!(line().await, "refreshed");
    let id = secured.create("t-1", "r1").await;
    assert_eq!(line().await, id);
    secured.clean_up().await;
}
