//! The provider's keys: away at the start, and replaced while the edge runs.

use orders_testkit::{Gate, Issuer, eventually};

use super::{ALL, Call, ask, bearer};
use crate::pipeline::Pipeline;

#[tokio::test]
async fn the_edge_waits_for_a_provider_and_follows_its_keys() {
    let issuer = Issuer::start().await;
    let address = issuer.url().replace("http://", "");
    let gate = Gate::to(&address).await;
    gate.close();
    let mut pipeline = Pipeline::start("1h").await;
    pipeline.edge.terminate().await;
    let keys = issuer
        .keys_url()
        .replace(&address, &gate.address.to_string());
    pipeline.edge.respawn(|edge| {
        edge.env("ORDERS_AUTH__MODE", "jwt")
            .env("ORDERS_AUTH__ISSUER", &issuer.url())
            .env("ORDERS_AUTH__JWKS_URL", &keys)
            .env("ORDERS_LIMITS__TENANT_RATE", "1000000")
    });
    pipeline.edge.unready("auth failed: no keys").await;

    let list = Call::get("/api/orders");
    let token = || bearer(&issuer.token().tenant("t-1").scopes(ALL));
    let first = token();
    let answer = ask(&pipeline.edge, &list, &first).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=300).contains(&after), "{after}");
    assert_eq!(ask(&pipeline.edge, &list, "").await.status, 401);

    gate.open();
    pipeline.edge.ready().await;
    assert_eq!(ask(&pipeline.edge, &list, &first).await.status, 200);

    // A new key is fetched when it is first seen, and the old one is gone with it.
    issuer.rotate("key-2");
    let second = token();
    eventually("the new key counts", async || {
        let answer = ask(&pipeline.edge, &list, &second).await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    let answer = ask(&pipeline.edge, &list, &first).await;
    assert_eq!(answer.status, 401, "{answer:?}");

    // Known keys count while the provider is away.
    gate.close();
    assert_eq!(ask(&pipeline.edge, &list, &second).await.status, 200);
    pipeline.stack.clean_up().await;
}
