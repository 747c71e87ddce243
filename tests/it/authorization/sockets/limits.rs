//! How much a client may have and send.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use orders_testkit::{Stack, eventually};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{FULL, Secured, refusal};
use crate::pipeline::Pipeline;

/// A bare WebSocket: many of the real clients would take too long to start.
struct Wire(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Wire {
    /// Opens a session and does not connect to the namespace.
    async fn open(url: &str) -> Result<Self, String> {
        let url = format!(
            "{}/ws/?EIO=4&transport=websocket",
            url.replace("http", "ws")
        );
        let connected = connect_async(url).await;
        let (mut socket, _) = connected.map_err(|error| error.to_string())?;
        let open = socket.next().await.expect("a packet").expect("text");
        assert!(open.to_text().expect("text").starts_with('0'));
        Ok(Self(socket))
    }

    async fn send(&mut self, packet: &str) {
        // It may be closed already.
        let _ = self.0.send(Message::text(packet.to_owned())).await;
    }

    /// The next packet but pings; `None` when the connection is closed, or about to be.
    async fn next(&mut self) -> Option<String> {
        loop {
            let message = timeout(Duration::from_secs(20), self.0.next()).await;
            match message.expect("something happens")? {
                Ok(Message::Text(text)) if text.as_str() == "1" => return None,
                Ok(Message::Text(text)) if text.as_str() != "2" => return Some(text.to_string()),
                Ok(Message::Text(_) | Message::Ping(_)) => {}
                _ => return None,
            }
        }
    }

    /// Connects to the namespace, or says with which text it was refused.
    async fn connect(url: &str, auth: &Value) -> Result<Self, String> {
        let mut wire = Self::open(url).await?;
        wire.send(&format!("40{auth}")).await;
        let answer = wire.next().await.expect("an answer");
        match answer.strip_prefix("44") {
            None => Ok(wire),
            Some(error) => {
                let error: Value = serde_json::from_str(error).expect("JSON");
                Err(error["message"].as_str().expect("a text").to_owned())
            }
        }
    }
}

#[tokio::test]
async fn a_tenant_has_as_many_sockets_as_its_limit() {
    let limit =
        |realtime: orders_testkit::Setup| realtime.env("ORDERS_LIMITS__SOCKETS_PER_TENANT", "3");
    let secured = Secured::start_with("1h", limit).await;
    let url = secured.pipeline.edge.url();
    let auth = |n: usize, tenant: &str| {
        let token = secured.token(tenant).subject(&format!("u{n}")).sign();
        json!({ "token": token })
    };
    let mut inside = vec![];
    for n in 0..3 {
        inside.push(
            Wire::connect(&url, &auth(n, "t-1"))
                .await
                .expect("there is room"),
        );
    }
    assert_eq!(
        Wire::connect(&url, &auth(9, "t-1")).await.err().as_deref(),
        Some(FULL)
    );
    let mut client = secured.client(auth(9, "t-1"));
    assert_eq!(refusal(&mut client).await, FULL);
    let other = Wire::connect(&url, &auth(9, "t-2")).await;
    assert!(other.is_ok(), "another tenant has its own");
    drop(inside.pop());
    eventually("there is room again", async || {
        Wire::connect(&url, &auth(9, "t-1")).await.map(drop)
    })
    .await;
    let metrics = format!("{}/metrics", secured.pipeline.realtime.url());
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    let refusals = r#"orders_socket_refusals_total{daemon="realtime",reason="sockets"} "#;
    let mut lines = metrics.lines();
    let refused = lines.find_map(|line| line.strip_prefix(refusals)?.parse::<u64>().ok());
    assert!(refused > Some(0), "{metrics}");
    secured.clean_up().await;
}

#[tokio::test]
async fn a_subject_has_twenty_sockets() {
    let secured = Secured::start("1h").await;
    let url = secured.pipeline.edge.url();
    let auth = |tenant| json!({ "token": secured.token(tenant).sign() });
    let mut inside = vec![];
    for n in 0..20 {
        let tenant = if n % 2 == 0 { "t-1" } else { "t-2" };
        inside.push(
            Wire::connect(&url, &auth(tenant))
                .await
                .expect("there is room"),
        );
    }
    for tenant in ["t-1", "t-2"] {
        assert_eq!(
            Wire::connect(&url, &auth(tenant)).await.err().as_deref(),
            Some(FULL)
        );
    }
    let other = json!({ "token": secured.token("t-1").subject("u2").sign() });
    assert!(Wire::connect(&url, &other).await.is_ok());
    secured.clean_up().await;
}

#[tokio::test]
async fn a_client_says_who_it_is_within_five_seconds_and_nothing_large() {
    let secured = Secured::start("1h").await;
    let url = secured.pipeline.edge.url();
    let began = Instant::now();
    let mut silent = Wire::open(&url).await.unwrap();
    assert_eq!(silent.next().await, None);
    let waited = began.elapsed().as_secs_f64();
    assert!((4.5..8.0).contains(&waited), "{waited} s");

    let auth = json!({ "token": secured.token("t-1").sign() });
    let mut fits = Wire::connect(&url, &auth).await.unwrap();
    fits.send(&format!(r#"421["x","{}"]"#, "x".repeat(15 << 10)))
        .await;
    let mut large = Wire::connect(&url, &auth).await.unwrap();
    large
        .send(&format!(r#"42["x","{}"]"#, "x".repeat(17 << 10)))
        .await;
    while let Some(packet) = large.next().await {
        assert!(packet.starts_with("42[\"connected\""), "{packet}");
    }
    // The other one is still there.
    let args = json!(["auth.refresh", { "token": secured.token("t-1").sign() }]);
    fits.send(&format!("427{args}")).await;
    while let Some(packet) = fits.next().await {
        if packet.starts_with("437") {
            assert!(packet.contains(r#""ok":true"#), "{packet}");
            secured.clean_up().await;
            return;
        }
    }
    panic!("a message of 15 KiB closed the connection");
}

/// Nobody can be let in before the provider's keys are known.
#[tokio::test]
async fn without_keys_a_client_is_asked_to_come_later() {
    let stack = Stack::start().await;
    // A port that nobody listens at.
    let issuer = format!("http://127.0.0.1:{}", orders_testkit::free_port());
    let realtime = stack
        .daemon("realtime")
        .env("ORDERS_AUTH__MODE", "jwt")
        .env("ORDERS_AUTH__ISSUER", &issuer);
    let writer = stack.daemon("writer").start().await;
    let realtime = realtime.spawn();
    realtime.unready("auth").await;
    let token = orders_testkit::Issuer::start()
        .await
        .token()
        .claim("iss", issuer);
    let auth = json!({ "token": token.tenant("t-1").scopes("orders:read").sign() });
    eventually("it is refused", async || {
        match Wire::connect(&realtime.url(), &auth).await {
            Ok(_) => panic!("it was let in"),
            Err(text) if text == "unavailable: keys" => Ok(()),
            Err(text) => Err(text),
        }
    })
    .await;
    drop((writer, realtime));
    stack.clean_up().await;
}

/// Off means off, but a limit that is set counts, by the tenant that clients name.
#[tokio::test]
async fn with_auth_off_only_a_limit_that_is_set_counts() {
    let stack = Stack::start().await;
    let limited =
        |realtime: orders_testkit::Setup| realtime.env("ORDERS_LIMITS__SOCKETS_PER_TENANT", "2");
    let pipeline = Pipeline::start_both(stack, "1h", |edge| edge, limited).await;
    let url = pipeline.edge.url();
    let auth = |tenant: &str| json!({ "tenantId": tenant });
    let _inside = [
        Wire::connect(&url, &auth("t-1")).await.unwrap(),
        Wire::connect(&url, &auth("t-1")).await.unwrap(),
    ];
    assert_eq!(
        Wire::connect(&url, &auth("t-1")).await.err().as_deref(),
        Some(FULL)
    );
    assert!(Wire::connect(&url, &auth("t-2")).await.is_ok());
    let log = pipeline.realtime.log();
    let warnings = log
        .lines()
        .filter(|line| line.contains("ORDERS_AUTH__MODE"));
    assert_eq!(warnings.count(), 1, "{log}");
    pipeline.stack.clean_up().await;
}
