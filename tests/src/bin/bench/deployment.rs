//! Either design with a database and processes of its own, on the database server that all share.

use std::{fs, path::PathBuf};

use anyhow::Result;
use orders_testkit::NatsServer;

use crate::{
    load::{Target, warm_up},
    site::{Program, Site},
    stock::Stock,
};

/// How many orders it takes before it is handed out.
pub(crate) const WARM_UP: usize = 2_000;

/// What is deployed.
#[derive(Clone, Copy)]
pub(crate) enum Design {
    Baseline,
    Pipeline,
}

impl Design {
    /// The name of a new one of this design.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Baseline => "new baseline",
            Self::Pipeline => "new pipeline",
        }
    }
}

/// A database and what works on it, warmed up.
pub(crate) struct Deployment {
    pub(crate) target: Target,
    pub(crate) stock: Stock,
    programs: Vec<Program>,
    nats: Option<NatsServer>,
    folder: PathBuf,
}

impl Deployment {
    /// Starts it; its database is named after it.
    pub(crate) async fn start(site: &Site, design: Design, name: &'static str) -> Result<Self> {
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
        let (mut programs, mut nats) = (Vec::new(), None);
        let api = match design {
            Design::Baseline => site.start("baseline", &[("MONGO_URL", &mongo)]).await?.0,
            Design::Pipeline => {
                let url = nats.insert(NatsServer::start(&folder).await).url();
                let servers = [("NATS_URL", &*url), ("MONGO_URL", &mongo)];
                for daemon in ["writer", "projector", "payment-simulator"] {
                    programs.push(site.start(daemon, &servers).await?.0);
                }
                let (realtime, _) = site.start("realtime", &servers).await?;
                let env = [&servers[..], &[("ORDERS_REALTIME_URLS", &realtime.url)]].concat();
                let (edge, _) = site.start("edge", &env).await?;
                programs.push(realtime);
                edge
            }
        };
        let target = Target::new(name, &api.url);
        programs.push(api);
        warm_up(&target, WARM_UP).await?;
        Ok(Self {
            target,
            stock,
            programs,
            nats,
            folder,
        })
    }

    /// Stops it and removes what it has stored.
    pub(crate) async fn stop(self) -> Result<()> {
        for program in self.programs {
            program.stop().await?;
        }
        if let Some(mut nats) = self.nats {
            nats.kill().await;
        }
        self.stock.drop().await?;
        fs::remove_dir_all(self.folder)?;
        Ok(())
    }
}
