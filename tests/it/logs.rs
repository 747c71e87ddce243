//! Logs as programs read them: all that daemons say of a request or a message is found by its trace, its order and its
//! tenant. A slow create says where its time went.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use orders_contracts::Timestamp;
use orders_testkit::{Daemon, Issuer, Setup, SocketClient, Stack, eventually};
use reqwest::{RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order, order_id};

/// The ids, by their names in every line.
pub(crate) static IDS: [&str; 3] = ["trace.id", "tenant.id", "order.id"];

const CANARY: &str = "canary7f3a";

/// Has all daemons of `stack` say all there is to say, for programs.
pub(crate) fn talkative(stack: Stack) -> Stack {
    stack
        .env("ORDERS_LOG__FORMAT", "json")
        .env("ORDERS_LOG__FILTER", "debug")
}

/// The lines of `daemon`. Each has the shape that operators rely on, and the ids of what it is about.
pub(crate) fn lines(daemon: &Daemon) -> Vec<Value> {
    let read = |text: &str| {
        let line: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let timestamp = text_of(&line, "timestamp");
        let is_utc = timestamp.ends_with('Z') && timestamp.parse::<Timestamp>().is_ok();
        let levels = ["ERROR", "WARN", "INFO", "DEBUG"];
        assert!(
            is_utc && levels.contains(&text_of(&line, "level")),
            "{text}"
        );
        for name in ["service.name", "service.instance.id"] {
            assert_eq!(line[name], daemon.name(), "{text}");
        }
        let mut values = line.as_object().unwrap().values();
        let is_flat = values.all(|value| !value.is_object() && !value.is_array());
        assert!(is_flat && line["target"].is_string(), "{text}");
        if is_ours(&line) {
            assert!(line["message"].is_string(), "{text}");
            for id in ids(&line) {
                assert!(line[*id].is_string(), "without {id}: {text}");
            }
        }
        line
    };
    daemon.log().lines().map(read).collect()
}

/// The ids that a line of ours has, by what it says.
fn ids(line: &Value) -> &'static [&'static str] {
    let (message, route) = (text_of(line, "message"), text_of(line, "http.route"));
    let status = line["http.response.status_code"].as_u64();
    let is_done = status.is_some_and(|status| status < 300);
    let of_messages = [
        "done with ",
        "released ",
        "postponed ",
        "passing on ",
        "cannot handle ",
        "a create took ",
    ];
    let of_orders = [
        "/api/orders/{orderId}",
        "/api/orders/{orderId}/cancel",
        "/api/orders/{orderId}/attachment",
    ];
    let is_create = route == "/api/orders" && line["http.request.method"] == "POST";
    if of_messages.iter().any(|begin| message.starts_with(begin)) {
        &IDS
    } else if message.starts_with("gave up ") {
        // All that a malformed message has for sure is in its subject.
        &IDS[1..2]
    } else if is_done && (is_create || of_orders.contains(&route)) {
        &IDS
    } else if is_done && route.starts_with("/api/orders") {
        &IDS[..2]
    } else if !route.is_empty() {
        &IDS[..1]
    } else {
        &[]
    }
}

/// Whether a line is of our own code.
fn is_ours(line: &Value) -> bool {
    let target = text_of(line, "target");
    let daemon = text_of(line, "service.name").replace('-', "_");
    target == "audit" || target.starts_with("orders_") || target.split("::").next() == Some(&daemon)
}

fn text_of<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

/// The logs of all daemons and servers in `folder`, none of which has a needle in it.
pub(crate) fn clean_logs(folder: &Path, needles: &[&str]) -> String {
    let files = fs::read_dir(folder).unwrap().flatten();
    let logs = files.map(|file| file.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let mut all = String::new();
    let mut count = 0;
    for path in logs {
        let log = fs::read_to_string(&path).unwrap();
        has_none(&path.display().to_string(), &log, needles);
        all += &log;
        count += 1;
    }
    assert!(count >= 6, "only {count} logs of daemons and servers");
    all
}

/// Fails if `text` has a needle in it, in capitals or not.
pub(crate) fn has_none(what: &str, text: &str, needles: &[&str]) {
    let lower = text.to_lowercase();
    for needle in needles {
        let needle = needle.to_lowercase();
        let line = lower.lines().find(|line| line.contains(&needle));
        assert_eq!(line, None, "{needle} in {what}");
    }
}

/// The id of a trace of a client's own, and the header that says it.
fn trace(n: u8) -> (String, String) {
    let id = format!("{n:032x}");
    let header = format!("00-{id}-00f067aa0ba902b7-00");
    (id, header)
}

fn traced(request: RequestBuilder, n: u8) -> RequestBuilder {
    request.header("traceparent", trace(n).1)
}

fn create(pipeline: &Pipeline, n: u8, body: &Value) -> RequestBuilder {
    let url = format!("{}/api/orders", pipeline.edge.url());
    traced(pipeline.http.post(url), n).json(body)
}

fn daemons(pipeline: &Pipeline) -> [&Daemon; 5] {
    [
        &pipeline.edge,
        &pipeline.writer,
        &pipeline.projector,
        &pipeline.payments,
        &pipeline.realtime,
    ]
}

#[tokio::test]
async fn one_trace_leads_through_all_logs_and_no_token_is_in_any() {
    let issuer = Issuer::start().await;
    let secure = |daemon: Setup| {
        daemon
            .env("ORDERS_AUTH__MODE", "jwt")
            .env("ORDERS_AUTH__ISSUER", &issuer.url())
    };
    let stack = talkative(Stack::start().await);
    let pipeline = Pipeline::start_both(stack, "300ms", secure, secure).await;
    let scopes = "orders:read orders:create orders:cancel uploads:create";
    let token = |tenant| issuer.token().tenant(tenant).scopes(scopes);
    let (good, foreign) = (token("t-1").sign(), token("t-2").sign());
    let expired = token("t-1").expired(Duration::from_secs(3_600)).sign();

    let connect = |token: &str| {
        let auth = json!({ "token": token, "tenantId": "t-1" });
        let options = json!({ "path": "/ws", "transports": ["websocket"], "auth": auth });
        SocketClient::connect(&pipeline.edge.url(), &options)
    };
    let mut socket = connect(&good);
    socket.event("connected").await;
    for refused in [&foreign, &expired] {
        connect(refused).event("connect_error").await;
    }

    let mut body = order("t-1", "r-1");
    body["buyer"] = json!({ "email": format!("{CANARY}@example.com"), "name": CANARY });
    body["metadata"] = json!({ CANARY: CANARY });
    body["attachment"] = json!({
        "filename": format!("{CANARY}.pdf"), "contentType": "application/pdf", "size": 6,
        "storageKey": format!("tenants/t-1/orders/abcd1234/{CANARY}.pdf"),
    });
    let created = create(&pipeline, 1, &body).bearer_auth(&good);
    let created = created.send().await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let id = order_id(created).await;
    socket
        .event_where("order.updated", |args| args[0]["orderId"] == id.as_str())
        .await;
    let broken = json!({ CANARY: CANARY });
    for (n, token, body, status) in [
        (2, &foreign, &body, StatusCode::FORBIDDEN),
        (3, &expired, &body, StatusCode::UNAUTHORIZED),
        (4, &good, &broken, StatusCode::BAD_REQUEST),
    ] {
        let refused = create(&pipeline, n, body).bearer_auth(token);
        assert_eq!(refused.send().await.unwrap().status(), status);
    }
    let query = format!("/api/orders?tenantId=t-1&access_token={good}");
    let query = pipeline.get(&query).await;
    assert_eq!(query.status(), StatusCode::UNAUTHORIZED);

    let dead = "ord_qz74bke6iblutmfkqfvmtezzkq";
    let mut headers = HeaderMap::new();
    headers.insert("ce-traceparent", trace(5).1);
    headers.insert("ce-subject", dead);
    let jetstream = pipeline.stack.jetstream().await;
    for (tenant, headers) in [("t-7", headers), ("t-8", HeaderMap::new())] {
        let subject = format!("orders.cmd.{tenant}.create");
        let sent = jetstream.publish_with_headers(subject, headers, CANARY.into());
        sent.await.unwrap().await.unwrap();
    }

    let daemons = daemons(&pipeline);
    eventually("all is said", async || {
        let given_up = pipeline.writer.log().matches("gave up ").count();
        match (given_up, passages(&daemons)) {
            (2, passages) if passages.len() == 6 => Ok(()),
            few => Err(few),
        }
    })
    .await;
    let all: Vec<Value> = daemons.into_iter().flat_map(lines).collect();
    let with = |n| {
        let (id, _) = trace(n);
        all.iter()
            .filter(move |line| line["trace.id"] == id.as_str())
    };
    let told: BTreeSet<_> = with(1).map(|line| text_of(line, "service.name")).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    for line in with(1).filter(|line| is_ours(line)) {
        assert_eq!(line["order.id"], id.as_str(), "{line}");
        assert_eq!(line["tenant.id"], "t-1", "{line}");
    }
    for (n, status) in [(2, 403), (3, 401), (4, 400)] {
        let mut lines = with(n);
        let answered = lines.any(|line| line["http.response.status_code"] == status);
        assert!(answered, "{status}");
    }
    let given_up = all
        .iter()
        .filter(|line| text_of(line, "message").starts_with("gave up "));
    let given_up: BTreeSet<_> = given_up
        .map(|line| IDS.map(|id| line[id].as_str()))
        .collect();
    let (fifth, _) = trace(5);
    let expected = [
        [Some(fifth.as_str()), Some("t-7"), Some(dead)],
        [None, Some("t-8"), None],
    ];
    assert_eq!(given_up, BTreeSet::from(expected));

    let secrets = [&good, &foreign, &expired].map(|token| {
        let (_, secret) = token.split_once('.').unwrap();
        secret.split_once('.').unwrap()
    });
    let secrets = secrets
        .iter()
        .flat_map(|(claims, signature)| [*claims, *signature]);
    let needles: Vec<&str> = secrets.chain([CANARY]).collect();
    clean_logs(pipeline.stack.folder(), &needles);
    drop(socket);
    pipeline.stack.clean_up().await;
}

/// Who has done what for the order of the first trace: a daemon and the stream of a message, or nothing for an answer.
fn passages(daemons: &[&Daemon]) -> BTreeSet<(&'static str, String)> {
    let (id, _) = trace(1);
    let mut passages = BTreeSet::new();
    for daemon in daemons {
        let log = daemon.log();
        // The last line may be half a line.
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        for line in lines.filter(|line: &Value| line["trace.id"] == id.as_str()) {
            let message = text_of(&line, "message");
            let place = message
                .strip_prefix("done with ")
                .or_else(|| message.strip_prefix("passing on "));
            let stream = place.and_then(|place| place.split(':').next());
            if stream.is_some() || message.contains(" answered ") {
                passages.insert((daemon.name(), stream.unwrap_or_default().to_owned()));
            }
        }
    }
    passages
}

#[tokio::test]
async fn a_slow_create_says_once_where_its_time_went() {
    let stack = Stack::start().await.env("ORDERS_LOG__FORMAT", "json");
    let pipeline = Pipeline::start_on(stack, "1h", |edge| edge).await;
    let of_order = |id: &str| {
        let mut lines = lines(&pipeline.edge);
        let is_wanted = |line: &Value| text_of(line, "message").starts_with("a create took ");
        lines.retain(|line| is_wanted(line) && line["order.id"] == id);
        lines
    };
    let mut n = 0;
    let quick = eventually("a create is quick", async || {
        n += 1;
        let began = Instant::now();
        let id = pipeline.create("t-1", &format!("quick-{n}")).await;
        match began.elapsed() {
            little if little < Duration::from_millis(250) => Ok(id),
            much => Err(much),
        }
    })
    .await;
    assert_eq!(of_order(&quick), Vec::<Value>::new());

    let slow = async |n| {
        let began = Instant::now();
        let body = order("t-1", &format!("slow-{n}"));
        let answer = create(&pipeline, n, &body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let is_listed = answer.headers()["x-projected"] == "true";
        (order_id(answer).await, is_listed, began.elapsed())
    };
    pipeline.projector.signal(Signal::STOP);
    let (unlisted, is_listed, unlisted_in) = slow(1).await;
    pipeline.projector.signal(Signal::CONT);
    assert!(!is_listed);

    pipeline.writer.signal(Signal::STOP);
    let ((undecided, _, undecided_in), ()) = tokio::join!(slow(2), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        pipeline.writer.signal(Signal::CONT);
    });
    for (n, id, took, part) in [
        (1, unlisted, unlisted_in, "projected_ms"),
        (2, undecided, undecided_in, "decided_ms"),
    ] {
        let lines = of_order(&id);
        let [line] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["trace.id"], trace(n).0);
        assert_eq!(line["tenant.id"], "t-1");
        let parts = ["admitted_ms", "published_ms", "decided_ms", "projected_ms"];
        let parts = parts.map(|part| line[part].as_u64());
        let duration = line["duration_ms"].as_u64().unwrap();
        assert_eq!(parts.iter().flatten().sum::<u64>(), duration, "{line}");
        assert!(u128::from(duration) <= took.as_millis(), "{took:?}: {line}");
        let longest = parts.iter().flatten().max();
        assert_eq!(longest.copied(), line[part].as_u64(), "{line}");
        assert!(longest > Some(&300), "{line}");
    }
    pipeline.stack.clean_up().await;
}
