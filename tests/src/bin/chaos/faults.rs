//! What goes wrong: a deck of faults in an order that the seed decides, and how each is carried out.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use async_nats::jetstream;
use fastrand::Rng;
use orders_testkit::Daemon;
use orders_tests::{check::Window, history::now};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, DAEMONS, INSTANCES, batches_read, is_ready, memory},
    toxiproxy::Harm,
};

/// How soon a daemon must be at work again after a fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(20);
/// How long a daemon may take to stop.
pub(crate) const STOP: Duration = Duration::from_secs(4);
/// How long a daemon may take to come to a failpoint under load.
const FAILPOINT: Duration = Duration::from_secs(20);

/// How much longer than the others' 5 s the ack wait of each daemon is, by position.
const ACK_WAITS: [Duration; 5] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::ZERO,
];

/// The named places between every two steps of the daemons, with the daemon's position.
const FAILPOINTS: [(usize, &str); 13] = [
    (1, "writer.pulled"),
    (1, "writer.stored"),
    (1, "writer.answered"),
    (1, "writer.published"),
    (1, "writer.moved"),
    (1, "writer.settled"),
    (1, "writer.updated"),
    (2, "projector.pulled"),
    (2, "projector.applied"),
    (2, "projector.stored"),
    (2, "projector.fed"),
    (3, "payment-simulator.due"),
    (3, "payment-simulator.paid"),
];

/// A server that daemons need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Nats,
    Database,
}

/// Something that goes wrong. A number is a position in the cluster's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and started again.
    Kill(usize),
    /// SIGSTOP for longer than the ack wait, then SIGCONT.
    Pause(usize),
    /// SIGTERM, and started again.
    Terminate(usize),
    /// SIGTERM and a new start for one after the other.
    RollingRestart,
    /// `kill -9` exactly at a named place.
    Failpoint(usize, &'static str),
    /// `kill -9` of nats-server, and started again at once.
    KillNats,
    /// nats-server is not there for a while.
    NatsAway,
    /// `kill -9` of one of the database's processes: its front, or the engine behind it.
    KillDatabase(usize),
    /// Nobody reaches the database for a while.
    DatabaseAway,
    /// A link of one daemon is harmed.
    Link(usize, Server, Harm),
    /// `kill -9` of every daemon, of nats-server and of the database, all at the same moment.
    KillEverything,
    /// Both edges lose NATS in a black hole.
    EdgesInTheDark,
}

pub(crate) fn name_of(instance: usize) -> String {
    format!(
        "{}.{}",
        DAEMONS[instance / INSTANCES].0,
        instance % INSTANCES
    )
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(f, "kill {}", name_of(*who)),
            Self::Pause(who) => write!(f, "pause {}", name_of(*who)),
            Self::Terminate(who) => write!(f, "terminate {}", name_of(*who)),
            Self::RollingRestart => f.write_str("rolling restart"),
            Self::Failpoint(_, name) => write!(f, "kill at {name}"),
            Self::KillNats => f.write_str("kill nats-server"),
            Self::NatsAway => f.write_str("nats away"),
            Self::KillDatabase(0) => f.write_str("kill the database"),
            Self::KillDatabase(_) => f.write_str("kill the engine of the database"),
            Self::DatabaseAway => f.write_str("database away"),
            Self::Link(who, server, harm) => {
                write!(f, "{harm:?} link of {} to {server:?}", name_of(*who))
            }
            Self::KillEverything => f.write_str("kill everything"),
            Self::EdgesInTheDark => f.write_str("black hole between edges and nats"),
        }
    }
}

impl Fault {
    /// The class that the report counts it under.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill -9 of a daemon",
            Self::Pause(_) => "SIGSTOP beyond the ack wait",
            Self::Terminate(_) => "SIGTERM",
            Self::RollingRestart => "rolling restart",
            Self::Failpoint(..) => "kill -9 at a failpoint",
            Self::KillNats => "kill -9 of nats-server",
            Self::NatsAway => "nats away",
            Self::KillDatabase(_) => "kill -9 of the database",
            Self::DatabaseAway => "database away",
            Self::Link(_, _, harm) if harm.is_half_open() => "half-open link",
            Self::Link(..) => "reset, slow, sliced or cut link",
            Self::KillEverything => "kill -9 of everything at once",
            Self::EdgesInTheDark => "edges half-open to nats",
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
            if self.classes.iter().all(Vec::is_empty) {
                self.classes = all();
                for class in &mut self.classes {
                    self.rng.shuffle(class);
                }
            }
            self.turn = self.classes.iter_mut().filter_map(Vec::pop).collect();
            self.rng.shuffle(&mut self.turn);
        }
        self.turn.pop().expect("a turn has a fault at least")
    }

    /// A pause between two faults.
    pub(crate) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(300..1_500))
    }
}

fn all() -> Vec<Vec<Fault>> {
    let everyone = || 0..DAEMONS.len() * INSTANCES;
    let links = |half_open: bool| {
        let harms = Harm::ALL.into_iter();
        let harms = harms.filter(move |harm| harm.is_half_open() == half_open);
        harms
            .flat_map(|harm| {
                everyone().flat_map(move |who| {
                    let servers = [Server::Nats, Server::Database];
                    let uses = move |server: &Server| {
                        *server == Server::Nats || DAEMONS[who / INSTANCES].1
                    };
                    let link = move |server| Fault::Link(who, server, harm);
                    servers.into_iter().filter(uses).map(link)
                })
            })
            .collect()
    };
    let failpoints = FAILPOINTS.into_iter();
    vec![
        everyone().map(Fault::Kill).collect(),
        everyone().map(Fault::Pause).collect(),
        everyone().map(Fault::Terminate).collect(),
        failpoints
            .map(|(daemon, name)| Fault::Failpoint(daemon * INSTANCES, name))
            .collect(),
        links(true),
        links(false),
        vec![Fault::KillNats, Fault::KillNats, Fault::NatsAway],
        vec![
            Fault::KillDatabase(0),
            Fault::KillDatabase(1),
            Fault::DatabaseAway,
        ],
        vec![
            Fault::RollingRestart,
            Fault::EdgesInTheDark,
            Fault::KillEverything,
        ],
    ]
}

/// How long the faults take that have a length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) pause: Duration,
    pub(crate) nats_away: Duration,
    pub(crate) database_away: Duration,
    pub(crate) half_open: Duration,
}

impl Lengths {
    /// For a run of so many minutes.
    pub(crate) fn of(minutes: f64) -> Self {
        let seconds = Duration::from_secs;
        if minutes < 5.0 {
            Self {
                pause: seconds(7),
                nats_away: seconds(6),
                database_away: seconds(8),
                half_open: seconds(8),
            }
        } else {
            Self {
                pause: seconds(12),
                nats_away: seconds(20),
                database_away: seconds(60),
                half_open: seconds(20),
            }
        }
    }
}

/// What was measured while faults were carried out, and what should not have been.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) violations: Vec<String>,
    /// How long each SIGTERM took.
    pub(crate) stops: Vec<Duration>,
    /// How long after the end of a half-open link its daemon was at work again.
    pub(crate) recoveries: Vec<Duration>,
    /// When no edge could reach NATS.
    pub(crate) without_nats: Vec<Window>,
    /// When nobody could reach the database.
    pub(crate) without_database: Vec<Window>,
    /// The most bytes that an edge grew by while NATS was away.
    pub(crate) growth: u64,
    /// Of each SIGTERM of a worker: messages in flight before, and redelivered after.
    pub(crate) redelivered: Vec<(u64, u64)>,
}

/// Carries out faults.
pub(crate) struct Saboteur<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) lengths: Lengths,
    pub(crate) measured: Measured,
}

impl Saboteur<'_> {
    /// Carries out one fault and waits until everybody is ready again.
    pub(crate) async fn commit(&mut self, fault: &Fault) -> Result<()> {
        match *fault {
            Fault::Kill(who) => {
                let daemon = self.daemon(who);
                daemon.kill().await;
                daemon.respawn(|setup| setup);
            }
            Fault::Pause(who) => {
                let pause = self.lengths.pause + ACK_WAITS[who / INSTANCES];
                let daemon = self.daemon(who);
                daemon.signal(Signal::STOP);
                sleep(pause).await;
                daemon.signal(Signal::CONT);
            }
            Fault::Terminate(who) => self.terminate(who).await?,
            Fault::RollingRestart => {
                for who in 0..self.cluster.instances.len() {
                    self.terminate(who).await?;
                    self.daemon(who).ready().await;
                }
            }
            Fault::Failpoint(who, name) => self.stop_at(who, name).await,
            Fault::KillNats => {
                self.cluster.stack.nats.kill().await;
                self.cluster.stack.nats.restart().await;
            }
            Fault::NatsAway => {
                self.cluster.stack.nats.kill().await;
                self.without_nats(self.lengths.nats_away).await;
                self.cluster.stack.nats.restart().await;
            }
            Fault::KillDatabase(which) => kill_database(which).await?,
            Fault::DatabaseAway => self.database_away().await?,
            Fault::Link(who, server, harm) => self.harm(who, server, harm).await?,
            Fault::KillEverything => {
                kill_database(0).await?;
                self.cluster.stack.nats.kill().await;
                for instance in &mut self.cluster.instances {
                    instance.daemon.kill().await;
                    instance.daemon.respawn(|setup| setup);
                }
                self.cluster.stack.nats.restart().await;
            }
            Fault::EdgesInTheDark => {
                for edge in 0..INSTANCES {
                    let link = self.cluster.instances[edge].nats.clone();
                    self.cluster.toxiproxy.harm(&link, Harm::BlackHole).await?;
                }
                self.without_nats(self.lengths.half_open).await;
                for edge in 0..INSTANCES {
                    let link = self.cluster.instances[edge].nats.clone();
                    self.cluster.toxiproxy.heal(&link, Harm::BlackHole).await?;
                }
            }
        }
        let ready = self.cluster.all_ready(RECOVERY).await;
        let violations = &mut self.measured.violations;
        violations.extend(ready.err().map(|late| format!("after {fault}: {late}")));
        let dead = self.cluster.dead();
        violations.extend(
            dead.into_iter()
                .map(|dead| format!("after {fault}: {dead}")),
        );
        Ok(())
    }

    fn daemon(&mut self, who: usize) -> &mut Daemon {
        &mut self.cluster.instances[who].daemon
    }

    /// SIGTERM under load: how long it takes, how it exits, and what is delivered again because of it.
    async fn terminate(&mut self, who: usize) -> Result<()> {
        let consumers = match DAEMONS[who / INSTANCES].0 {
            "writer" => &[("ORDERS_COMMANDS", "writer"), ("PAYMENTS", "writer")][..],
            "projector" => &[("ORDERS_EVENTS", "projector")][..],
            _ => &[],
        };
        let jetstream = self.cluster.stack.jetstream().await;
        let before = deliveries(&jetstream, consumers).await?;
        let daemon = self.daemon(who);
        let start = Instant::now();
        let status = daemon.terminate().await;
        let elapsed = start.elapsed();
        daemon.respawn(|setup| setup);
        self.measured.stops.push(elapsed);
        if !status.success() || elapsed > STOP {
            let what = format!("SIGTERM of {}: {status} after {elapsed:?}", name_of(who));
            self.measured.violations.push(what);
        }
        if !consumers.is_empty() {
            // What was given back is delivered at once.
            sleep(Duration::from_millis(300)).await;
            let after = deliveries(&jetstream, consumers).await?;
            let again = after.again.saturating_sub(before.again);
            self.measured.redelivered.push((before.in_flight, again));
        }
        Ok(())
    }

    /// Starts the daemon so that it stops for good at the failpoint, waits for that, and kills it there.
    async fn stop_at(&mut self, who: usize, name: &'static str) {
        let daemon = self.daemon(who);
        daemon.kill().await;
        let before = daemon.log().len();
        daemon.respawn(|setup| setup.env("ORDERS_FAILPOINT", name));
        let reached = format!("failpoint {name} reached");
        let start = Instant::now();
        while !daemon.log()[before..].contains(&reached) {
            if start.elapsed() > FAILPOINT {
                let what = format!("failpoint {name} was not reached within {FAILPOINT:?}");
                self.measured.violations.push(what);
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let daemon = self.daemon(who);
        daemon.kill().await;
        daemon.respawn(|setup| setup.env("ORDERS_FAILPOINT", ""));
    }

    async fn database_away(&mut self) -> Result<()> {
        let links: Vec<_> = self
            .cluster
            .instances
            .iter()
            .filter_map(|instance| instance.database.clone())
            .collect();
        for link in &links {
            self.cluster.toxiproxy.harm(link, Harm::Cut).await?;
        }
        let from = now();
        sleep(self.lengths.database_away).await;
        let gone = Window { from, to: now() };
        self.measured.without_database.push(gone);
        for link in &links {
            self.cluster.toxiproxy.heal(link, Harm::Cut).await?;
        }
        Ok(())
    }

    async fn harm(&mut self, who: usize, server: Server, harm: Harm) -> Result<()> {
        let instance = &self.cluster.instances[who];
        let link = instance.link(server).context("a link")?.clone();
        self.cluster.toxiproxy.harm(&link, harm).await?;
        sleep(if harm.is_half_open() {
            self.lengths.half_open
        } else {
            self.lengths.half_open / 2
        })
        .await;
        let before = batches_read(&self.cluster.instances[who].daemon).await;
        self.cluster.toxiproxy.heal(&link, harm).await?;
        let daemon = &self.cluster.instances[who].daemon;
        // edge and realtime read no batches; their readiness is all that can be seen from here.
        let reads_batches = matches!(who / INSTANCES, 1..=3);
        let start = Instant::now();
        while !(is_ready(daemon).await && (!reads_batches || batches_read(daemon).await > before)) {
            if start.elapsed() > RECOVERY {
                let what = format!(
                    "{} is not at work {RECOVERY:?} after {harm:?} of {server:?}",
                    name_of(who)
                );
                self.measured.violations.push(what);
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        if harm.is_half_open() {
            self.measured.recoveries.push(start.elapsed());
        }
        Ok(())
    }

    /// Lets so much time go by in which the edges have no NATS, and watches how they grow.
    async fn without_nats(&mut self, length: Duration) {
        let from = now();
        let edges: Vec<u32> = self.cluster.instances[..INSTANCES]
            .iter()
            .map(|edge| edge.daemon.id())
            .collect();
        let before: Vec<u64> = edges.iter().filter_map(|edge| memory(*edge)).collect();
        let end = Instant::now() + length;
        while Instant::now() < end {
            for (edge, before) in edges.iter().zip(&before) {
                let growth = memory(*edge).unwrap_or(0).saturating_sub(*before);
                self.measured.growth = self.measured.growth.max(growth);
            }
            sleep(Duration::from_millis(200)).await;
        }
        let gone = Window { from, to: now() };
        self.measured.without_nats.push(gone);
    }
}

/// What consumers have delivered.
struct Deliveries {
    /// Delivered and not acked.
    in_flight: u64,
    /// Deliveries beyond the first of each message.
    again: u64,
}

async fn deliveries(
    jetstream: &jetstream::Context,
    consumers: &[(&str, &str)],
) -> Result<Deliveries> {
    let mut sum = Deliveries {
        in_flight: 0,
        again: 0,
    };
    for (stream, consumer) in consumers {
        let stream = jetstream.get_stream_no_info(stream).await?;
        let info = stream.consumer_info(consumer).await?;
        sum.in_flight += info.num_ack_pending as u64;
        let first = info.delivered.stream_sequence;
        sum.again += info.delivered.consumer_sequence.saturating_sub(first);
    }
    Ok(sum)
}

/// Kills a process of the database; who started it starts it again.
async fn kill_database(which: usize) -> Result<()> {
    let folder = std::env::var("ORDERS_CHAOS_DATABASE").context("run `cargo xtask chaos`")?;
    let folder = PathBuf::from(folder);
    let running = || {
        let processes = ["mongod", "ferretdb", "postgres"].map(|name| folder.join(name));
        let mut processes: Vec<PathBuf> = processes
            .into_iter()
            .filter(|process| process.exists())
            .collect();
        (which < processes.len()).then(|| processes.swap_remove(which))
    };
    // One that was killed a moment ago is written down again when it is back.
    let start = Instant::now();
    let process = loop {
        match running() {
            Some(process) => break process,
            None if start.elapsed() > RECOVERY => bail!("no process {which} of the database"),
            None => sleep(Duration::from_millis(100)).await,
        }
    };
    let record = std::fs::read_to_string(process)?;
    let id = record.split_whitespace().next().context("a process id")?;
    let id = Pid::from_raw(id.parse()?).context("a process id")?;
    Ok(kill_process(id, Signal::KILL)?)
}
