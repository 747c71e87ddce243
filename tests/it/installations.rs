//! Two installations: apart on one NATS by their namespaces, and never mixed.

use std::time::Duration;

use async_nats::jetstream;
use futures_util::{StreamExt, stream};
use mongodb::bson::{Document, doc};
use orders_testkit::{Daemon, Setup, SocketClient, Stack, eventually};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    orderctl::{Said, orderctl},
    pipeline::order,
};

const ORDERS: u64 = 60;

/// The five daemons of an installation with its own database on the NATS of `stack`.
struct Installation {
    namespace: &'static str,
    mongo_url: String,
    edge: Daemon,
    _others: Vec<Daemon>,
}

impl Installation {
    async fn start(stack: &Stack, namespace: &'static str, mongo_url: &str) -> Self {
        let daemon = |name| of(stack.daemon(name), namespace, mongo_url);
        let realtime = daemon("realtime").spawn();
        let edge = daemon("edge").env("ORDERS_REALTIME_URLS", &realtime.url());
        let edge = edge.spawn();
        let payments = daemon("payment-simulator").env("ORDERS_PAYMENT__DELAY", "200ms");
        let (writer, projector) = (daemon("writer"), daemon("projector"));
        let others = vec![
            realtime,
            writer.spawn(),
            projector.spawn(),
            payments.spawn(),
        ];
        for daemon in others.iter().chain([&edge]) {
            daemon.ready().await;
        }
        Self {
            namespace,
            mongo_url: mongo_url.to_owned(),
            edge,
            _others: others,
        }
    }

    /// Creates [`ORDERS`] orders, which must all be new.
    async fn load(&self) {
        let http = reqwest::Client::new();
        let url = format!("{}/api/orders", self.edge.url());
        let creates = (0..ORDERS).map(|n| {
            let post = http.post(&url).json(&order("t-1", &format!("r{n}")));
            async { post.send().await.unwrap().status() }
        });
        let statuses: Vec<_> = stream::iter(creates).buffer_unordered(8).collect().await;
        assert_eq!(statuses, vec![StatusCode::CREATED; statuses.len()]);
    }

    async fn until_all_are_paid(&self) {
        let path = "/api/orders?tenantId=t-1&status=PAID&limit=1";
        let url = format!("{}{path}", self.edge.url());
        eventually("all are paid", async || {
            let page: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            match page["total"].as_u64() {
                Some(ORDERS) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    fn stream(&self, name: &str) -> String {
        match self.namespace {
            "" => name.to_owned(),
            namespace => format!("{namespace}_{name}"),
        }
    }

    async fn messages(&self, jetstream: &jetstream::Context, name: &str) -> u64 {
        let stream = jetstream.get_stream(self.stream(name)).await.unwrap();
        stream.cached_info().state.messages
    }

    async fn orderctl(&self, stack: &Stack, args: &[&str]) -> Said {
        let mut command = orderctl(stack, args);
        command.env("ORDERS_NAMESPACE", self.namespace);
        command.env("MONGO_URL", &self.mongo_url);
        Said::of(command.output().await.unwrap())
    }
}

fn of(setup: Setup, namespace: &str, mongo_url: &str) -> Setup {
    setup
        .env("ORDERS_NAMESPACE", namespace)
        .env("MONGO_URL", mongo_url)
}

/// It ends at its start with one line, which says `why`.
async fn ends_at_once(setup: Setup, why: &str) {
    let mut daemon = setup.spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let log = daemon.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains(why), "{why} in {log}");
    let mut warnings = log.lines().filter(|line| line.contains("WARN"));
    let is_of_mode = |line: &str| line.contains("ORDERS_AUTH__MODE");
    assert!(warnings.all(is_of_mode), "it tries nothing again: {log}");
}

#[tokio::test]
async fn two_installations_on_one_nats_never_mix() {
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    let second_url = format!("{}_second", stack.mongo_url);
    let empty_url = format!("{}_empty", stack.mongo_url);
    let (first, second) = tokio::join!(
        Installation::start(&stack, "", &stack.mongo_url),
        Installation::start(&stack, "shop", &second_url),
    );
    let both = [&first, &second];

    // The same tenant and the same requests, so that all ids are the same in both.
    let clients = both.map(|installation| SocketClient::of_tenant(&installation.edge.url(), "t-1"));
    let [mut one, mut other] = clients;
    one.event("connected").await;
    other.event("connected").await;
    tokio::join!(first.load(), second.load());
    for (installation, client) in both.into_iter().zip([&mut one, &mut other]) {
        installation.until_all_are_paid().await;
        for (stream, messages) in [
            ("ORDERS_COMMANDS", 0),
            ("ORDERS_EVENTS", 2 * ORDERS),
            ("PAYMENTS", ORDERS),
            ("ORDERS_FEED", 2 * ORDERS),
            ("ORDERS_DLQ", 0),
        ] {
            eventually(
                &format!("{stream} has {messages}"),
                async || match installation.messages(&jetstream, stream).await {
                    count if count == messages => Ok(()),
                    count => Err(count),
                },
            )
            .await;
        }
        let events = client.drain(Duration::from_millis(300)).await;
        for name in ["order.created", "order.updated"] {
            let heard = events.iter().filter(|(event, _)| event == name).count();
            assert_eq!(heard as u64, ORDERS, "{name}");
        }
    }

    // A dead letter belongs to the installation of its message, and goes back there.
    let sent = jetstream.publish("shop.orders.cmd.t-1.create", "garbage".into());
    sent.await.unwrap().await.unwrap();
    eventually("it is a dead letter", async || {
        match second.messages(&jetstream, "ORDERS_DLQ").await {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    let shown = second
        .orderctl(&stack, &["dlq", "show", "1", "--json"])
        .await;
    let shown = shown.expect(0).text;
    for part in ["\"orders.cmd.t-1.create\"", "\"ORDERS_COMMANDS:"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let redrive = ["dlq", "redrive", "1", "--yes"];
    second.orderctl(&stack, &redrive).await;
    eventually("it comes back", async || {
        let stream = jetstream.get_stream("shop_ORDERS_DLQ").await.unwrap();
        match stream.cached_info().state.last_sequence {
            2 => Ok(()),
            last => Err(last),
        }
    })
    .await;
    assert_eq!(first.messages(&jetstream, "ORDERS_DLQ").await, 0);
    for installation in both {
        let check = ["migrate", "--check", "--payment-delay", "200ms"];
        installation.orderctl(&stack, &check).await.expect(0);
    }

    // Nobody takes part in two of them.
    for name in ["writer", "projector", "edge"] {
        let daemon = || stack.daemon(name);
        let wrong = of(daemon(), "", &second_url);
        ends_at_once(wrong, "belongs to installation").await;
        let wrong = of(daemon(), "", &empty_url);
        let why = "restore its backup; only if the database is the right one, run `orderctl migrate --adopt`";
        ends_at_once(wrong, why).await;
    }
    let mut refused = orderctl(&stack, &["reconcile", "--yes"]);
    let refused = refused.env("MONGO_URL", &empty_url).output().await.unwrap();
    let refused = Said::of(refused).expect(1);
    assert!(refused.errors.contains("--adopt"), "{}", refused.errors);
    let post = reqwest::Client::new().post(format!("{}/api/orders", first.edge.url()));
    let post = post.json(&order("t-1", "one more")).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::CREATED);

    // The same namespace, and a database of another NATS.
    let elsewhere = Stack::open().await;
    let mut foreign = elsewhere.daemon("writer").start().await;
    assert!(foreign.terminate().await.success());
    let wrong = of(stack.daemon("writer"), "", &elsewhere.mongo_url);
    ends_at_once(wrong, "belongs to installation").await;

    for (url, orders) in [
        (&second_url, ORDERS),
        (&empty_url, 0),
        (&elsewhere.mongo_url, 0),
        (&stack.mongo_url, ORDERS + 1),
    ] {
        let client = mongodb::Client::with_uri_str(url).await.unwrap();
        let database = client.default_database().unwrap();
        let found = database.collection::<Document>("orders_write");
        assert_eq!(
            found.count_documents(doc! {}).await.unwrap(),
            orders,
            "{url}"
        );
        database.drop().await.unwrap();
    }
}
