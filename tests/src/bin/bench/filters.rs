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
const TENANT: &str = "filtered";

/// Measures the edge before and after it has answered all of them.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>) -> Result<()> {
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let edge = &pipeline.target.url;
    stock::fill(&pipeline.stock.rows, ROWS, |n| stock::row(TENANT, n)).await?;
    let others = Arc::new(vec!["/api/orders?tenantId=bench-0".to_owned()]);
    let look = async || {
        ask(edge, &others, WARM_UP).await?;
        let answers = ask(edge, &others, LENGTH).await?;
        let memory = usage()?.get("edge").context("the edge runs")?.memory;
        let [p50, p99] = [0.5, 0.99].map(|quantile| millis(&answers.latency, quantile));
        anyhow::Ok((memory as f64 / 1024.0 / 1024.0, answers.rate, p50, p99))
    };
    let before = look().await?;
    eprintln!("{FILTERS} lists, each with another filter");
    ask_all(edge).await?;
    let after = look().await?;
    pipeline.stop().await?;

    let row = |name: &str, (memory, rate, p50, p99): (f64, f64, f64, f64)| {
        let figures = [memory, rate, p50, p99].map(|figure| format!("{figure:.1}"));
        [name.to_owned()].into_iter().chain(figures).collect()
    };
    let note = format!(
        "{FILTERS} lists of a tenant with {ROWS} orders over {CONNECTIONS} connections, each with another `from`; before and after them {CONNECTIONS} connections ask for the first page of another tenant's list for {} s. Memory is the edge's, in MiB; milliseconds from request to answer.",
        LENGTH.as_secs()
    );
    let head = ["", "memory", "requests/s", "p50", "p99"];
    let rows = [row("before", before), row("after", after)];
    report.table("Filters", &note, &head, &rows)?;
    let growth = after.0 - before.0;
    let goal = format!("the edge's growth by {FILTERS} lists with filters of their own");
    report.goal(
        &goal,
        "< 20 MiB".to_owned(),
        format!("{growth:.1} MiB"),
        growth < 20.0,
    );
    let rate = after.1 / before.1;
    let goal = "requests/s for others after them, of before";
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
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}
