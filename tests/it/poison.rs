//! Messages that cannot be handled, or kill whoever tries: they end as dead letters, nothing else does, and nothing else
//! waits for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

use async_nats::{
    Client, HeaderMap,
    jetstream::{self, AckKind, consumer::pull, message::StreamMessage},
};
use futures_util::StreamExt;
use mongodb::bson::doc;
use orders_contracts::{OrderId, RequestId, TenantId};
use orders_testkit::{Daemon, Setup, Stack, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::pipeline::order;

const TENANT: &str = "t-1";

/// Publishes commands as the edge does, and takes the time until their events.
struct Flow {
    client: Client,
    jetstream: jetstream::Context,
    published: Mutex<HashMap<String, Instant>>,
    taken: Mutex<Vec<Duration>>,
}

impl Flow {
    async fn start(stack: &Stack) -> Self {
        Self {
            client: stack.client().await,
            jetstream: stack.jetstream().await,
            published: Mutex::default(),
            taken: Mutex::default(),
        }
    }

    /// Publishes a command that is as it should be; returns the order's id.
    async fn create(&self, request: &str) -> String {
        let tenant: TenantId = TENANT.parse().unwrap();
        let id = OrderId::derive(&tenant, &request.parse::<RequestId>().unwrap()).to_string();
        self.published
            .lock()
            .unwrap()
            .insert(id.clone(), Instant::now());
        self.publish("create", &id, &order(TENANT, request).to_string())
            .await;
        id
    }

    async fn publish(&self, command: &str, order_id: &str, body: &str) {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", format!("{command}-{order_id}"));
        headers.insert("ce-type", format!("com.example.orders.order.{command}.v1"));
        headers.insert("ce-source", "/test");
        headers.insert("ce-subject", order_id);
        headers.insert("ce-time", "2025-08-26T09:00:00Z");
        let subject = format!("orders.cmd.{TENANT}.{command}");
        let sent = self
            .client
            .publish_with_headers(subject, headers, body.to_owned().into());
        sent.await.unwrap();
    }

    /// Takes the next `count` commands as a writer does, and gives them back.
    async fn give_back(&self, count: usize) {
        let commands = self.jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
        let consumer = commands
            .get_consumer::<pull::Config>("writer")
            .await
            .unwrap();
        let batch = consumer.batch().max_messages(count).messages();
        let messages: Vec<_> = batch.await.unwrap().collect().await;
        assert_eq!(messages.len(), count);
        for message in messages {
            message.unwrap().ack_with(AckKind::Nak(None)).await.unwrap();
        }
    }

    /// Takes the time of each event, for ever.
    async fn listen(&self) {
        let mut events = self.client.subscribe("orders.evt.>").await.unwrap();
        while let Some(event) = events.next().await {
            let id = event
                .headers
                .unwrap()
                .get("ce-subject")
                .unwrap()
                .to_string();
            // An event may come twice.
            if let Some(published) = self.published.lock().unwrap().remove(&id) {
                self.taken.lock().unwrap().push(published.elapsed());
            }
        }
    }

    /// Creates an order every 10 ms, until `is_enough` of so many.
    async fn steadily(&self, name: &str, mut is_enough: impl AsyncFnMut(usize) -> bool) {
        for n in 1.. {
            self.create(&format!("{name}{n}")).await;
            sleep(Duration::from_millis(10)).await;
            if n % 20 == 0 && is_enough(n).await {
                return;
            }
        }
    }

    /// Whether one of `orders` has no event yet.
    fn is_one_open(&self, orders: &[String]) -> bool {
        let published = self.published.lock().unwrap();
        orders.iter().any(|order| published.contains_key(order))
    }

    /// Does `work` while the writers are started again whenever they die, which it counts into `deaths`.
    async fn beside<T>(
        &self,
        work: impl Future<Output = T>,
        [one, other]: &mut [Daemon; 2],
        deaths: &Mutex<u32>,
    ) -> T {
        tokio::select! {
            done = work => done,
            () = self.listen() => unreachable!("it listens for ever"),
            () = supervise(one, deaths) => unreachable!("it goes on for ever"),
            () = supervise(other, deaths) => unreachable!("it goes on for ever"),
        }
    }

    /// Waits until all but `but` of what was published since the last time has its event.
    async fn until_all(&self, but: usize) -> Delays {
        eventually("all good commands have their events", async || {
            let left = self.published.lock().unwrap().len();
            if left == but { Ok(()) } else { Err(left) }
        })
        .await;
        let mut taken = std::mem::take(&mut *self.taken.lock().unwrap());
        taken.sort();
        Delays {
            orders: taken.len(),
            p50: taken[taken.len() / 2],
            p99: taken[taken.len() * 99 / 100],
            max: taken[taken.len() - 1],
            late: taken
                .iter()
                .filter(|taken| **taken > Duration::from_secs(1))
                .count(),
        }
    }

    /// All dead letters there are, by the position of the original.
    async fn letters(&self) -> BTreeMap<String, StreamMessage> {
        let stream = self.jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        let mut letters = BTreeMap::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            if let Ok(letter) = stream.get_raw_message(sequence).await {
                letters.insert(header(&letter, "Orders-Original-Position"), letter);
            }
        }
        letters
    }

    /// Waits for the one dead letter, of an original that is terminated.
    async fn only_letter(&self) -> StreamMessage {
        eventually(
            "it is a dead letter, and nothing else is left",
            async || {
                let mut letters = self.letters().await;
                let commands = self.jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
                let left = commands.cached_info().state.messages;
                match (letters.len(), left) {
                    (1, 0) => Ok(letters.pop_first().unwrap().1),
                    both => Err(both),
                }
            },
        )
        .await
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Delays {
    orders: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
    late: usize,
}

fn header(letter: &StreamMessage, name: &str) -> String {
    letter
        .headers
        .get(name)
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// A writer that the create "bad" kills.
fn mortal_writer(stack: &Stack) -> Setup {
    stack.daemon("writer").env("ORDERS_POISON", "abort:bad")
}

/// Starts `daemon` again whenever it ends, for ever; counts into `deaths`.
async fn supervise(daemon: &mut Daemon, deaths: &Mutex<u32>) {
    loop {
        if daemon.status().is_some() {
            *deaths.lock().unwrap() += 1;
            daemon.respawn(|setup| setup);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_panics_is_given_up_and_costs_the_others_nothing() {
    const GOOD: usize = 500;
    let stack = Stack::start().await;
    let mut writer = stack
        .daemon("writer")
        .env("ORDERS_POISON", "panic:bad")
        .start()
        .await;
    let flow = Flow::start(&stack).await;
    let work = async {
        // Stopped, so that they all come in one batch.
        writer.signal(Signal::STOP);
        for n in 0..GOOD {
            if n == GOOD / 2 {
                flow.create("bad").await;
            }
            flow.create(&format!("r{n}")).await;
        }
        writer.signal(Signal::CONT);
        let began = Instant::now();
        let delays = flow.until_all(1).await;
        let letter = flow.only_letter().await;
        eprintln!("a panic: {delays:?}; given up after {:?}", began.elapsed());
        assert!(
            delays.max < Duration::from_secs(4),
            "no ack wait: {delays:?}"
        );
        assert_eq!(header(&letter, "Orders-Reason"), "panicked");
        assert_eq!(header(&letter, "Orders-Error"), "poisoned by bad");
        assert_eq!(
            serde_json::from_slice::<Value>(&letter.payload).unwrap(),
            order(TENANT, "bad")
        );
    };
    tokio::select! { () = work => {}, () = flow.listen() => {} }
    assert!(writer.status().is_none(), "the daemon lives");
    stack.clean_up().await;
}

/// Two writers, each started again whenever it dies, a steady flow, and a message that kills whoever handles it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_daemon_is_isolated() {
    const MATES: usize = 400;
    // Each stands for a death, which takes an ack wait.
    const GIVEN_BACK: usize = 20;
    let stack = Stack::start().await;
    let start = async || mortal_writer(&stack).start().await;
    let mut writers = [start().await, start().await];
    let flow = Flow::start(&stack).await;
    let deaths = Mutex::default();

    let with_mates = async {
        flow.steadily("calm", async |n| n == 500).await;
        let calm = flow.until_all(0).await;
        let mut mates = Vec::new();
        for mate in 0..MATES {
            if mate == MATES / 2 {
                flow.create("bad").await;
            }
            mates.push(flow.create(&format!("mate{mate}")).await);
        }
        let began = Instant::now();
        flow.steadily("beside", async |_| !flow.is_one_open(&mates))
            .await;
        let (took, delays) = (began.elapsed(), flow.until_all(1).await);
        eprintln!("calm: {calm:?}; with mates: {delays:?} in {took:.1?}");
        // What is beside it dies with it three times at most.
        assert!(delays.max < Duration::from_secs(30), "{delays:?}");
        calm
    };
    let calm = flow.beside(with_mates, &mut writers, &deaths).await;

    for writer in &mut writers {
        writer.terminate().await;
    }
    for _ in 0..GIVEN_BACK {
        flow.give_back(1).await;
    }
    for writer in &mut writers {
        writer.respawn(|setup| setup);
    }
    let before = *deaths.lock().unwrap();

    let alone = async {
        let began = Instant::now();
        let is_over = async |_| {
            !flow.letters().await.is_empty() || began.elapsed() > Duration::from_secs(120)
        };
        flow.steadily("after", is_over).await;
        let (took, delays) = (began.elapsed(), flow.until_all(1).await);
        let letter = flow.only_letter().await;
        let deaths = *deaths.lock().unwrap() - before;
        eprintln!("alone: {delays:?} in {took:.1?} and {deaths} deaths");
        assert_eq!(header(&letter, "Orders-Reason"), "crash_loop");
        assert_eq!(
            serde_json::from_slice::<Value>(&letter.payload).unwrap(),
            order(TENANT, "bad")
        );
    };
    flow.beside(alone, &mut writers, &deaths).await;
    let _ = calm;
    stack.clean_up().await;
}

/// However often a message was delivered, more often or less often than the one that kills the daemon they share, it gets
/// through in two of its lives.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_more_often_does_not_wait_for_what_kills() {
    let stack = Stack::start().await;
    let mut writer = mortal_writer(&stack).start().await;
    let flow = Flow::start(&stack).await;
    let deaths = Mutex::default();
    // What comes meanwhile waits for its next life.
    assert!(writer.terminate().await.success());
    for (n, request) in ["more", "bad", "less"].into_iter().enumerate() {
        flow.create(request).await;
        flow.give_back(n + 1).await;
    }
    flow.give_back(3).await;
    let work = async {
        writer.respawn(|setup| setup);
        tokio::select! {
            () = supervise(&mut writer, &deaths) => unreachable!("it goes on for ever"),
            delays = flow.until_all(1) => {
                eprintln!("{delays:?} and {} deaths", deaths.lock().unwrap());
                assert!(delays.max < Duration::from_secs(12), "{delays:?}");
                assert!(*deaths.lock().unwrap() > 0, "{delays:?}");
            }
        }
    };
    tokio::select! { () = work => {}, () = flow.listen() => {} }
    stack.clean_up().await;
}

/// A cancel whose create dies with a third message, again and again, comes again as long as the create may.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_for_a_create_that_dies_with_another() {
    const PAIRS: usize = 12;
    let stack = Stack::start().await;
    let mut writer = mortal_writer(&stack).start().await;
    let flow = Flow::start(&stack).await;
    let deaths = Mutex::default();
    // What comes meanwhile waits for its next life.
    assert!(writer.terminate().await.success());
    flow.create("bad").await;
    for n in 0..PAIRS {
        let id = flow.create(&format!("good{n}")).await;
        let cancel = json!({ "tenantId": TENANT, "orderId": id });
        flow.publish("cancel", &id, &cancel.to_string()).await;
    }
    // From the third delivery on each is handled alone, in any order.
    for _ in 0..2 {
        flow.give_back(1 + 2 * PAIRS).await;
    }
    writer.respawn(|setup| setup);
    let cancelled = eventually("all are cancelled", async || {
        let cancelled = doc! { "status": "CANCELLED" };
        match stack.count("orders_write", cancelled).await {
            count if count == PAIRS as u64 => Ok(()),
            count => Err(count),
        }
    });
    tokio::select! { () = cancelled => {}, () = supervise(&mut writer, &deaths) => {} }
    stack.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_good_commands_do_not_wait_for_bad_ones_among_them() {
    const GOOD: usize = 10_000;
    let stack = Stack::start().await;
    let _writer = stack.daemon("writer").start().await;
    let flow = Flow::start(&stack).await;
    let terminated = Mutex::new(HashMap::new());
    let watch = async {
        let subject = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.ORDERS_COMMANDS.writer";
        let mut advisories = flow.client.subscribe(subject).await.unwrap();
        while let Some(advisory) = advisories.next().await {
            let advisory: Value = serde_json::from_slice(&advisory.payload).unwrap();
            let position = format!("ORDERS_COMMANDS:{}", advisory["stream_seq"]);
            let at = advisory["timestamp"].as_str().unwrap().to_owned();
            terminated.lock().unwrap().insert(position, at);
        }
    };
    let work = async {
        let mut bad = 0;
        for n in 0..GOOD {
            flow.create(&format!("r{n}")).await;
            if n % 100 == 0 {
                // Undecodable, then refused: the header is of another order.
                let raw = flow
                    .client
                    .publish(format!("orders.cmd.{TENANT}.create"), "garbage".into());
                raw.await.unwrap();
                flow.publish(
                    "create",
                    &format!("ord_{}", "a".repeat(26)),
                    &order(TENANT, "other").to_string(),
                )
                .await;
                bad += 2;
            }
            if n % 10 == 0 {
                sleep(Duration::from_millis(15)).await;
            }
        }
        let delays = flow.until_all(0).await;
        eventually("all originals are terminated", async || {
            let count = terminated.lock().unwrap().len();
            if count == bad { Ok(()) } else { Err(count) }
        })
        .await;
        let letters = flow.letters().await;
        eprintln!("{bad} bad commands among good: {delays:?}");
        assert_eq!(letters.len(), bad);
        for (position, letter) in &letters {
            let terminated = terminated.lock().unwrap()[position].clone();
            let stored = letter.time.to_string();
            assert!(
                before(letter, &terminated),
                "{position}: stored {stored}, terminated {terminated}"
            );
            assert_eq!(header(letter, "Orders-Reason"), "invalid");
            assert_eq!(
                header(letter, "Orders-Original-Subject"),
                "orders.cmd.t-1.create"
            );
            if letter.payload == "garbage" {
                let error = header(letter, "Orders-Error");
                for name in ["specversion", "type", "id", "source", "subject", "time"] {
                    assert!(
                        error.contains(&format!("header ce-{name} is missing")),
                        "{error}"
                    );
                }
                assert!(error.ends_with("see schemas/asyncapi.json"), "{error}");
            } else {
                assert_eq!(
                    header(letter, "ce-subject"),
                    format!("ord_{}", "a".repeat(26))
                );
                assert_eq!(
                    serde_json::from_slice::<Value>(&letter.payload).unwrap(),
                    order(TENANT, "other")
                );
            }
        }
        assert!(delays.max < Duration::from_secs(4), "{delays:?}");
    };
    tokio::select! { () = work => {}, () = flow.listen() => {}, () = watch => {} }
    stack.clean_up().await;
}

/// While ORDERS_DLQ acknowledges nothing, what cannot be handled is read no faster than memory allows.
#[tokio::test]
async fn a_flood_of_large_garbage_does_not_fill_memory() {
    const GARBAGE: u64 = 200;
    let stack = Stack::start().await;
    let writer = stack.daemon("writer").start().await;
    let jetstream = stack.jetstream().await;
    let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
    let acknowledging = letters.cached_info().config.clone();
    let mut silent = acknowledging.clone();
    silent.no_ack = true;
    jetstream.update_stream(silent).await.unwrap();
    let before = writer.peak_memory();
    for _ in 0..GARBAGE {
        let body = vec![b'x'; 1_000_000];
        let sent = jetstream.publish(format!("orders.cmd.{TENANT}.create"), body.into());
        sent.await.unwrap().await.unwrap();
    }
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
    eventually("the first come again", async || {
        let consumer = commands.consumer_info("writer").await.unwrap();
        match consumer.num_redelivered {
            0 => Err(consumer),
            _ => Ok(()),
        }
    })
    .await;
    jetstream.update_stream(acknowledging).await.unwrap();
    eventually("all are dead letters", async || {
        let letters = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        let commands = jetstream.get_stream("ORDERS_COMMANDS").await.unwrap();
        let [letters, commands] =
            [letters, commands].map(|stream| stream.cached_info().state.clone());
        match (letters.last_sequence, commands.messages) {
            (GARBAGE, 0) => Ok(()),
            both => Err(both),
        }
    })
    .await;
    let grown = writer.peak_memory() - before;
    eprintln!("the peak grew by {grown} KiB");
    assert!(grown < 60 << 10, "the peak grew by {grown} KiB");
    stack.clean_up().await;
}

/// Whether the letter was stored before the moment `terminated`, RFC 3339 in UTC.
fn before(letter: &StreamMessage, terminated: &str) -> bool {
    let (whole, fraction) = terminated.trim_end_matches('Z').split_once('.').unwrap();
    let (_, clock) = whole.split_once('T').unwrap();
    let seconds = clock
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    let nanos: i64 = format!("{fraction:0<9}").parse().unwrap();
    let stored = letter.time.unix_timestamp().rem_euclid(86_400);
    (stored, i64::from(letter.time.nanosecond())) <= (seconds, nanos)
}

/// Twenty clean shutdowns in a row give the same messages back, and condemn none.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_given_back_many_times_is_carried_out() {
    let stack = Stack::start().await;
    let mut writer = stack.daemon("writer").start().await;
    let flow = Flow::start(&stack).await;
    let work = async {
        flow.create("first").await;
        flow.until_all(0).await;
        assert!(writer.terminate().await.success());
        for n in 0..5 {
            flow.create(&format!("innocent{n}")).await;
        }
        for _ in 0..20 {
            flow.give_back(5).await;
        }
        // Others that get through first, and at the same time.
        for n in 0..100 {
            flow.create(&format!("r{n}")).await;
        }
        writer.respawn(|setup| setup);
        flow.until_all(0).await;
        eventually("no dead letter is left", async || {
            match flow.letters().await.len() {
                0 => Ok(()),
                n => Err(n),
            }
        })
        .await;
    };
    tokio::select! { () = work => {}, () = flow.listen() => {} }
    assert_eq!(stack.count("orders_write", doc! {}).await, 106);
    stack.clean_up().await;
}

/// The database and NATS away, and the writers paused for longer than the ack wait, again and again: nothing is given up.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_for_what_is_away() {
    let mut stack = Stack::start().await;
    let (gate, through_gate) = stack.database_gate().await;
    let direct = std::mem::replace(&mut stack.mongo_url, through_gate);
    let (mut one, other) = (
        stack.daemon("writer").start().await,
        stack.daemon("writer").start().await,
    );
    let flow = Flow::start(&stack).await;
    gate.close();
    for n in 0..20 {
        flow.create(&format!("r{n}")).await;
    }
    flow.client.flush().await.unwrap();
    for round in 0..3 {
        for writer in [&one, &other] {
            writer.signal(Signal::STOP);
            sleep(Duration::from_secs(6)).await;
            writer.signal(Signal::CONT);
        }
        stack.nats.kill().await;
        stack.nats.restart().await;
        if round == 1 {
            one.kill().await;
            one.respawn(|setup| setup);
        }
    }
    gate.open();
    stack.mongo_url = direct;
    eventually("all are stored", async || {
        match stack.count("orders_write", doc! {}).await {
            20 => Ok(()),
            n => Err(n),
        }
    })
    .await;
    eventually("nothing is left", async || {
        let commands = flow.jetstream.get_stream("ORDERS_COMMANDS").await;
        match commands.map(|commands| commands.cached_info().state.messages) {
            Ok(0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(flow.letters().await.len(), 0);
    stack.clean_up().await;
}
