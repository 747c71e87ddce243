//! What copies of the streams cost, and what it costs that each server has its disk store them for good.

use anyhow::Result;
use orders_testkit::Sync;

use crate::{
    closed,
    deployment::{Deployment, Design},
    open,
    report::Report,
    rounds::{Figures, number},
    site::Site,
};

/// How many servers there are, each with a copy, and when they write to the disk.
const LAYOUTS: [(usize, Sync, &str); 4] = [
    (1, Sync::Seldom, "R1"),
    (1, Sync::Always, "R1, always"),
    (3, Sync::Seldom, "R3"),
    (3, Sync::Always, "R3, always"),
];
const RATES: [f64; 3] = [60.0, 150.0, 300.0];
const CONNECTIONS: usize = 64;
/// What is too slow to be listed in time is measured all the same.
const REFUSED_LIMIT: f64 = 1.0;

/// Measures each layout once.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let mut found = Vec::new();
    for (servers, sync, name) in LAYOUTS {
        eprintln!("{name}");
        let design = Design::Copied(&site.ours, servers, sync);
        let deployment = Deployment::start(site, design, "copies").await?;
        let mut figures = closed::over(&deployment, CONNECTIONS, REFUSED_LIMIT).await?;
        figures.extend(open::at(&deployment, &RATES).await?);
        deployment.stop().await?;
        found.push(figures);
    }
    let note = "One nats-server, or three on the same machine with a copy each; each syncs its files every two minutes, or always before it acknowledges. As in `closed` and `open`. CPU in milliseconds of all processes of that name, for each order. Databases, nats-servers and daemons are new for each column; one round.";
    let layouts = LAYOUTS.map(|(.., name)| name);
    let head: Vec<&str> = [""].into_iter().chain(layouts).collect();
    report.table("Copies of the streams", note, &head, &rows(&found))
}

/// One row for each figure, with a column for each layout.
fn rows(found: &[Figures]) -> Vec<Vec<String>> {
    let names = found.first().into_iter().flatten().map(|(name, _)| name);
    let row = |(at, name): (usize, &String)| {
        let values = found.iter().map(|figures| number(figures[at].1));
        [name.clone()].into_iter().chain(values).collect()
    };
    names.enumerate().map(row).collect()
}
