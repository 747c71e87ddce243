//! Two edges, two writers, two projectors and three realtimes against one of each.
//!
//! One machine has no processors to add, so each daemon gets a share of one: with twice as many daemons, twice as many
//! shares. NATS and the database have what is left, in both.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};

use crate::{
    deployment::{Daemons, Deployment, Design, ONE_OF_EACH},
    load::{burst, paced},
    quota::Quota,
    report::{Report, median},
    rounds::{Figures, by_name, number, ratio},
    site::{Site, Usage, usage},
    throughput::brief,
};

const TWO_OF_EACH: Daemons = [
    ("writer", 2),
    ("projector", 2),
    ("payment-simulator", 1),
    ("realtime", 3),
    ("edge", 2),
];
/// What each daemon may have of a processor: about what so many orders take that one of each still leaves most of two
/// processors alone. The payment-simulator is not limited, because one is enough for both.
const SHARES: [(&str, f64); 4] = [
    ("writer", 0.06),
    ("projector", 0.04),
    ("realtime", 0.04),
    ("edge", 0.08),
];
/// Orders per second without limits.
const RATE: f64 = 300.0;
const LENGTH: Duration = Duration::from_secs(10);
/// Orders at once for one of each; for two it is twice as many.
const BURST: usize = 2_000;
const RATE_GOAL: f64 = 1.8;
const CPU_GOAL: f64 = 1.1;

const ROUNDS: usize = 2;

/// Where the figures are.
const SPEED: usize = 2;
const CPU: usize = 3;

/// Measures both by turns.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let mut layouts = [
        ("one of each", &ONE_OF_EACH, BURST, Vec::new()),
        ("two of each", &TWO_OF_EACH, 2 * BURST, Vec::new()),
    ];
    for round in 1..=ROUNDS {
        for (name, daemons, burst, found) in &mut layouts {
            eprintln!("round {round} of {ROUNDS}: {name}");
            found.push(measure_one(site, daemons, *burst).await?);
        }
    }
    let [(_, _, _, one), (_, _, _, two)] = layouts;
    tell(report, &one, &two)
}

async fn measure_one(site: &Site, daemons: &Daemons, orders: usize) -> Result<Figures> {
    let design = Design::Scaled(&site.ours, daemons);
    let deployment = Deployment::start(site, design, &site.ours.name).await?;
    let target = &deployment.target;
    let before = usage()?;
    let run = paced(target, RATE, LENGTH).await?;
    eprintln!("  {}", brief(&run));
    let (daemons, all) = cpu(&before, &usage()?, run.orders);
    let mut figures = vec![
        (format!("CPU of an order at {RATE} orders/s, ms"), all),
        ("of that in the daemons, ms".to_owned(), daemons),
    ];
    let quotas = limit(&deployment).context("no shares of processors: this takes root")?;
    let before = usage()?;
    let run = burst(target, orders).await?;
    eprintln!("  {}", brief(&run));
    let (daemons, all) = cpu(&before, &usage()?, run.orders);
    let stored = run.orders - run.refused;
    figures.extend([
        (
            "creates/s, with shares".to_owned(),
            stored as f64 / run.elapsed.as_secs_f64(),
        ),
        ("CPU of an order, with shares, ms".to_owned(), all),
        (
            "of that in the daemons, with shares, ms".to_owned(),
            daemons,
        ),
    ]);
    deployment.stop().await?;
    drop(quotas);
    Ok(figures)
}

fn limit(deployment: &Deployment) -> Result<Vec<Quota>> {
    let mut quotas = Vec::new();
    for program in &deployment.programs {
        let share = SHARES.iter().find(|(name, _)| *name == program.name);
        if let Some((_, share)) = share {
            quotas.push(Quota::limit(program.id()?, *share)?);
        }
    }
    Ok(quotas)
}

/// The milliseconds for an order: of the daemons, and of all but the load generator.
fn cpu(
    before: &BTreeMap<String, Usage>,
    after: &BTreeMap<String, Usage>,
    orders: usize,
) -> (f64, f64) {
    let used = |name: &str| {
        let now = after.get(name).map_or(Duration::ZERO, |usage| usage.cpu);
        let earlier = before.get(name).map_or(Duration::ZERO, |usage| usage.cpu);
        now.saturating_sub(earlier)
    };
    let each = |time: Duration| time.as_secs_f64() * 1e3 / orders as f64;
    // The kernel keeps no more than 15 bytes of a name.
    let daemons = ONE_OF_EACH
        .iter()
        .map(|(name, _)| used(&name[..name.len().min(15)]));
    let all = after
        .keys()
        .filter(|name| *name != "bench")
        .map(|name| used(name));
    (each(daemons.sum()), each(all.sum()))
}

fn tell(report: &mut Report<'_>, one: &[Figures], two: &[Figures]) -> Result<()> {
    let pairs: Vec<_> = by_name(one).zip(by_name(two)).collect();
    let mut rows = Vec::new();
    for ((name, one), (_, two)) in &pairs {
        let both = [one, two].map(|values| number(median(values.clone())));
        rows.push([vec![name.clone()], both.to_vec(), ratio(two, one).to_vec()].concat());
    }
    let shares: Vec<_> = SHARES
        .iter()
        .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
        .collect();
    let note = format!(
        "Two edges, writers and projectors and three realtimes against one of each; one payment-simulator, nats-server and database in both. First without limits, then as many orders at once as are answered, while each daemon may have a share of a processor: {}. So twice as many daemons have twice the processors. Medians of {ROUNDS} alternating rounds; the ratio is the median of the rounds' own, behind it the least and the greatest.",
        shares.join(", ")
    );
    let head = ["", "one of each", "two of each", "ratio", "range"];
    report.table("Twice as many daemons", &note, &head, &rows)?;
    let middle = |which: usize| {
        let ((_, one), (_, two)) = &pairs[which];
        let ratios = one.iter().zip(two).map(|(one, two)| two / one);
        median(ratios.collect())
    };
    let (speed, cpu) = (middle(SPEED), middle(CPU));
    report.goal(
        "creates/s of two of each, of those of one",
        format!("≥ {RATE_GOAL}"),
        number(speed),
        speed >= RATE_GOAL,
    );
    report.goal(
        "CPU of an order with two of each at their limits, of that with one",
        format!("≤ {CPU_GOAL}"),
        number(cpu),
        cpu <= CPU_GOAL,
    );
    Ok(())
}
