//! What goes wrong with hosts: a deck of faults in an order that the seed decides, and how each is carried out.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use orders_testkit::NatsCluster;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::site::{LINE, STREAMS, Site};

/// How soon every server and daemon must be ready again after a fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);
/// How soon every daemon must have left a server that has lost the others. The server may lead the cluster: it takes up
/// to 20 s until it doubts that.
pub(crate) const LEFT: Duration = Duration::from_secs(45);
/// What goes through a narrow link, as tc writes it: less than the load needs.
const NARROW: &str = "2mbit";

/// Something that goes wrong. A number is a position in [`LINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The third server joins, and each stream gets three copies. Nothing is broken by that; it only comes once.
    Growth,
    /// A host loses its network and every process at the same moment, and comes back later.
    HostGone(usize),
    /// The host that leads a stream loses its network; its processes do not notice at first.
    LeaderUnplugged(&'static str),
    /// What the first host sends does not reach the second; the other way all is well.
    OneWay(usize, usize),
    /// The server that most daemons use loses the other servers, and nobody else.
    ServerAlone,
    /// The link of a host takes less than it has to.
    Narrow(usize),
    /// SIGTERM and a new start of one nats-server after another.
    ServersRestart,
    /// SIGTERM and a new start of one daemon after another.
    DaemonsRestart,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostGone(host) => write!(f, "host {} gone", LINE[*host]),
            Self::LeaderUnplugged(stream) => write!(f, "leader of {stream} unplugged"),
            Self::OneWay(from, to) => write!(f, "cut from {} to {}", LINE[*from], LINE[*to]),
            Self::Narrow(host) => write!(f, "narrow link of {}", LINE[*host]),
            other => f.write_str(other.class()),
        }
    }
}

impl Fault {
    /// The class that the report counts it under.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Growth => "growth from one copy to three",
            Self::HostGone(_) => "host gone",
            Self::LeaderUnplugged(_) => "link down under a stream's leader",
            Self::OneWay(..) => "one-way cut between two hosts",
            Self::ServerAlone => "nats-server cut off from the others",
            Self::Narrow(_) => "narrow link",
            Self::ServersRestart => "rolling restart of nats-server",
            Self::DaemonsRestart => "rolling restart of every daemon",
        }
    }
}

/// Deals the faults: one of each class in turn, each class in an order of its own, again and again.
pub(crate) struct Deck {
    rng: Rng,
    classes: Vec<Vec<Fault>>,
    turn: Vec<Fault>,
}

impl Deck {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            classes: Vec::new(),
            turn: Vec::new(),
        }
    }

    pub(crate) fn deal(&mut self) -> Fault {
        if self.turn.is_empty() {
            self.classes.resize_with(all().len(), Vec::new);
            for (class, whole) in self.classes.iter_mut().zip(all()) {
                if class.is_empty() {
                    *class = whole;
                    self.rng.shuffle(class);
                }
            }
            self.turn = self.classes.iter_mut().filter_map(Vec::pop).collect();
            self.rng.shuffle(&mut self.turn);
        }
        self.turn.pop().expect("a turn has a fault at least")
    }
}

/// How many classes there are besides growth.
pub(crate) fn classes() -> usize {
    all().len()
}

fn all() -> Vec<Vec<Fault>> {
    let hosts = || 0..LINE.len();
    let pairs = hosts().flat_map(|from| hosts().map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from != to);
    vec![
        hosts().map(Fault::HostGone).collect(),
        STREAMS.map(Fault::LeaderUnplugged).to_vec(),
        pairs.map(|(from, to)| Fault::OneWay(from, to)).collect(),
        vec![Fault::ServerAlone],
        hosts().map(Fault::Narrow).collect(),
        vec![Fault::ServersRestart],
        vec![Fault::DaemonsRestart],
    ]
}

/// What was measured while faults were carried out, and what should not have been.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) violations: Vec<String>,
    /// How long after a fault every server and daemon was ready again.
    pub(crate) ready: Vec<Duration>,
    /// How long it took until every daemon had left a server that was alone.
    pub(crate) left: Vec<Duration>,
    /// How long each SIGTERM of a daemon took.
    pub(crate) stops: Vec<Duration>,
}

/// Carries out faults.
pub(crate) struct Saboteur<'a> {
    pub(crate) site: &'a mut Site,
    /// How long the faults last that end only when they are ended.
    pub(crate) length: Duration,
    pub(crate) measured: Measured,
}

impl Saboteur<'_> {
    /// Carries out one fault and ends it.
    pub(crate) async fn commit(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Growth => self.grow().await?,
            Fault::HostGone(host) => self.lose_host(host).await?,
            Fault::LeaderUnplugged(stream) => {
                let leader = self.site.leader(stream).await?;
                let host = self.site.host(leader);
                host.unplug()?;
                sleep(self.length).await;
                host.plug()?;
            }
            Fault::OneWay(from, to) => {
                let (from, to) = (self.site.host(from), self.site.host(to));
                to.lose_from(&from)?;
                sleep(self.length).await;
                to.receive_from(&from)?;
            }
            Fault::ServerAlone => self.leave_alone().await?,
            Fault::Narrow(host) => {
                let host = self.site.host(host);
                host.narrow(NARROW)?;
                sleep(self.length).await;
                host.widen()?;
            }
            Fault::ServersRestart => {
                for position in 0..LINE.len() {
                    let server = self.site.server(position);
                    server.terminate().await;
                    server.restart().await;
                }
            }
            Fault::DaemonsRestart => self.restart_daemons().await,
        }
        Ok(())
    }

    /// Waits until every server and daemon is ready again.
    pub(crate) async fn recover(&mut self, fault: Fault) {
        let start = Instant::now();
        let ready = self.site.all_ready(RECOVERY).await;
        self.measured.ready.push(start.elapsed());
        let problems = ready.err().into_iter().chain(self.site.dead());
        let problems = problems.map(|problem| format!("after {fault}: {problem}"));
        self.measured.violations.extend(problems);
    }

    async fn grow(&mut self) -> Result<()> {
        self.site.grow().await?;
        let start = Instant::now();
        loop {
            let lacking = self.site.lacking().await?;
            if lacking.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < RECOVERY, "still lacking: {lacking:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lose_host(&mut self, position: usize) -> Result<()> {
        let host = self.site.host(position);
        host.unplug()?;
        host.kill_all();
        // They are dead; this only buries them.
        for daemon in &mut self.site.daemons[position] {
            daemon.kill().await;
        }
        self.site.server(position).kill().await;
        sleep(self.length).await;
        host.plug()?;
        self.site.server(position).respawn();
        for daemon in &mut self.site.daemons[position] {
            daemon.respawn(|setup| setup);
        }
        Ok(())
    }

    async fn leave_alone(&mut self) -> Result<()> {
        let mut daemons = Vec::new();
        for position in 0..LINE.len() {
            daemons.push((self.site.daemons_at(position).await?, position));
        }
        let (_, position) = daemons.into_iter().max().context("there are servers")?;
        let host = self.site.host(position);
        host.close_port(NatsCluster::ROUTES)?;
        let start = Instant::now();
        while self.site.daemons_at(position).await? > 0 && start.elapsed() < LEFT {
            sleep(Duration::from_millis(250)).await;
        }
        self.measured.left.push(start.elapsed());
        sleep(self.length.saturating_sub(start.elapsed())).await;
        host.open_port(NatsCluster::ROUTES)
            .map_err(anyhow::Error::from)
    }

    async fn restart_daemons(&mut self) {
        for daemon in self.site.daemons.iter_mut().flatten() {
            let start = Instant::now();
            daemon.signal(Signal::TERM);
            let status = daemon.ended().await;
            self.measured.stops.push(start.elapsed());
            if !status.success() {
                let what = format!("SIGTERM of {}: {status}", daemon.name());
                self.measured.violations.push(what);
            }
            daemon.restart(|setup| setup).await;
        }
    }
}
