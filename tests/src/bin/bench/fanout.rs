//! Many sockets: how much memory each takes, and how soon all of a tenant's are told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use tokio::{
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
    time::sleep,
};

use crate::{
    deployment::{Deployment, Design},
    load::{DELAY, Target, paced, tenants},
    report::{Line, Report, latencies, millis, record},
    site::{Site, usage},
    sockets::{Socket, between},
};

const SOCKETS: usize = 5_000;
const TENANTS: usize = 100;
/// Each order makes two events.
const ORDERS_PER_SECOND: f64 = 100.0;
const LENGTH: Duration = Duration::from_secs(30);
/// How many sockets connect at the same time.
const AT_ONCE: usize = 64;
/// How long sockets do nothing before their memory is looked at.
const REST: Duration = Duration::from_secs(5);
/// How long the last events may take.
const LIMIT: Duration = Duration::from_secs(30);
const MEMORY_GOAL_KIB: f64 = 40.0;
const DELIVERY_GOAL_MS: f64 = 100.0;

/// The event and the id of its order.
type Event = (&'static str, String);

/// Resident bytes of the two daemons that every socket goes through.
#[derive(Clone, Copy)]
struct Memory {
    realtime: u64,
    edge: u64,
}

impl Memory {
    fn now() -> Result<Self> {
        let usage = usage()?;
        let of = |name| {
            let used = usage.get(name).with_context(|| format!("no {name}"))?;
            anyhow::Ok(used.memory)
        };
        Ok(Self {
            realtime: of("realtime")?,
            edge: of("edge")?,
        })
    }

    /// KiB for each socket since `before`.
    fn per_socket(self, before: Self) -> [f64; 2] {
        let each = |now: u64, before: u64| (now as f64 - before as f64) / SOCKETS as f64 / 1024.0;
        [
            each(self.realtime, before.realtime),
            each(self.edge, before.edge),
        ]
    }
}

/// Connects the sockets, lets them rest, and then creates orders.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let edge = &pipeline.target.url;
    let before = Memory::now()?;
    let (sender, mut delivered) = unbounded_channel();
    let began = Instant::now();
    let sockets = connect(edge, sender).await?;
    eprintln!("{SOCKETS} sockets connected in {:.1?}", began.elapsed());
    sleep(REST).await;
    let idle = Memory::now()?;

    let nats = pipeline.nats.as_ref().context("no nats-server")?;
    let feed = Feed::follow(&nats.url()).await?;
    let target = Target {
        tenants: TENANTS,
        pays: false,
        ..Target::new("pipeline", edge)
    };
    eprintln!(
        "{ORDERS_PER_SECOND} orders/s for {} s over {TENANTS} tenants",
        LENGTH.as_secs()
    );
    let start = Instant::now();
    let run = paced(&target, ORDERS_PER_SECOND, LENGTH).await?;
    ensure!(run.refused == 0, "{} orders were refused", run.refused);
    let expected = run.orders * 2 * SOCKETS / TENANTS;
    let deadline = Instant::now() + DELAY + LIMIT;
    while delivered.len() < expected && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let loaded = Memory::now()?;
    drop(sockets);
    pipeline.stop().await?;
    let found = evaluate(start, &feed, &mut delivered)?;
    let memory = [idle.per_socket(before), loaded.per_socket(before)];
    tell(report, &found, expected, memory)
}

/// Connects all sockets, which send each event to `events` as it comes, as long as the set of tasks lives.
async fn connect(
    edge: &str,
    events: UnboundedSender<(Event, Instant)>,
) -> Result<JoinSet<Result<()>>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let (sender, mut connected) = unbounded_channel();
    let mut tasks = JoinSet::<Result<()>>::new();
    for tenant in tenants(TENANTS).into_iter().cycle().take(SOCKETS) {
        let (edge, events) = (edge.to_owned(), events.clone());
        let (gate, connected) = (Arc::clone(&gate), sender.clone());
        tasks.spawn(async move {
            let permit = gate.acquire_owned().await?;
            let mut socket = Socket::connect(&edge, &tenant).await?;
            drop(permit);
            connected.send(())?;
            loop {
                let (name, order) = socket.event().await?;
                if let Some(name) = known(&name) {
                    events.send(((name, order), Instant::now()))?;
                }
            }
        });
    }
    for _ in 0..SOCKETS {
        tokio::select! {
            Some(()) = connected.recv() => {}
            Some(ended) = tasks.join_next() => ended?.context("connecting a socket")?,
        }
    }
    Ok(tasks)
}

fn known(name: &str) -> Option<&'static str> {
    ["order.created", "order.updated"]
        .into_iter()
        .find(|&known| known == name)
}

/// When each entry of the feed was there to be read.
struct Feed {
    read: Arc<Mutex<HashMap<Event, Instant>>>,
    _reader: JoinSet<()>,
}

impl Feed {
    /// Reads it with a plain subscription, which is told of a message when the stream is.
    async fn follow(nats: &str) -> Result<Self> {
        let client = async_nats::connect(nats).await?;
        let mut entries = client.subscribe("orders.feed.>").await?;
        client.flush().await?;
        let read = Arc::new(Mutex::new(HashMap::new()));
        let mut reader = JoinSet::new();
        let noted = Arc::clone(&read);
        reader.spawn(async move {
            while let Some(entry) = entries.next().await {
                let now = Instant::now();
                let name = entry
                    .subject
                    .rsplit('.')
                    .next()
                    .map(|kind| format!("order.{kind}"));
                let body = str::from_utf8(&entry.payload).unwrap_or_default();
                if let Some(name) = name.and_then(|name| known(&name))
                    && let Some(order) = between(body, "\"orderId\":\"", '"')
                {
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.insert((name, order.to_owned()), now);
                }
            }
            // Dropping it would end the subscription.
            drop(client);
        });
        Ok(Self {
            read,
            _reader: reader,
        })
    }
}

/// How long deliveries took.
struct Delivered {
    all: Histogram<u64>,
    seconds: Vec<Histogram<u64>>,
    /// From the first to the last.
    span: Duration,
}

fn evaluate(
    start: Instant,
    feed: &Feed,
    delivered: &mut UnboundedReceiver<(Event, Instant)>,
) -> Result<Delivered> {
    let read = feed.read.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut all, mut seconds) = (latencies(), Vec::new());
    let mut ends: Option<(Instant, Instant)> = None;
    while let Ok((event, at)) = delivered.try_recv() {
        let entry = read
            .get(&event)
            .context("an event that is not in the feed")?;
        let latency = at.saturating_duration_since(*entry);
        record(&mut all, latency);
        let second = at.duration_since(start).as_secs() as usize;
        if seconds.len() <= second {
            seconds.resize_with(second + 1, latencies);
        }
        record(&mut seconds[second], latency);
        let (first, last) = ends.unwrap_or((at, at));
        ends = Some((first.min(at), last.max(at)));
    }
    let (first, last) = ends.context("no deliveries")?;
    Ok(Delivered {
        all,
        seconds,
        span: last - first,
    })
}

fn tell(
    report: &mut Report<'_>,
    found: &Delivered,
    expected: usize,
    memory: [[f64; 2]; 2],
) -> Result<()> {
    let Delivered { all, seconds, span } = found;
    let events = ORDERS_PER_SECOND * 2.0;
    let each = SOCKETS / TENANTS;
    let note = format!(
        "{SOCKETS} Socket.IO clients by WebSocket, through the edge, {each} for each of {TENANTS} tenants; {events} events/s for {} s. Milliseconds from the moment that the load generator gets the entry of the feed itself, by a plain NATS subscription, to the moment that it reads the event from the socket. It shares the machine with everything else: what it needs to read {each} sockets is in there.",
        LENGTH.as_secs()
    );
    let rate = all.len() as f64 / span.as_secs_f64();
    let row = vec![
        format!("{} of {expected}", all.len()),
        format!("{rate:.0}"),
        format!("{:.1}", millis(all, 0.5)),
        format!("{:.1}", millis(all, 0.99)),
        format!("{:.1}", all.max() as f64 / 1e3),
    ];
    let head = ["deliveries", "per second", "p50", "p99", "max"];
    report.table("Fan-out", &note, &head, &[row])?;

    let [idle, loaded] = memory;
    let row = |name: &str, which: usize| {
        let number = |memory: [f64; 2]| format!("{:.1}", memory[which]);
        vec![name.to_owned(), number(idle), number(loaded)]
    };
    let note = format!(
        "KiB of resident memory for each of {SOCKETS} sockets, above what the daemon had before; what the kernel holds is not in there."
    );
    report.table(
        "Memory per socket",
        &note,
        &["daemon", "connected and idle", "after the load"],
        &[row("realtime", 0), row("edge", 1)],
    )?;

    report.goal(
        "memory per socket in realtime",
        format!("≤ {MEMORY_GOAL_KIB} KiB"),
        format!("{:.1} KiB", idle[0]),
        idle[0] <= MEMORY_GOAL_KIB,
    );
    let p99 = millis(all, 0.99);
    report.goal(
        &format!("delivery to {SOCKETS} sockets at {events} events/s, p99"),
        format!("≤ {DELIVERY_GOAL_MS} ms"),
        format!("{p99:.1} ms"),
        p99 <= DELIVERY_GOAL_MS,
    );
    report.goal(
        "deliveries that came, of those due",
        "all",
        format!("{} of {expected}", all.len()),
        all.len() == expected as u64,
    );
    let line = |name: &str, quantile: f64| {
        let points = seconds.iter().enumerate();
        Line {
            name: name.to_owned(),
            points: points
                .map(|(second, latency)| (second as f64, millis(latency, quantile)))
                .collect(),
        }
    };
    let lines = [line("p50", 0.5), line("p99", 0.99), line("max", 1.0)];
    let title = format!("Delivery to {SOCKETS} sockets, {events} events/s");
    report.plot("fanout", &title, ["seconds", "ms"], &lines)
}
