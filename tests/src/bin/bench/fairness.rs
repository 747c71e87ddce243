//! One tenant that floods the edge, and another that creates a few orders beside it.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use hyper::header::RETRY_AFTER;
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout_at},
};
use uuid::Uuid;

use crate::{
    client::{Connection, POST},
    deployment::Deployment,
    load::{created, order_of},
    report::{Report, latencies, millis, record},
    rounds::{Figures, compare_new},
    site::Site,
};

/// The connections of the tenant that floods.
const FLOOD: usize = 256;
/// The other tenant's orders per second.
const RATE: f64 = 20.0;
const LENGTH: Duration = Duration::from_secs(15);
/// From the first request of the flood to the first order that counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// What a client of the flood does with a 429.
#[derive(Clone, Copy)]
enum Manners {
    /// It waits as long as `Retry-After` says.
    Waits,
    /// It sends the next order at once.
    Insists,
}

/// Measures the quiet tenant alone, and beside floods.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let note = format!(
        "One tenant creates {RATE} orders/s for {} s, alone and while another one sends orders over {FLOOD} connections, each as soon as the one before is answered. After a 429 the clients of the flood wait as `Retry-After` says, or insist.",
        LENGTH.as_secs()
    );
    compare_new(
        site,
        report,
        rounds,
        ["Fairness", &*note],
        async |deployment| {
            let mut figures = Figures::new();
            for (what, manners) in [
                ("alone", None),
                ("beside a flood that waits", Some(Manners::Waits)),
                ("beside a flood that insists", Some(Manners::Insists)),
            ] {
                eprintln!("{RATE} orders/s {what} for {} s", LENGTH.as_secs());
                let end = Instant::now() + WARM_UP + LENGTH;
                let flood = flood(deployment, manners, end).await?;
                sleep(WARM_UP).await;
                let (create, refused) = quiet(deployment).await?;
                let [p50, p99] = [0.5, 0.99].map(|quantile| millis(&create, quantile));
                let accepted = flooded(flood).await? as f64 / (WARM_UP + LENGTH).as_secs_f64();
                eprintln!("  p50 {p50:.1}, p99 {p99:.1} ms; the flood {accepted:.0}/s");
                figures.extend([
                    (format!("{what}: create p50, ms"), p50),
                    (format!("{what}: create p99, ms"), p99),
                    (format!("{what}: refused"), refused as f64),
                    (format!("{what}: creates/s of the flood"), accepted),
                ]);
                deployment.all_paid().await?;
            }
            Ok(figures)
        },
    )
    .await
}

/// The quiet tenant's latencies, each from when the order was due, and how many orders were refused.
async fn quiet(deployment: &Deployment) -> Result<(Histogram<u64>, usize)> {
    let mut connection = Connection::open(&deployment.target.url).await?;
    let run = Uuid::new_v4().simple().to_string();
    let (mut create, mut refused) = (latencies(), 0);
    let start = Instant::now();
    for n in 0..(RATE * LENGTH.as_secs_f64()) as usize {
        let due = start + Duration::from_secs_f64(n as f64 / RATE);
        sleep_until(due.into()).await;
        let body = order_of("quiet", &run, n);
        let answer = connection.send(POST, "/api/orders", body).await?;
        record(&mut create, due.elapsed());
        refused += usize::from(created(&answer).is_none());
    }
    Ok((create, refused))
}

async fn flood(
    deployment: &Deployment,
    manners: Option<Manners>,
    end: Instant,
) -> Result<JoinSet<Result<usize>>> {
    let run = Uuid::new_v4().simple().to_string();
    let mut clients = JoinSet::new();
    let Some(manners) = manners else {
        return Ok(clients);
    };
    for client in 0..FLOOD {
        let mut connection = Connection::open(&deployment.target.url).await?;
        let run = run.clone();
        clients.spawn(async move {
            let mut accepted = 0;
            for n in 0.. {
                let body = order_of("flood", &run, client + n * FLOOD);
                let sent = connection.send(POST, "/api/orders", body);
                let Ok(answer) = timeout_at(end.into(), sent).await else {
                    break;
                };
                let answer = answer?;
                accepted += usize::from(created(&answer).is_some());
                let wait = answer.headers.get(RETRY_AFTER);
                if let (Manners::Waits, Some(wait)) = (manners, wait) {
                    sleep(Duration::from_secs(wait.to_str()?.parse()?)).await;
                }
            }
            Ok(accepted)
        });
    }
    Ok(clients)
}

/// How many orders of the flood were created.
async fn flooded(mut clients: JoinSet<Result<usize>>) -> Result<usize> {
    let mut accepted = 0;
    while let Some(client) = clients.join_next().await {
        accepted += client??;
    }
    Ok(accepted)
}
