//! What one can break by hand, what must tell of it, and how it is mended.

use std::fmt;

use anyhow::{Result, bail};
use async_nats::jetstream::stream::Config;
use futures_util::future::try_join_all;
use orders_testkit::Stack;
use rustix::process::Signal;

use super::site::{Site, order};
use crate::toxiproxy::Harm;

/// One thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakage {
    /// `kill -9` of a daemon.
    Killed(&'static str),
    /// SIGSTOP of the projector.
    Hangs,
    /// The projector gets the creds of another daemon.
    Forbidden,
    /// `nats consumer pause` of the projector's.
    ConsumerPaused,
    /// The writer is dead until the queue of commands is full.
    QueueFull,
    /// nats-server can write no more.
    DiskFull,
    /// `kill -9` of nats-server.
    NatsAway,
    /// Every answer of the database takes 0.6 s more.
    DatabaseSlow,
    /// Nobody reaches the database.
    DatabaseAway,
    /// A message that nobody can read.
    Poison,
}

/// What must tell of it.
pub(super) struct Signs {
    /// The alerts that fire, and no others; what they are of may be left out.
    pub(super) alerts: &'static [&'static str],
    /// A panel of the dashboards, and the line in it that has a label with this value.
    pub(super) panel: (&'static str, &'static str),
    /// A part of a line of `orderctl top`.
    pub(super) top: &'static str,
    /// A check of `orderctl doctor`, and a part of what it finds.
    pub(super) doctor: (&'static str, &'static str),
}

/// The panels that show most of them.
const ANSWER: &str = "Daemons that answer";
const OLDEST: &str = "Oldest message that is not done";
const STATUS: &str = "Creates, by status";

impl Breakage {
    pub(super) const ALL: [Self; 14] = [
        Self::Killed("edge"),
        Self::Killed("writer"),
        Self::Killed("projector"),
        Self::Killed("payment-simulator"),
        Self::Killed("realtime"),
        Self::Hangs,
        Self::Forbidden,
        Self::ConsumerPaused,
        Self::QueueFull,
        Self::DiskFull,
        Self::NatsAway,
        Self::DatabaseSlow,
        Self::DatabaseAway,
        Self::Poison,
    ];

    pub(super) fn signs(self) -> Signs {
        let (alerts, panel, top, doctor): (&[_], _, _, _) = match self {
            Self::Killed("edge") => (
                &[
                    "page OrdersDaemonDown of edge",
                    "ticket OrdersDaemonDown of edge",
                ],
                (ANSWER, "edge"),
                "no edge answers",
                ("daemon edge", "none answers"),
            ),
            Self::Killed("writer") => (
                &[
                    "page OrdersWriterBehind of writer",
                    "ticket OrdersDaemonDown of writer",
                    "ticket OrdersNobodyReads of writer",
                ],
                (OLDEST, "writer"),
                "no writer answers",
                ("daemon writer", "none answers"),
            ),
            Self::Killed("projector") => (
                &[
                    "page OrdersProjectionBehind of projector",
                    "ticket OrdersDaemonDown of projector",
                    "ticket OrdersNobodyReads of projector",
                ],
                (OLDEST, "projector"),
                "no projector answers",
                ("daemon projector", "none answers"),
            ),
            Self::Killed("payment-simulator") => (
                &[
                    "page OrdersPaymentsBehind of payment-simulator",
                    "ticket OrdersDaemonDown of payment-simulator",
                    "ticket OrdersNobodyReads of payment-simulator",
                ],
                (OLDEST, "payment-simulator"),
                "no payment-simulator answers",
                ("daemon payment-simulator", "none answers"),
            ),
            Self::Killed(_) => (
                &[
                    "page OrdersDaemonDown of realtime",
                    "ticket OrdersDaemonDown of realtime",
                ],
                (ANSWER, "realtime"),
                "no realtime answers",
                ("daemon realtime", "none answers"),
            ),
            Self::Hangs => (
                &[
                    "page OrdersProjectionBehind of projector",
                    "ticket OrdersDaemonDown of projector",
                    "ticket OrdersNobodyReads of projector",
                ],
                (OLDEST, "projector"),
                "no projector answers",
                ("daemon projector", "it hangs"),
            ),
            Self::Forbidden => (
                &[
                    "page OrdersProjectionBehind of projector",
                    "ticket OrdersNobodyReads of projector",
                    "ticket OrdersPermissionDenied of projector",
                ],
                ("Errors of the bus", "projector"),
                "Permissions Violation",
                ("daemon projector", "Permissions Violation"),
            ),
            Self::ConsumerPaused => (
                &[
                    "page OrdersProjectionBehind of projector",
                    "ticket OrdersConsumerStuck of projector",
                ],
                (OLDEST, "projector"),
                "projector is paused",
                ("progress of ORDERS_EVENTS/projector", "paused"),
            ),
            Self::QueueFull => (
                &[
                    "page OrdersStreamNearlyFull of ORDERS_COMMANDS",
                    "page OrdersWriterBehind of writer",
                    "ticket OrdersDaemonDown of writer",
                    "ticket OrdersNobodyReads of writer",
                ],
                ("How full", "ORDERS_COMMANDS"),
                "ORDERS_COMMANDS  ",
                ("space in ORDERS_COMMANDS", "used"),
            ),
            Self::DiskFull => (
                &["page OrdersNatsUnhealthy"],
                (STATUS, "503"),
                "refused: ",
                ("health of nats", "write error"),
            ),
            Self::NatsAway => (
                &["page OrdersNatsUnhealthy"],
                (STATUS, "503"),
                "NATS",
                ("nats", ""),
            ),
            Self::DatabaseSlow => (
                &["ticket OrdersDatabaseSlow"],
                ("Asking the database, p99", "writer"),
                "create ",
                ("database", "answers within"),
            ),
            Self::DatabaseAway => (
                &[
                    "page OrdersWriterBehind of writer",
                    "ticket OrdersDatabaseSlow",
                ],
                (OLDEST, "writer"),
                "mongo",
                ("database", ""),
            ),
            Self::Poison => (
                &["ticket OrdersDeadLetters of writer"],
                ("Dead letters that wait", ""),
                "1 dead letter",
                ("dead letters", "1 dead letter"),
            ),
        };
        Signs {
            alerts,
            panel,
            top,
            doctor,
        }
    }

    /// What somebody does who has read that.
    pub(super) fn cure(self) -> &'static str {
        match self {
            Self::Killed(_) => "start it",
            Self::QueueFull => "start the writer",
            Self::Hangs => "`kill -9` it, start it",
            Self::Forbidden => "give it its creds, restart it",
            Self::ConsumerPaused => "`nats consumer resume ORDERS_EVENTS projector`",
            Self::DiskFull => "free space, restart nats-server",
            Self::NatsAway => "start nats-server",
            Self::DatabaseSlow | Self::DatabaseAway => "mend the network",
            Self::Poison => "`orderctl dlq drop 1`",
        }
    }

    pub(super) async fn stack(self) -> Stack {
        match self {
            Self::Forbidden => Stack::guarded("").await,
            _ => Stack::open().await,
        }
    }

    pub(super) async fn commit(self, site: &mut Site) -> Result<()> {
        match self {
            Self::Killed(name) => site.daemon(name)?.kill().await,
            Self::Hangs => site.daemon("projector")?.signal(Signal::STOP),
            Self::Forbidden => login_as(site, "writer").await?,
            Self::ConsumerPaused => {
                let pause = [
                    "consumer",
                    "pause",
                    "ORDERS_EVENTS",
                    "projector",
                    "1h",
                    "-f",
                ];
                site.nats(&pause).await?;
            }
            Self::QueueFull => fill_queue(site).await?,
            Self::DiskFull => site.stack.nats.fill_disk(),
            Self::NatsAway => site.stack.nats.kill().await,
            Self::DatabaseSlow => site.toxiproxy.harm(&site.database, Harm::Slow).await?,
            Self::DatabaseAway => site.toxiproxy.harm(&site.database, Harm::Cut).await?,
            Self::Poison => {
                let jetstream = site.stack.jetstream().await;
                let sent = jetstream.publish("orders.cmd.t-1.create", "garbage".into());
                sent.await?.await?;
            }
        }
        Ok(())
    }

    pub(super) async fn mend(self, site: &mut Site) -> Result<()> {
        match self {
            Self::Killed(name) => site.daemon(name)?.respawn(|setup| setup),
            Self::QueueFull => site.daemon("writer")?.respawn(|setup| setup),
            Self::Hangs => {
                let projector = site.daemon("projector")?;
                projector.kill().await;
                projector.respawn(|setup| setup);
            }
            Self::Forbidden => login_as(site, "projector").await?,
            Self::ConsumerPaused => {
                let resume = ["consumer", "resume", "ORDERS_EVENTS", "projector", "-f"];
                site.nats(&resume).await?;
            }
            Self::DiskFull => {
                site.stack.nats.kill().await;
                site.stack.nats.restart().await;
            }
            Self::NatsAway => site.stack.nats.restart().await,
            Self::DatabaseSlow => site.toxiproxy.heal(&site.database, Harm::Slow).await?,
            Self::DatabaseAway => site.toxiproxy.heal(&site.database, Harm::Cut).await?,
            Self::Poison => {
                site.orderctl(&["dlq", "drop", "1", "--yes"]).await?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed(name) => return write!(f, "{name} is killed"),
            Self::Hangs => "projector hangs (SIGSTOP)",
            Self::Forbidden => "projector has the writer's creds",
            Self::ConsumerPaused => "somebody paused the projector's consumer",
            Self::QueueFull => "ORDERS_COMMANDS is full, its writer dead",
            Self::DiskFull => "NATS cannot write to its disk",
            Self::NatsAway => "NATS is away",
            Self::DatabaseSlow => "the database is slow, 0.6 s",
            Self::DatabaseAway => "the database is away",
            Self::Poison => "a message that nobody can read",
        })
    }
}

/// Starts the projector again as another daemon.
async fn login_as(site: &mut Site, role: &str) -> Result<()> {
    let Some(guard) = site.stack.guard.clone() else {
        bail!("NATS asks for no login");
    };
    let creds = guard.creds(role).display().to_string();
    let projector = site.daemon("projector")?;
    projector.kill().await;
    projector.respawn(|setup| setup.env("ORDERS_NATS__CREDS", &creds));
    Ok(())
}

/// Sends large orders that nobody handles until the queue takes no more.
async fn fill_queue(site: &mut Site) -> Result<()> {
    const SMALL: i64 = 256 * 1024;
    let jetstream = site.stack.jetstream().await;
    let commands = jetstream.get_stream("ORDERS_COMMANDS").await?;
    let config = Config {
        max_bytes: SMALL,
        ..commands.cached_info().config.clone()
    };
    jetstream.update_stream(config).await?;
    site.daemon("writer")?.kill().await;
    for round in 0..20 {
        let large = (0..8).map(|number| {
            let mut order = order(&format!("large-{round}-{number}"));
            let texts = (0..40).map(|n| (n.to_string(), "x".repeat(500).into()));
            order["metadata"] = serde_json::Value::Object(texts.collect());
            order
        });
        let orders: Vec<_> = large.collect();
        let sent = try_join_all(orders.iter().map(|order| site.order(order))).await?;
        if sent.contains(&503) {
            return Ok(());
        }
    }
    bail!("ORDERS_COMMANDS is never full");
}
