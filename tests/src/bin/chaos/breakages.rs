//! What an operator sees of each thing that one can break by hand: which alert fires and when, what a dashboard,
//! `orderctl top` and `orderctl doctor` say, and that all is well again once it is mended. Each has an installation of
//! its own, so several break at a time.

mod breakage;
mod dashboard;
mod site;
mod table;
mod watch;

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::{FutureExt, StreamExt, stream};
use orders_testkit::checkout;
use tokio::time::sleep;

use self::{
    breakage::Breakage,
    dashboard::Panel,
    site::Site,
    table::{DOCUMENT, Row},
    watch::{Watch, is_meant},
};

/// How many installations run at the same time.
const AT_ONCE: usize = 7;
/// At least so long all is well before something breaks: what alerts of the present look back on.
const CALM: Duration = Duration::from_secs(70);
/// For everything to be well: alerts that look back remember what was slow at the start.
const WELL: Duration = Duration::from_secs(360);
/// For the alerts: some look back on five minutes and then wait for five.
const TOLD: Duration = Duration::from_secs(480);
const PAUSE: Duration = Duration::from_secs(2);

/// Breaks everything whose name has `only` in it and returns whether everything was told. All of it together becomes a
/// document.
pub(crate) async fn check(only: Option<&str>) -> Result<bool> {
    let chosen = Breakage::ALL.into_iter();
    let chosen = chosen.filter(|what| only.is_none_or(|only| what.to_string().contains(only)));
    let rows = stream::iter(chosen).map(|breakage| async move {
        let row = AssertUnwindSafe(observe(breakage)).catch_unwind().await;
        let row = row.unwrap_or_else(|_| bail!("something that it needs did not start"));
        match &row {
            Ok(row) => println!("{}", row.report()),
            Err(error) => println!("\n## {breakage}\nFAILED: {error:#}"),
        }
        row
    });
    let rows: Vec<_> = rows.buffer_unordered(AT_ONCE).collect().await;
    let right = rows.iter().flatten().filter(|row| row.is_right());
    let mut right: Vec<_> = right.collect();
    right.sort_by_key(|row| Breakage::ALL.iter().position(|of| *of == row.breakage));
    println!(
        "{} of {} are told as they should be",
        right.len(),
        rows.len()
    );
    if right.len() < rows.len() {
        return Ok(false);
    }
    if only.is_none() {
        let document = checkout().join(DOCUMENT);
        std::fs::write(document, table::document(&right)).context(DOCUMENT)?;
        println!("wrote {DOCUMENT}");
    }
    Ok(true)
}

async fn observe(breakage: Breakage) -> Result<Row> {
    let (mut site, metrics) = Site::start(breakage.stack().await).await?;
    let mut watch = Watch::new(metrics);
    let signs = breakage.signs();
    let (title, of) = signs.panel;
    let panel = Panel::titled(title)?;

    sleep(CALM).await;
    until_well(&site, &mut watch, None)
        .await
        .context("before")?;
    let before = panel.shows(&watch.metrics, of).await?;
    watch.fired.clear();

    breakage.commit(&mut site).await?;
    let broken = Instant::now();
    let is_told = |watch: &Watch| {
        let mut meant = signs.alerts.iter();
        meant.all(|meant| watch.fired.keys().any(|alert| is_meant(meant, alert)))
    };
    while !is_told(&watch) && broken.elapsed() < TOLD {
        sleep(PAUSE).await;
        watch.look().await?;
    }
    let doctor = site.doctor().await?;
    let top = site.orderctl(&["top", "--once"]).await?;
    let after = panel.shows(&watch.metrics, of).await?;
    let alerts = watch.fired.iter();
    let alerts = alerts.map(|(name, at)| (name.clone(), *at - broken));
    let alerts = alerts.collect();

    breakage.mend(&mut site).await?;
    let mended = Instant::now();
    let well = until_well(&site, &mut watch, Some(signs.doctor.0)).await;
    Ok(Row {
        breakage,
        alerts,
        panel: format!("{title}: {before} → {after}"),
        top,
        doctor,
        well: well.map(|()| mended.elapsed()),
    })
}

/// Waits until no alert is true and the doctor finds nothing red. After a cure, which some alerts outlive, no alert of the
/// present; and `cured`, one of the doctor's checks, has to be green.
async fn until_well(site: &Site, watch: &mut Watch, cured: Option<&str>) -> Result<()> {
    let start = Instant::now();
    loop {
        watch.look().await?;
        let alerts = watch.is_true(cured.is_some());
        let mut found = Vec::new();
        if alerts.is_empty() {
            found = site.doctor().await?;
            found.retain(|line| line.colour == "red" || Some(line.check.as_str()) == cured);
            if found.is_empty() {
                return Ok(());
            }
        }
        if start.elapsed() > WELL {
            bail!("not well within {WELL:?}: {alerts:?}, {found:?}");
        }
        sleep(PAUSE).await;
    }
}
