//! Clients that mean harm, or are broken: they are cut, what they cost is given back, and nobody else waits for them.

mod bodies;
mod streams;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap};
use futures_util::{SinkExt, StreamExt, future::join_all, stream};
use orders_testkit::{Daemon, Stack, eventually};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How long a client that is half-way in may stay: 10 s, where the edge drops the rest of a body 5 s more, and some slack
/// for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10 + 5 + 5);
/// How many events the latency of good clients is taken from.
const SAMPLES: usize = 200;
/// How much a daemon may grow while it is attacked, and how much of that it may keep, in KiB.
const GROWTH: u64 = 64 << 10;
const GIVEN_BACK: u64 = 48 << 10;
/// How long messages of hostile clients are.
const OVERSIZE: usize = 64 << 20;

/// What the sockets need: NATS, realtime, and the edge before it.
struct Stage {
    realtime: Daemon,
    edge: Daemon,
    nats: Client,
    events: AtomicU64,
    stack: Stack,
}

impl Stage {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let realtime = stack.daemon("realtime").start().await;
        let edge = stack
            .daemon("edge")
            .env("ORDERS_REALTIME_URLS", &realtime.url())
            .start()
            .await;
        let nats = stack.client().await;
        Self {
            realtime,
            edge,
            nats,
            events: AtomicU64::default(),
            stack,
        }
    }

    /// Puts an event of `tenant` into the feed, as the projector does; returns its order's id.
    async fn tell(&self, tenant: &str) -> String {
        let number = format!("{:026}", self.events.fetch_add(1, Ordering::Relaxed));
        let letters = number.bytes().map(|digit| char::from(digit - b'0' + b'a'));
        let id = format!("ord_{}", letters.collect::<String>());
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", format!("{id}:1"));
        headers.insert("ce-type", "com.example.orders.feed.created.v1");
        headers.insert("ce-source", "/test");
        headers.insert("ce-subject", id.as_str());
        headers.insert("ce-time", "2025-08-26T09:00:00Z");
        let body = json!({ "orderId": id, "status": "PENDING", "version": 1 }).to_string();
        let subject = format!("orders.feed.{tenant}.created");
        let sent = self
            .nats
            .publish_with_headers(subject, headers, body.into());
        sent.await.unwrap();
        id
    }

    /// Lets `attack` happen, and sees to it that a good client's events come as before, that the daemons do not grow
    /// without bounds, and that what they have taken is given back.
    async fn withstand<T>(&self, what: &str, attack: impl Future<Output = T>) -> T {
        let (calm, before) = (self.latency(&Cell::new(true)).await, self.memory());
        let (sockets, streams) = (self.sockets().await, self.streams().await);
        let (peak, is_over) = (Cell::new(before), Cell::new(false));
        let watch = async {
            loop {
                peak.set(peak.get().max(self.memory()));
                sleep(Duration::from_millis(50)).await;
            }
        };
        let attack = async {
            let outcome = attack.await;
            is_over.set(true);
            outcome
        };
        let both = async { tokio::join!(self.latency(&is_over), attack) };
        let (during, outcome) = tokio::select! {
            both = both => both,
            () = watch => unreachable!("it watches for ever"),
        };
        let (peak, over) = (peak.get(), Instant::now());
        let after = eventually("everything is given back", async || {
            let (memory, left) = (self.memory(), self.sockets().await);
            let is_left = left > sockets || self.streams().await > streams;
            if is_left || memory.exceeds(before, GIVEN_BACK) {
                Err((before, memory, left))
            } else {
                Ok(memory)
            }
        })
        .await;
        eprintln!(
            "{what}: latency {calm} before, {during} during; memory {before} before, {peak} at most, {after} {:.1?} after",
            over.elapsed()
        );
        assert!(!peak.exceeds(before, GROWTH), "{before}, then {peak}");
        // The promise is 20 %; on a machine that others use too, only the order of magnitude can be asserted.
        let bound = calm.p50 * 3 + Duration::from_millis(20);
        assert!(during.p50 < bound, "{calm}, then {during}");
        outcome
    }

    /// How long events of a quiet tenant take to its socket, until `is_over`.
    async fn latency(&self, is_over: &Cell<bool>) -> Latency {
        let mut good = open(self.realtime.port(), None).await;
        enter(&mut good, "t-good").await;
        let mut taken = Vec::new();
        while taken.len() < SAMPLES || !is_over.get() {
            let told = Instant::now();
            let id = self.tell("t-good").await;
            hear(&mut good, &id).await;
            taken.push(told.elapsed());
            sleep(Duration::from_millis(10)).await;
        }
        good.close(None).await.unwrap();
        taken.sort();
        Latency {
            p50: taken[taken.len() / 2],
            p99: taken[taken.len() * 99 / 100],
        }
    }

    /// Sockets that are in a room.
    async fn sockets(&self) -> u64 {
        self.sum("orders_socket_connections").await
    }

    /// Streams of events that are open.
    async fn streams(&self) -> u64 {
        self.sum("orders_stream_connections").await
    }

    /// What a metric of realtime says, over all its labels.
    async fn sum(&self, name: &str) -> u64 {
        let metrics = reqwest::get(format!("{}/metrics", self.realtime.url())).await;
        let metrics = metrics.unwrap().text().await.unwrap();
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        numbers.sum()
    }

    fn memory(&self) -> Memory {
        Memory {
            realtime: resident(&self.realtime),
            edge: resident(&self.edge),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Latency {
    p50: Duration,
    p99: Duration,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2?} p99 {:.2?}", self.p50, self.p99)
    }
}

/// Resident memory, in KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    realtime: u64,
    edge: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "realtime {} edge {} KiB", self.realtime, self.edge)
    }
}

impl Memory {
    fn max(self, other: Self) -> Self {
        Self {
            realtime: self.realtime.max(other.realtime),
            edge: self.edge.max(other.edge),
        }
    }

    fn exceeds(self, before: Self, kib: u64) -> bool {
        self.realtime > before.realtime + kib || self.edge > before.edge + kib
    }
}

fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn connect(port: u16, buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(size) = buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(address).await.unwrap()
}

/// A WebSocket whose Engine.IO session is open; `buffer` is what its kernel takes unread.
async fn open(port: u16, buffer: Option<u32>) -> WebSocketStream<TcpStream> {
    let stream = connect(port, buffer).await;
    let url = format!("ws://127.0.0.1:{port}/ws/?EIO=4&transport=websocket");
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert!(greeting.to_text().unwrap().starts_with("0{"), "{greeting}");
    socket
}

/// Connects to the namespace, as `tenant`.
async fn enter(socket: &mut WebSocketStream<TcpStream>, tenant: &str) {
    let connect = format!(r#"40{{"tenantId":"{tenant}"}}"#);
    socket.send(Message::text(connect)).await.unwrap();
    hear(socket, r#"["connected""#).await;
}

/// Reads up to the packet that contains `part`.
async fn hear(socket: &mut WebSocketStream<TcpStream>, part: &str) {
    while let Some(packet) = socket.next().await {
        let packet = packet.unwrap();
        match packet.to_text().unwrap() {
            "2" => socket.send(Message::text("3")).await.unwrap(),
            text if text.contains(part) => return,
            _ => {}
        }
    }
    panic!("the server hung up before {part}");
}

/// Opens a session on polling; returns its id.
async fn open_polling(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/ws/?EIO=4&transport=polling");
    let open = reqwest::get(url).await.unwrap().text().await.unwrap();
    let packet: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    packet["sid"].as_str().unwrap().to_owned()
}

/// Waits until the server hangs up; returns how long that took.
async fn hung_up(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = [0; 4096];
    let end = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    timeout(2 * PATIENCE, end)
        .await
        .expect("the server hangs up");
    began.elapsed()
}

/// Writes until the server hangs up; returns how many bytes that took.
async fn pour(stream: &mut TcpStream, limit: usize) -> usize {
    let block = vec![0; 16 << 10];
    let mut poured = 0;
    while poured < limit {
        match timeout(PATIENCE, stream.write(&block)).await {
            Ok(Ok(written)) => poured += written,
            Ok(Err(_)) => break,
            Err(_) => panic!("the server neither reads nor hangs up"),
        }
    }
    poured
}

/// A client whose first frame is announced as, and is, much too long.
async fn long_frame(port: u16, is_known: bool) -> usize {
    let mut socket = open(port, None).await;
    if is_known {
        enter(&mut socket, "t-bad").await;
    }
    let mut stream = socket.into_inner();
    // FIN and text; masked, the length in eight bytes; the mask.
    let mut head = vec![0x81, 0xff];
    head.extend((OVERSIZE as u64).to_be_bytes());
    head.extend([0; 4]);
    stream.write_all(&head).await.unwrap();
    pour(&mut stream, OVERSIZE).await
}

/// A client whose message comes in many short frames and never ends.
async fn endless_message(port: u16) -> usize {
    let mut stream = open(port, None).await.into_inner();
    let mut poured = 0;
    let mut opcode = 0x01;
    while poured < OVERSIZE {
        // 16 KiB masked with zeros.
        let mut frame = vec![opcode, 0xfe, 0x40, 0, 0, 0, 0, 0];
        frame.resize(8 + (16 << 10), b'x');
        if stream.write_all(&frame).await.is_err() {
            break;
        }
        opcode = 0x00;
        poured += frame.len();
    }
    poured
}

/// A client that posts much more than a message may have.
async fn long_post(port: u16) -> usize {
    let sid = open_polling(port).await;
    let mut stream = connect(port, None).await;
    let head = format!(
        "POST /ws/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: {OVERSIZE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    pour(&mut stream, OVERSIZE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn oversize_messages_are_cut_on_both_transports_and_nobody_waits() {
    const CLIENTS: usize = 10;
    let stage = Stage::start().await;
    let attack = async {
        let mut most = 0;
        for port in [stage.realtime.port(), stage.edge.port()] {
            let long = join_all((0..CLIENTS).map(|n| long_frame(port, n % 2 == 0)));
            let endless = join_all((0..CLIENTS).map(|_| endless_message(port)));
            // The edge takes and drops the rest of a body for a while, so that the client sees why it is refused.
            let posts = join_all((0..CLIENTS).map(|_| long_post(port)));
            let (long, endless, _) = tokio::join!(long, endless, posts);
            most = long.into_iter().chain(endless).fold(most, usize::max);
        }
        most
    };
    let most = stage.withstand("oversize messages", attack).await;
    eprintln!("at most {most} bytes of a WebSocket were taken");
    assert!(most < OVERSIZE / 2, "{most}");
    stage.stack.clean_up().await;
}

/// Clients that stop somewhere on their way in, on a connection each.
async fn half_ways(port: u16) -> Vec<(&'static str, TcpStream)> {
    let mut clients = Vec::new();
    for (name, sent) in [
        ("says nothing", ""),
        ("stops in the request line", "GET /ws/?EIO"),
        (
            "stops in the head",
            "GET /ws/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nupgra",
        ),
    ] {
        let mut stream = connect(port, None).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        clients.push((name, stream));
    }
    let mut stream = connect(port, None).await;
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
    stream.write_all(b"GET /livez HTT").await.unwrap();
    clients.push(("stops in another request", stream));

    clients.push((
        "never connects to the namespace",
        open(port, None).await.into_inner(),
    ));
    let mut stream = open(port, None).await.into_inner();
    // A text frame of 100 bytes, of which four come.
    stream
        .write_all(&[0x81, 0xe4, 0, 0, 0, 0, b'4', b'0', b'{', b'"'])
        .await
        .unwrap();
    clients.push(("stops in a frame", stream));

    let sid = open_polling(port).await;
    let mut stream = connect(port, None).await;
    let post = format!(
        "POST /ws/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n40{{"
    );
    stream.write_all(post.as_bytes()).await.unwrap();
    clients.push(("stops in a body", stream));

    let sid = open_polling(port).await;
    let stream = connect(port, None).await;
    let url = format!("ws://127.0.0.1:{port}/ws/?EIO=4&transport=websocket&sid={sid}");
    let (socket, _) = client_async(url, stream).await.unwrap();
    clients.push(("stops in the upgrade", socket.into_inner()));
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_handshake_is_cut_within_seconds_and_nobody_waits() {
    const CLIENTS: usize = 30;
    let stage = Stage::start().await;
    let attack = async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.extend(half_ways(stage.realtime.port()).await);
            clients.extend(half_ways(stage.edge.port()).await);
        }
        let ends = clients
            .into_iter()
            .map(async |(name, stream)| (name, hung_up(stream).await));
        let mut longest = BTreeMap::new();
        for (name, taken) in join_all(ends).await {
            let longest = longest.entry(name).or_insert(taken);
            *longest = taken.max(*longest);
        }
        longest
    };
    let longest = stage.withstand("half handshakes", attack).await;
    eprintln!("cut after at most {longest:.1?}");
    assert!(
        longest.values().all(|&taken| taken < PATIENCE),
        "{longest:?}"
    );
    stage.stack.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_clients_are_cut_within_seconds_and_nobody_waits() {
    const CLIENTS: usize = 1_000;
    let stage = Stage::start().await;
    let attack = async || {
        let clients = stream::iter(0..CLIENTS).map(|_| open(stage.edge.port(), None));
        let clients: Vec<_> = clients.buffer_unordered(50).collect().await;
        let ends = clients
            .into_iter()
            .map(|socket| hung_up(socket.into_inner()));
        join_all(ends).await.into_iter().max()
    };
    let mut kept = Vec::new();
    for wave in 1..=5 {
        let what = format!("1,000 idle clients, wave {wave}");
        let longest = stage.withstand(&what, attack()).await;
        eprintln!("cut after at most {longest:.1?}");
        assert!(longest.unwrap() < PATIENCE, "{longest:?}");
        kept.push(stage.memory());
    }
    // The allocator keeps what the first ones took, for the next ones: what matters is that it does not go on growing.
    let (settled, last) = (kept[2], kept[4]);
    assert!(!last.exceeds(settled, 8 << 10), "{settled}, then {last}");
    stage.stack.clean_up().await;
}

/// What is compared is a flood of events with and without clients that read none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_cut_and_nobody_waits() {
    const CLIENTS: usize = 20;
    let stage = Stage::start().await;
    let flood = async {
        loop {
            for _ in 0..20 {
                stage.tell("t-busy").await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let attack = async {
        // All at once: the first must not be cut before the last is there.
        let stall = async |n: usize| {
            let ports = [stage.realtime.port(), stage.edge.port()];
            let mut client = open(ports[n % 2], Some(4096)).await;
            enter(&mut client, "t-busy").await;
            client
        };
        let stalled = join_all((0..CLIENTS).map(stall)).await;
        assert!(stage.sockets().await >= stalled.len() as u64);
        let began = Instant::now();
        eventually("all of them are cut", async || {
            match stage.sockets().await {
                // The good one.
                0 | 1 => Ok(began.elapsed()),
                left => Err(left),
            }
        })
        .await
    };
    let taken = tokio::select! {
        taken = stage.withstand("20 clients that never read", attack) => taken,
        () = flood => unreachable!("the flood goes on"),
    };
    eprintln!("all cut after {taken:.1?}");
    stage.stack.clean_up().await;
}
