//! What traces cost: pipelines without a collector, with one that gets nothing, and with one that gets everything, by
//! turns.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use orders_testkit::Collector;

use crate::{
    deployment::{Deployment, Design, Settings},
    load::paced,
    report::{Report, median, millis},
    rounds::{Figures, by_name, number},
    site::{Site, usage},
    throughput::brief,
    users::Users,
};

const RATE: f64 = 600.0;
const LENGTH: Duration = Duration::from_secs(20);
/// The share of orders that may be answered with anything but 201, or not be listed in time: a slow machine lists
/// some late.
const REFUSED_LIMIT: f64 = 0.05;
/// The daemons, by the part of their names that the kernel keeps.
const DAEMONS: [&str; 5] = ["edge", "writer", "projector", "payment-simulat", "realtime"];
/// From the request to the second entry of the feed; nobody follows it.
const SPANS: f64 = 12.0;
/// How much more processor time an order may take, of all that it takes.
const SAMPLED_LIMIT: f64 = 0.05;
/// The same where nothing is sampled: what the machine itself changes from run to run.
const UNSAMPLED_LIMIT: f64 = 0.01;

const MODES: [&str; 3] = ["no collector", "none sampled", "all sampled"];

/// Where the figures have what an order takes of the processors, in the daemons and everywhere.
const OF_DAEMONS: usize = 0;
const OF_ALL: usize = 1;

struct Mode {
    name: &'static str,
    settings: Settings,
    found: Vec<Figures>,
}

impl Mode {
    fn new(name: &'static str, collector: &Collector, sampler: Option<&str>) -> Self {
        let settings = match sampler {
            None => Vec::new(),
            Some(sampler) => vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
                ("OTEL_TRACES_SAMPLER", sampler.to_owned()),
            ],
        };
        Self {
            name,
            settings,
            found: Vec::new(),
        }
    }

    /// Measures a new deployment.
    async fn measure(&self, site: &Site, collector: &Collector) -> Result<Figures> {
        let design = Design::Guarded(&site.ours, &self.settings, &Users::Unproven);
        let deployment = Deployment::start(site, design, &site.ours.name).await?;
        deployment.all_paid().await?;
        let (before, spans) = (cpu()?, collector.count());
        eprintln!("{RATE} orders/s for {} s", LENGTH.as_secs());
        let run = paced(&deployment.target, RATE, LENGTH).await?;
        eprintln!("  {}", brief(&run));
        ensure!(
            run.refused as f64 <= run.orders as f64 * REFUSED_LIMIT,
            "{} of {} orders were refused or not listed",
            run.refused,
            run.orders
        );
        deployment.all_paid().await?;
        let after = cpu()?;
        let spans = (collector.count() - spans) as f64 / run.orders as f64;
        deployment.stop().await?;
        let [daemons, all] = [0, 1].map(|which| {
            let used = after[which].saturating_sub(before[which]);
            used.as_secs_f64() * 1e3 / run.orders as f64
        });
        Ok(vec![
            ("CPU of the daemons for an order, ms".to_owned(), daemons),
            ("CPU of all for an order, ms".to_owned(), all),
            ("create p50, ms".to_owned(), millis(&run.create, 0.5)),
            ("create p99, ms".to_owned(), millis(&run.create, 0.99)),
            ("spans of an order".to_owned(), spans),
        ])
    }
}

/// The processor time so far: of the daemons, and of all but this program.
fn cpu() -> Result<[Duration; 2]> {
    let usage = usage()?;
    let of = |name: &&str| usage.get(*name).map(|usage| usage.cpu);
    let daemons: Option<Duration> = DAEMONS.iter().map(of).sum();
    let all = usage.iter().filter(|(name, _)| *name != "bench");
    let all = all.map(|(_, usage)| usage.cpu).sum();
    Ok([daemons.context("the daemons run")?, all])
}

/// Measures each mode once in each of `rounds` rounds.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let collector = Collector::counting().await;
    let mut modes = [
        Mode::new(MODES[0], &collector, None),
        Mode::new(MODES[1], &collector, Some("always_off")),
        Mode::new(MODES[2], &collector, Some("always_on")),
    ];
    for round in 1..=rounds {
        // Whoever is second finds what the first has left in the database server and the machine.
        modes.rotate_left(1);
        for mode in &mut modes {
            eprintln!("round {round} of {rounds}: {}", mode.name);
            let figures = mode.measure(site, &collector).await?;
            mode.found.push(figures);
        }
    }
    modes.sort_by_key(|mode| MODES.iter().position(|name| *name == mode.name));
    let found = modes.map(|mode| mode.found);
    tell(report, &found)
}

fn tell(report: &mut Report<'_>, [off, none, all]: &[Vec<Figures>; 3]) -> Result<()> {
    let note = format!(
        "{RATE} orders/s for {} s, and until all are paid; the processor time is what the kernel counts, in hundredths of a second. Databases, nats-server and daemons are new for each round. Medians of {} rounds.",
        LENGTH.as_secs(),
        off.len(),
    );
    let rows = by_name(off).zip(by_name(none)).zip(by_name(all));
    let rows: Vec<Vec<String>> = rows
        .map(|(((name, off), (_, none)), (_, all))| {
            let values = [off, none, all].map(|values| number(median(values)));
            [name].into_iter().chain(values).collect()
        })
        .collect();
    let head = ["", MODES[0], MODES[1], MODES[2]];
    report.table("Traces", &note, &head, &rows)?;

    let figure = |found: &[Figures], at: usize| found.iter().map(|round| round[at].1).collect();
    // What is added in the daemons, of all that an order takes.
    let more = |with: &[Figures]| {
        let added = median(figure(with, OF_DAEMONS)) - median(figure(off, OF_DAEMONS));
        added / median(figure(off, OF_ALL))
    };
    for (what, with, limit) in [
        (MODES[1], none, UNSAMPLED_LIMIT),
        (MODES[2], all, SAMPLED_LIMIT),
    ] {
        let more = more(with);
        report.goal(
            &format!("processor time of an order, {what}"),
            format!("≤ {:.0} % more", limit * 1e2),
            format!("{:+.1} %", more * 1e2),
            more <= limit,
        );
    }
    let sent = |found: &[Figures]| {
        let sent: Vec<f64> = found
            .iter()
            .filter_map(|round| Some(round.last()?.1))
            .collect();
        median(sent)
    };
    let (none, all) = (sent(none), sent(all));
    report.goal(
        "spans of an order, none and all sampled",
        format!("0 and ≥ {SPANS}"),
        format!("{} and {}", number(none), number(all)),
        none == 0.0 && all >= SPANS,
    );
    Ok(())
}
