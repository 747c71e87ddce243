//! `up`: the whole pipeline on this machine, until Ctrl-C.

mod plan;
mod tour;

use std::fs::{self, File, TryLockError};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Signal, getpid};
use tokio::process::Command;

pub(crate) use self::{plan::EDGE_PORT, tour::line};
use crate::{
    console::Console,
    database::{self, Clients},
    exit::{INTERRUPTED, SUCCESS, interrupted, unless_interrupted},
    leftovers,
    observe::Observe,
    process::Record,
    procfile, progress,
    secure::Secure,
    stack::{self, Site},
    supervisor::{Supervisor, stop_in_order},
    tools,
    up::plan::{MONITOR_PORT, Plan},
    uploads::Uploads,
    workspace::{Settings, Workspace},
};

/// Start NATS, the database and the daemons, and show one log until Ctrl-C
///
/// NATS_URL and MONGO_URL (from the environment or .env) name the servers to use. Without them, or if they are local
/// and do not answer, this starts `nats-server` and `mongod` from the PATH, or its own. It restarts a daemon that dies.
/// Data is kept in .orders/ until `cargo xtask reset`.
///
/// Ports: the first daemon of the Procfile takes PORT (3001), the others follow in steps of 100, except web, which
/// takes ORDERS_WEB_PORT (3000). ORDERS_BASE_PORT (3000) moves all of these together. NATS takes 4222 and 8222 (monitoring), MongoDB 27017.
///
/// With --s3 uploads are stored, in the bucket of an S3 server that it starts; their files are in .orders/uploads.
///
/// With --observe it also starts VictoriaMetrics, which keeps the daemons' metrics in .orders/observe and shows them as
/// dashboards; it prints their address. If OTEL_EXPORTER_OTLP_ENDPOINT is set, every trace is recorded.
///
/// With --secure everything asks for a login: pages and API take that of an OpenID provider, which it starts with users
/// to try; NATS and the database have one for each daemon, over TLS; uploads are stored as with --s3. It has data and keys of its own, in .orders/secure.
#[derive(Args)]
pub(crate) struct Options {
    /// Build and run the daemons optimised
    #[arg(long)]
    release: bool,
    /// Ask for a login everywhere
    #[arg(long)]
    secure: bool,
    /// Store uploads, in an S3 server
    #[arg(long)]
    s3: bool,
    /// Keep the daemons' metrics, and show dashboards
    #[arg(long)]
    observe: bool,
}

impl Options {
    fn stores_uploads(&self) -> bool {
        self.s3 || self.secure
    }

    /// The command that continues with the same data.
    fn again(&self) -> String {
        let flags = [
            (self.secure, " --secure"),
            (self.s3, " --s3"),
            (self.observe, " --observe"),
        ];
        let given = flags.into_iter().filter(|(is_given, _)| *is_given);
        let given: String = given.map(|(_, flag)| flag).collect();
        format!("cargo xtask up{given}")
    }
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
        () = stop_in_order(stack.layers) => eprintln!("stopped; `{}` continues with the same data", options.again()),
        () = interrupted() => {}
    }
    Ok(SUCCESS)
}

struct Stack {
    plan: Plan,
    secure: Option<Secure>,
    uploads: Option<Uploads>,
    console: Console,
    /// Stopped one after the other: the daemons, then the servers they use.
    layers: Vec<Vec<Supervisor>>,
    _record: Record,
    _lock: File,
}

impl Stack {
    async fn start(workspace: &Workspace, options: &Options) -> Result<Self> {
        let settings = workspace.settings()?;
        let plan = Plan::new(workspace, &settings, options.secure).await?;
        let lock = lock(workspace)?;
        if lock.is_some() {
            for name in leftovers::stop_all(workspace).await {
                eprintln!("stopped {name}, left over from an earlier run");
            }
        }
        let lock = lock.context(
            "another `cargo xtask up` runs in this checkout (cargo xtask down stops it)",
        )?;
        plan.check(options.secure, options.stores_uploads(), options.observe)?;

        let console = Console::new(
            plan.daemons
                .iter()
                .map(|daemon| daemon.name.as_str())
                .chain(["nats-server"]),
        );
        let records = leftovers::records(workspace);
        let record = Record::write(&records, leftovers::SUPERVISOR, getpid(), Signal::TERM)?;
        let profile = if options.release { "release" } else { "debug" };
        let secure = match options.secure {
            true => Some(Secure::new(workspace, profile, plan.secure_ports())?),
            false => None,
        };
        let site = Site {
            data: secure
                .as_ref()
                .map_or_else(|| workspace.data(), |secure| secure.folder().to_owned()),
            records: Some(records),
            durable: true,
            console,
        };

        let uploads = match options.stores_uploads() {
            true => Some(Uploads::new(
                workspace,
                profile,
                &site.data,
                plan.s3_port(),
                plan.port("web"),
            )?),
            false => None,
        };

        let observe = match options.observe {
            true => {
                let daemons = plan.listeners();
                let daemons = daemons.map(|(daemon, port)| (daemon.name.as_str(), port));
                Some(Observe::new(&site.data, plan.observe_port(), daemons)?)
            }
            false => None,
        };

        let servers = async {
            match &secure {
                Some(secure) => secure.fetch(workspace).await?,
                None => plan.fetch(workspace).await?,
            }
            if uploads.is_some() {
                tools::s3_server(workspace).await?;
            }
            if observe.is_some() {
                tools::victoria_metrics(workspace).await?;
            }
            anyhow::Ok(())
        };
        // Side by side: one downloads while the other compiles.
        tokio::try_join!(servers, plan.build(workspace, options.release))?;
        let mut layers = match &secure {
            Some(secure) => secure.start(workspace, &site).await?,
            None => servers_for_all(workspace, &site, &plan).await?,
        };
        if let Some(uploads) = &uploads {
            layers[0].push(uploads.start(workspace, &site).await?);
        }
        if let Some(observe) = &observe {
            layers[0].push(observe.start(workspace, &site).await?);
        }
        if let Some(secure) = &secure {
            let uploads = uploads.as_ref().map(Uploads::settings_of_operator);
            secure.write_operator_file(uploads.unwrap_or_default())?;
        }
        plan.introduce(
            secure.as_ref(),
            uploads.as_ref(),
            observe.as_ref(),
            settings.get("ORDERS_HOST").as_deref(),
        );

        let daemons = procfile::start(
            workspace,
            &site,
            &plan.daemons,
            &plan.ports,
            profile,
            settings.get("ORDERS_PUBLIC_URL").as_deref(),
            |daemon| {
                let mut env = env(&settings, &plan, secure.as_ref(), uploads.as_ref(), daemon);
                env.extend(observe.iter().flat_map(|_| Observe::settings(&settings)));
                env
            },
        )?;
        layers.insert(0, vec![daemons]);
        Ok(Self {
            plan,
            secure,
            uploads,
            console,
            layers,
            _record: record,
            _lock: lock,
        })
    }
}

/// Starts the servers that do not run yet; they let in whoever is on this machine.
async fn servers_for_all(
    workspace: &Workspace,
    site: &Site,
    plan: &Plan,
) -> Result<Vec<Vec<Supervisor>>> {
    let mut layers = match plan.mongo_port() {
        Some(port) => {
            database::start(workspace, site, port, Clients::All)
                .await?
                .layers
        }
        None => vec![Vec::new()],
    };
    if let Some(port) = plan.nats_port() {
        let config = stack::nats_config(workspace);
        let nats = stack::start_nats(workspace, site, &config, port, Some(MONITOR_PORT));
        layers[0].push(nats.await?);
    }
    Ok(layers)
}

/// The environment of a daemon, as far as it does not inherit it.
fn env(
    settings: &Settings,
    plan: &Plan,
    secure: Option<&Secure>,
    uploads: Option<&Uploads>,
    daemon: &str,
) -> Vec<(String, String)> {
    let mut env = settings.file_only();
    env.extend([
        ("NATS_URL".into(), plan.nats_url()),
        ("MONGO_URL".into(), plan.mongo_url()),
    ]);
    env.extend(
        secure
            .into_iter()
            .flat_map(|secure| secure.settings_of(daemon)),
    );
    let uploads = uploads.into_iter();
    env.extend(uploads.flat_map(|uploads| uploads.settings_of(daemon)));
    env
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
