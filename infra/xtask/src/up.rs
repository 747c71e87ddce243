//! `up`: the whole pipeline on this machine, until Ctrl-C.

use std::{
    fs::{self, File, TryLockError},
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Signal, getpid};
use tokio::process::Command;

use crate::{
    console::Console,
    database,
    exit::{INTERRUPTED, SUCCESS, interrupted, unless_interrupted},
    leftovers,
    ports::require_free,
    process::{Output, Record},
    procfile::{self, Daemon},
    progress,
    stack::{self, Given, Site, all_ready, redacted},
    supervisor::{Supervisor, stop_in_order},
    tools,
    workspace::{Settings, Workspace},
};

const EDGE_PORT: u16 = 3001;
const NATS_PORT: u16 = 4222;
const MONITOR_PORT: u16 = 8222;
const MONGO_PORT: u16 = 27017;

/// Start NATS, the database and the daemons, and show one log until Ctrl-C
///
/// NATS_URL and MONGO_URL (from the environment or .env) name the servers to use. Without them, or if they are local
/// and do not answer, this starts `nats-server` and `mongod` from the PATH, or its own. It restarts a daemon that dies.
/// Data is kept in .orders/ until `cargo xtask reset`.
///
/// Ports: the first daemon of the Procfile takes PORT (3001), the others follow in steps of 100, except web, which
/// takes ORDERS_WEB_PORT (3000). ORDERS_BASE_PORT (3000) moves all of these together. NATS takes 4222 and 8222 (monitoring), MongoDB 27017.
#[derive(Args)]
pub(crate) struct Options {
    /// Build and run the daemons optimised
    #[arg(long)]
    release: bool,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    let Some(stack) = unless_interrupted(Stack::start(workspace, &options)).await? else {
        return Ok(INTERRUPTED);
    };
    let mut stop = std::pin::pin!(interrupted());
    tokio::select! {
        () = &mut stop => {}
        () = stack.announce(workspace) => stop.await,
    }
    eprintln!("stopping (Ctrl-C again to stop at once)");
    tokio::select! {
        () = stop_in_order(stack.layers) => eprintln!("stopped; `cargo xtask up` continues with the same data"),
        () = interrupted() => {}
    }
    Ok(SUCCESS)
}

/// The decisions of `up` before it starts anything.
struct Plan {
    daemons: Vec<Daemon>,
    /// The port of each daemon.
    ports: Vec<u16>,
    nats: Option<Given>,
    mongo: Option<Given>,
}

impl Plan {
    async fn new(workspace: &Workspace, settings: &Settings) -> Result<Self> {
        let given = async |key, default_port| match settings.get(key) {
            Some(url) => Given::probe(url, default_port).await.map(Some),
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
    fn nats_port(&self) -> Option<u16> {
        to_start(self.nats.as_ref(), NATS_PORT)
    }

    fn mongo_port(&self) -> Option<u16> {
        to_start(self.mongo.as_ref(), MONGO_PORT)
    }

    fn nats_url(&self) -> String {
        self.nats.as_ref().map_or_else(
            || format!("nats://127.0.0.1:{NATS_PORT}"),
            |given| given.url.clone(),
        )
    }

    fn mongo_url(&self) -> String {
        let ours = || format!("mongodb://127.0.0.1:{MONGO_PORT}/orders");
        self.mongo
            .as_ref()
            .map_or_else(ours, |given| given.url.clone())
    }

    /// Builds the daemons and `orderctl`, and nothing else.
    async fn build(&self, workspace: &Workspace, release: bool) -> Result<()> {
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
    fn check(&self) -> Result<()> {
        match self.nats_port() {
            Some(port) => {
                require_free("NATS", port, "stop it, or set NATS_URL to use it")?;
                require_free(
                    "NATS monitoring",
                    MONITOR_PORT,
                    "stop it, or set NATS_URL to use a server that runs",
                )?;
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
        self.listeners().try_for_each(|(daemon, port)| {
            let remedy = format!("stop it, or set {}", daemon.port_variable());
            require_free(&daemon.name, port, &remedy)
        })
    }

    fn listeners(&self) -> impl Iterator<Item = (&Daemon, u16)> {
        self.daemons.iter().zip(self.ports.iter().copied())
    }

    /// The URL of the daemon of that name.
    fn url(&self, name: &str) -> String {
        let mut listeners = self.listeners();
        let port = listeners.find(|(daemon, _)| daemon.name == name);
        port.map_or_else(String::new, |(_, port)| format!("http://localhost:{port}"))
    }
}

fn to_start(given: Option<&Given>, default_port: u16) -> Option<u16> {
    match given {
        None => Some(default_port),
        Some(given) => given.is_ours_to_start().then_some(given.port),
    }
}

struct Stack {
    plan: Plan,
    console: Console,
    /// Stopped one after the other: the daemons, then the servers they use.
    layers: Vec<Vec<Supervisor>>,
    _record: Record,
    _lock: File,
}

impl Stack {
    async fn start(workspace: &Workspace, options: &Options) -> Result<Self> {
        let settings = workspace.settings()?;
        let plan = Plan::new(workspace, &settings).await?;
        let lock = lock(workspace)?;
        if lock.is_some() {
            for name in leftovers::stop_all(workspace).await {
                eprintln!("stopped {name}, left over from an earlier run");
            }
        }
        let lock = lock.context(
            "another `cargo xtask up` runs in this checkout (cargo xtask down stops it)",
        )?;
        plan.check()?;

        let console = Console::new(
            plan.daemons
                .iter()
                .map(|daemon| daemon.name.as_str())
                .chain(["nats-server"]),
        );
        let records = leftovers::records(workspace);
        let record = Record::write(&records, leftovers::SUPERVISOR, getpid(), Signal::TERM)?;
        let site = Site {
            data: workspace.data(),
            records: Some(records),
            durable: true,
            console,
        };
        let profile = if options.release { "release" } else { "debug" };

        let servers = async {
            if plan.nats_port().is_some() {
                stack::nats_server(workspace).await?;
            }
            if plan.mongo_port().is_some() {
                database::prepare(workspace).await?;
            }
            Ok(())
        };
        // Side by side: one downloads while the other compiles.
        tokio::try_join!(servers, plan.build(workspace, options.release))?;
        let mut layers = match plan.mongo_port() {
            Some(port) => database::start(workspace, &site, port).await?.layers,
            None => vec![Vec::new()],
        };
        if let Some(port) = plan.nats_port() {
            layers[0].push(stack::start_nats(workspace, &site, port, MONITOR_PORT).await?);
        }
        plan.introduce();

        let mut env = settings.file_only();
        env.extend([
            ("NATS_URL".into(), plan.nats_url()),
            ("MONGO_URL".into(), plan.mongo_url()),
        ]);
        let daemons = procfile::start(
            workspace,
            &site,
            &plan.daemons,
            &plan.ports,
            profile,
            &env,
            |_| Output::Lines(console),
        )?;
        layers.insert(0, vec![daemons]);
        Ok(Self {
            plan,
            console,
            layers,
            _record: record,
            _lock: lock,
        })
    }

    /// Waits until all are ready, then prints examples to try.
    async fn announce(&self, workspace: &Workspace) {
        all_ready(&self.plan.ports).await;
        let (edge, web) = (self.plan.url("edge"), self.plan.url("web"));
        self.console.notice("up", "every daemon is ready; try:");
        println!(
            r#"
  {web}/orders   in a browser

  curl -i {edge}/api/orders -H 'content-type: application/json' \
    -d '{{"requestId":"r1","tenantId":"t-123","buyer":{{"email":"alice@example.com","name":"Alice"}},"items":[{{"sku":"SKU-1","qty":2,"price":49.99}}]}}'
  curl '{edge}/api/orders?tenantId=t-123'
"#
        );
        // Nothing waits for it, so it is built last.
        match tools::nats_cli(workspace).await {
            Ok(nats) => println!(
                "  {} --server {} sub 'orders.evt.>'   watches the events\n",
                nats.display(),
                redacted(&self.plan.nats_url())
            ),
            Err(error) => self
                .console
                .notice("up", &format!("no nats CLI: {error:#}")),
        }
    }
}

impl Plan {
    /// Prints where everything listens.
    fn introduce(&self) {
        let line = |name: &str, place: &str, note: &str| println!("  {name:18} {place:40} {note}");
        println!();
        if let Some(address) = address() {
            let port = self.listeners().find(|(daemon, _)| daemon.name == "web");
            let port = port.map_or(0, |(_, port)| port);
            let place = format!("http://{address}:{port}/orders");
            line(
                "for other machines",
                &place,
                "pages and uploads, by this machine's address",
            );
        }
        for (daemon, port) in self.listeners() {
            let note = match daemon.name.as_str() {
                "edge" => "the API; its docs at /docs",
                "web" => "the pages, at /orders",
                _ => "health, metrics",
            };
            line(&daemon.name, &format!("http://localhost:{port}"), note);
        }
        let monitoring = format!("monitoring http://127.0.0.1:{MONITOR_PORT}");
        line(
            "NATS",
            &redacted(&self.nats_url()),
            if self.nats_port().is_some() {
                &monitoring
            } else {
                "yours"
            },
        );
        line(
            "MongoDB",
            &redacted(&self.mongo_url()),
            if self.mongo_port().is_some() {
                ""
            } else {
                "yours"
            },
        );
        line(
            "data, server logs",
            ".orders/, .orders/log/",
            "kept; `cargo xtask reset` removes them",
        );
        println!();
    }
}

/// The address by which other machines of the network reach this one, if it is in one.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the kernel only chooses from which address it would be, and this one is for documents (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

/// Takes the lock that only one `up` of a checkout can hold; the kernel releases it however `up` ends.
fn lock(workspace: &Workspace) -> Result<Option<File>> {
    fs::create_dir_all(workspace.data()).context("making .orders")?;
    let file = File::create(workspace.data().join("lock")).context("making .orders/lock")?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("locking .orders"),
    }
}

/// Runs a cargo build, which shows its own progress.
pub(crate) async fn built(cargo: &mut Command) -> Result<()> {
    if !progress::run_shown(cargo).await?.success() {
        bail!("the build failed");
    }
    Ok(())
}
