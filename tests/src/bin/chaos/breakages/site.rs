//! A whole installation for one breakage: one of each daemon, NATS, a database that is reached over a link, a metrics
//! server, and a client that sends an order now and then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use orders_testkit::{Daemon, Setup, Stack, VictoriaMetrics};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{process::Command, task::JoinSet, time::sleep};

use crate::{
    cluster::DAEMONS,
    toxiproxy::{Link, Toxiproxy},
};

/// Between two orders. They are so few that failures use up no budget: each breakage is told by an alert of its own.
const PAUSE: Duration = Duration::from_secs(6);

/// Everything that runs.
pub(super) struct Site {
    daemons: BTreeMap<&'static str, Daemon>,
    pub(super) toxiproxy: Toxiproxy,
    pub(super) database: Link,
    database_url: String,
    /// Ends with this value.
    _load: JoinSet<()>,
    // Dropped last: its folder has the logs.
    pub(super) stack: Stack,
}

/// A line of `orderctl doctor`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    pub(super) check: String,
    pub(super) colour: String,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

impl Site {
    pub(super) async fn start(stack: Stack) -> Result<(Self, VictoriaMetrics)> {
        let toxiproxy = Toxiproxy::start().await?;
        let (_, rest) = stack.mongo_url.split_once("://").context("a URL")?;
        let (server, name) = rest.split_once('/').context("a database")?;
        let database = toxiproxy.link("database", server).await?;
        let database_url = format!("mongodb://{}/{name}", database.address);
        let setups = DAEMONS.map(|(name, _)| stack.daemon(name).env("MONGO_URL", &database_url));
        let [edge, .., realtime] = &setups;
        let (edge, realtime) = (edge.url(), realtime.url());
        let start = |setup: Setup| setup.env("ORDERS_REALTIME_URLS", &realtime).spawn();
        let daemons = setups.into_iter().map(start);
        let daemons: BTreeMap<_, _> = daemons.map(|daemon| (daemon.name(), daemon)).collect();
        for daemon in daemons.values() {
            daemon.ready().await;
        }
        let watched: Vec<_> = daemons.values().collect();
        let metrics = VictoriaMetrics::start(stack.folder(), &watched).await;
        let mut load = JoinSet::new();
        load.spawn(orders(edge));
        let site = Self {
            daemons,
            toxiproxy,
            database,
            database_url,
            _load: load,
            stack,
        };
        Ok((site, metrics))
    }

    pub(super) fn daemon(&mut self, name: &str) -> Result<&mut Daemon> {
        self.daemons.get_mut(name).context("a daemon")
    }

    /// What `orderctl doctor` finds that is not green.
    pub(super) async fn doctor(&self) -> Result<Vec<Line>> {
        let said = self.orderctl(&["doctor", "--json"]).await?;
        let lines = said.lines().filter(|line| !line.is_empty());
        let read = lines.map(|line| match serde_json::from_str::<Line>(line) {
            Ok(line) => line,
            // It has given up.
            Err(_) => Line {
                check: "doctor".to_owned(),
                colour: "red".to_owned(),
                found: line.to_owned(),
                remedy: None,
            },
        });
        Ok(read.filter(|line| line.colour != "green").collect())
    }

    /// All that `orderctl ARGUMENTS` says, to stdout and stderr.
    pub(super) async fn orderctl(&self, arguments: &[&str]) -> Result<String> {
        let folder = std::env::var("ORDERS_TEST_BIN_DIR").context("run `cargo xtask chaos`")?;
        let mut orderctl = Command::new(Path::new(&folder).join("orderctl"));
        orderctl
            .args(arguments)
            .env_clear()
            .env("USER", "chaos")
            .env("NATS_URL", self.stack.nats.url())
            .env("MONGO_URL", &self.database_url)
            .env("NATS_MONITOR_URL", self.stack.nats.monitor_url())
            .envs(self.stack.login_of_orderctl(arguments))
            .kill_on_drop(true);
        let output = orderctl.output().await.context("starting orderctl")?;
        let said = [output.stdout, output.stderr].concat();
        let folder = self.stack.folder().display().to_string();
        Ok(String::from_utf8_lossy(&said).replace(&folder, "..."))
    }

    /// Runs the `nats` tool, which must succeed.
    pub(super) async fn nats(&self, arguments: &[&str]) -> Result<()> {
        let mut nats = Command::from(self.stack.nats_cli());
        let output = nats.args(arguments).output().await.context("nats")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nats {arguments:?}: {said}");
        Ok(())
    }

    /// Sends an order and returns the status of the answer.
    pub(super) async fn order(&self, order: &Value) -> Result<u16> {
        let edge = self.daemons.get("edge").context("a daemon")?;
        let url = format!("{}/api/orders", edge.url());
        let post = reqwest::Client::new().post(url).json(order);
        Ok(post.send().await?.status().as_u16())
    }
}

/// An order.
pub(super) fn order(request: &str) -> Value {
    json!({
        "requestId": request, "tenantId": "t-1", "buyer": { "email": "alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 1, "price": 1 }],
    })
}

/// Sends orders for ever.
async fn orders(edge: String) {
    let http = reqwest::Client::new();
    for number in 0.. {
        let order = order(&format!("r{number}"));
        // It may be refused; the alerts would tell.
        let _ = http
            .post(format!("{edge}/api/orders"))
            .json(&order)
            .send()
            .await;
        sleep(PAUSE).await;
    }
}
