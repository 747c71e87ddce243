//! Whether the alerts tell what is broken: every projector is killed, and nothing else may be said to be wrong.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use orders_testkit::{Alert, VictoriaMetrics};
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Cluster, DAEMONS, INSTANCES};

/// What is asked for the alerts: `page ProjectionBehind of projector`.
type Told = BTreeSet<String>;

/// The position of the projector in [`DAEMONS`].
const PROJECTOR: usize = 2;
/// Between two orders. They are so few that those without a projector, which take longer, prove nothing.
const PAUSE: Duration = Duration::from_secs(3);
/// For what the alerts look back on, a minute, and as much as they may be late.
const TOLD: Duration = Duration::from_secs(120);
/// For a machine that has just started everything to become quiet.
const CALM: Duration = Duration::from_secs(360);

/// Runs the cluster under a light load and returns whether the alerts were right.
pub(crate) async fn check() -> Result<bool> {
    let mut cluster = Cluster::start().await?;
    let daemons: Vec<_> = cluster
        .instances
        .iter()
        .map(|instance| &instance.daemon)
        .collect();
    let metrics = VictoriaMetrics::start(cluster.stack.folder(), &daemons).await;
    let load = tokio::spawn(orders(cluster.edges()));

    let nothing = Told::new();
    until(&metrics, "all is well", &nothing, CALM).await?;
    let killed = PROJECTOR * INSTANCES..(PROJECTOR + 1) * INSTANCES;
    let (name, _) = DAEMONS[PROJECTOR];
    for instance in &mut cluster.instances[killed.clone()] {
        instance.daemon.kill().await;
    }
    println!("killed every {name}");
    // One page for what people notice, and tickets that say why.
    let right = [
        "page OrdersProjectionBehind of projector",
        "ticket OrdersDaemonDown of projector",
        "ticket OrdersNobodyReads of projector",
    ];
    let right = right.map(str::to_owned).into();
    until(&metrics, "the alerts tell of it", &right, TOLD).await?;
    for instance in &mut cluster.instances[killed] {
        instance.daemon.restart(|setup| setup).await;
    }
    println!("started them again");
    until(&metrics, "all is well again", &nothing, TOLD).await?;
    load.abort();
    Ok(true)
}

/// Waits until the alerts say exactly `right`. Whatever they say on the way must be a part of it, or be past.
async fn until(metrics: &VictoriaMetrics, what: &str, right: &Told, limit: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        let told = told(metrics).await?;
        if told == *right {
            println!("{:>4} s  {what}: {told:?}", start.elapsed().as_secs());
            return Ok(());
        }
        if !right.is_empty() && !told.is_subset(right) {
            bail!("{what}: {told:?} instead of {right:?}");
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}, but {told:?}");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The alerts that are true now, without the time for which they have to be.
async fn told(metrics: &VictoriaMetrics) -> Result<Told> {
    let mut told = Told::new();
    for alert in Alert::all() {
        let found = metrics.query(&alert.expr).await;
        for sample in found.map_err(anyhow::Error::msg)? {
            let of = ["consumer", "daemon", "stream", "operation"];
            let of = of.iter().find_map(|label| sample.labels.get(*label));
            let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
            told.insert(format!("{} {}{of}", alert.severity, alert.name));
        }
    }
    Ok(told)
}

/// Sends orders for ever.
async fn orders(edges: Vec<String>) {
    let http = reqwest::Client::new();
    for (number, edge) in edges.iter().cycle().enumerate() {
        let order = json!({
            "requestId": format!("r{number}"), "tenantId": "t-1", "buyer": { "email": "alice@example.com", "name": "Alice" },
            "items": [{ "sku": "SKU-1", "qty": 1, "price": 1 }],
        });
        // It may be refused; the alerts would tell.
        let _ = http
            .post(format!("{edge}/api/orders"))
            .json(&order)
            .send()
            .await;
        sleep(PAUSE).await;
    }
}
