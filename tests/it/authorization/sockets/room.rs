//! Which tenant's changes a client gets.

use std::time::Duration;

use serde_json::json;

use super::{FORBIDDEN, QUIET, Secured, refusal};

#[tokio::test]
async fn a_token_of_several_tenants_gets_the_one_that_the_client_names() {
    let secured = Secured::start("1h").await;
    let token = secured.token("t-1").tenant("t-2").sign();
    for own in [
        json!({ "auth": { "token": token, "tenantId": "t-2" } }),
        json!({ "auth": { "token": token }, "query": { "tenantId": "t-2" } }),
    ] {
        let mut client = secured.connect(own);
        assert_eq!(client.event("connected").await[0]["tenantId"], "t-2");
    }
    for named in [
        json!(null),
        json!("t-3"),
        json!("t-1,t-2"),
        json!("*"),
        json!(7),
        json!(["t-1"]),
    ] {
        let auth = json!({ "token": token, "tenantId": named });
        let mut client = secured.client(auth);
        assert_eq!(refusal(&mut client).await, FORBIDDEN, "{named}");
    }
    secured.clean_up().await;
}

/// Two tenants with orders at the same time, and clients that come back with offsets of either: nothing of one reaches
/// the other.
#[tokio::test]
async fn nothing_of_a_tenant_reaches_sockets_of_another() {
    const ORDERS: usize = 30;
    let secured = Secured::start("100ms").await;
    let mut ours = secured.client(json!({ "token": secured.token("t-1").sign() }));
    let mut theirs = secured.client(json!({ "token": secured.token("t-2").sign() }));
    let start = ours.event("connected").await[1]["offset"].clone();
    theirs.event("connected").await;
    let (mut our_orders, mut their_orders) = (vec![], vec![]);
    for n in 0..ORDERS {
        let (one, other) = (format!("r{n}"), format!("q{n}"));
        let (one, other) = tokio::join!(secured.create("t-1", &one), secured.create("t-2", &other));
        our_orders.push(one);
        their_orders.push(other);
    }
    let mut crossed = secured.client(json!({
        "token": secured.token("t-2").sign(), "serverOffset": start,
    }));
    for (client, own, foreign) in [
        (&mut ours, &our_orders, &their_orders),
        (&mut theirs, &their_orders, &our_orders),
        (&mut crossed, &their_orders, &our_orders),
    ] {
        for id in own {
            client
                .sees("order.updated", |args| args[0]["orderId"] == id.as_str())
                .await;
        }
        let told = format!("{:?}", client.drain(QUIET).await);
        for id in foreign {
            assert!(!told.contains(id.as_str()), "{told}");
        }
    }
    secured.clean_up().await;
}

#[tokio::test]
async fn an_operator_follows_any_tenant_and_the_log_says_so() {
    let secured = Secured::start("100ms").await;
    let operator = secured.issuer.token().operator().subject("ops-1");
    let token = operator.scopes("orders:read orders:operator").sign();
    let mut client = secured.client(json!({ "token": token, "tenantId": "t-9" }));
    client.event("connected").await;
    let id = secured.create("t-9", "r1").await;
    client
        .sees("order.updated", |args| args[0]["orderId"] == id.as_str())
        .await;
    let log = secured.pipeline.realtime.log();
    let line = log.lines().find(|line| line.contains("follows the feed"));
    let line = line.expect("a line of the audit");
    assert!(line.contains("ops-1") && line.contains("t-9"), "{line}");
    // Without the tenant there is nothing to follow.
    let mut client = secured.client(json!({ "token": token }));
    assert_eq!(refusal(&mut client).await, FORBIDDEN);
    assert!(client.drain(Duration::from_millis(50)).await.is_empty());
    secured.clean_up().await;
}
