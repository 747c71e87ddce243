//! Whether an order costs the same when there are many before it.

use anyhow::Result;

use crate::{
    load::{Target, burst, warm_up},
    report::Report,
    site::Site,
    stock::{self, Stock},
    throughput::{BURST, brief, hold, search},
};

const WARM_UP: usize = 2_000;
/// Loaded orders belong to the tenants of the load, so that they are in the same parts of the indexes.
const TENANTS: usize = 10;
/// By how much the rate may differ.
const TOLERANCE: f64 = 0.15;

/// The rates with a number of orders stored.
struct Speed {
    stored: u64,
    burst: f64,
    held: f64,
}

/// Measures the pipeline as it is, and again with `count` more orders stored.
pub(crate) async fn measure(
    site: &Site,
    report: &mut Report<'_>,
    pipeline: &Target,
    count: usize,
) -> Result<()> {
    let stock = Stock::open(site).await?;
    warm_up(pipeline, WARM_UP).await?;
    let young = speed(&stock, pipeline).await?;
    let tenant = |n: usize| format!("bench-{}", n % TENANTS);
    stock::fill(&stock.orders, count, move |n| stock::order(&tenant(n), n)).await?;
    // `row` has a few that are not paid; these all are.
    let row = move |n| {
        let mut row = stock::row(&tenant(n), n);
        row.extend([
            ("status".to_owned(), "PAID".into()),
            ("version".to_owned(), 2.into()),
        ]);
        row
    };
    stock::fill(&stock.rows, count, row).await?;
    let old = speed(&stock, pipeline).await?;
    tell(report, &young, &old)
}

async fn speed(stock: &Stock, pipeline: &Target) -> Result<Speed> {
    let stored = stock.orders.estimated_document_count().await?;
    eprintln!("{stored} orders are stored: {BURST} orders at once");
    let run = burst(pipeline, BURST).await?;
    eprintln!("  {}", brief(&run));
    let rate = search(pipeline, run.rate() / 3.0).await?;
    Ok(Speed {
        stored,
        burst: run.rate(),
        held: hold(pipeline, rate).await?.rate,
    })
}

fn tell(report: &mut Report<'_>, young: &Speed, old: &Speed) -> Result<()> {
    let row = |speed: &Speed| {
        vec![
            speed.stored.to_string(),
            format!("{:.0}", speed.held),
            format!("{:.0}", speed.burst),
        ]
    };
    report.table(
        "Age",
        "Orders per second, before and after orders were loaded into both collections, as the pipeline would have left them; sustained and burst as in *Orders per second*.",
        &["orders stored", "sustained", "burst"],
        &[row(young), row(old)],
    )?;
    let ratio = old.held / young.held;
    report.goal(
        &format!(
            "sustained with {} orders stored, of that with {}",
            old.stored, young.stored
        ),
        format!("≥ {}", 1.0 - TOLERANCE),
        format!("{ratio:.2}"),
        ratio >= 1.0 - TOLERANCE,
    );
    Ok(())
}
