//! What the load generator itself can do: the same loads against a server that does nothing.

use std::time::Duration;

use anyhow::Result;

use crate::{
    load::{Run, Target, burst, paced},
    report::{Report, millis},
    site::Site,
};

const WARM_UP: usize = 5_000;
const BURST: usize = 50_000;
const RATES: [f64; 2] = [150.0, 2_000.0];
const LENGTH: Duration = Duration::from_secs(10);

/// Sends orders to a server that answers each at once and forgets it.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let (program, _) = site
        .start(
            &site.ours.binaries.join("baseline"),
            &[("NULL", "1".to_owned())],
        )
        .await?;
    let target = Target {
        pays: false,
        ..Target::new("null", &program.url)
    };
    burst(&target, WARM_UP).await?;
    eprintln!("{BURST} orders at once to a server that does nothing");
    let mut rows = vec![row(
        "as fast as they are answered",
        &burst(&target, BURST).await?,
    )];
    for rate in RATES {
        eprintln!("{rate} orders/s to it for {} s", LENGTH.as_secs());
        let run = paced(&target, rate, LENGTH).await?;
        rows.push(row(&format!("{rate} orders/s"), &run));
    }
    program.stop().await?;
    report.table(
        "The load generator alone",
        "The same orders over the same 256 connections to a server that answers 201 and does nothing else, on the same machine. What the pipeline shows beyond these figures is its own; late is how long after it was due an order was sent. Milliseconds.",
        &["load", "answers/s", "p50", "p99", "late p50", "late p99", "late max"],
        &rows,
    )
}

fn row(what: &str, run: &Run) -> Vec<String> {
    let ms = |value: f64| format!("{value:.2}");
    vec![
        what.to_owned(),
        format!("{:.0}", run.rate()),
        ms(millis(&run.create, 0.5)),
        ms(millis(&run.create, 0.99)),
        ms(millis(&run.late, 0.5)),
        ms(millis(&run.late, 0.99)),
        ms(millis(&run.late, 1.0)),
    ]
}
