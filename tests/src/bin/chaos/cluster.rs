//! The system that is broken: two of each daemon, each behind links of its own to the servers.

use std::time::Duration;

use anyhow::{Context, Result};
use orders_testkit::{Daemon, Setup, Stack};
use tokio::time::{Instant, sleep};

use crate::{
    faults::Server,
    toxiproxy::{Link, Toxiproxy},
};

/// How many of each daemon run.
pub(crate) const INSTANCES: usize = 2;

/// The daemons in the order of the line, with whether they use the database.
pub(crate) const DAEMONS: [(&str, bool); 5] = [
    ("edge", true),
    ("writer", true),
    ("projector", true),
    ("payment-simulator", false),
    ("realtime", false),
];

/// One daemon process and its links.
pub(crate) struct Instance {
    pub(crate) daemon: Daemon,
    pub(crate) nats: Link,
    pub(crate) database: Option<Link>,
}

impl Instance {
    pub(crate) fn link(&self, server: Server) -> Option<&Link> {
        match server {
            Server::Nats => Some(&self.nats),
            Server::Database => self.database.as_ref(),
        }
    }
}

/// Everything that runs.
pub(crate) struct Cluster {
    pub(crate) toxiproxy: Toxiproxy,
    /// By position in [`DAEMONS`] times [`INSTANCES`].
    pub(crate) instances: Vec<Instance>,
    // Dropped last: its folder has the logs.
    pub(crate) stack: Stack,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self> {
        let stack = Stack::start().await;
        let toxiproxy = Toxiproxy::start().await?;
        let nats = stack.nats.url();
        let nats = nats.trim_start_matches("nats://");
        let (_, rest) = stack.mongo_url.split_once("://").context("a URL")?;
        let (mongo, database) = rest.split_once('/').context("a database")?;

        let mut setups: Vec<(Setup, Link, Option<Link>)> = Vec::new();
        for (name, uses_database) in DAEMONS {
            for n in 0..INSTANCES {
                let to_nats = toxiproxy.link(&format!("{name}-{n}-nats"), nats).await?;
                let mut setup = stack
                    .daemon(name)
                    .env("NATS_URL", &format!("nats://{}", to_nats.address));
                let mut to_database = None;
                if uses_database {
                    let link = toxiproxy.link(&format!("{name}-{n}-mongo"), mongo).await?;
                    setup = setup.env(
                        "MONGO_URL",
                        &format!("mongodb://{}/{database}", link.address),
                    );
                    to_database = Some(link);
                }
                setups.push((setup, to_nats, to_database));
            }
        }
        let realtimes: Vec<String> = setups[4 * INSTANCES..]
            .iter()
            .map(|(setup, ..)| setup.url())
            .collect();
        let instances = setups
            .into_iter()
            .map(|(setup, nats, database)| Instance {
                daemon: setup
                    .env("ORDERS_REALTIME_URLS", &realtimes.join(","))
                    .spawn(),
                nats,
                database,
            })
            .collect();
        let cluster = Self {
            toxiproxy,
            instances,
            stack,
        };
        for instance in &cluster.instances {
            instance.daemon.ready().await;
        }
        Ok(cluster)
    }

    /// Where the edges listen.
    pub(crate) fn edges(&self) -> Vec<String> {
        self.instances[..INSTANCES]
            .iter()
            .map(|edge| edge.daemon.url())
            .collect()
    }

    /// Waits until every daemon is ready; names one that is not after `limit`.
    pub(crate) async fn all_ready(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        for instance in &self.instances {
            while !is_ready(&instance.daemon).await {
                if Instant::now() > deadline {
                    return Err(format!(
                        "{} is not ready within {limit:?}",
                        instance.daemon.name()
                    ));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// The daemons that ended by themselves.
    pub(crate) fn dead(&mut self) -> Vec<String> {
        self.instances
            .iter_mut()
            .filter_map(|instance| {
                let status = instance.daemon.status()?;
                Some(format!(
                    "{} ended by itself: {status}",
                    instance.daemon.name()
                ))
            })
            .collect()
    }
}

pub(crate) async fn is_ready(daemon: &Daemon) -> bool {
    let answer = reqwest::Client::new()
        .get(format!("{}/readyz", daemon.url()))
        .timeout(Duration::from_secs(3))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// How many batches of messages a daemon has read from the bus since it started.
pub(crate) async fn batches_read(daemon: &Daemon) -> f64 {
    let Ok(answer) = reqwest::get(format!("{}/metrics", daemon.url())).await else {
        return 0.0;
    };
    let text = answer.text().await.unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("orders_batch_messages_count"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// The resident memory of a process in bytes.
pub(crate) fn memory(process: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident * 4096)
}
