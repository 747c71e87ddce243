//! The benchmark: what the pipeline does, against what it could do, in one run on one machine.
//!
//! `cargo xtask bench` starts the servers and the daemons and calls it with their addresses. All load goes to those
//! addresses, is bounded in count and time, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod ceiling;
mod client;
mod latency;
mod load;
mod report;
mod site;
mod sockets;
mod throughput;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::{load::Target, report::Report, site::Site};

/// Measures the pipeline that `cargo xtask bench` has started.
#[derive(Parser)]
struct Options {
    /// Measure only this; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Measure nothing but the pipeline at this many orders per second, for a profiler to look at
    #[arg(long, conflicts_with = "only")]
    rate: Option<f64>,
    /// How long that goes on, in seconds
    #[arg(long, default_value_t = 30, requires = "rate")]
    seconds: u64,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Orders per second: ceiling, baseline, pipeline
    Throughput,
    /// From request to answer, and from answer to event, at low rates
    Latency,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let site = Site::from_env()?;
    let mut report = Report::new(&site.results);
    let pipeline = Target {
        name: "pipeline",
        url: site.edge.clone(),
    };
    if let Some(rate) = options.rate {
        return throughput::profile(&mut report, &pipeline, rate, options.seconds).await;
    }
    let database = site.database("bench_baseline");
    let (program, _) = site.start("baseline", &[("MONGO_URL", &database)]).await?;
    let baseline = Target {
        name: "baseline",
        url: program.url.clone(),
    };

    if wanted(Part::Latency) {
        latency::measure(&mut report, &baseline, &pipeline).await?;
    }
    if wanted(Part::Throughput) {
        throughput::measure(&site, &mut report, &baseline, &pipeline).await?;
    }
    report.finish()?;
    program.stop().await?;
    eprintln!("the report and the plots are in {}", site.results.display());
    Ok(())
}
