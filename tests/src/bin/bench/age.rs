//! Whether an order costs the same when there are many before it.

use std::{fs, path::PathBuf};

use anyhow::Result;
use orders_testkit::NatsServer;

use crate::{
    load::{Target, warm_up},
    report::{Report, median},
    site::{Program, Site},
    stock::{self, Stock},
    throughput::{hold, search},
};

/// How many rounds; the medians are reported.
const ROUNDS: usize = 3;
const WARM_UP: usize = 2_000;
/// Where the search for the first rate begins.
const FIRST_RATE: f64 = 800.0;
/// Loaded orders belong to the tenants of the load, so that they are in the same parts of the indexes.
const TENANTS: usize = 10;
/// By how much the rate may differ.
const TOLERANCE: f64 = 0.15;

/// A pipeline with a database, a nats-server and daemons of its own.
struct Pipeline {
    target: Target,
    stock: Stock,
    daemons: Vec<Program>,
    nats: NatsServer,
    folder: PathBuf,
}

impl Pipeline {
    async fn start(site: &Site, name: &'static str, database: &str) -> Result<Self> {
        let folder = site.results.join(database);
        // A run that was cut short leaves it behind.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let (nats, database) = (NatsServer::start(&folder).await, site.database(database));
        let servers = [("NATS_URL", &*nats.url()), ("MONGO_URL", &database)];
        let mut daemons = Vec::new();
        for daemon in ["writer", "projector", "payment-simulator", "realtime"] {
            daemons.push(site.start(daemon, &servers).await?.0);
        }
        let realtime = daemons.last().map_or("", |realtime| &realtime.url);
        let env = [&servers[..], &[("ORDERS_REALTIME_URLS", realtime)]].concat();
        let (edge, _) = site.start("edge", &env).await?;
        let target = Target::new(name, &edge.url);
        daemons.push(edge);
        warm_up(&target, WARM_UP).await?;
        Ok(Self {
            target,
            stock: Stock::open(&database).await?,
            daemons,
            nats,
            folder,
        })
    }

    /// Loads `count` paid orders into both collections, as the daemons would have left them.
    async fn fill(&self, count: usize) -> Result<()> {
        let tenant = |n: usize| format!("bench-{}", n % TENANTS);
        let order = move |n| stock::order(&tenant(n), n);
        stock::fill(&self.stock.orders, count, order).await?;
        // `row` has a few that are not paid; these all are.
        let row = move |n| {
            let mut row = stock::row(&tenant(n), n);
            row.extend([
                ("status".to_owned(), "PAID".into()),
                ("version".to_owned(), 2.into()),
            ]);
            row
        };
        stock::fill(&self.stock.rows, count, row).await
    }

    /// How many orders are stored, and the rate that is held from then on.
    async fn measure(&self, round: usize, rate: f64) -> Result<(u64, f64)> {
        let stored = self.stock.orders.estimated_document_count().await?;
        let name = self.target.name;
        eprintln!("round {round} of {ROUNDS}: the {name} with {stored} orders stored");
        Ok((stored, hold(&self.target, rate).await?.rate))
    }

    async fn stop(mut self) -> Result<()> {
        for daemon in self.daemons {
            daemon.stop().await?;
        }
        self.nats.kill().await;
        self.stock.drop().await?;
        fs::remove_dir_all(self.folder)?;
        Ok(())
    }
}

/// The rates of each round, and with how many orders stored.
#[derive(Default)]
struct Speed(Vec<(u64, f64)>);

impl Speed {
    /// The rate of the last round, or the `first`.
    fn last(&self, first: f64) -> f64 {
        self.0.last().map_or(first, |(_, rate)| *rate)
    }

    fn rate(&self) -> f64 {
        median(self.0.iter().map(|(_, rate)| *rate).collect())
    }

    /// A list of one thing of each round.
    fn list(&self, what: impl Fn(&(u64, f64)) -> String) -> String {
        self.0.iter().map(what).collect::<Vec<_>>().join(", ")
    }

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            self.list(|(stored, _)| stored.to_string()),
            format!("{:.0}", self.rate()),
            self.list(|(_, rate)| format!("{rate:.0}")),
        ]
    }
}

/// Measures a pipeline with `count` orders stored and, by turns, new ones with none.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, count: usize) -> Result<()> {
    let old = Pipeline::start(site, "old pipeline", "bench_old").await?;
    old.fill(count).await?;
    let start_young = || Pipeline::start(site, "young pipeline", "bench_young");
    // A search leaves orders behind, so the one it is made with is not measured.
    let searched = start_young().await?;
    let rate = search(&searched.target, FIRST_RATE).await?;
    searched.stop().await?;
    let [mut young_speed, mut old_speed] = [Speed::default(), Speed::default()];
    for round in 1..=ROUNDS {
        let young = start_young().await?;
        let held = young.measure(round, young_speed.last(rate)).await?;
        young_speed.0.push(held);
        young.stop().await?;
        let held = old.measure(round, old_speed.last(rate)).await?;
        old_speed.0.push(held);
    }
    old.stop().await?;
    tell(report, &young_speed, &old_speed)
}

fn tell(report: &mut Report<'_>, young: &Speed, old: &Speed) -> Result<()> {
    report.table(
        "Age",
        "The rate that is held, as in *Orders per second*, by a new pipeline in each round, and by one into whose collections orders were loaded as its daemons would have left them.",
        &["pipeline", "orders stored at first", "median", "rounds"],
        &[young.row("young"), old.row("old")],
    )?;
    let ratio = old.rate() / young.rate();
    let stored = old.0.first().map_or(0, |(stored, _)| *stored);
    report.goal(
        &format!("sustained with {stored} orders stored, of that of new pipelines"),
        format!("≥ {}", 1.0 - TOLERANCE),
        format!("{ratio:.2}"),
        ratio >= 1.0 - TOLERANCE,
    );
    Ok(())
}
