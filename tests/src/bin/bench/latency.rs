//! How long one order takes while there is little to do.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    deployment::{Deployment, Design},
    load::paced,
    report::{Report, median, millis},
    site::Site,
    throughput::brief,
};

const RATES: [f64; 2] = [60.0, 150.0];
const LENGTH: Duration = Duration::from_secs(20);
const ROUNDS: usize = 3;
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// One target at one rate, by round.
#[derive(Default)]
struct Latency {
    create: [Vec<f64>; 3],
    event: [Vec<f64>; 2],
}

/// Measures both targets at each rate, in alternating rounds.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let baseline = Deployment::start(site, Design::Baseline, "baseline").await?;
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let targets = [&baseline.target, &pipeline.target];
    let mut found: [[Latency; 2]; 2] = Default::default();
    for round in 1..=ROUNDS {
        for (rate, found) in RATES.into_iter().zip(&mut found) {
            for (target, found) in targets.into_iter().zip(found) {
                eprintln!(
                    "round {round} of {ROUNDS}: the {}, {rate} orders/s for {} s",
                    target.name,
                    LENGTH.as_secs()
                );
                let run = paced(target, rate, LENGTH).await?;
                eprintln!("  {}", brief(&run));
                ensure!(
                    run.refused + run.untold == 0,
                    "orders were refused or not paid"
                );
                for (values, quantile) in found.create.iter_mut().zip(QUANTILES) {
                    values.push(millis(&run.create, quantile));
                }
                for (values, quantile) in found.event.iter_mut().zip(QUANTILES) {
                    values.push(millis(&run.event, quantile));
                }
            }
        }
    }
    baseline.stop().await?;
    pipeline.stop().await?;
    tell(report, found)
}

fn tell(report: &mut Report<'_>, found: [[Latency; 2]; 2]) -> Result<()> {
    let medians = found.map(|by_target| {
        by_target.map(|Latency { create, event }| (create.map(median), event.map(median)))
    });
    let mut rows = Vec::new();
    for (rate, by_target) in RATES.iter().zip(&medians) {
        for (name, (create, event)) in ["baseline", "pipeline"].iter().zip(by_target) {
            let mut row = vec![format!("{name} at {rate}/s")];
            row.extend(
                create
                    .iter()
                    .chain(event)
                    .map(|value| format!("{value:.1}")),
            );
            rows.push(row);
        }
    }
    let note = format!(
        "Milliseconds; medians of {ROUNDS} rounds of {} s. From when the request was due until it was answered, and from the answer to the Socket.IO event minus the payment delay of 5 s.",
        LENGTH.as_secs()
    );
    report.table(
        "Latency",
        &note,
        &["", "create p50", "p99", "p99.9", "event p50", "p99"],
        &rows,
    )?;
    let [[slow_baseline, slow], [fast_baseline, fast]] = &medians;
    let mut goal = |what: &str, got: f64, limit: f64| {
        report.goal(
            what,
            format!("≤ {limit:.1} ms"),
            format!("{got:.1} ms"),
            got <= limit,
        );
    };
    goal("create p50 at 60/s", slow.0[0], 8.0);
    goal(
        "create p50 at 60/s, above the baseline's",
        slow.0[0] - slow_baseline.0[0],
        3.0,
    );
    goal(
        "create p99 at 150/s, against the baseline's",
        fast.0[1],
        fast_baseline.0[1],
    );
    goal("event p50 at 60/s", slow.1[0], 6.0);
    goal("event p99 at 60/s", slow.1[1], 35.0);
    Ok(())
}
