//! The bus of the orders pipeline: the only crate that knows async-nats.
//!
//! * [`Bus`] connects, declares streams and keeps them, publishes with an awaited ack and answers edges.
//! * [`BatchConsumer`] reads a durable consumer in natural batches, up to 512 messages or 8 MiB, and lets a
//!   [`Handler`] handle them. A batch in hand is kept from being delivered again; malformed messages never reach the
//!   handler, and a message that makes it fail is found by bisection.
//! * [`Delivery`] is a message whose body fits its subject and headers. Its handler settles it: acks it, postpones it,
//!   or gives it up to ORDERS_DLQ.
//! * [`Feed`] is the live feed for realtime.
//! * [`Revocations`] are for those who check tokens.
//! * [`Operator`] is what `orderctl` does: it looks at everything, redrives or drops dead letters, and erases messages.
//!
//! Invariants: nothing is published without a bounded wait; nothing is terminated before its dead letter is stored;
//! an error of a pull never ends a consumer; a panic while a batch is handled never ends the daemon.

mod budget;
mod clock;
mod connection;
mod consumer;
mod dead_letters;
mod delivery;
mod difference;
mod erase;
mod error;
mod feed;
mod handler;
mod health;
mod history;
mod ids;
mod inspect;
mod installation;
mod login;
mod names;
mod publish;
mod readiness;
mod replies;
mod report;
mod revocations;
mod silence;
mod tap;
mod topology;
mod uploads;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client, connection::State, jetstream};
use backon::ExponentialBuilder;
pub use clock::ClockOffset;
pub use consumer::BatchConsumer;
pub use dead_letters::{
    AuditPage, DeadLetterContent, DeadLetterFilter, DeadLetterPage, DeadLetterProgress, Reason,
    SentAgain,
};
pub use delivery::{Delivery, release_all};
pub use difference::Difference;
pub use erase::{InHand, MessagesOf, PERSONAL};
pub use error::Error;
use error::is_switched_off;
pub use feed::{Feed, FeedArrival, FeedBounds, FeedMessage, FeedPage};
use futures_util::{FutureExt, future::BoxFuture};
pub use handler::{Failure, Handler};
pub use health::{DaemonAnswer, DaemonMetrics};
pub use inspect::{ConsumerState, Server, StreamState};
pub use login::login_name;
use orders_contracts::{Deployment, InstallationId, Role};
use orders_service::config;
pub use publish::{ACK_DEADLINE, Message, PUBLISH_DEADLINE};
pub use revocations::Revocations;
pub use tap::{Passage, TapFilter};
use tokio::sync::watch;
use tracing::warn;
pub use uploads::{BECOMING_ORDERS, FilesNamed};

use crate::{connection::Attempts, readiness::Refusals, silence::Unanswered};

/// Why a server that answers is not ready.
pub const JETSTREAM_OFF: &str =
    "JetStream is off: it was never switched on, or the server's disk was full";
/// How long a readiness probe may take.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// A connection to NATS. Cheap to clone; it reconnects for ever.
#[derive(Clone, Debug)]
pub struct Bus {
    role: Role,
    client: Client,
    jetstream: jetstream::Context,
    /// Counts the connections made; a change tells pending pulls that the server has forgotten them.
    connections: watch::Receiver<u64>,
    attempts: Attempts,
    deployment: Arc<Deployment>,
    /// The installation of this process, once it is known.
    installation: Arc<OnceLock<InstallationId>>,
    refusals: Refusals,
    unanswered: Unanswered,
}

/// The operator's side of the bus: inspects everything, redrives and drops dead letters.
#[derive(Clone, Debug)]
pub struct Operator {
    bus: Bus,
}

/// An operator can also do what a daemon can.
impl Deref for Operator {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl Bus {
    /// Connects to one of the servers, with the inbox of `role`: only under it come answers.
    ///
    /// It does not wait for a server but keeps trying to connect in the background, without end; it leaves a server whose
    /// JetStream is silent. Only settings that cannot work are an error.
    pub async fn connect(settings: &config::Nats, role: Role) -> Result<Self, Error> {
        let refusals = Refusals::default();
        let (client, connections, attempts) =
            connection::open(settings, role, refusals.clone()).await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(ACK_DEADLINE)
            .ack_timeout(ACK_DEADLINE)
            .max_ack_inflight(8_192)
            .backpressure_on_inflight(false)
            .build(client.clone());
        let bus = Self {
            role,
            client,
            jetstream,
            connections,
            attempts,
            deployment: Arc::default(),
            installation: Arc::default(),
            refusals,
            unanswered: Unanswered::default(),
        };
        tokio::spawn(bus.clone().leave_silent_servers());
        Ok(bus)
    }

    /// Sets what the installation chose: its namespace, the limits of its streams, and whether this process creates and
    /// updates streams and consumers. If not, a difference from the declaration is [`Error::Unmigrated`].
    #[must_use]
    pub fn deployed(self, deployment: &Deployment) -> Self {
        Self {
            deployment: Arc::new(deployment.clone()),
            ..self
        }
    }

    /// Whether the connection is up, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The probe of the server: whether JetStream answers.
    pub fn readiness(&self) -> impl Fn() -> BoxFuture<'static, Result<(), Error>> + use<> {
        let bus = self.clone();
        move || bus.clone().round_trip().boxed()
    }

    /// The operator's side of this bus.
    pub fn operator(&self) -> Operator {
        Operator { bus: self.clone() }
    }

    async fn round_trip(self) -> Result<(), Error> {
        if !self.is_connected() {
            return Err(self.attempts.error());
        }
        let what = "use JetStream";
        match tokio::time::timeout(ROUND_TRIP, self.jetstream.query_account()).await {
            Ok(Err(error)) if is_switched_off(&error.kind()) => {
                Err(Error::api(what, JETSTREAM_OFF))
            }
            Ok(answer) => answer.map(drop).map_err(|error| Error::api(what, error)),
            Err(_) => Err(Error::api(what, "no answer within 1 s")),
        }
    }

    /// Sends buffered messages, above all acks, within `limit`; call it last.
    pub async fn close(&self, limit: Duration) {
        if self.is_connected()
            && tokio::time::timeout(limit, self.client.flush())
                .await
                .is_err()
        {
            warn!("not all of the last acks reached NATS");
        }
    }

    /// Resolves at the next reconnection; the server has forgotten all pull requests then.
    fn reconnected(&self) -> impl Future<Output = ()> + use<> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        async move {
            if connections.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The pauses between attempts: 100 ms, doubling up to 5 s, without end.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times()
    .with_jitter();
