//! Clients that each send the next order as soon as the one before is answered.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::{runtime, task};
use uuid::Uuid;

use crate::{
    client::{Connection, POST},
    deployment::Deployment,
    load::{TENANTS, created, order},
    report::{Report, latencies, millis, record},
    rounds::{Figures, compare_new},
    site::Site,
};

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
const WARM_UP: Duration = Duration::from_secs(2);
const LENGTH: Duration = Duration::from_secs(8);
/// The share of orders that may be answered with anything but 201, or not be listed in time: a slow machine lists
/// some late.
const REFUSED_LIMIT: f64 = 0.05;

/// Measures each number of connections.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let note = format!(
        "Each connection sends the next order as soon as the one before is answered, for {} s after {} s of warm-up; all orders are paid before the next number of connections. Databases, nats-server and daemons are new for each round.",
        LENGTH.as_secs(),
        WARM_UP.as_secs()
    );
    let text = ["Closed loop", &*note];
    compare_new(site, report, rounds, text, async |deployment| {
        let mut figures = Vec::new();
        for connections in CONNECTIONS {
            figures.extend(over(deployment, connections, REFUSED_LIMIT).await?);
        }
        Ok(figures)
    })
    .await
}

/// What a deployment does over so many connections, until all is paid; no more than that share of the orders may be
/// refused or not listed.
pub(crate) async fn over(
    deployment: &Deployment,
    connections: usize,
    refused_limit: f64,
) -> Result<Figures> {
    let what = match connections {
        1 => "1 connection".to_owned(),
        _ => format!("{connections} connections"),
    };
    let seconds = (WARM_UP + LENGTH).as_secs();
    eprintln!("{what} for {seconds} s, then until all is paid");
    let url = deployment.target.url.clone();
    let load = move || on_one_thread(&url, connections, refused_limit);
    let taken = task::spawn_blocking(load).await??;
    let mut histogram = latencies();
    for time in &taken {
        record(&mut histogram, *time);
    }
    let rate = taken.len() as f64 / LENGTH.as_secs_f64();
    let [p50, p99] = [0.5, 0.99].map(|quantile| millis(&histogram, quantile));
    eprintln!("  {rate:.0}/s, p50 {p50:.1}, p99 {p99:.1} ms");
    deployment.all_paid().await?;
    Ok(vec![
        (format!("{what}: creates/s"), rate),
        (format!("{what}: p50, ms"), p50),
        (format!("{what}: p99, ms"), p99),
    ])
}

/// A second thread of clients would take more from the pipeline than it sends to it.
fn on_one_thread(url: &str, connections: usize, refused_limit: f64) -> Result<Vec<Duration>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(load(url, connections, refused_limit))
}

/// How long each order took that was answered after the warm-up.
async fn load(url: &str, connections: usize, refused_limit: f64) -> Result<Vec<Duration>> {
    let run = Uuid::new_v4().simple().to_string();
    let start = Instant::now() + WARM_UP;
    let end = start + LENGTH;
    let mut clients = task::JoinSet::new();
    for client in 0..connections {
        let mut connection = Connection::open(url).await?;
        let run = run.clone();
        clients.spawn(async move {
            let (mut taken, mut sent, mut refused) = (Vec::new(), 0, 0);
            loop {
                let began = Instant::now();
                let body = order(&run, TENANTS, client + sent * connections);
                let answer = connection.send(POST, "/api/orders", body).await?;
                let answered = Instant::now();
                if answered >= end {
                    return Ok::<_, anyhow::Error>((taken, sent, refused));
                }
                sent += 1;
                if created(&answer).is_none() {
                    refused += 1;
                } else if answered >= start {
                    taken.push(answered - began);
                }
            }
        });
    }
    let (mut taken, mut sent, mut refused) = (Vec::new(), 0, 0);
    while let Some(client) = clients.join_next().await {
        let (times, of_client, not_created) = client??;
        taken.extend(times);
        sent += of_client;
        refused += not_created;
    }
    ensure!(
        f64::from(refused) <= sent as f64 * refused_limit,
        "{refused} of {sent} orders were refused or not listed"
    );
    Ok(taken)
}
