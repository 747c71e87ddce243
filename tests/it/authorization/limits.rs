//! How often somebody may ask: a tenant, one of its subjects, and whoever has no valid credentials.

use std::time::Instant;

use serde_json::json;

use super::{Answer, Call, Guarded, bearer};

/// As many as a limit lets through in the time `since`: `burst` at once, and `rate` a second.
fn most(burst: usize, rate: f64, since: Instant) -> usize {
    burst + (rate * since.elapsed().as_secs_f64()).ceil() as usize
}

/// Asks `times` times at once.
async fn flood(guarded: &Guarded, credentials: &str, times: usize) -> Vec<Answer> {
    let list = Call::get("/api/orders?tenantId=t-1");
    let asked = (0..times).map(|_| guarded.ask(&list, credentials));
    futures_util::future::join_all(asked).await
}

/// The limits that refused some of `answers`; the others have `status`.
fn refused_by(answers: &[Answer], status: u16) -> (usize, Vec<String>) {
    let is_refused = |answer: &&Answer| answer.status == 429;
    let mut policies: Vec<String> = answers
        .iter()
        .filter(is_refused)
        .map(|answer| {
            assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
            let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
            assert_eq!(answer.kind(), kind);
            answer.json()["violated-policies"].to_string()
        })
        .collect();
    let others = answers.iter().filter(|answer| answer.status != 429);
    assert!(
        others.clone().all(|answer| answer.status == status),
        "{answers:?}"
    );
    policies.sort();
    policies.dedup();
    (others.count(), policies)
}

#[tokio::test]
async fn a_subject_has_a_quarter_of_what_its_tenant_has() {
    let limited = |edge: orders_testkit::Setup| edge.env("ORDERS_LIMITS__TENANT_RATE", "20");
    let guarded = Guarded::start_with(limited).await;
    let token = |subject: &str| bearer(&guarded.token("t-1").subject(subject));
    let began = Instant::now();
    let first = flood(&guarded, &token("busy"), 30).await;
    let (taken, policies) = refused_by(&first, 200);
    assert!((10..=most(10, 5.0, began)).contains(&taken), "{taken}");
    assert_eq!(policies, [json!(["subject"]).to_string()]);
    let told = first.iter().find(|answer| answer.status == 200).unwrap();
    let policy = "\"subject\";q=10;w=2, \"tenant\";q=40;w=2";
    assert_eq!(told.header("ratelimit-policy"), policy);
    assert!(
        told.header("ratelimit").starts_with("\"subject\";r="),
        "{told:?}"
    );

    // What its token has no scope for costs it as much.
    let reader = guarded.issuer.token().tenant("t-1").scopes("orders:create");
    let reader = bearer(&reader.subject("reader"));
    let refused = flood(&guarded, &reader, 30).await;
    let (taken, policies) = refused_by(&refused, 403);
    assert!((10..=most(10, 5.0, began)).contains(&taken), "{taken}");
    assert_eq!(policies, [json!(["subject"]).to_string()]);

    // Another subject does not notice; many together are limited as a tenant, and another tenant does not notice.
    assert_eq!(
        refused_by(&flood(&guarded, &token("quiet"), 5).await, 200).0,
        5
    );
    let subjects: Vec<String> = (0..10).map(|n| token(&format!("s{n}"))).collect();
    let floods = subjects.iter().map(|token| flood(&guarded, token, 9));
    let all = futures_util::future::join_all(floods).await.concat();
    let (_, policies) = refused_by(&all, 200);
    assert!(
        policies.contains(&json!(["tenant"]).to_string()),
        "{policies:?}"
    );
    let elsewhere = Call::get("/api/orders?tenantId=t-2");
    let answer = guarded
        .ask(&elsewhere, &bearer(&guarded.token("t-2").subject("busy2")))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn failures_of_authentication_count_by_peer_and_come_first() {
    let limited = |edge: orders_testkit::Setup| {
        edge.env("ORDERS_LIMITS__TENANT_RATE", "20")
            .env("ORDERS_LIMITS__TENANT_BURST", "10")
    };
    let guarded = Guarded::start_with(limited).await;
    let good = bearer(&guarded.token("t-1"));
    assert_eq!(flood(&guarded, &good, 1).await[0].status, 200);
    let began = Instant::now();
    let garbage = flood(&guarded, "Bearer a.b.c", 60).await;
    let (failed, policies) = refused_by(&garbage, 401);
    // Some are looked at together, before the first of them is counted.
    assert!((10..=most(30, 20.0, began)).contains(&failed), "{failed}");
    assert_eq!(policies, [json!(["peer"]).to_string()]);
    // Whoever shares the address waits too, and not for long.
    let more = futures_util::future::join(flood(&guarded, "", 60), flood(&guarded, &good, 1));
    let (missing, _) = more.await;
    assert_eq!(refused_by(&missing, 401).1, [json!(["peer"]).to_string()]);
    orders_testkit::eventually("valid credentials count again", async || {
        match flood(&guarded, &good, 1).await[0].status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
}
