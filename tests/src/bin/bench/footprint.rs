//! What each daemon takes: time to start, memory, disk.

use std::{convert::Infallible, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, time::sleep};

use crate::{
    client::{Connection, GET},
    deployment::{Deployment, Design},
    load::paced,
    report::{Report, median},
    site::{Site, usage},
};

const DAEMONS: [&str; 6] = [
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
    "web",
];
const STARTS: usize = 5;
/// How long a daemon does nothing before its memory is looked at.
const REST: Duration = Duration::from_secs(3);
const ORDERS_PER_SECOND: f64 = 500.0;
const LENGTH: Duration = Duration::from_secs(10);
/// The list of the pages is looked at about twenty times a second meanwhile.
const BETWEEN_PAGES: Duration = Duration::from_millis(50);
const MEMORY_GOAL_MIB: f64 = 30.0;
const START_GOAL_MS: f64 = 1_000.0;
const MIB: f64 = 1024.0 * 1024.0;
/// The kernel keeps no more of a process's name.
const NAME_LENGTH: usize = 15;

struct Footprint {
    name: &'static str,
    ready_ms: f64,
    idle_mib: f64,
    loaded_mib: f64,
    binary_mib: f64,
    stripped_mib: Option<f64>,
}

/// Starts each daemon several times beside the others, then loads those that run already.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let mut found = Vec::new();
    for name in DAEMONS {
        found.push(look_at(site, &pipeline, name).await?);
    }
    let (web, _) = site
        .start(&site.ours.binaries.join("web"), &pipeline.env)
        .await?;
    eprintln!("{ORDERS_PER_SECOND} orders/s for {} s", LENGTH.as_secs());
    let run = tokio::select! {
        run = paced(&pipeline.target, ORDERS_PER_SECOND, LENGTH) => run?,
        ended = visit(&web.url) => match ended? {},
    };
    ensure!(
        run.refused + run.untold == 0,
        "orders were refused or not paid"
    );
    let usage = usage()?;
    for footprint in &mut found {
        let name = &footprint.name[..footprint.name.len().min(NAME_LENGTH)];
        let used = usage.get(name).with_context(|| format!("no {name}"))?;
        footprint.loaded_mib = used.memory as f64 / MIB;
    }
    web.stop().await?;
    pipeline.stop().await?;
    tell(report, &found)
}

/// Looks at the list of the pages again and again.
async fn visit(web: &str) -> Result<Infallible> {
    let mut connection = Connection::open(web).await?;
    loop {
        let page = connection.send(GET, "/orders?tenantId=bench-0", "").await?;
        ensure!(page.status == 200, "a page is answered {}", page.status);
        sleep(BETWEEN_PAGES).await;
    }
}

async fn look_at(site: &Site, pipeline: &Deployment, name: &'static str) -> Result<Footprint> {
    let path = site.ours.binaries.join(name);
    let mut ready = Vec::new();
    let mut idle_mib = 0.0;
    for start in 1..=STARTS {
        let (program, took) = site.start(&path, &pipeline.env).await?;
        ready.push(took.as_secs_f64() * 1e3);
        if start == STARTS {
            sleep(REST).await;
            idle_mib = program.memory()? as f64 / MIB;
        }
        program.stop().await?;
    }
    let ready_ms = median(ready);
    eprintln!("{name}: ready after {ready_ms:.0} ms, {idle_mib:.1} MiB idle");
    Ok(Footprint {
        name,
        ready_ms,
        idle_mib,
        loaded_mib: 0.0,
        binary_mib: fs::metadata(&path)?.len() as f64 / MIB,
        stripped_mib: stripped(site, &path).await,
    })
}

/// The size without symbols, where there is a `strip`.
async fn stripped(site: &Site, path: &Path) -> Option<f64> {
    let copy = site.results.join("stripped");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&copy).arg(path);
    let status = strip.status().await.ok()?;
    let size = fs::metadata(&copy).ok()?.len();
    fs::remove_file(&copy).ok()?;
    status.success().then_some(size as f64 / MIB)
}

fn tell(report: &mut Report<'_>, found: &[Footprint]) -> Result<()> {
    let rows: Vec<_> = found
        .iter()
        .map(|footprint| {
            let stripped = footprint.stripped_mib;
            vec![
                footprint.name.to_owned(),
                format!("{:.0}", footprint.ready_ms),
                format!("{:.1}", footprint.idle_mib),
                format!("{:.1}", footprint.loaded_mib),
                format!("{:.1}", footprint.binary_mib),
                stripped.map_or_else(|| "?".to_owned(), |size| format!("{size:.1}")),
            ]
        })
        .collect();
    let note = format!(
        "From the start of the process until `/readyz` is 200, median of {STARTS}, while the servers and the other daemons run. Resident memory in MiB: {} s after the start, and in the daemons that have run all along after {ORDERS_PER_SECOND} orders/s for {} s and twenty pages/s. Binaries in MiB, as built and without symbols.",
        REST.as_secs(),
        LENGTH.as_secs()
    );
    report.table(
        "Footprint",
        &note,
        &[
            "daemon",
            "ready, ms",
            "idle",
            "after load",
            "binary",
            "stripped",
        ],
        &rows,
    )?;
    let most = |of: fn(&Footprint) -> f64| found.iter().map(of).fold(0.0, f64::max);
    let ready = most(|footprint| footprint.ready_ms);
    report.goal(
        "the slowest daemon is ready after",
        format!("≤ {START_GOAL_MS:.0} ms"),
        format!("{ready:.0} ms"),
        ready <= START_GOAL_MS,
    );
    let idle = most(|footprint| footprint.idle_mib);
    report.goal(
        "the largest daemon, idle",
        format!("≤ {MEMORY_GOAL_MIB:.0} MiB"),
        format!("{idle:.1} MiB"),
        idle <= MEMORY_GOAL_MIB,
    );
    Ok(())
}
