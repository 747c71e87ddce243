//! The machines and what runs on them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use orders_testkit::{
    Balancer, Daemon, FerretDb, Host, Hosts, NatsCluster, NatsServer, Setup, Sync,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// The hosts that have a nats-server and every daemon.
pub(crate) const LINE: [&str; 3] = ["a", "b", "c"];
/// The host of the database.
const DATABASE: &str = "d";
/// The host of the clients.
pub(crate) const CLIENTS: &str = "e";
/// All of them.
pub(crate) const ALL: [&str; 5] = ["a", "b", "c", DATABASE, CLIENTS];

/// The daemons of a host.
const DAEMONS: [&str; 5] = [
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
];

/// The streams that an order goes through.
pub(crate) const STREAMS: [&str; 4] = [
    "ORDERS_COMMANDS",
    "ORDERS_EVENTS",
    "PAYMENTS",
    "ORDERS_FEED",
];

/// Everything that runs.
pub(crate) struct Site {
    /// By the position of its host in [`LINE`].
    pub(crate) daemons: Vec<Vec<Daemon>>,
    pub(crate) nats: NatsCluster,
    pub(crate) balancer: Balancer,
    mongo_url: String,
    _database: FerretDb,
    pub(crate) hosts: Hosts,
    // Dropped last: it has the logs.
    folder: TempDir,
}

impl Site {
    /// Starts it: two servers of three, and so one copy of each stream.
    pub(crate) async fn start(hosts: Hosts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("orders-hosts-").tempdir()?;
        let machines = LINE.map(|name| hosts.host(name));
        let nats = NatsCluster::on(&machines, 2, folder.path(), Sync::Always).await;
        let database = FerretDb::start_on(hosts.host(DATABASE), folder.path()).await;
        let database = database.context("it needs FerretDB: run `cargo xtask hosts`")?;
        let name = uuid::Uuid::new_v4().simple();
        let mongo_url = format!("mongodb://{}/orders_hosts_{name}", database.address());
        let setup = |host: &Host, daemon| {
            Setup::new(daemon, folder.path())
                .on(host)
                .env("NATS_URL", nats.url())
                .env("MONGO_URL", &mongo_url)
        };
        let setups = machines.map(|host| DAEMONS.map(|daemon| setup(host, daemon)));
        let realtimes: Vec<String> = setups.iter().map(|[.., realtime]| realtime.url()).collect();
        let edges: Vec<_> = setups.iter().map(|[edge, ..]| edge.address()).collect();
        let start = |setup: Setup| {
            setup
                .env("ORDERS_REALTIME_URLS", &realtimes.join(","))
                .spawn()
        };
        let daemons: Vec<Vec<Daemon>> = setups
            .into_iter()
            .map(|of_host| of_host.into_iter().map(start).collect())
            .collect();
        for daemon in daemons.iter().flatten() {
            daemon.ready().await;
        }
        let balancer = Balancer::start_on(hosts.host(CLIENTS), folder.path(), &edges).await;
        Ok(Self {
            daemons,
            nats,
            balancer,
            mongo_url,
            _database: database,
            hosts,
            folder,
        })
    }

    /// A host of [`LINE`].
    pub(crate) fn host(&self, position: usize) -> Host {
        self.hosts.host(LINE[position]).clone()
    }

    pub(crate) fn server(&mut self, position: usize) -> &mut NatsServer {
        &mut self.nats.servers()[position]
    }

    /// The folder with the logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn jetstream(&self) -> Result<jetstream::Context> {
        let servers: Vec<&str> = self.nats.url().split(',').collect();
        let client = async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_secs(2))
            .connect(servers)
            .await?;
        Ok(jetstream::new(client))
    }

    pub(crate) async fn database(&self) -> Result<mongodb::Database> {
        let client = mongodb::Client::with_uri_str(&self.mongo_url).await?;
        client.default_database().context("the URL names one")
    }

    /// The position of the host whose server leads `stream`.
    pub(crate) async fn leader(&self, stream: &str) -> Result<usize> {
        let mut stream = self.jetstream().await?.get_stream(stream).await?;
        let cluster = stream.info().await?.cluster.clone();
        let leader = cluster.and_then(|cluster| cluster.leader);
        let position = LINE
            .iter()
            .position(|name| leader.as_deref() == Some(*name));
        position.context("the stream has a leader")
    }

    /// How many daemons are connected to a server.
    pub(crate) async fn daemons_at(&mut self, position: usize) -> Result<usize> {
        let url = format!("{}/connz", self.server(position).monitor_url());
        let answer: Value = reqwest::get(url).await?.json().await?;
        let connections = answer["connections"].as_array().context("a list")?;
        let is_daemon = |connection: &&Value| {
            let name = connection["name"].as_str();
            name.is_some_and(|name| DAEMONS.contains(&name))
        };
        Ok(connections.iter().filter(is_daemon).count())
    }

    /// Has the third server join, and three copies of each stream made, as an operator does.
    pub(crate) async fn grow(&mut self) -> Result<()> {
        self.nats.join().await;
        let programs = std::env::var("ORDERS_TEST_BIN_DIR").context("run `cargo xtask hosts`")?;
        let output = Command::new(PathBuf::from(programs).join("orderctl"))
            .args(["migrate", "--yes"])
            .env("NATS_URL", self.nats.url())
            .env("MONGO_URL", &self.mongo_url)
            .env("ORDERS_STREAMS__REPLICAS", LINE.len().to_string())
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "orderctl migrate: {said}");
        Ok(())
    }

    /// Which streams and consumers do not have three copies that are up to date.
    pub(crate) async fn lacking(&self) -> Result<Vec<String>> {
        let jetstream = self.jetstream().await?;
        let mut lacking = Vec::new();
        for name in STREAMS {
            let mut stream = jetstream.get_stream(name).await?;
            let info = stream.info().await?.clone();
            lacking.extend(lacks(name, info.cluster));
            let mut consumers = stream.consumers();
            while let Some(consumer) = futures_util::TryStreamExt::try_next(&mut consumers).await? {
                if consumer.config.durable_name.is_some() {
                    lacking.extend(lacks(
                        &format!("{name}/{}", consumer.name),
                        consumer.cluster,
                    ));
                }
            }
        }
        Ok(lacking)
    }

    /// Waits until every server and daemon is ready; names one that is not after `limit`.
    pub(crate) async fn all_ready(&mut self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let late =
            |who: &str, why: String| Err(format!("{who} is not ready within {limit:?}: {why}"));
        for (position, server) in self.nats.servers().iter().enumerate() {
            while let Err(error) = server.health().await {
                if Instant::now() > deadline {
                    return late(&format!("nats-server of {}", LINE[position]), error);
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        for (position, daemons) in self.daemons.iter().enumerate() {
            for daemon in daemons {
                while let Err(error) = readiness(daemon).await {
                    if Instant::now() > deadline {
                        return late(&format!("{} of {}", daemon.name(), LINE[position]), error);
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        Ok(())
    }

    /// The daemons that ended by themselves.
    pub(crate) fn dead(&mut self) -> Vec<String> {
        let daemons = self.daemons.iter_mut().flatten();
        daemons
            .filter_map(|daemon| {
                let status = daemon.status()?;
                Some(format!("{} ended by itself: {status}", daemon.name()))
            })
            .collect()
    }
}

fn lacks(what: &str, cluster: Option<jetstream::stream::ClusterInfo>) -> Option<String> {
    let cluster = cluster.unwrap_or_default();
    let current = cluster.replicas.iter().filter(|replica| replica.current);
    let copies = usize::from(cluster.leader.is_some()) + current.count();
    (copies != LINE.len()).then(|| format!("{what} has {copies} copies"))
}

async fn readiness(daemon: &Daemon) -> Result<(), String> {
    let answer = reqwest::Client::new()
        .get(format!("{}/readyz?verbose", daemon.url()))
        .timeout(Duration::from_secs(3))
        .send()
        .await
        .map_err(|error| error.to_string())?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(answer.text().await.unwrap_or_default()),
    }
}
