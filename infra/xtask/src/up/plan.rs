//! The decisions of `up` before it starts anything.

use std::env;

use anyhow::{Result, ensure};

use crate::{
    database::{self, Clients},
    ports::require_free,
    procfile::{self, Daemon},
    progress,
    secure::Ports,
    stack::{self, Given},
    workspace::{Settings, Workspace},
};

/// The port of the edge, unless a setting names another.
pub(crate) const EDGE_PORT: u16 = 3001;
const NATS_PORT: u16 = 4222;
pub(super) const MONITOR_PORT: u16 = 8222;
const MONGO_PORT: u16 = 27017;
/// How far the port of the OpenID provider is behind that of the edge.
const PROVIDER: u16 = 899;
/// How far the port of the S3 server is.
const S3: u16 = 900;
/// How far that of VictoriaMetrics is.
const OBSERVE: u16 = 909;

pub(super) struct Plan {
    pub(super) daemons: Vec<Daemon>,
    /// The port of each daemon.
    pub(super) ports: Vec<u16>,
    nats: Option<Given>,
    mongo: Option<Given>,
}

impl Plan {
    pub(super) async fn new(
        workspace: &Workspace,
        settings: &Settings,
        secure: bool,
    ) -> Result<Self> {
        let given = async |key, default_port| match settings.get(key) {
            Some(url) => {
                let given = Given::probe(url, default_port).await?;
                ensure!(
                    !secure || given.is_ours_to_start(),
                    "--secure starts servers of its own: {key} may only name a free port of this machine"
                );
                Ok(Some(given))
            }
            None => Ok(None),
        };
        let daemons = procfile::read(workspace)?;
        let port = |daemon: &Daemon| daemon.port(EDGE_PORT, |name| settings.get(name));
        Ok(Self {
            ports: daemons.iter().map(port).collect::<Result<_>>()?,
            daemons,
            nats: given("NATS_URL", NATS_PORT).await?,
            mongo: given("MONGO_URL", MONGO_PORT).await?,
        })
    }

    /// The port on which to start NATS, unless it runs already.
    pub(super) fn nats_port(&self) -> Option<u16> {
        to_start(self.nats.as_ref(), NATS_PORT)
    }

    pub(super) fn mongo_port(&self) -> Option<u16> {
        to_start(self.mongo.as_ref(), MONGO_PORT)
    }

    /// The ports of `--secure`, which starts both servers.
    pub(super) fn secure_ports(&self) -> Ports {
        Ports {
            nats: self.nats_port().unwrap_or(NATS_PORT),
            mongo: self.mongo_port().unwrap_or(MONGO_PORT),
            edge: self.port("edge"),
            web: self.port("web"),
            provider: self.port("edge").saturating_add(PROVIDER),
        }
    }

    /// The port of the S3 server.
    pub(super) fn s3_port(&self) -> u16 {
        self.port("edge").saturating_add(S3)
    }

    /// The port of VictoriaMetrics.
    pub(super) fn observe_port(&self) -> u16 {
        self.port("edge").saturating_add(OBSERVE)
    }

    pub(super) fn nats_url(&self) -> String {
        self.nats.as_ref().map_or_else(
            || format!("nats://127.0.0.1:{NATS_PORT}"),
            |given| given.url.clone(),
        )
    }

    pub(super) fn mongo_url(&self) -> String {
        let ours = || format!("mongodb://127.0.0.1:{MONGO_PORT}/orders");
        self.mongo
            .as_ref()
            .map_or_else(ours, |given| given.url.clone())
    }

    /// Gets the programs of the servers to start.
    pub(super) async fn fetch(&self, workspace: &Workspace) -> Result<()> {
        if self.nats_port().is_some() {
            stack::nats_server(workspace).await?;
        }
        if self.mongo_port().is_some() {
            database::prepare(workspace, Clients::All).await?;
        }
        Ok(())
    }

    /// Builds the daemons and `orderctl`, and nothing else.
    pub(super) async fn build(&self, workspace: &Workspace, release: bool) -> Result<()> {
        // The tests have built them.
        if env::var_os("ORDERS_TEST_BIN_DIR").is_some() {
            return Ok(());
        }
        let mut build = workspace.cargo();
        let programs = self.daemons.iter().map(|daemon| daemon.name.as_str());
        build
            // The features of dependencies are chosen for the whole workspace, as other commands choose them.
            .args(["build", "--workspace"])
            .args(programs.chain(["orderctl"]).flat_map(|name| ["--bin", name]))
            .args(release.then_some("--release"));
        let log = workspace.data().join("log/build.log");
        let what = "building the daemons (its output is in .orders/log/build.log)";
        progress::run_logged(what, &mut build, &log).await
    }

    /// Finds every obstacle before anything is started.
    pub(super) fn check(&self, secure: bool, stores_uploads: bool, observe: bool) -> Result<()> {
        match self.nats_port() {
            Some(port) => {
                require_free("NATS", port, "stop it, or set NATS_URL to use it")?;
                if !secure {
                    require_free(
                        "NATS monitoring",
                        MONITOR_PORT,
                        "stop it, or set NATS_URL to use a server that runs",
                    )?;
                }
            }
            None => self
                .nats
                .iter()
                .try_for_each(|given| given.require_answer("NATS_URL"))?,
        }
        match self.mongo_port() {
            Some(port) => require_free("MongoDB", port, "stop it, or set MONGO_URL to use it")?,
            None => self
                .mongo
                .iter()
                .try_for_each(|given| given.require_answer("MONGO_URL"))?,
        }
        if secure {
            let port = self.secure_ports().provider;
            require_free(
                "the OpenID provider",
                port,
                "stop it, or set ORDERS_BASE_PORT",
            )?;
        }
        if stores_uploads {
            let remedy = "stop it, or set ORDERS_BASE_PORT";
            require_free("the S3 server", self.s3_port(), remedy)?;
        }
        if observe {
            let remedy = "stop it, or set ORDERS_BASE_PORT";
            require_free("VictoriaMetrics", self.observe_port(), remedy)?;
        }
        self.listeners().try_for_each(|(daemon, port)| {
            let remedy = format!("stop it, or set {}", daemon.port_variable());
            require_free(&daemon.name, port, &remedy)
        })
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = (&Daemon, u16)> {
        self.daemons.iter().zip(self.ports.iter().copied())
    }

    /// The port of the daemon of that name.
    pub(super) fn port(&self, name: &str) -> u16 {
        let mut listeners = self.listeners();
        let found = listeners.find(|(daemon, _)| daemon.name == name);
        found.map_or(0, |(_, port)| port)
    }

    /// The URL of the daemon of that name.
    pub(super) fn url(&self, name: &str) -> String {
        format!("http://localhost:{}", self.port(name))
    }
}

fn to_start(given: Option<&Given>, default_port: u16) -> Option<u16> {
    match given {
        None => Some(default_port),
        Some(given) => given.is_ours_to_start().then_some(given.port),
    }
}
