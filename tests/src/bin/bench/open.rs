//! Orders at fixed rates, each rate straight after the one before, so that creates and payments go on side by side.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::time::sleep;

use crate::{
    deployment::Deployment,
    load::{DELAY, Load, Run, evenly},
    report::{Report, latencies, millis},
    rounds::{Figures, compare_new},
    site::{Site, Usage, usage},
};

const RATES: [f64; 6] = [60.0, 150.0, 300.0, 600.0, 1_000.0, 1_600.0];
/// How long each rate lasts.
const LENGTH: Duration = Duration::from_secs(13);
/// From now on as many orders are paid as are created.
const STEADY: Duration = DELAY;
/// Between opening the connections and the first order.
const REST: Duration = Duration::from_millis(200);
/// Whose CPU time is told.
const PROCESSES: [&str; 7] = [
    "nats-server",
    "database",
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
];

/// Measures each rate.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let note = format!(
        "{} s of each rate, straight after each other. Create: from when the request was due until it was answered, in the last {} s of a rate, when as many orders are paid as are created. Event: from the answer to the Socket.IO event minus the payment delay of 5 s, of the orders whose payments are due in these seconds. CPU: in the same seconds, for each order sent; the load generator is not in it. Databases, nats-server and daemons are new for each round.",
        LENGTH.as_secs(),
        (LENGTH - STEADY).as_secs(),
    );
    let text = ["Open loop", &*note];
    compare_new(site, report, rounds, text, async |deployment| {
        at(deployment, &RATES).await
    })
    .await
}

/// What a deployment does at each rate.
pub(crate) async fn at(deployment: &Deployment, rates: &[f64]) -> Result<Figures> {
    let load = Load::open(&deployment.target).await?;
    let start = Instant::now() + REST;
    let sent = load.sent();
    let dues = (0..).zip(rates.to_vec()).flat_map(|(rate, per_second)| {
        evenly(per_second, LENGTH).map(move |due| LENGTH * rate + due)
    });
    let (run, cpu) = tokio::try_join!(load.paced(start, dues), watch(start, &sent, rates))?;
    let mut figures = Figures::new();
    for (at, rate) in rates.iter().enumerate() {
        figures.extend(latency(&run, at, *rate));
    }
    for (rate, spent) in rates.iter().zip(cpu) {
        let all = spent.iter().map(|(_, cpu)| cpu).sum();
        figures.push((format!("{rate}/s: CPU of an order, ms"), all));
        let each = spent.into_iter();
        figures.extend(each.map(|(name, cpu)| (format!("{rate}/s: CPU of {name}"), cpu)));
    }
    let failed = (run.refused + run.untold) as f64;
    figures.push(("orders refused, not listed or not paid".to_owned(), failed));
    eprintln!("  {failed} orders refused, not listed or not paid");
    Ok(figures)
}

fn latency(run: &Run, at: usize, rate: f64) -> Figures {
    let length = LENGTH.as_secs() as usize;
    let steady = STEADY.as_secs() as usize;
    let seconds = run.seconds.iter().skip(at * length).take(length);
    let sum = |of: &mut dyn Iterator<Item = &Histogram<u64>>| {
        let mut sum = latencies();
        of.for_each(|second| sum += second);
        sum
    };
    let create = sum(&mut seconds.clone().skip(steady).map(|[create, _]| create));
    let event = sum(&mut seconds.take(length - steady).map(|[_, event]| event));
    let mut figures = Figures::new();
    for (what, histogram) in [("create", create), ("event", event)] {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let name = format!("{rate}/s: {what} {name}, ms");
            figures.push((name, millis(&histogram, quantile)));
        }
    }
    figures
}

/// The milliseconds of CPU time that each of [`PROCESSES`] takes for an order, at each rate.
async fn watch(
    start: Instant,
    sent: &AtomicUsize,
    rates: &[f64],
) -> Result<Vec<[(&'static str, f64); 7]>> {
    let look = async |at: Duration| {
        sleep((start + at).saturating_duration_since(Instant::now())).await;
        anyhow::Ok((usage()?, sent.load(Ordering::Relaxed)))
    };
    let mut found = Vec::new();
    for (at, rate) in (0..).zip(rates) {
        let begin = LENGTH * at;
        sleep((start + begin).saturating_duration_since(Instant::now())).await;
        eprintln!("{rate} orders/s for {} s", LENGTH.as_secs());
        let (before, sent_before) = look(begin + STEADY).await?;
        let (after, sent_after) = look(begin + LENGTH).await?;
        let orders = (sent_after - sent_before) as f64;
        let of_process = |name| {
            let spent = cpu(&after, name).saturating_sub(cpu(&before, name));
            (name, spent.as_secs_f64() * 1e3 / orders)
        };
        found.push(PROCESSES.map(of_process));
    }
    eprintln!("until all is paid");
    Ok(found)
}

fn cpu(usage: &BTreeMap<String, Usage>, name: &str) -> Duration {
    let of_name = usage.iter().filter(|(process, _)| part(process) == name);
    of_name.map(|(_, usage)| usage.cpu).sum()
}

/// Which of [`PROCESSES`] a process belongs to, if it is not ourselves.
fn part(process: &str) -> &str {
    match process {
        // The kernel cuts names.
        "payment-simulat" => "payment-simulator",
        "bench" | "nats-server" | "edge" | "writer" | "projector" | "realtime" => process,
        // Several programs, some behind a dynamic linker that gives them its own name.
        _ => "database",
    }
}
