//! The list against the truth: differences are found, the list is rebuilt while everything runs, what was lost is told
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use mongodb::{
    Collection,
    bson::{DateTime, Document, doc},
};
use orders_testkit::{SocketClient, Stack, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::pipeline::{Pipeline, order, order_id};

mod heal;

/// `orderctl` on the servers of `stack`, without a terminal.
fn orderctl(stack: &Stack, args: &[&str]) -> Command {
    let folder = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut command = Command::new(Path::new(&folder).join("orderctl"));
    command
        .args(args)
        .arg("--json")
        .env_clear()
        .env("NATS_URL", stack.nats.url())
        .env("MONGO_URL", &stack.mongo_url)
        .envs(stack.login_of_orderctl(args))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What an ended `orderctl` has said.
struct Said {
    code: Option<i32>,
    lines: Vec<Value>,
    errors: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        Self {
            code: output.status.code(),
            lines: text.lines().map(parse).collect(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{:#?}\n{}", self.lines, self.errors);
        self
    }

    fn last(&self) -> &Value {
        self.lines.last().expect("it says something")
    }
}

async fn run(stack: &Stack, args: &[&str]) -> Said {
    Said::of(orderctl(stack, args).output().await.unwrap())
}

async fn collection(stack: &Stack, name: &str) -> Collection<Document> {
    stack.database().await.collection(name)
}

async fn set(rows: &Collection<Document>, id: &str, fields: Document) {
    let outcome = rows
        .update_one(doc! { "_id": id }, doc! { "$set": fields })
        .await
        .unwrap();
    assert_eq!(outcome.modified_count, 1);
}

/// Creates `count` orders of `tenant`, a few at a time; their ids.
async fn create_all(pipeline: &Pipeline, tenant: &str, prefix: &str, count: usize) -> Vec<String> {
    stream::iter(0..count)
        .map(async |n| {
            let body = order(tenant, &format!("{prefix}{n}"));
            let response = pipeline.post("/api/orders", &body).await;
            assert_eq!(response.status(), StatusCode::CREATED);
            order_id(response).await
        })
        .buffer_unordered(8)
        .collect()
        .await
}

async fn until_paid(stack: &Stack, count: usize) {
    eventually("all orders are listed as PAID", async || {
        let paid = stack.count("orders_read", doc! { "status": "PAID" }).await;
        if paid == count as u64 {
            Ok(())
        } else {
            Err(paid)
        }
    })
    .await;
}

#[tokio::test]
async fn every_difference_is_found_and_none_where_all_is_well() {
    let pipeline = Pipeline::start("500ms").await;
    let stack = &pipeline.stack;
    let load = async {
        tokio::join!(
            create_all(&pipeline, "t-1", "r", 300),
            create_all(&pipeline, "t-2", "r", 300),
        )
    };
    let ((ours, _), said) = tokio::join!(load, run(stack, &["projection", "verify"]));
    let said = said.expect(0);
    assert_eq!(said.last()["total"], 0);
    assert!(
        said.last()["orders"].as_u64().unwrap() > 0,
        "it ran while orders were made"
    );
    until_paid(stack, 600).await;

    let rows = collection(stack, "orders_read").await;
    let orders = collection(stack, "orders_write").await;
    let [
        missing,
        behind,
        ahead,
        wrong,
        foreign,
        unreadable,
        unknown,
        ..,
    ] = ours.as_slice()
    else {
        panic!("there are enough orders");
    };
    let ghost = format!("ord_{}", "z".repeat(26));
    let mut orphan = rows
        .find_one(doc! { "_id": missing })
        .await
        .unwrap()
        .unwrap();
    orphan.insert("_id", &ghost);
    orphan.insert("orderId", &ghost);
    rows.insert_one(orphan).await.unwrap();
    rows.delete_one(doc! { "_id": missing }).await.unwrap();
    set(&rows, behind, doc! { "version": 1, "status": "PENDING" }).await;
    set(&rows, ahead, doc! { "version": 9 }).await;
    set(
        &rows,
        wrong,
        doc! { "status": "CANCELLED", "buyerEmail": "x" },
    )
    .await;
    set(&rows, foreign, doc! { "tenantId": "t-2" }).await;
    set(&rows, unreadable, doc! { "total": "much" }).await;
    set(&orders, unknown, doc! { "total": "much" }).await;
    let stray = rows.insert_one(doc! { "tenantId": "t-3" }).await.unwrap();
    let stray = stray.inserted_id.to_string();

    let planted = [
        ("ahead", ahead),
        ("behind", behind),
        ("missing", missing),
        ("orphan", &ghost),
        ("unreadableOrder", unknown),
        ("unreadableRow", unreadable),
        ("orphan", &stray),
        ("values", foreign),
        ("values", wrong),
    ];
    let found = async |args: &[&str]| {
        let said = run(stack, args).await.expect(1);
        let differences: BTreeSet<(String, String)> = said
            .lines
            .iter()
            .filter(|line| line["orderId"].is_string())
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap().to_owned();
                (text("difference"), text("orderId"))
            })
            .collect();
        (differences, said)
    };
    let planted = BTreeSet::from(planted.map(|(kind, id)| (kind.to_owned(), id.clone())));
    let verify = ["projection", "verify", "--lasting", "100ms"];
    let (differences, said) = found(&verify).await;
    assert_eq!(differences, planted);
    assert_eq!(said.last()["total"], 9);
    assert_eq!(said.last()["differences"]["orphan"], 2);
    let line = said
        .lines
        .iter()
        .find(|line| line["orderId"] == wrong.as_str())
        .unwrap();
    let fields = json!([
        { "field": "status", "row": "CANCELLED", "order": "PAID" },
        { "field": "buyerEmail", "row": "x", "order": "alice@example.com" },
    ]);
    assert_eq!(line["fields"], fields);

    // The other tenant: only the row that is in its list and not its own.
    let of_other = ["--tenant", "t-2"];
    let (differences, _) = found(&[&verify[..], &of_other].concat()).await;
    let foreign = BTreeSet::from([("values".to_owned(), foreign.clone())]);
    assert_eq!(differences, foreign);
    let rebuild = ["projection", "rebuild", "--lasting", "100ms", "--yes"];
    run(stack, &[&rebuild[..], &of_other].concat())
        .await
        .expect(0);
    let (differences, _) = found(&verify).await;
    assert_eq!(
        differences,
        &planted - &foreign,
        "the others are left alone"
    );

    let said = run(stack, &rebuild).await.expect(1);
    let mended = json!({ "behind": 1, "missing": 1, "orphan": 2, "unreadableRow": 1, "values": 1 });
    assert_eq!(said.last()["mended"], mended);
    assert_eq!(
        said.last()["left"],
        json!({ "ahead": 1, "unreadableOrder": 1 })
    );
    let (differences, _) = found(&verify).await;
    let left = [("ahead", ahead), ("unreadableOrder", unknown)];
    assert_eq!(
        differences,
        BTreeSet::from(left.map(|(kind, id)| (kind.to_owned(), id.clone())))
    );
    pipeline.stack.clean_up().await;
}

/// Every order of the tenant as the list shows it.
async fn list(pipeline: &Pipeline, tenant: &str) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for page in 1.. {
        let path = format!("/api/orders?tenantId={tenant}&limit=100&page={page}");
        let list = pipeline.get_json(&path).await;
        let items = list["items"].as_array().unwrap();
        for item in items {
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            // Of an order that slipped to the next page in between, the later status counts.
            shown.insert(text("orderId"), text("status"));
        }
        if items.is_empty() {
            break;
        }
    }
    shown
}

#[tokio::test]
async fn the_list_is_rebuilt_while_orders_are_made_and_nobody_notices() {
    const OLD: usize = 200;
    const NEW: usize = 400;
    let pipeline = Pipeline::start("700ms").await;
    let stack = &pipeline.stack;
    let old = create_all(&pipeline, "t-1", "old", OLD).await;
    until_paid(stack, OLD).await;
    let rows = collection(stack, "orders_read").await;
    for (n, id) in old.iter().enumerate() {
        match n % 4 {
            0 => drop(rows.delete_one(doc! { "_id": id }).await.unwrap()),
            1 => set(&rows, id, doc! { "version": 1, "status": "PENDING" }).await,
            2 => set(&rows, id, doc! { "buyerEmail": "somebody@example.com" }).await,
            _ => {}
        }
    }
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;

    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let work = async {
        let new = create_all(&pipeline, "t-1", "new", NEW);
        let rebuild = ["projection", "rebuild", "--lasting", "2s", "--yes"];
        let (new, said) = tokio::join!(new, run(stack, &rebuild));
        let said = said.expect(0);
        let mended = json!({ "behind": OLD / 4, "missing": OLD / 4, "values": OLD / 4 });
        assert_eq!(said.last()["mended"], mended);
        until_paid(stack, OLD + NEW).await;
        done.send_replace(true);
        new
    };
    let read = async {
        let mut before = BTreeMap::new();
        let mut rounds = 0;
        while !*is_done.borrow_and_update() {
            let now = list(&pipeline, "t-1").await;
            for (id, status) in &before {
                let shown = now.get(id).unwrap_or_else(|| panic!("{id} is gone"));
                assert!(
                    status == "PENDING" || shown == "PAID",
                    "{id} went back to {shown}"
                );
            }
            before = now;
            rounds += 1;
        }
        assert!(rounds > 3, "{rounds}");
    };
    let (new, ()) = tokio::join!(work, read);

    let new = BTreeSet::from_iter(new);
    let mut paid = BTreeSet::new();
    while paid.len() < NEW {
        let event = client.event("order.updated").await;
        paid.insert(event[0]["orderId"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        paid, new,
        "sockets hear of what happens, and not of what is mended"
    );
    let heard = client.drain(Duration::from_millis(300)).await;
    let is_new = |arguments: &[Value]| new.contains(arguments[0]["orderId"].as_str().unwrap());
    let of_orders = heard.iter().filter(|(name, _)| name.starts_with("order."));
    assert!(of_orders.clone().all(|(_, arguments)| is_new(arguments)));
    run(stack, &["projection", "verify", "--lasting", "1s"])
        .await
        .expect(0);
    pipeline.stack.clean_up().await;
}

/// `count` orders as the writer would have stored them, and no rows.
async fn store_orders(stack: &Stack, count: usize) {
    let price: mongodb::bson::Decimal128 = "49.99".parse().unwrap();
    let total: mongodb::bson::Decimal128 = "99.98".parse().unwrap();
    let id = |n: usize| {
        let letters = (0..26)
            .map(|place| char::from(b'a' + u8::try_from((n >> (2 * place.min(12))) % 4).unwrap()));
        format!("ord_{}", letters.collect::<String>())
    };
    let orders = (0..count).map(|n| {
        doc! {
            "_id": id(n), "orderId": id(n), "tenantId": format!("t-{}", n % 2), "requestId": format!("r{n}"),
            "commandId": "c", "bodyHash": "h", "status": "PAID", "version": 2,
            "buyer": { "email": "alice@example.com", "name": "Alice" },
            "items": [{ "sku": "SKU-1", "qty": 2, "price": price }], "total": total,
            "createdAt": DateTime::now(), "updatedAt": DateTime::now(),
        }
    });
    let orders: Vec<Document> = orders.collect();
    let stored = collection(stack, "orders_write").await;
    for batch in orders.chunks(1_000) {
        stored.insert_many(batch).await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_that_was_cut_short_goes_on_where_it_ended() {
    const ORDERS: usize = 20_000;
    let stack = Stack::start().await;
    let writer = stack.daemon("writer").start().await;
    let projector = stack.daemon("projector").start().await;
    drop((writer, projector));
    store_orders(&stack, ORDERS).await;

    let rebuild = ["projection", "rebuild", "--lasting", "0s", "--yes"];
    let mut killed = orderctl(&stack, &rebuild).spawn().unwrap();
    let work = doc! { "_id": "projection rebuild" };
    let checkpoints = async || stack.count("orders_checkpoints", work.clone()).await;
    eventually("it has kept how far it got", async || {
        match checkpoints().await {
            0 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await;
    killed.kill().await.unwrap();
    let written = stack.count("orders_read", doc! {}).await;
    assert!(written < ORDERS as u64, "it was cut short");

    let interrupted = orderctl(&stack, &rebuild).spawn().unwrap();
    eventually("it goes on", async || {
        let now = stack.count("orders_read", doc! {}).await;
        if now > written { Ok(()) } else { Err(now) }
    })
    .await;
    let id = interrupted.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .await
            .unwrap()
            .success()
    );
    let said = Said::of(interrupted.wait_with_output().await.unwrap()).expect(130);
    assert!(said.lines[0]["goingOnAfter"].is_string());

    let said = run(&stack, &rebuild).await.expect(0);
    assert!(said.lines[0]["goingOnAfter"].is_string());
    assert!(said.last()["orders"].as_u64().unwrap() < ORDERS as u64);
    assert_eq!(stack.count("orders_read", doc! {}).await, ORDERS as u64);
    assert_eq!(checkpoints().await, 0, "finished");

    let start = Instant::now();
    let said = run(&stack, &["projection", "verify", "--lasting", "0s"])
        .await
        .expect(0);
    assert_eq!(said.last()["rows"], ORDERS);
    let per_second = ORDERS as f64 / start.elapsed().as_secs_f64();
    eprintln!("verified {per_second:.0} orders/s");
    let start = Instant::now();
    let said = run(
        &stack,
        &[&rebuild[..], &["--from-start", "--tenant", "t-1"]].concat(),
    )
    .await
    .expect(0);
    assert_eq!(said.last()["orders"], ORDERS / 2);
    eprintln!("one tenant of two in {:?}", start.elapsed());
    collection(&stack, "orders_read")
        .await
        .delete_many(doc! {})
        .await
        .unwrap();
    let start = Instant::now();
    run(&stack, &rebuild).await.expect(0);
    eprintln!(
        "rebuilt {:.0} orders/s",
        ORDERS as f64 / start.elapsed().as_secs_f64()
    );
    stack.clean_up().await;
}

async fn purge(stack: &Stack, stream: &str) {
    let jetstream = stack.jetstream().await;
    jetstream
        .get_stream(stream)
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_lost_is_told_again() {
    let mut pipeline = Pipeline::start("2s").await;
    // Paid, and then its row is lost, or never hears of the payment.
    let missing = pipeline.create("t-1", "missing").await;
    let behind = pipeline.create("t-1", "behind").await;
    for id in [&missing, &behind] {
        pipeline.until_status("t-1", id, "PAID").await;
    }
    let rows = collection(&pipeline.stack, "orders_read").await;
    rows.delete_one(doc! { "_id": &missing }).await.unwrap();
    set(&rows, &behind, doc! { "version": 1, "status": "PENDING" }).await;
    // The payment is stored, acknowledged and lost, before the writer has read it.
    let unpaid = pipeline.create("t-1", "unpaid").await;
    // It stops in order: a command without its ack would come again, and the event with it.
    assert!(pipeline.writer.terminate().await.success());
    purge(&pipeline.stack, "PAYMENTS").await;
    let payments = pipeline.stack.jetstream().await;
    eventually("it is paid", async || {
        let stream = payments.get_stream("PAYMENTS").await.unwrap();
        match stream.cached_info().state.messages {
            0 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await;
    purge(&pipeline.stack, "PAYMENTS").await;
    pipeline.writer.restart(|writer| writer).await;
    // The event is stored, acknowledged and lost, before anybody has read it.
    assert!(pipeline.projector.terminate().await.success());
    assert!(pipeline.payments.terminate().await.success());
    let untold = pipeline.create("t-1", "untold").await;
    purge(&pipeline.stack, "ORDERS_EVENTS").await;
    pipeline.projector.restart(|projector| projector).await;
    pipeline.payments.restart(|payments| payments).await;

    let stack = &pipeline.stack;
    let lost = ["reconcile", "--pending-for", "0s", "--lasting", "500ms"];
    let said = run(stack, &[&lost[..], &["--dry-run"]].concat())
        .await
        .expect(1);
    assert_eq!(said.last()["lost"], 4);
    let said = run(stack, &lost).await.expect(1);
    assert!(
        said.errors.contains("Publish events of 4 orders again?"),
        "{}",
        said.errors
    );
    assert_eq!(
        stack.count("orders_read", doc! { "status": "PAID" }).await,
        0,
        "nothing was done"
    );

    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    let said = run(stack, &[&lost[..], &["--yes"]].concat())
        .await
        .expect(0);
    let line = |kind: &str, found: u64| json!({ "kind": kind, "found": found, "mended": found, "open": 0 });
    let lines = [line("event", 1), line("projection", 2), line("payment", 1)];
    assert_eq!(said.lines[1..], lines);
    for id in [&missing, &behind, &unpaid, &untold] {
        pipeline.until_status("t-1", id, "PAID").await;
    }
    for id in [&unpaid, &untold] {
        client
            .event_where("order.updated", |event| event[0]["orderId"] == id.as_str())
            .await;
    }
    assert_eq!(
        stack
            .count("orders_write", doc! { "status": "PAID", "version": 2 })
            .await,
        4
    );
    let said = run(stack, &lost).await.expect(0);
    assert_eq!(said.last()["lost"], 0);

    // While nobody pays, telling does not help; that is said.
    assert!(pipeline.payments.terminate().await.success());
    let id = pipeline.create("t-1", "waits").await;
    purge(&pipeline.stack, "ORDERS_EVENTS").await;
    let stack = &pipeline.stack;
    let said = run(stack, &[&lost[..], &["--yes", "--wait", "300ms"]].concat())
        .await
        .expect(1);
    assert_eq!(said.lines[1], json!({ "open": "payment", "orderId": id }));
    assert_eq!(said.last()["open"], 1);
    pipeline.stack.clean_up().await;
}

/// A row that is written past the projector is one that no socket hears of, so what waits for it is left alone.
#[tokio::test]
async fn what_is_on_its_way_is_left_to_the_daemons() {
    let mut pipeline = Pipeline::start("1h").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    assert!(pipeline.projector.terminate().await.success());
    let ids = [
        pipeline.create("t-1", "a").await,
        pipeline.create("t-1", "b").await,
    ];
    for command in ["verify", "rebuild"] {
        let said = run(&pipeline.stack, &["projection", command, "--lasting", "0s"])
            .await
            .expect(0);
        assert_eq!(said.last()["onTheirWay"], 2);
    }
    assert_eq!(pipeline.stack.count("orders_read", doc! {}).await, 0);
    pipeline.projector.restart(|projector| projector).await;
    for id in &ids {
        client
            .event_where("order.created", |event| event[0]["orderId"] == id.as_str())
            .await;
    }
    // Their payments are due in an hour.
    let lost = ["reconcile", "--pending-for", "0s", "--lasting", "0s"];
    let said = run(&pipeline.stack, &lost).await.expect(0);
    assert_eq!(
        (&said.last()["lost"], &said.last()["onTheirWay"]),
        (&json!(0), &json!(2))
    );

    // Without NATS only the list can be looked at.
    pipeline.stack.nats.kill().await;
    let said = run(
        &pipeline.stack,
        &["projection", "verify", "--lasting", "0s"],
    )
    .await
    .expect(0);
    assert!(said.errors.contains("without NATS"), "{}", said.errors);
    run(&pipeline.stack, &lost).await.expect(1);
    pipeline.stack.clean_up().await;
}
