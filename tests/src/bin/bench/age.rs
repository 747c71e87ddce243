//! Whether an order costs the same when there are many before it.

use anyhow::Result;

use crate::{
    deployment::{Deployment, Design, WARM_UP},
    report::{Report, median},
    site::Site,
    stock::{self, Stock},
    throughput::{HOLD, HOLD_STEP, TRIAL, hold, load, load_new, search},
};

/// How many rounds; the medians are reported.
const ROUNDS: usize = 3;
/// Where the search for the first rate begins.
const FIRST_RATE: f64 = 800.0;
/// Loaded orders belong to the tenants of the load, so that they are in the same parts of the indexes.
const TENANTS: usize = 10;
/// By how much the rate may differ.
const TOLERANCE: f64 = 0.15;

/// Loads `count` paid orders into both collections, as the daemons would have left them.
async fn fill(stock: &Stock, count: usize) -> Result<()> {
    let tenant = |n: usize| format!("bench-{}", n % TENANTS);
    let order = move |n| stock::order(&tenant(n), n);
    stock::fill(&stock.orders, count, order).await?;
    // `row` has a few that are not paid; these all are.
    let row = move |n| {
        let mut row = stock::row(&tenant(n), n);
        row.extend([
            ("status".to_owned(), "PAID".into()),
            ("version".to_owned(), 2.into()),
        ]);
        row
    };
    stock::fill(&stock.rows, count, row).await
}

/// The rates of each round, and with how many orders stored at first.
#[derive(Default)]
struct Speed(Vec<(u64, f64)>);

impl Speed {
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

/// Measures a pipeline with `count` orders stored and, by turns, new ones.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, count: usize) -> Result<()> {
    let design = Design::Pipeline(&site.ours);
    let old = Deployment::start(site, design, "old pipeline").await?;
    fill(&old.stock, count).await?;
    let try_new = async |rate| load_new(site, design, rate, HOLD).await;
    let try_old = async |rate| load(&old.target, rate, HOLD).await;
    let [mut young, mut aged] = [Speed::default(), Speed::default()];
    let mut rate = search(
        async |rate| load_new(site, design, rate, TRIAL).await,
        FIRST_RATE,
    )
    .await?;
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}: new pipelines");
        rate = hold(try_new, rate, HOLD_STEP).await?.rate;
        young.0.push((WARM_UP as u64, rate));
        let stored = old.stock.orders.estimated_document_count().await?;
        eprintln!("round {round} of {ROUNDS}: the old pipeline with {stored} orders stored");
        aged.0
            .push((stored, hold(try_old, rate, HOLD_STEP).await?.rate));
    }
    old.stop().await?;
    tell(report, &young, &aged)
}

fn tell(report: &mut Report<'_>, young: &Speed, aged: &Speed) -> Result<()> {
    report.table(
        "Age",
        "The rate that is held, as in *Orders per second*, by new pipelines, one for each rate that is tried, and by an old one, into whose collections orders were loaded as its daemons would have left them, and which keeps the orders of all rates that it was tried with. Both begin with the same rate in each round. They share the database server, whose upkeep of the old collections goes on meanwhile.",
        &["pipeline", "orders stored at first", "median", "rounds"],
        &[young.row("new"), aged.row("old")],
    )?;
    let ratio = aged.rate() / young.rate();
    let stored = aged.0.first().map_or(0, |(stored, _)| *stored);
    report.goal(
        &format!("sustained with {stored} orders stored, of that of new pipelines"),
        format!("≥ {}", 1.0 - TOLERANCE),
        format!("{ratio:.2}"),
        ratio >= 1.0 - TOLERANCE,
    );
    Ok(())
}
