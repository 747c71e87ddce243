//! What realtime does with the events of tenants that none of its clients follow: it gets all of the feed and wants
//! nearly none of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::{Client, HeaderMap, jetstream};
use futures_util::TryStreamExt;
use hyper::body::Bytes;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::{
    deployment::{Deployment, Design},
    report::Report,
    rounds::number,
    site::{Site, usage},
    sockets::Socket,
};

const TENANTS: usize = 100;
const LENGTH: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// Events a second: as many as 25,000 orders/s make, and as many as realtime also passes on here.
const FAST: usize = 50_000;
const SLOW: usize = 5_000;
/// How long realtime may take for the rest of the feed, once all of it is there.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it rests before its processor time is looked at.
const REST: Duration = Duration::from_secs(1);
/// Of one event, in microseconds.
const GOAL_US: f64 = 2.0;

/// The clients of realtime meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followers {
    None,
    /// One, of a tenant that has no events.
    OfAnother,
    /// One of each tenant.
    OfEach,
}

/// An entry of the feed, as the projector publishes it.
struct Sample {
    headers: HeaderMap,
    body: Bytes,
}

/// Processor time so far.
#[derive(Clone, Copy)]
struct Cpu {
    realtime: Duration,
    nats: Duration,
}

impl Cpu {
    fn now() -> Result<Self> {
        let usage = usage()?;
        let of = |name| {
            let used = usage.get(name).with_context(|| format!("no {name}"))?;
            anyhow::Ok(used.cpu)
        };
        Ok(Self {
            realtime: of("realtime")?,
            nats: of("nats-server")?,
        })
    }
}

/// Publishes events straight into the feed of a pipeline in which nothing else happens.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    pipeline.all_paid().await?;
    let nats = pipeline.nats.as_ref().context("no nats-server")?;
    let client = async_nats::connect(nats.url()).await?;
    let feed = Feed::open(client).await?;
    let (mut rows, mut fast) = (Vec::new(), None);
    for (what, followers, rate) in [
        ("nobody", Followers::None, FAST),
        ("a client of another tenant", Followers::OfAnother, FAST),
        ("nobody", Followers::None, SLOW),
        ("a client of each tenant", Followers::OfEach, SLOW),
    ] {
        eprintln!(
            "{rate} events/s for {} s, followed by {what}",
            LENGTH.as_secs()
        );
        let [rate, realtime, nats] = feed.load(&pipeline.target.url, followers, rate).await?;
        eprintln!("  {realtime:.2} µs of realtime an event");
        if followers == Followers::OfAnother {
            fast = Some(realtime);
        }
        rows.push(vec![
            what.to_owned(),
            format!("{rate:.0}"),
            number(realtime),
            number(nats),
        ]);
    }
    pipeline.stop().await?;
    let note = format!(
        "Entries of the feed from {TENANTS} tenants for {} s, published by the load generator; nothing else happens. Who follows gets each entry by a WebSocket, through the edge, and nothing else of realtime takes part. Microseconds of processor time for an event.",
        LENGTH.as_secs()
    );
    report.table(
        "Events of tenants that nobody follows",
        &note,
        &["followed by", "events/s", "realtime", "nats-server"],
        &rows,
    )?;
    let fast = fast.context("no figure")?;
    report.goal(
        "an event that no client of realtime follows, µs",
        format!("≤ {GOAL_US}"),
        number(fast),
        fast <= GOAL_US,
    );
    Ok(())
}

/// The feed of a pipeline.
struct Feed {
    client: Client,
    stream: jetstream::stream::Stream,
    sample: Sample,
}

impl Feed {
    /// The last entry that the projector has published is the pattern of all that follow.
    async fn open(client: Client) -> Result<Self> {
        let jetstream = jetstream::new(client.clone());
        let stream = jetstream.get_stream("ORDERS_FEED").await?;
        let last = stream.get_last_raw_message_by_subject("orders.feed.bench-0.created");
        let last = last.await?;
        let mut headers = HeaderMap::new();
        for (name, values) in last.headers.iter() {
            // Under its own name the id of the message would make all but the first a duplicate.
            let name = match name.to_string() {
                id if id == "Nats-Msg-Id" => "Bench-Msg-Id".to_owned(),
                other => other,
            };
            for value in values {
                headers.append(name.as_str(), value.as_str());
            }
        }
        Ok(Self {
            client,
            stream,
            sample: Sample {
                headers,
                body: last.payload,
            },
        })
    }

    /// The events that came in a second, and the microseconds of realtime and of nats-server for one of them.
    async fn load(&self, edge: &str, followers: Followers, rate: usize) -> Result<[f64; 3]> {
        let mut tasks = JoinSet::new();
        let count = rate * usize::try_from(LENGTH.as_secs())?;
        if followers == Followers::OfEach {
            for tenant in 0..TENANTS {
                let mut socket = Socket::connect(edge, &foreign(tenant)).await?;
                tasks.spawn(async move {
                    for _ in 0..count / TENANTS {
                        socket.event().await?;
                    }
                    Ok::<_, anyhow::Error>(())
                });
            }
        }
        let mut other = match followers {
            Followers::OfAnother => Some(Socket::connect(edge, "another").await?),
            _ => None,
        };
        let first = self.last_sequence().await?;
        let before = Cpu::now()?;
        let began = Instant::now();
        self.publish(count, rate).await?;
        let published = began.elapsed();
        self.until_read().await?;
        let told = async {
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(LIMIT, told)
            .await
            .context("not all clients were told")??;
        sleep(REST).await;
        let after = Cpu::now()?;
        let stored = self.last_sequence().await? - first;
        ensure!(
            stored == count as u64,
            "{stored} of {count} events are in the feed"
        );
        if let Some(socket) = &mut other {
            // What comes behind all that was dropped.
            self.send("another").await?;
            timeout(LIMIT, socket.event())
                .await
                .context("its own event did not come")??;
        }
        let each = |after: Duration, before: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / count as f64
        };
        Ok([
            count as f64 / published.as_secs_f64(),
            each(after.realtime, before.realtime),
            each(after.nats, before.nats),
        ])
    }

    async fn publish(&self, count: usize, rate: usize) -> Result<()> {
        let mut ticks = interval(TICK);
        let of_tick = (rate as f64 * TICK.as_secs_f64()) as usize;
        for first in (0..count).step_by(of_tick) {
            ticks.tick().await;
            for n in first..(first + of_tick).min(count) {
                self.send(&foreign(n % TENANTS)).await?;
            }
            self.client.flush().await?;
        }
        Ok(())
    }

    /// Publishes an event. Nobody waits until it is stored: they are counted at the end.
    async fn send(&self, tenant: &str) -> Result<()> {
        let subject = format!("orders.feed.{tenant}.created");
        let Sample { headers, body } = &self.sample;
        let sent = self
            .client
            .publish_with_headers(subject, headers.clone(), body.clone());
        Ok(sent.await?)
    }

    /// Waits until whoever reads the feed has been sent all of it.
    async fn until_read(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let readers: Vec<_> = self.stream.consumers().try_collect().await?;
            ensure!(!readers.is_empty(), "nobody reads the feed");
            if readers.iter().all(|reader| reader.num_pending == 0) {
                return Ok(());
            }
            ensure!(began.elapsed() < LIMIT, "realtime does not keep up");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn last_sequence(&self) -> Result<u64> {
        Ok(self.stream.get_info().await?.state.last_sequence)
    }
}

fn foreign(tenant: usize) -> String {
    format!("foreign-{tenant}")
}
