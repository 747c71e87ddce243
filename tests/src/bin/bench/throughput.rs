//! How many orders per second: the ceiling of the database, the baseline, and the pipeline, in alternating rounds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use crate::{
    ceiling::Ceiling,
    deployment::{Deployment, Design, WARM_UP},
    load::{Run, Target, burst, paced},
    report::{Line, Report, median, millis},
    site::{Site, Usage, usage},
};

/// How many rounds; the medians are reported.
const ROUNDS: usize = 3;
const BURST: usize = 20_000;
/// How long a rate is tried, most of it with payments, and how long it must hold.
pub(crate) const TRIAL: Duration = Duration::from_secs(30);
pub(crate) const HOLD: Duration = Duration::from_secs(60);
/// From one rate that is tried to the next.
const TRIAL_STEP: f64 = 1.12;
/// From one rate that must hold to the next.
pub(crate) const HOLD_STEP: f64 = 1.06;
pub(crate) const CREATE_LIMIT_MS: f64 = 250.0;
/// The most that payments may lag behind in the middle, at the end of a load.
const LAG_LIMIT_MS: f64 = 250.0;

/// What one target can do, for each round.
#[derive(Default)]
struct Speed {
    bursts: Vec<f64>,
    sustained: Vec<Held>,
}

/// A rate that was held.
pub(crate) struct Held {
    pub(crate) rate: f64,
    pub(crate) run: Run,
    /// CPU time for each order, by process.
    cpu: BTreeMap<String, Duration>,
}

/// Measures all three. Like the ceiling's collections, databases and processes are new for each burst and each rate: what
/// a rate that was too high leaves behind would be paid for by the next. What age costs is measured by itself.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let mut ceiling = Ceiling::new(site).await?;
    let mut ceilings = Vec::new();
    let mut speeds = [Speed::default(), Speed::default()];
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}: the ceiling");
        ceilings.push(ceiling.measure().await?);
        let designs = [Design::Baseline, Design::Pipeline(&site.ours)];
        for (design, speed) in designs.into_iter().zip(&mut speeds) {
            let name = design.name();
            eprintln!("round {round} of {ROUNDS}: the {name}");
            let deployment = Deployment::start(site, design, name).await?;
            eprintln!("{name}: {BURST} orders at once");
            let run = burst(&deployment.target, BURST).await?;
            eprintln!("  {}", brief(&run));
            deployment.stop().await?;
            speed.bursts.push(run.rate());
            let trial = async |rate| load_new(site, design, rate, TRIAL).await;
            let start = match speed.sustained.last() {
                Some(held) => held.rate,
                None => search(trial, run.rate() / 2.0).await?,
            };
            let attempt = async |rate| load_new(site, design, rate, HOLD).await;
            let held = hold(attempt, start, HOLD_STEP).await?;
            speed.sustained.push(held);
        }
    }
    tell(report, &ceiling, ceilings, speeds)
}

/// One load of a new pipeline, and where its time goes.
pub(crate) async fn profile(
    site: &Site,
    report: &mut Report<'_>,
    rate: f64,
    seconds: u64,
) -> Result<()> {
    let design = Design::Pipeline(&site.ours);
    let held = load_new(site, design, rate, Duration::from_secs(seconds)).await?;
    tell_cpu(report, &held)
}

/// The highest rate that is held, roughly, beginning with `rate`.
pub(crate) async fn search(
    attempt: impl AsyncFn(f64) -> Result<Held>,
    mut rate: f64,
) -> Result<f64> {
    let mut held = None;
    loop {
        let run = attempt(rate).await?.run;
        match (broken(&run), held) {
            (None, _) => {
                held = Some(rate);
                rate *= TRIAL_STEP;
            }
            (Some(why), Some(held)) => {
                eprintln!("  {why}");
                return Ok(held);
            }
            (Some(why), None) => {
                eprintln!("  {why}");
                rate /= TRIAL_STEP * TRIAL_STEP;
            }
        }
    }
}

/// The highest rate that is held: from `rate` upwards by `step` while it holds, or else downwards until one does.
pub(crate) async fn hold(
    attempt: impl AsyncFn(f64) -> Result<Held>,
    mut rate: f64,
    step: f64,
) -> Result<Held> {
    let mut best = None;
    let mut is_falling = false;
    loop {
        let held = attempt(rate).await?;
        match broken(&held.run) {
            None if is_falling => return Ok(held),
            None => {
                best = Some(held);
                rate *= step;
            }
            Some(why) => {
                eprintln!("  {why}");
                if let Some(best) = best {
                    return Ok(best);
                }
                is_falling = true;
                rate /= step;
            }
        }
    }
}

/// Loads what is deployed already.
pub(crate) async fn load(target: &Target, rate: f64, length: Duration) -> Result<Held> {
    eprintln!(
        "{}: {rate:.0} orders/s for {} s",
        target.name,
        length.as_secs()
    );
    let before = usage()?;
    let run = paced(target, rate, length).await?;
    let cpu = per_order(&before, &usage()?, run.orders);
    eprintln!("  {}", brief(&run));
    Ok(Held { rate, run, cpu })
}

/// Loads a deployment of its own.
pub(crate) async fn load_new(
    site: &Site,
    design: Design<'_>,
    rate: f64,
    length: Duration,
) -> Result<Held> {
    let deployment = Deployment::start(site, design, design.name()).await?;
    let held = load(&deployment.target, rate, length).await?;
    deployment.stop().await?;
    Ok(held)
}

/// Why a load was too much.
fn broken(run: &Run) -> Option<String> {
    let p99 = millis(&run.create, 0.99);
    let mut last = crate::report::latencies();
    for [_, event] in run.seconds.iter().rev().take(5) {
        last.add(event).ok()?;
    }
    let lag = millis(&last, 0.5);
    if run.refused > 0 || run.untold > 0 {
        Some(format!(
            "{} refused, {} never told to be paid",
            run.refused, run.untold
        ))
    } else if p99 > CREATE_LIMIT_MS {
        Some(format!("p99 of creates is {p99:.0} ms"))
    } else if lag > LAG_LIMIT_MS {
        Some(format!("payments lag {lag:.0} ms behind"))
    } else {
        None
    }
}

fn per_order(
    before: &BTreeMap<String, Usage>,
    after: &BTreeMap<String, Usage>,
    orders: usize,
) -> BTreeMap<String, Duration> {
    let used = after.iter().map(|(name, usage)| {
        let earlier = before.get(name).map_or(Duration::ZERO, |usage| usage.cpu);
        (
            name.clone(),
            usage.cpu.saturating_sub(earlier).div_f64(orders as f64),
        )
    });
    used.collect()
}

/// A run in one line.
pub(crate) fn brief(run: &Run) -> String {
    format!(
        "{:.0}/s, create p50 {:.1} p99 {:.1} ms, payment p50 {:.1} p99 {:.1} ms, sent late p99 {:.1} ms",
        run.rate(),
        millis(&run.create, 0.5),
        millis(&run.create, 0.99),
        millis(&run.event, 0.5),
        millis(&run.event, 0.99),
        millis(&run.late, 0.99),
    )
}

fn tell(
    report: &mut Report<'_>,
    ceiling: &Ceiling,
    ceilings: Vec<f64>,
    speeds: [Speed; 2],
) -> Result<()> {
    let [baseline, pipeline] = &speeds;
    let rates = |speed: &Speed| {
        speed
            .sustained
            .iter()
            .map(|held| held.rate)
            .collect::<Vec<_>>()
    };
    let most = median(ceilings.clone());
    let sustained = [median(rates(baseline)), median(rates(pipeline))];
    let bursts = [
        median(baseline.bursts.clone()),
        median(pipeline.bursts.clone()),
    ];
    let row = |what: &str, rounds: Vec<f64>| {
        let mut row = vec![what.to_owned(), format!("{:.0}", median(rounds.clone()))];
        row.push(
            rounds
                .iter()
                .map(|rate| format!("{rate:.0}"))
                .collect::<Vec<_>>()
                .join(", "),
        );
        row
    };
    let note = format!(
        "Ceiling: {ceiling}. Sustained: the highest rate held for {} s, every order answered 201, listed, paid and told by Socket.IO, create p99 below {CREATE_LIMIT_MS} ms, payments not falling behind. Burst: {BURST} orders over 256 connections. Databases (on the same server), nats-server and daemons are new for each burst and each rate that is tried, and warmed up by {WARM_UP} orders.",
        HOLD.as_secs()
    );
    report.table(
        "Orders per second",
        &note,
        &["what", "median", "rounds"],
        &[
            row("ceiling: the raw driver alone", ceilings),
            row("baseline, sustained", rates(baseline)),
            row("pipeline, sustained", rates(pipeline)),
            row("baseline, burst", baseline.bursts.clone()),
            row("pipeline, burst", pipeline.bursts.clone()),
        ],
    )?;
    report.goal(
        "sustained, orders/s",
        "≥ 1,000",
        format!("{:.0}", sustained[1]),
        sustained[1] >= 1_000.0,
    );
    ratio(
        report,
        "sustained, of the ceiling",
        sustained[1] / most,
        0.7,
    );
    ratio(
        report,
        "sustained, of the baseline",
        sustained[1] / sustained[0],
        2.5,
    );
    report.goal(
        "burst, creates/s",
        "≥ 3,000",
        format!("{:.0}", bursts[1]),
        bursts[1] >= 3_000.0,
    );
    ratio(
        report,
        "burst, of the baseline's",
        bursts[1] / bursts[0],
        5.0,
    );

    if let Some(held) = pipeline.sustained.last() {
        tell_cpu(report, held)?;
        let line = |name: &str, which: usize| Line {
            name: name.to_owned(),
            points: held
                .run
                .seconds
                .iter()
                .enumerate()
                .map(|(second, histograms)| (second as f64, millis(&histograms[which], 0.99)))
                .collect(),
        };
        report.plot(
            "sustained",
            &format!("p99 at {:.0} orders/s", held.rate),
            ["seconds", "ms"],
            &[line("create", 0), line("payment told, minus 5 s", 1)],
        )?;
    }
    Ok(())
}

fn tell_cpu(report: &mut Report<'_>, held: &Held) -> Result<()> {
    let all: Duration = held.cpu.values().sum();
    let mut rows: Vec<_> = held.cpu.iter().collect();
    rows.sort_by(|one, other| other.1.cmp(one.1));
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(_, cpu)| cpu.as_micros() > 0)
        .map(|(name, cpu)| {
            let share = cpu.as_secs_f64() / all.as_secs_f64() * 100.0;
            vec![
                name.clone(),
                format!("{:.3}", cpu.as_secs_f64() * 1e3),
                format!("{share:.0} %"),
            ]
        })
        .collect();
    let note = format!(
        "At {:.0} orders/s; `bench` is the load generator.",
        held.rate
    );
    report.table(
        "CPU milliseconds per order",
        &note,
        &["process", "ms", "share"],
        &rows,
    )
}

fn ratio(report: &mut Report<'_>, what: &str, got: f64, wanted: f64) {
    report.goal(
        what,
        format!("≥ {wanted}"),
        format!("{got:.2}"),
        got >= wanted,
    );
}
