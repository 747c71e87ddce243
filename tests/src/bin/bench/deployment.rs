//! Either design with a database and processes of its own, on the database server that all share.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use mongodb::bson::doc;
use orders_testkit::{NatsCluster, NatsServer, Sync};
use tokio::time::sleep;

use crate::{
    load::{DELAY, TOLD_LIMIT, Target, warm_up},
    site::{Program, Site},
    stock::Stock,
    users::Users,
};

/// How many orders it takes before it is handed out.
pub(crate) const WARM_UP: usize = 2_000;
/// How many there are of each daemon of a pipeline; each starts after those that it must find.
pub(crate) type Daemons = [(&'static str, usize); 5];

/// The smallest pipeline.
pub(crate) const ONE_OF_EACH: Daemons = [
    ("writer", 1),
    ("projector", 1),
    ("payment-simulator", 1),
    ("realtime", 1),
    ("edge", 1),
];

/// The programs of one revision.
pub(crate) struct Build {
    pub(crate) name: String,
    /// The folder that holds them.
    pub(crate) binaries: PathBuf,
}

/// What is deployed.
#[derive(Clone, Copy)]
pub(crate) enum Design<'a> {
    Baseline,
    Pipeline(&'a Build),
    /// The pipeline with so many of each daemon.
    Scaled(&'a Build, &'a Daemons),
    /// The pipeline with more settings, for these users.
    Guarded(&'a Build, &'a Settings, &'a Users),
    /// The pipeline on so many nats-servers, each with a copy of every stream.
    Copied(&'a Build, usize, Sync),
}

/// Variables of a daemon's environment.
pub(crate) type Settings = Vec<(&'static str, String)>;

impl<'a> Design<'a> {
    /// The name of a new one of this design.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Baseline => "new baseline",
            Self::Pipeline(build)
            | Self::Scaled(build, _)
            | Self::Guarded(build, ..)
            | Self::Copied(build, ..) => &build.name,
        }
    }
}

/// A database and what works on it, warmed up.
pub(crate) struct Deployment {
    pub(crate) target: Target,
    pub(crate) stock: Stock,
    /// Tells a program where everything is.
    pub(crate) env: Settings,
    pub(crate) nats: Option<NatsServer>,
    cluster: Option<NatsCluster>,
    pub(crate) programs: Vec<Program>,
    folder: PathBuf,
}

impl Deployment {
    /// Starts it; its database is named after it.
    pub(crate) async fn start(site: &Site, design: Design<'_>, name: &str) -> Result<Self> {
        let database = format!("bench_{}", name.replace(' ', "_"));
        let folder = site.results.join(&database);
        // A run that was cut short leaves it behind.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let mongo = site.database(&database);
        let stock = Stock::open(&mongo).await?;
        // A request that was on its way when the last one was stopped may have been carried out since.
        stock.drop().await?;
        let mut env = vec![("MONGO_URL", mongo)];
        let (mut programs, mut edges) = (Vec::new(), Vec::new());
        let (mut nats, mut cluster) = (None, None);
        match design {
            Design::Baseline => {
                let program = site.ours.binaries.join("baseline");
                programs.push(site.start(&program, &env).await?.0);
            }
            Design::Pipeline(build)
            | Design::Scaled(build, _)
            | Design::Guarded(build, ..)
            | Design::Copied(build, ..) => {
                if let Design::Copied(_, count, sync) = design {
                    let servers = cluster.insert(NatsCluster::here(count, &folder, sync).await);
                    env.push(("NATS_URL", servers.url().to_owned()));
                    env.push(("ORDERS_STREAMS__REPLICAS", count.to_string()));
                } else {
                    let server = nats.insert(NatsServer::start(&folder).await);
                    env.push(("NATS_URL", server.url()));
                }
                if let Design::Guarded(_, settings, _) = design {
                    env.extend_from_slice(settings);
                }
                let daemons = match design {
                    Design::Scaled(_, daemons) => daemons,
                    _ => &ONE_OF_EACH,
                };
                for &(daemon, count) in daemons {
                    let mut urls = Vec::new();
                    for _ in 0..count {
                        let (program, _) = site.start(&build.binaries.join(daemon), &env).await?;
                        urls.push(program.url.clone());
                        programs.push(program);
                    }
                    match daemon {
                        "realtime" => env.push(("ORDERS_REALTIME_URLS", urls.join(","))),
                        "edge" => {
                            env.push(("ORDERS_EDGE_URL", urls[0].clone()));
                            edges = urls;
                        }
                        _ => {}
                    }
                }
            }
        }
        let api = programs.last().context("no programs")?;
        let mut target = Target::new(name, &api.url);
        edges.retain(|url| *url != api.url);
        target.others = edges;
        if let Design::Guarded(_, _, users) = design {
            // Nor do they listen: the sockets of the load generator have no tokens.
            (target.users, target.pays) = (Some(users.clone()), false);
        }
        warm_up(&target, WARM_UP).await?;
        Ok(Self {
            target,
            stock,
            env,
            nats,
            cluster,
            programs,
            folder,
        })
    }

    /// Waits until no order is left to be paid.
    pub(crate) async fn all_paid(&self) -> Result<()> {
        sleep(DELAY).await;
        let deadline = Instant::now() + TOLD_LIMIT;
        let pending = doc! { "status": "PENDING" };
        while self.stock.orders.count_documents(pending.clone()).await? > 0 {
            ensure!(Instant::now() < deadline, "orders are not paid");
            sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    /// Stops it and removes what it has stored.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for program in self.programs {
            program.stop().await?;
        }
        let copies = self.cluster.iter_mut().flat_map(NatsCluster::servers);
        for nats in self.nats.iter_mut().chain(copies) {
            nats.kill().await;
        }
        self.stock.drop().await?;
        fs::remove_dir_all(self.folder)?;
        Ok(())
    }
}
