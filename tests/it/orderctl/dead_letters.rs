//! Dead letters: found, redriven, dropped, brought back.

use std::process::Stdio;

use async_nats::HeaderMap;
use futures_util::{StreamExt, future::join_all, stream};
use orders_testkit::{Stack, eventually};
use serde_json::{Value, json};

use super::{
    ORDER, Said, early_payment, headers, interrupt, messages, orderctl, publish, run,
    until_dead_letters,
};
use crate::pipeline::Pipeline;

#[tokio::test]
async fn dead_letters_are_found_brought_back_and_dropped() {
    let pipeline = Pipeline::open("1h").await;
    let stack = &pipeline.stack;
    let jetstream = stack.jetstream().await;
    run(stack, &["dlq", "list"]).await.expect(0);
    early_payment(&jetstream).await;
    let garbage = b"garbage".to_vec();
    publish(
        &jetstream,
        "orders.cmd.t-2.create",
        HeaderMap::new(),
        garbage.clone(),
    )
    .await;
    publish(
        &jetstream,
        "orders.cmd.what.is.this",
        HeaderMap::new(),
        garbage,
    )
    .await;
    until_dead_letters(&jetstream, 3).await;

    let list = async |filters: &[&str]| {
        let args = [&["dlq", "list", "--json"], filters].concat();
        let said = run(stack, &args).await;
        let found = said.lines();
        said.expect(i32::from(!found.is_empty()));
        found
    };
    assert_eq!(list(&[]).await.len(), 3);
    assert_eq!(list(&["--daemon", "writer"]).await.len(), 3);
    assert_eq!(list(&["--daemon", "projector"]).await.len(), 0);
    assert_eq!(list(&["--reason", "invalid"]).await.len(), 2);
    assert_eq!(list(&["--tenant", "t-2"]).await.len(), 1);
    assert_eq!(list(&["--since", "1h ago"]).await.len(), 3);
    assert_eq!(list(&["--until", "1h ago"]).await.len(), 0);
    assert_eq!(list(&["--since", "2999-01-01T00:00:00Z"]).await.len(), 0);
    let [payment] = &list(&["--reason", "unknown_order"]).await[..] else {
        panic!("one payment");
    };
    assert_eq!(payment["orderId"], ORDER);
    assert_eq!(payment["originalPosition"], "PAYMENTS:1");
    let sequence = payment["sequence"].to_string();

    let shown = run(stack, &["dlq", "show", &sequence]).await.expect(0).text;
    for part in [
        "Orders-Reason: unknown_order",
        "ce-id: early",
        r#""amount":99.98"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    run(stack, &["dlq", "show", "99"]).await.expect(1);

    for refused in [
        ["dlq", "list", "--reason", "foo"],
        ["dlq", "list", "--daemon", "writr"],
        ["dlq", "drop", "--yes", "--json"],
    ] {
        run(stack, &refused).await.expect(2);
    }
    for refused in [
        ["redrive", &sequence, "99", "--yes"],
        ["drop", "99", &sequence, "--yes"],
    ] {
        let refused = run(stack, &[&["dlq"], &refused[..]].concat())
            .await
            .expect(1);
        assert_eq!(refused.errors, "error: no dead letter 99\n");
    }
    let refused = run(stack, &["dlq", "redrive"]).await.expect(1);
    assert!(refused.errors.contains("--yes"), "{}", refused.errors);
    assert!(
        refused.errors.contains("1 of writer, unknown_order"),
        "{}",
        refused.errors
    );
    let asked = run(stack, &["dlq", "drop", "--all"]).await.expect(1);
    assert!(
        asked.errors.contains("Drop 3 dead letters?"),
        "{}",
        asked.errors
    );
    run(stack, &["dlq", "drop", "--all", "--dry-run"])
        .await
        .expect(1);
    assert_eq!(
        messages(&jetstream, "ORDERS_DLQ").await,
        3,
        "nothing happens unasked"
    );

    pipeline.create("t-123", "r1").await;
    let args = [
        "dlq",
        "redrive",
        "--reason",
        "unknown_order",
        "--yes",
        "--json",
    ];
    let redriven = run(stack, &args).await.expect(0);
    assert_eq!(redriven.lines(), [redriven_all(1)]);
    pipeline.until_status("t-123", ORDER, "PAID").await;
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 2);
    let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
    let again = payments.get_raw_message(2).await.unwrap();
    let header = |name: &str| again.headers.get(name).map(|value| value.as_str());
    assert_eq!(header("ce-id"), Some("early"));
    assert_ne!(header("Nats-Msg-Id"), Some("early"));
    assert_eq!(header("Orders-Reason"), None);

    // What is given up again is told, and knows what it was. What names no message of the pipeline cannot go anywhere.
    let of_tenant = ["dlq", "redrive", "--tenant", "t-2", "--yes"];
    let garbage = list(&["--tenant", "t-2"]).await[0]["sequence"].clone();
    let said = run(stack, &[&of_tenant[..], &["--json"]].concat())
        .await
        .expect(1);
    let back = &said.last()["cameBack"][0];
    assert_eq!(
        (&back["redriveOf"], &back["reason"]),
        (&garbage, &json!("invalid"))
    );
    assert_eq!(back["deliveries"], 1, "a number");
    let said = run(stack, &of_tenant).await.expect(1).text;
    let was = format!(
        "0 redriven, 1 came back\n  5 (was {}): invalid: ",
        back["sequence"]
    );
    assert!(said.starts_with(&was), "{said}");
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 2);
    let table = run(stack, &["dlq", "list"]).await.expect(1).text;
    assert!(table.starts_with("SEQUENCE  GIVEN UP"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    run(
        stack,
        &["dlq", "drop", "--all", "--yes", "--operator", "bob"],
    )
    .await
    .expect(0);
    assert_eq!(list(&[]).await.len(), 0);

    let audit = jetstream.get_stream("ORDERS_AUDIT").await.unwrap();
    let entry = audit.get_raw_message(1).await.unwrap();
    assert_eq!(entry.subject.as_str(), "orders.audit.t-123.redriven");
    let entry: Value = serde_json::from_slice(&entry.payload).unwrap();
    assert!(
        entry["actor"].as_str().unwrap().starts_with("alice@"),
        "{entry}"
    );
    assert_eq!(entry["deadLetter"]["originalPosition"], "PAYMENTS:1");
    let last = audit
        .get_last_raw_message_by_subject("orders.audit.*.dropped")
        .await
        .unwrap();
    let last: Value = serde_json::from_slice(&last.payload).unwrap();
    assert_eq!(last["actor"], "bob");
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    assert_eq!(
        letters.cached_info().state.consumer_count,
        0,
        "no consumer is left behind"
    );
    what_was_dropped_is_brought_back(stack).await;
    a_wrong_body_is_replaced(&pipeline).await;
    text_of_messages_is_escaped(stack).await;
    pipeline.stack.clean_up().await;
}

/// After the drop of dead letter 5 above.
async fn what_was_dropped_is_brought_back(stack: &Stack) {
    let restore = ["dlq", "restore", "5", "--yes", "--json"];
    let said = run(stack, &restore).await.expect(0);
    assert_eq!(said.lines(), [json!({ "restored": 5, "as": 6 })]);
    let said = run(stack, &["dlq", "show", "6"]).await.expect(0).text;
    for part in ["Orders-Reason: invalid", "Orders-Redrive-Of: 4", "garbage"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    run(stack, &restore).await.expect(1);
    run(stack, &["dlq", "restore", "99", "--yes"])
        .await
        .expect(1);
    let said = run(stack, &["audit", "--tenant", "t-2", "--json"])
        .await
        .expect(0);
    let actions: Vec<_> = said
        .lines()
        .into_iter()
        .map(|line| line["action"].clone())
        .collect();
    assert_eq!(actions, ["redriven", "redriven", "dropped", "restored"]);
    let said = run(stack, &["audit", "--action", "dropped"])
        .await
        .expect(0)
        .text;
    assert!(said.contains("bob"), "{said}");
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    run(stack, &["dlq", "drop", "6", "--yes"]).await.expect(0);
}

async fn a_wrong_body_is_replaced(pipeline: &Pipeline) {
    let stack = &pipeline.stack;
    let jetstream = stack.jetstream().await;
    let order = pipeline.create("t-123", "r2").await;
    let headers = headers("wrong", "order.paid", &order);
    publish(
        &jetstream,
        "payments.evt.t-123.paid",
        headers,
        b"{".to_vec(),
    )
    .await;
    until_dead_letters(&jetstream, 1).await;
    let body = json!({
        "tenantId": "t-123", "orderId": order, "amount": 99.98, "paidAt": "2025-08-26T09:00:00Z",
    });
    let file = stack.folder().join("body.json");
    std::fs::write(&file, body.to_string()).unwrap();
    let amend = [
        "dlq",
        "redrive",
        "7",
        "--body",
        file.to_str().unwrap(),
        "--yes",
        "--json",
    ];
    let said = run(stack, &amend).await.expect(0);
    assert_eq!(said.lines(), [redriven_all(1)]);
    pipeline.until_status("t-123", &order, "PAID").await;
    let said = run(stack, &["audit", "--action", "amended", "--json"])
        .await
        .expect(0);
    assert!(said.last()["kept"].is_u64(), "{}", said.text);
    run(stack, &["dlq", "redrive", "--all", "--body", "x", "--yes"])
        .await
        .expect(1);
}

async fn text_of_messages_is_escaped(stack: &Stack) {
    let jetstream = stack.jetstream().await;
    let mut headers = HeaderMap::new();
    headers.insert("Orders-Error", "a\u{202e}fdp\u{1b}[31m");
    publish(
        &jetstream,
        "orders.dlq.writer.t-1",
        headers,
        "\u{202e}x".into(),
    )
    .await;
    for args in [
        &["dlq", "list"][..],
        &["dlq", "list", "--json"],
        &["dlq", "show", "8"],
    ] {
        let said = run(stack, args).await.text;
        assert!(said.contains("202e"), "{said:?}");
        assert!(!said.contains(['\u{202e}', '\u{1b}']), "{said:?}");
    }
}

/// What a redrive says in JSON if all goes well.
fn redriven_all(count: u64) -> Value {
    json!({ "redriven": count, "taken": 0, "left": 0, "cameBack": [], "open": 0 })
}

/// Part of a message is worse than none.
#[tokio::test]
async fn what_was_cut_to_fit_is_not_sent_again() {
    let pipeline = Pipeline::start("1h").await;
    let stack = &pipeline.stack;
    let jetstream = stack.jetstream().await;
    let body = vec![b'x'; (1 << 20) - 1_000];
    publish(&jetstream, "orders.evt.t-1.created", HeaderMap::new(), body).await;
    until_dead_letters(&jetstream, 2).await;
    let events = messages(&jetstream, "ORDERS_EVENTS").await;
    let said = run(stack, &["dlq", "redrive", "--yes"]).await.expect(1);
    assert!(
        said.errors.contains("2 of them cannot be redriven"),
        "{}",
        said.errors
    );
    let shown = run(stack, &["dlq", "show", "1"]).await.expect(0).text;
    assert!(shown.contains("incomplete, without the end of a body of 1047576 bytes"));
    assert_eq!(messages(&jetstream, "ORDERS_EVENTS").await, events);
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 2);
    run(stack, &["dlq", "drop", "1", "2", "--yes"])
        .await
        .expect(0);
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 0);
    pipeline.stack.clean_up().await;
}

/// Thousands of dead letters, a Ctrl-C and a crash in the middle: in the end each message is there exactly once.
#[tokio::test]
async fn a_redrive_that_was_cut_short_sends_nothing_twice() {
    const LETTERS: u64 = 3_000;
    const BATCH: u64 = 100;
    // Where an operator may publish to the feed: no daemon settles it, so there is nothing to wait for.
    let stack = Stack::open().await;
    let jetstream = stack.jetstream().await;
    run(&stack, &["migrate", "--yes"]).await.expect(0);
    stream::iter(0..LETTERS)
        .for_each_concurrent(256, async |n| {
            let mut headers = headers(&format!("{ORDER}:{n}"), "feed.updated", ORDER);
            headers.insert("Orders-Reason", "refused");
            headers.insert("Orders-Original-Subject", "orders.feed.t-123.updated");
            publish(
                &jetstream,
                "orders.dlq.projector.t-123",
                headers,
                b"{}".to_vec(),
            )
            .await;
        })
        .await;
    let listed = run(&stack, &["dlq", "list", "--json"]).await.expect(1);
    assert_eq!(listed.lines().len() as u64, LETTERS);

    let batch = BATCH.to_string();
    let slowly = [
        "dlq", "redrive", "--yes", "--batch", &batch, "--pause", "200ms", "--json",
    ];
    let until_begun = async |left: u64| {
        eventually("it has begun", async || {
            let found = messages(&jetstream, "ORDERS_DLQ").await;
            if found < left { Ok(found) } else { Err(found) }
        })
        .await
    };
    let interrupted = orderctl(&stack, &slowly)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_begun(LETTERS).await;
    interrupt(&interrupted).await;
    let said = Said::of(interrupted.wait_with_output().await.unwrap()).expect(130);
    let left = messages(&jetstream, "ORDERS_DLQ").await;
    assert!(left > 0, "it was interrupted in the middle");
    assert_eq!(said.lines(), [redriven_all(LETTERS - left)]);
    assert_eq!(messages(&jetstream, "ORDERS_FEED").await, LETTERS - left);

    let mut killed = orderctl(&stack, &slowly).spawn().unwrap();
    until_begun(left).await;
    killed.kill().await.unwrap();
    let waiting = messages(&jetstream, "ORDERS_DLQ").await;
    let both = [["dlq", "redrive", "--yes", "--json"]; 2];
    let at_once = join_all(both.iter().map(|args| run(&stack, args))).await;
    let mut redriven = 0;
    for said in at_once {
        redriven += said.expect(0).last()["redriven"].as_u64().unwrap();
    }
    // The server may still have removed what the killed one had asked for: less than a batch.
    assert!(
        (waiting.saturating_sub(BATCH)..=waiting).contains(&redriven),
        "each counts what it did: {redriven} of {waiting}"
    );
    assert_eq!(messages(&jetstream, "ORDERS_DLQ").await, 0);
    assert_eq!(messages(&jetstream, "ORDERS_FEED").await, LETTERS);
    // The migration is in it too.
    assert_eq!(messages(&jetstream, "ORDERS_AUDIT").await, LETTERS + 1);
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    eventually(
        "the consumers are gone, that of the killed one too",
        async || match letters.get_info().await.unwrap().state.consumer_count {
            0 => Ok(()),
            count => Err(count),
        },
    )
    .await;
    stack.clean_up().await;
}
