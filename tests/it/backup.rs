//! A backup that was made while orders came in brings everything back that was acknowledged before it: after the
//! database was lost, NATS, or both. The commands are those of docs/backup.md, as they stand there.

mod load;

use std::{pin::pin, time::Duration};

use futures_util::{
    StreamExt,
    future::{join_all, select},
    stream,
};
use mongodb::bson::doc;
use orders_contracts::{
    PaymentSettings,
    streams::{self, Consumer, Stream},
};
use orders_testkit::{Daemon, Database, SocketClient, Stack, aloud, eventually, tool};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use tokio::{process::Command, time::timeout};

use self::load::{Acknowledged, Load, large};
use crate::{
    orderctl::run,
    pipeline::{Pipeline, order, order_id},
    readme::block,
};

/// How far a consumer is ahead of its stream at worst.
const AHEAD: u64 = 50;

/// What `bash` prints that runs the block of docs/backup.md which contains `part`.
async fn follow(pipeline: &Pipeline, bash: Command, part: &str) -> String {
    let edge = pipeline.edge.url();
    let script = block("docs/backup.md", "sh", part).replace("http://localhost:3001", &edge);
    shell(pipeline, bash, &script).await
}

/// What `bash` prints that runs `script`, with the `nats` tool.
async fn shell(pipeline: &Pipeline, mut bash: Command, script: &str) -> String {
    let folder = pipeline.stack.folder();
    let nats = tool("nats");
    let script = format!("PATH=$PATH:{}\n{script}", nats.parent().unwrap().display());
    let output = bash
        .args(["-euo", "pipefail", "-c", &script])
        .env("backup", folder.join("backup"))
        .env("NATS_URL", pipeline.stack.nats.url())
        .env("XDG_CONFIG_HOME", folder)
        .output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The pipeline, with a database that it may lose, and a browser that goes on where it was.
struct Site {
    socket: SocketClient,
    database: Database,
    // Dropped last: the database keeps its files in its folder.
    pipeline: Pipeline,
}

impl Site {
    fn stack(&self) -> &Stack {
        &self.pipeline.stack
    }

    fn daemons(&mut self) -> [&mut Daemon; 5] {
        let Pipeline {
            edge,
            writer,
            projector,
            payments,
            realtime,
            ..
        } = &mut self.pipeline;
        [edge, writer, projector, payments, realtime]
    }

    async fn stop_daemons(&mut self) {
        join_all(self.daemons().map(Daemon::terminate)).await;
    }

    async fn start_daemons(&mut self) {
        for daemon in self.daemons() {
            daemon.respawn(|daemon| daemon);
        }
        for daemon in self.daemons() {
            daemon.ready().await;
        }
    }

    async fn follow(&self, part: &str) -> String {
        follow(&self.pipeline, self.database.command("bash"), part).await
    }

    /// Orders that are accepted, but not carried out yet.
    async fn accepted(&self, requests: [&str; 2]) -> Acknowledged {
        let orders = requests.map(async |request| {
            let body = order("t-1", request);
            let answer = self.pipeline.post("/api/orders", &body).await;
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            (request.to_owned(), order_id(answer).await)
        });
        join_all(orders).await.into_iter().collect()
    }

    /// Copies NATS while the writer stands still: the commands that wait must be in the database before that is copied, so
    /// the block ends only when the writer goes on.
    async fn copy_nats_without_a_writer(&self) {
        let folder = self.stack().folder();
        let last = folder.join("backup/nats/REVOCATIONS/backup.json");
        let copied = eventually("NATS is copied", async || {
            match std::fs::metadata(&last).map_or(0, |file| file.len()) {
                0 => Err("not yet"),
                _ => Ok(()),
            }
        });
        let mut block = pin!(self.follow("nats backup stream"));
        select(pin!(copied), &mut block).await;
        let ends = timeout(Duration::from_secs(1), &mut block).await;
        assert!(ends.is_err(), "it does not wait for the writer");
        self.pipeline.writer.signal(Signal::CONT);
        block.await;
    }

    /// NATS comes back with nothing but the backup.
    async fn restore_nats(&mut self) {
        let nats = &mut self.pipeline.stack.nats;
        nats.kill().await;
        nats.lose_store();
        nats.restart().await;
        self.follow("nats backup restore").await;
    }

    /// Leaves the consumers as a slow copy of a large stream has them.
    async fn put_consumers_ahead(&self) {
        let consumers = streams::consumers(&PaymentSettings::default());
        let script = consumers.map(
            |Consumer {
                 stream: Stream { name, .. },
                 durable,
                 ..
             }| {
                format!(
                    "last=$(nats stream info {name} --json | jq .state.last_seq)\n\
                 nats consumer reset {name} {durable} --sequence $((last + {AHEAD})) --force\n"
                )
            },
        );
        shell(
            &self.pipeline,
            self.database.command("bash"),
            &script.concat(),
        )
        .await;
    }

    /// What an operator does after any loss.
    async fn repair(&self) {
        let rebuild = ["projection", "rebuild", "--set-back", "--yes"];
        run(self.stack(), &[&rebuild[..], &["--lasting", "1s"]].concat())
            .await
            .expect(0);
        let reconcile = [
            "reconcile",
            "--yes",
            "--pending-for",
            "1s",
            "--lasting",
            "1s",
        ];
        run(self.stack(), &reconcile).await.expect(0);
    }

    /// Each of `orders` is there: stored and listed as PAID, and its request makes no second one.
    async fn has(&self, orders: &Acknowledged) {
        let ids = Vec::from_iter(orders.values());
        let paid = doc! { "_id": { "$in": &ids }, "status": "PAID" };
        eventually("every order is listed as PAID", async || {
            let stored = self.stack().count("orders_write", paid.clone()).await;
            let listed = self.stack().count("orders_read", paid.clone()).await;
            match (stored, listed) == (ids.len() as u64, ids.len() as u64) {
                true => Ok(()),
                false => Err((stored, listed, ids.len())),
            }
        })
        .await;
        let repeated = stream::iter(orders).map(async |(request, id)| {
            let body = order("t-1", request);
            let answer = self.pipeline.post("/api/orders", &body).await;
            assert_eq!(answer.status(), StatusCode::OK, "{request}");
            assert_eq!(order_id(answer).await, *id, "{request}");
        });
        repeated.buffer_unordered(8).collect::<()>().await;
        let verify = ["projection", "verify", "--lasting", "1s"];
        run(self.stack(), &verify).await.expect(0);
    }

    /// The lines of an order, as they are written.
    async fn lines(&self, id: &str) -> String {
        let path = format!("/api/orders/{id}?tenantId=t-1");
        let order = self.pipeline.get(&path).await.text().await.unwrap();
        let (_, lines) = order.split_once("\"items\":").expect("it is stored");
        lines[..=lines.find(']').expect("a list")].to_owned()
    }

    /// The browser was told to load its list again, and hears of what comes now. So many orders come that a consumer which
    /// is ahead of its stream would miss some.
    async fn goes_on(&mut self, name: &'static str) -> Acknowledged {
        self.socket.event("feed.reset").await;
        let load = Load::start(&self.pipeline, name);
        load.some_more().await;
        let orders = load.stop().await;
        for id in orders.values() {
            let is_it = |args: &[serde_json::Value]| args[0]["orderId"] == id.as_str();
            self.socket.event_where("order.updated", is_it).await;
        }
        self.has(&orders).await;
        self.socket.drain(Duration::from_millis(100)).await;
        orders
    }

    async fn dead_letters(&self) -> u64 {
        let jetstream = self.stack().jetstream().await;
        let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        letters.cached_info().state.messages
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_outlives_the_loss_of_either_store_and_of_both() {
    let mut stack = Stack::open().await;
    let Some(database) = Database::start(stack.folder()).await else {
        aloud("skipped: the run uses a database of somebody else");
        return;
    };
    stack.mongo_url = database.url();
    let pipeline = Pipeline::start_on(stack, "1s", |edge| edge).await;
    let options = json!({
        "path": "/ws", "auth": { "tenantId": "t-1" }, "follow": true,
        "reconnectionDelay": 100, "reconnectionDelayMax": 300,
    });
    let mut site = Site {
        socket: SocketClient::connect(&pipeline.edge.url(), &options),
        database,
        pipeline,
    };
    site.socket.event("connected").await;
    let jetstream = site.stack().jetstream().await;
    let letter = jetstream.publish("orders.cmd.t-1.create", "garbage".into());
    letter.await.unwrap().await.unwrap();

    let load = Load::start(&site.pipeline, "first");
    load.some_more().await;
    assert_eq!(site.dead_letters().await, 1);
    // Commands that were accepted wait in NATS while that is copied, and are in the database before that is copied.
    site.pipeline.writer.signal(Signal::STOP);
    let held = site.accepted(["h0", "h1"]).await;
    let mut before = load.so_far();
    before.extend(held);
    site.copy_nats_without_a_writer().await;
    site.follow("pg_basebackup").await;
    load.some_more().await;
    let mut all = load.stop().await;
    let answer = site.pipeline.post("/api/orders", &large("large")).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let large = order_id(answer).await;
    let lines = site.lines(&large).await;
    all.insert("large".to_owned(), large.clone());
    let cancelled = site.pipeline.create("t-1", "cancelled").await;
    let cancel = format!("/api/orders/{cancelled}/cancel");
    let body = json!({ "tenantId": "t-1" });
    let answer = site.pipeline.post(&cancel, &body).await;
    assert_eq!(answer.status(), StatusCode::OK);

    // The database is lost; commands that come meanwhile wait in NATS.
    site.database.kill().await;
    let waiting = site.accepted(["w0", "w1"]).await;
    site.stop_daemons().await;
    site.database.lose_files();
    site.follow("cp -a").await;
    site.database.restart().await;
    site.follow("nats stream rm").await;
    site.start_daemons().await;
    let ids = Vec::from_iter(all.values());
    let stored = doc! { "_id": { "$in": &ids } };
    let stored = site.stack().count("orders_write", stored).await;
    assert!(stored >= before.len() as u64, "{stored} are there");
    assert!(
        stored < ids.len() as u64,
        "all are there, so nothing was lost"
    );
    site.repair().await;
    site.has(&before).await;
    site.has(&waiting).await;
    // Sent again, those that came after the backup are there too.
    assert!(site.pipeline.payments.terminate().await.success());
    let answers = site.follow("nats subscribe").await;
    assert!(answers.contains(" 201\n"), "{answers}");
    site.pipeline.payments.restart(|payments| payments).await;
    site.repair().await;
    site.has(&all).await;
    assert_eq!(site.lines(&large).await, lines, "with all its digits");
    site.pipeline
        .until_status("t-1", &cancelled, "CANCELLED")
        .await;
    let second = site.goes_on("second").await;

    // NATS is lost; what only it had comes back, and the database has kept the rest.
    site.stop_daemons().await;
    site.restore_nats().await;
    site.put_consumers_ahead().await;
    site.follow("nats consumer reset").await;
    site.start_daemons().await;
    assert_eq!(site.dead_letters().await, 1);
    site.repair().await;
    for orders in [&all, &waiting, &second] {
        site.has(orders).await;
    }
    site.goes_on("third").await;

    // Both are lost.
    site.stop_daemons().await;
    site.database.kill().await;
    site.database.lose_files();
    site.restore_nats().await;
    site.follow("nats consumer reset").await;
    site.follow("cp -a").await;
    site.database.restart().await;
    site.start_daemons().await;
    site.repair().await;
    site.has(&before).await;
    assert_eq!(site.dead_letters().await, 1);
    site.goes_on("fourth").await;
}

/// In operator mode too, with the creds that docs/backup.md names.
#[tokio::test]
async fn the_role_for_backups_has_the_rights_that_they_take() {
    let stack = Stack::guarded("").await;
    let mut pipeline = Pipeline::start_on(stack, "200ms", |edge| edge).await;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let bash = || Command::new("bash");
    let creds = pipeline.stack.guard.as_ref().unwrap().creds("backup");
    let context = format!(
        "nats context save backup --server $NATS_URL --creds {} --inbox-prefix _INBOX_backup --select",
        creds.display()
    );
    shell(&pipeline, bash(), &context).await;
    follow(&pipeline, bash(), "nats backup stream").await;

    for daemon in [
        &mut pipeline.edge,
        &mut pipeline.writer,
        &mut pipeline.projector,
        &mut pipeline.payments,
        &mut pipeline.realtime,
    ] {
        assert!(daemon.terminate().await.success());
    }
    let jetstream = pipeline.stack.jetstream().await;
    for stream in streams::ALL {
        jetstream.delete_stream(stream.name).await.unwrap();
    }
    follow(&pipeline, bash(), "nats backup restore").await;
    follow(&pipeline, bash(), "nats consumer reset").await;
    for (stream, messages) in [("ORDERS_EVENTS", 2), ("PAYMENTS", 1), ("ORDERS_FEED", 2)] {
        let stream = jetstream.get_stream(stream).await.unwrap();
        assert_eq!(stream.cached_info().state.messages, messages);
    }
    follow(&pipeline, bash(), "nats stream rm").await;
    let migrate = ["migrate", "--yes", "--payment-delay", "200ms"];
    let migrated = run(&pipeline.stack, &migrate).await.expect(0).text;
    assert_eq!(migrated.matches(": created").count(), 1, "{migrated}");
    pipeline.stack.clean_up().await;
}
