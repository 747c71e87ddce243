//! The benchmark: what the pipeline does, against what it could do, in one run on one machine.
//!
//! `cargo xtask bench` starts the servers and the daemons and calls it with their addresses. All load goes to those, and to
//! what it starts beside them, is bounded in count and time, and stops by itself.
#![expect(clippy::print_stdout, reason = "a report is what it makes")]

mod age;
mod ceiling;
mod client;
mod deployment;
mod fanout;
mod footprint;
mod generator;
mod latency;
mod lists;
mod load;
mod report;
mod site;
mod sockets;
mod stock;
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
    /// How many orders the longest list has
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000, value_parser = at_least_a_thousand)]
    list_rows: usize,
    /// How many orders are stored before the pipeline is measured as an old one
    #[arg(long, value_name = "COUNT", default_value_t = 500_000)]
    age_orders: usize,
}

/// A hundredth of it must be some pages.
fn at_least_a_thousand(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count >= 1_000 => Ok(count),
        _ => Err("a number from 1000".to_owned()),
    }
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Orders per second: ceiling, baseline, pipeline
    Throughput,
    /// From request to answer, and from answer to event, at low rates
    Latency,
    /// What the load generator can do by itself
    Generator,
    /// Start-up, memory and size of each daemon
    Footprint,
    /// 5,000 sockets: memory, and how soon they are told
    Fanout,
    /// Orders per second with an empty database and with a full one, by turns
    Age,
    /// Lists of up to a million orders, which it loads first
    Lists,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    site::allow_many_files();
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let site = Site::from_env()?;
    let mut report = Report::new(&site.results);
    let pipeline = Target::new("pipeline", &site.edge);
    if let Some(rate) = options.rate {
        return throughput::profile(&mut report, &pipeline, rate, options.seconds).await;
    }
    eprintln!(
        "each table goes to {} as soon as it is measured",
        site.results.join("report.md").display()
    );

    if wanted(Part::Latency) {
        latency::measure(&site, &mut report, &pipeline).await?;
    }
    if wanted(Part::Throughput) {
        throughput::measure(&site, &mut report).await?;
    }
    if wanted(Part::Generator) {
        generator::measure(&site, &mut report).await?;
    }
    if wanted(Part::Footprint) {
        footprint::measure(&site, &mut report, &pipeline).await?;
    }
    if wanted(Part::Fanout) {
        fanout::measure(&site, &mut report).await?;
    }
    // They fill the database, so they come last.
    if wanted(Part::Age) {
        age::measure(&site, &mut report, options.age_orders).await?;
    }
    if wanted(Part::Lists) {
        lists::measure(&site, &mut report, options.list_rows).await?;
    }
    report.finish()?;
    eprintln!("the report and the plots are in {}", site.results.display());
    Ok(())
}
