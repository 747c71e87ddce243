//! The load generator: creates at a fixed rate or as fast as they are answered, each followed to its payment.
//!
//! At a fixed rate every order has a moment at which it is due, and its latency runs from then: when answers are slow,
//! those that had to wait for a connection count in full (no coordinated omission).

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::sleep,
};
use uuid::Uuid;

use crate::{
    client::{Answer, Connection, POST},
    report::{latencies, record},
    sockets::Told,
    users::{User, Users},
};

/// The payment delay of the pipeline and of the baseline.
pub(crate) const DELAY: Duration = Duration::from_secs(5);
pub(crate) const TENANTS: usize = 10;
/// As many as an edge takes commands at once.
const CONNECTIONS: usize = 256;
/// How much later than due a payment may be told before it is given up.
pub(crate) const TOLD_LIMIT: Duration = Duration::from_secs(60);

/// What is measured, behind the address of its API.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    /// The addresses of further ones of the same API; connections take turns among all.
    pub(crate) others: Vec<String>,
    /// How many tenants take turns.
    pub(crate) tenants: usize,
    /// Whether orders are followed to their payments.
    pub(crate) pays: bool,
    /// Who sends the orders, instead of anybody for each tenant in turn.
    pub(crate) users: Option<Users>,
}

impl Target {
    /// The pipeline or the baseline.
    pub(crate) fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            others: Vec::new(),
            tenants: TENANTS,
            pays: true,
            users: None,
        }
    }
}

/// The names of the first `count` tenants.
pub(crate) fn tenants(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("bench-{n}")).collect()
}

/// What became of one order.
struct Sample {
    due: Instant,
    sent: Instant,
    answered: Instant,
    /// Its id, if it was answered as stored and listed.
    order: Option<String>,
}

/// What became of all orders of one load.
pub(crate) struct Run {
    pub(crate) orders: usize,
    /// Answered with anything but 201, or not listed in time.
    pub(crate) refused: usize,
    /// Created, but its payment was not told.
    pub(crate) untold: usize,
    /// From the first to the last answer.
    pub(crate) elapsed: Duration,
    /// From when it was due until it was answered.
    pub(crate) create: Histogram<u64>,
    /// From when it was due until it was sent: what the generator itself, or the lack of a free connection, adds.
    pub(crate) late: Histogram<u64>,
    /// From 201 to the event of the payment, minus the delay.
    pub(crate) event: Histogram<u64>,
    /// Both for each second of the load, by when the order was due.
    pub(crate) seconds: Vec<[Histogram<u64>; 2]>,
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        self.orders as f64 / self.elapsed.as_secs_f64()
    }
}

/// When the next order is due; as soon as there is a free connection if no moment is named.
type Due = Option<Instant>;

/// Creates orders at `rate` per second for `length`, and waits until all are paid.
pub(crate) async fn paced(target: &Target, rate: f64, length: Duration) -> Result<Run> {
    let load = Load::open(target).await?;
    load.paced(Instant::now(), evenly(rate, length)).await
}

/// When each order of a load of `rate` per second is due, from its start.
pub(crate) fn evenly(rate: f64, length: Duration) -> impl Iterator<Item = Duration> + Send {
    let count = (rate * length.as_secs_f64()) as usize;
    (0..count).map(move |n| Duration::from_secs_f64(n as f64 / rate))
}

/// Creates `count` orders as fast as they are answered, and waits until all are paid.
pub(crate) async fn burst(target: &Target, count: usize) -> Result<Run> {
    let (tickets, queue) = mpsc::unbounded_channel();
    for _ in 0..count {
        tickets.send(None)?;
    }
    drop(tickets);
    Load::open(target).await?.run(queue).await
}

/// Creates `count` orders before anything is measured, and looks whether `target` is well.
pub(crate) async fn warm_up(target: &Target, count: usize) -> Result<()> {
    eprintln!("warming up the {}", target.name);
    let run = burst(target, count).await?;
    ensure!(
        run.refused + run.untold < count / 2,
        "the {} is not well: of {count} orders {} were refused, {} never told to be paid",
        target.name,
        run.refused,
        run.untold
    );
    Ok(())
}

/// The connections and sockets of a load.
pub(crate) struct Load {
    connections: Vec<(Connection, Option<User>)>,
    tenants: usize,
    sent: Arc<AtomicUsize>,
    told: Option<(Told, JoinSet<Result<()>>)>,
}

impl Load {
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let mut connections = Vec::new();
        let urls: Vec<_> = iter::once(&target.url).chain(&target.others).collect();
        for (n, url) in urls.into_iter().cycle().take(CONNECTIONS).enumerate() {
            let user = target.users.as_ref().map(|users| users.on(n));
            connections.push((Connection::open(url).await?, user));
        }
        let told = match target.pays {
            true => Some(Told::listen(&target.url, &tenants(target.tenants)).await?),
            false => None,
        };
        Ok(Self {
            connections,
            tenants: target.tenants,
            sent: Arc::default(),
            told,
        })
    }

    /// Counts the orders that have been sent.
    pub(crate) fn sent(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.sent)
    }

    /// Creates an order at each of these times after `start`, and waits until all are paid.
    pub(crate) async fn paced(
        self,
        start: Instant,
        dues: impl Iterator<Item = Duration> + Send + 'static,
    ) -> Result<Run> {
        let (tickets, queue) = mpsc::unbounded_channel();
        // The clock of the runtime has a resolution of a millisecond, a thread's is finer.
        let pacer = thread::spawn(move || {
            for due in dues.map(|due| start + due) {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if tickets.send(Some(due)).is_err() {
                    break;
                }
            }
        });
        let run = self.run(queue).await;
        pacer.join().map_err(|_| anyhow!("the pacer panicked"))?;
        run
    }

    async fn run(self, queue: mpsc::UnboundedReceiver<Due>) -> Result<Run> {
        let queue = Arc::new(Mutex::new(queue));
        let run = Uuid::new_v4().simple().to_string();
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for (mut connection, mut user) in self.connections {
            let (queue, run, numbers) = (Arc::clone(&queue), run.clone(), Arc::clone(&self.sent));
            let tenants = self.tenants;
            workers.spawn(async move {
                let mut samples = Vec::new();
                loop {
                    let Some(due) = queue.lock().await.recv().await else {
                        return Ok::<_, anyhow::Error>(samples);
                    };
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let body = match &mut user {
                        Some(user) => {
                            connection.authorize(user.authorization());
                            order_of(&user.tenant, &run, number)
                        }
                        None => order(&run, tenants, number),
                    };
                    let sent = Instant::now();
                    let answer = connection.send(POST, "/api/orders", body).await?;
                    samples.push(Sample {
                        due: due.unwrap_or(sent),
                        sent,
                        answered: Instant::now(),
                        order: created(&answer),
                    });
                }
            });
        }
        let mut samples = Vec::new();
        while let Some(ended) = workers.join_next().await {
            samples.extend(ended??);
        }
        let last = samples
            .iter()
            .map(|sample| sample.answered)
            .max()
            .context("no orders")?;
        let begun = samples
            .iter()
            .map(|sample| sample.due)
            .min()
            .unwrap_or(start);
        let told = self.told.as_ref().map(|(told, _listeners)| told);
        Ok(evaluate(samples, begun, last.duration_since(begun), told).await)
    }
}

/// Waits until everything is paid, if that is told, and sums up.
async fn evaluate(
    samples: Vec<Sample>,
    begun: Instant,
    elapsed: Duration,
    told: Option<&Told>,
) -> Run {
    let created: Vec<&str> = samples
        .iter()
        .filter_map(|sample| sample.order.as_deref())
        .collect();
    let deadline = Instant::now() + DELAY + TOLD_LIMIT;
    while told.is_some_and(|told| !told.has_all(&created)) && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let mut run = Run {
        orders: samples.len(),
        refused: samples.len() - created.len(),
        untold: 0,
        elapsed,
        create: latencies(),
        late: latencies(),
        event: latencies(),
        seconds: Vec::new(),
    };
    for sample in samples {
        let second = sample.due.duration_since(begun).as_secs() as usize;
        while run.seconds.len() <= second {
            run.seconds.push([latencies(), latencies()]);
        }
        let [create, event] = &mut run.seconds[second];
        let latency = sample.answered.duration_since(sample.due);
        record(&mut run.create, latency);
        record(create, latency);
        record(&mut run.late, sample.sent.duration_since(sample.due));
        let (Some(order), Some(told)) = (sample.order, told) else {
            continue;
        };
        match told.take(&order) {
            Some(told) => {
                // The delay runs from when the order was stored, which is a little before its 201.
                let late = told.duration_since(sample.answered).saturating_sub(DELAY);
                record(&mut run.event, late);
                record(event, late);
            }
            None => run.untold += 1,
        }
    }
    run
}

/// An order of three items.
pub(crate) fn order(run: &str, tenants: usize, n: usize) -> String {
    order_of(&format!("bench-{}", n % tenants), run, n)
}

/// An order of three items of `tenant`.
pub(crate) fn order_of(tenant: &str, run: &str, n: usize) -> String {
    format!(
        r#"{{"requestId":"{run}-{n}","tenantId":"{tenant}","buyer":{{"email":"buyer{}@example.com","name":"Alice"}},"items":[{{"sku":"SKU-1","qty":2,"price":49.99}},{{"sku":"SKU-2","qty":1,"price":12.5}},{{"sku":"SKU-3","qty":3,"price":0.1}}]}}"#,
        n % 1000
    )
}

/// The id of an order that was created, and is listed as far as the server says.
pub(crate) fn created(answer: &Answer) -> Option<String> {
    let is_listed = answer
        .headers
        .get("x-projected")
        .is_none_or(|value| value == "true");
    let body = str::from_utf8(&answer.body).ok()?;
    let (_, rest) = body.split_once("\"orderId\":\"")?;
    let (id, _) = rest.split_once('"')?;
    (answer.status == 201 && is_listed).then(|| id.to_owned())
}
