//! Several instances of the pages, of which the provider tells one that a login has ended.

use orders_testkit::{
    Daemon, Lifetimes, OidcProvider, PASSWORD, Setup, SocketClient, Stack, eventually, free_port,
};
use reqwest::StatusCode;
use serde_json::json;

use super::{NEVER, visitor::Visitor};
use crate::{
    pipeline::Pipeline,
    web::{Site, localhost},
};

const OF_ALICE: &str = "/api/orders?tenantId=t-123";
const OF_BOB: &str = "/api/orders?tenantId=t-456";
/// A page that needs no edge.
const FORM: &str = "/orders/new?tenantId=t-123";

/// Two instances behind one URL, before a pipeline that asks for tokens, on a NATS that asks for logins.
struct Shop {
    pipeline: Pipeline,
    provider: OidcProvider,
    home: String,
    first: Daemon,
    /// To which the provider tells what has ended.
    second: Daemon,
}

impl Shop {
    async fn start() -> Self {
        let stack = Stack::guarded("").await;
        let second = stack.daemon("web");
        let home = localhost(&second.url());
        let provider = OidcProvider::start(stack.folder(), &home, Lifetimes::default()).await;
        let secure = |daemon: Setup| {
            daemon
                .env("ORDERS_AUTH__MODE", "jwt")
                .env("ORDERS_AUTH__ISSUER", provider.issuer())
        };
        let pipeline = Pipeline::start_both(stack, NEVER, secure, secure).await;
        let instance = |web| secure(Site::with_login(web, &pipeline, &provider, &home)).start();
        Self {
            first: instance(pipeline.stack.daemon("web")).await,
            second: instance(second).await,
            pipeline,
            provider,
            home,
        }
    }

    /// Another instance, which cannot reach NATS.
    fn deaf(&self) -> Daemon {
        let web = self.pipeline.stack.daemon("web");
        Site::with_login(web, &self.pipeline, &self.provider, &self.home)
            .env("ORDERS_AUTH__MODE", "jwt")
            .env("NATS_URL", &format!("nats://127.0.0.1:{}", free_port()))
            .spawn()
    }

    /// Somebody who has logged in at the first instance.
    async fn visitor(&self, name: &str) -> Visitor {
        let mut visitor = Visitor::of(&self.home).via(&self.first);
        visitor.log_in(name, PASSWORD).await;
        visitor
    }
}

/// Waits until `instance` answers the visitor with `status`.
async fn until(visitor: &Visitor, instance: &Daemon, path: &str, status: StatusCode) {
    let what = format!("{} at {} gets {status}", path, instance.url());
    eventually(&what, async || {
        let answer = visitor.ask(instance, path).await;
        match answer.status == status {
            true => Ok(()),
            false => Err((answer.status, answer.body)),
        }
    })
    .await;
}

#[tokio::test]
async fn what_one_instance_hears_of_ends_at_all_of_them_and_at_the_edge() {
    let mut shop = Shop::start().await;
    // It cannot know which sessions have ended, so none counts there.
    let deaf = shop.deaf();
    for probe in ["[-]nats failed", "[-]revocations failed"] {
        deaf.unready(probe).await;
    }
    let mut alice = shop.visitor("alice").await;
    let mut bob = shop.visitor("bob").await;
    for (visitor, path) in [(&alice, OF_ALICE), (&bob, OF_BOB)] {
        for web in [&shop.first, &shop.second] {
            until(visitor, web, path, StatusCode::OK).await;
        }
        for path in [path, FORM] {
            let unknown = visitor.ask(&deaf, path).await;
            assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
    }
    let options = json!({
        "path": "/ws", "transports": ["websocket"], "extraHeaders": { "cookie": alice.cookie() },
    });
    let mut socket = SocketClient::connect(&shop.first.url(), &options);
    socket.event("connected").await;

    alice.log_out_at(shop.provider.issuer()).await;
    let told = alice.ask(&shop.second, OF_ALICE).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    until(&alice, &shop.first, OF_ALICE, StatusCode::UNAUTHORIZED).await;
    socket.event("disconnect").await;
    for web in [&shop.first, &shop.second] {
        let spared = bob.ask(web, OF_BOB).await;
        assert_eq!(spared.status, StatusCode::OK, "{}", spared.body);
    }

    // A logout on a page of one instance, too.
    bob.log_out().await;
    until(&bob, &shop.second, OF_BOB, StatusCode::UNAUTHORIZED).await;
    // Who starts later knows all of it.
    assert!(shop.second.terminate().await.success());
    shop.second.restart(|web| web).await;
    for (visitor, path) in [(&alice, OF_ALICE), (&bob, OF_BOB)] {
        let answer = visitor.ask(&shop.second, path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for web in [&shop.first, &shop.second, &deaf] {
        let log = web.log();
        assert!(!log.contains("eyJ"), "{log}");
    }
    shop.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_logout_while_nats_is_away_is_told_when_it_is_back() {
    let mut shop = Shop::start().await;
    let mut alice = shop.visitor("alice").await;
    shop.pipeline.stack.nats.kill().await;
    for web in [&shop.first, &shop.second] {
        web.unready("[-]nats failed").await;
        assert_eq!(alice.ask(web, FORM).await.status, StatusCode::OK);
    }
    alice.log_out_at(shop.provider.issuer()).await;
    let status = async |web| alice.ask(web, FORM).await.status;
    assert_eq!(status(&shop.second).await, StatusCode::SEE_OTHER);
    assert_eq!(status(&shop.first).await, StatusCode::OK);
    let log = shop.second.log();
    assert!(
        log.contains("cannot tell that a session has ended"),
        "{log}"
    );

    shop.pipeline.stack.nats.restart().await;
    until(&alice, &shop.first, FORM, StatusCode::SEE_OTHER).await;
    for web in [&shop.first, &shop.second] {
        web.ready().await;
    }
    shop.pipeline.stack.clean_up().await;
}
