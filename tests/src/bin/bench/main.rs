//! The benchmark: what the pipeline does, against what it could do, in one run on one machine.
//!
//! `cargo xtask bench` builds the daemons, starts the database and calls it with its address; all else it starts and stops
//! itself. All load goes to that, is bounded in count and time, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod age;
mod ceiling;
mod client;
mod closed;
mod cluster;
mod deployment;
mod fairness;
mod fanout;
mod filters;
mod footprint;
mod foreign;
mod generator;
mod held;
mod identity;
mod latency;
mod lists;
mod load;
mod open;
mod quota;
mod report;
mod rounds;
mod scaleout;
mod site;
mod sockets;
mod stock;
mod throughput;
mod traces;
mod users;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::{report::Report, site::Site};

/// Measures the pipeline on the database that `cargo xtask bench` has started.
#[derive(Parser)]
struct Options {
    /// Measure only this; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The number of rounds of `closed`, `open`, `held`, `fairness`, `identity` and `traces`
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = at_least(1))]
    rounds: usize,
    /// Measure the daemons in this folder as well, by turns; `cargo xtask bench --against` sets it
    #[arg(long, value_name = "FOLDER", hide = true, conflicts_with = "rate")]
    against: Option<PathBuf>,
    /// Measure nothing but the pipeline at this many orders per second, for a profiler to look at
    #[arg(long, conflicts_with = "only")]
    rate: Option<f64>,
    /// How long that goes on, in seconds
    #[arg(long, default_value_t = 30, requires = "rate")]
    seconds: u64,
    /// How many orders the longest list has
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000, value_parser = at_least(1_000))]
    list_rows: usize,
    /// How many orders are stored before the pipeline is measured as an old one
    #[arg(long, value_name = "COUNT", default_value_t = 500_000)]
    age_orders: usize,
}

fn at_least(least: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(count) if count >= least => Ok(count),
        _ => Err(format!("a number from {least}")),
    }
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Creates per second and their latency over 1, 16, 64 and 256 connections
    Closed,
    /// Latency and CPU time of an order at 60 to 1,600 orders/s
    Open,
    /// The highest rate held for 15 s; only when it is named, or with --against
    Held,
    /// A tenant's creates beside another one's flood; only when it is named
    Fairness,
    /// What it costs to ask who calls: modes off and jwt by turns; only when it is named
    Identity,
    /// One copy of the streams against three, with the disk's default and always; only when it is named
    Cluster,
    /// What traces cost: without a collector, none sampled, all sampled, by turns; only when it is named
    Traces,
    /// What realtime does with events of tenants that none of its clients follow; only when it is named
    Foreign,
    /// Two of each daemon against one, with shares of a processor; only when it is named
    Scaleout,
    /// Orders per second: ceiling, baseline, pipeline
    Throughput,
    /// From request to answer, and from answer to event, at low rates, beside the baseline
    Latency,
    /// What the load generator can do by itself
    Generator,
    /// Start-up, memory and size of each daemon
    Footprint,
    /// 5,000 sockets: memory, and how soon they are told
    Fanout,
    /// Orders per second with an empty database and with a full one, by turns
    Age,
    /// 100,000 lists, each with another filter; only when it is named
    Filters,
    /// Lists of up to a million orders, which it loads first
    Lists,
}

impl Part {
    /// Whether it can measure two revisions by turns.
    fn compares(self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Open | Self::Held | Self::Fairness
        )
    }

    /// Whether it runs when no part is named.
    fn is_usual(self, against: bool) -> bool {
        if against {
            self.compares() && self != Self::Fairness
        } else {
            // The part `throughput` finds the same, with more patience.
            !matches!(
                self,
                Self::Held
                    | Self::Fairness
                    | Self::Identity
                    | Self::Traces
                    | Self::Cluster
                    | Self::Foreign
                    | Self::Scaleout
                    | Self::Filters
            )
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let against = options.against.is_some();
    ensure!(
        !against || options.only.iter().all(|part| part.compares()),
        "only `closed`, `open`, `held` and `fairness` can be measured against another revision"
    );
    site::allow_many_files();
    let site = Site::from_env(options.against)?;
    let mut report = Report::new(&site.results);
    if let Some(rate) = options.rate {
        return throughput::profile(&site, &mut report, rate, options.seconds).await;
    }
    eprintln!(
        "each table goes to {} as soon as it is measured",
        site.results.join("report.md").display()
    );

    // Those that load many orders fill the database server, so they come last.
    for part in Part::value_variants() {
        let is_wanted = match &options.only[..] {
            [] => part.is_usual(against),
            named => named.contains(part),
        };
        if !is_wanted {
            continue;
        }
        match part {
            Part::Closed => closed::measure(&site, &mut report, options.rounds).await?,
            Part::Open => open::measure(&site, &mut report, options.rounds).await?,
            Part::Held => held::measure(&site, &mut report, options.rounds).await?,
            Part::Fairness => fairness::measure(&site, &mut report, options.rounds).await?,
            Part::Identity => identity::measure(&site, &mut report, options.rounds).await?,
            Part::Cluster => cluster::measure(&site, &mut report).await?,
            Part::Traces => traces::measure(&site, &mut report, options.rounds).await?,
            Part::Foreign => foreign::measure(&site, &mut report).await?,
            Part::Scaleout => scaleout::measure(&site, &mut report).await?,
            Part::Throughput => throughput::measure(&site, &mut report).await?,
            Part::Latency => latency::measure(&site, &mut report).await?,
            Part::Generator => generator::measure(&site, &mut report).await?,
            Part::Footprint => footprint::measure(&site, &mut report).await?,
            Part::Fanout => fanout::measure(&site, &mut report).await?,
            Part::Age => age::measure(&site, &mut report, options.age_orders).await?,
            Part::Filters => filters::measure(&site, &mut report).await?,
            Part::Lists => lists::measure(&site, &mut report, options.list_rows).await?,
        }
    }
    report.finish()?;
    eprintln!("the report and the plots are in {}", site.results.display());
    Ok(())
}
