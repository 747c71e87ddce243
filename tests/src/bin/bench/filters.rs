//! Whether lists with ever other filters leave something behind in the edge.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::{
    client::{Connection, GET},
    deployment::{Deployment, Design},
    lists::{CONNECTIONS, WARM_UP, ask},
    report::{Report, millis},
    site::{Site, usage},
    stock,
};

/// The lists with a filter of their own.
const FILTERS: usize = 100_000;
/// The orders of the list that is filtered: too many to be counted each time.
const ROWS: usize = 10_500;
const LENGTH: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;
const TENANT: &str = "filtered";

/// Measures what they leave behind: memory, and time, beside an edge that has answered none of them.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let edge = &pipeline.target.url;
    stock::fill(&pipeline.stock.rows, ROWS, |n| stock::row(TENANT, n)).await?;
    let others = Arc::new(vec!["/api/orders?tenantId=bench-0".to_owned()]);
    let memory = || anyhow::Ok(usage()?.get("edge").context("the edge runs")?.memory);
    ask(edge, &others, LENGTH).await?;
    let before = memory()?;
    eprintln!("{FILTERS} lists, each with another filter");
    ask_all(edge).await?;
    ask(edge, &others, LENGTH).await?;
    let growth = (memory()? as f64 - before as f64) / 1024.0 / 1024.0;

    let program = site.ours.binaries.join("edge");
    let (fresh, _) = site.start(&program, &pipeline.env).await?;
    let edges = [
        ("fresh", fresh.url.clone()),
        ("after the lists", edge.clone()),
    ];
    let mut figures = [Vec::new(), Vec::new()];
    for (_, url) in &edges {
        ask(url, &others, WARM_UP).await?;
    }
    // By turns, because the machine's speed changes in the minutes that the lists take.
    for _ in 0..ROUNDS {
        for ((_, url), figures) in edges.iter().zip(&mut figures) {
            let answers = ask(url, &others, LENGTH).await?;
            let [p50, p99] = [0.5, 0.99].map(|quantile| millis(&answers.latency, quantile));
            figures.push([answers.rate, p50, p99]);
        }
    }
    fresh.stop().await?;
    pipeline.stop().await?;

    let medians = figures.map(|rounds| {
        [0, 1, 2].map(|figure| {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[figure]).collect();
            values.sort_by(f64::total_cmp);
            values[ROUNDS / 2]
        })
    });
    let rows: Vec<Vec<String>> = edges
        .iter()
        .zip(&medians)
        .map(|((name, _), medians)| {
            let medians = medians.map(|median| format!("{median:.1}"));
            [(*name).to_owned()].into_iter().chain(medians).collect()
        })
        .collect();
    let note = format!(
        "{FILTERS} lists of a tenant with {ROWS} orders over {CONNECTIONS} connections, each with another `from`; then {CONNECTIONS} connections ask for the first page of another tenant's list for {} s, by turns at this edge and at one that was started after the lists, medians of {ROUNDS} rounds. Milliseconds from request to answer.",
        LENGTH.as_secs()
    );
    let head = ["edge", "requests/s", "p50", "p99"];
    report.table("Filters", &note, &head, &rows)?;
    let goal = format!("the edge's growth by {FILTERS} lists with filters of their own");
    report.goal(
        &goal,
        "< 20 MiB".to_owned(),
        format!("{growth:.1} MiB"),
        growth < 20.0,
    );
    let rate = medians[1][0] / medians[0][0];
    let goal = "requests/s for others after them, of those of a fresh edge";
    report.goal(goal, "> 0.9".to_owned(), format!("{rate:.2}"), rate > 0.9);
    Ok(())
}

/// Asks for every list once.
async fn ask_all(edge: &str) -> Result<()> {
    let mut clients = JoinSet::new();
    for first in 0..CONNECTIONS {
        let mut connection = Connection::open(edge).await?;
        clients.spawn(async move {
            for n in (first..FILTERS).step_by(CONNECTIONS) {
                let (second, millis) = (n / 1_000, n % 1_000);
                let (minute, second) = (second / 60, second % 60);
                let path = format!(
                    "/api/orders?tenantId={TENANT}&from=2000-01-01T00:{minute:02}:{second:02}.{millis:03}Z"
                );
                let answer = connection.send(GET, &path, "").await?;
                ensure!(answer.status == 200, "{path}: {}", answer.status);
                if n % (FILTERS / 10) == 0 {
                    eprintln!("{n} of {FILTERS} lists");
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}
