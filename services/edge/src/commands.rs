//! Publishes commands and waits for what becomes of them.

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt};
use metrics::counter;
use orders_bus::{Bus, Error, Message};
use orders_contracts::{
    Answer, Channel, CommandId, Metadata, OrderId, Reply, ReplyTo, TenantId, Timestamp,
    TraceContext,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    problem::Problem,
    waiters::{Waiter, Waiters},
};

/// Where so many commands wait for their outcomes, the processors are most likely the limit.
const MANY: usize = 32;
/// How far apart commands are published then: together they cost the bus and the writer fewer wake-ups.
const GATHERING: Duration = Duration::from_millis(10);

/// How long after a shutdown began a command that is being published may still be acknowledged.
const LAST_ACKS: Duration = Duration::from_secs(1);

/// The way to the writer and back.
pub(crate) struct Commands {
    bus: Bus,
    /// Names this process in the subjects of its answers.
    edge: Uuid,
    waiters: Waiters,
    shutdown: CancellationToken,
    started: Instant,
}

/// A command about one order.
pub(crate) struct Command<'a, T> {
    pub(crate) channel: Channel,
    pub(crate) tenant: &'a TenantId,
    pub(crate) order_id: &'a OrderId,
    pub(crate) trace: TraceContext,
    pub(crate) body: &'a T,
}

/// What is known of a command that is safe.
pub(crate) enum Outcome {
    /// It is stored in its stream; the writer has not decided yet.
    Accepted,
    /// The writer decided; the waiter can tell when the list shows it.
    Decided(Reply, Waiter),
}

impl Commands {
    /// At most `limit` commands are in flight at once.
    pub(crate) fn new(bus: Bus, limit: usize, shutdown: CancellationToken) -> Self {
        Self {
            bus,
            edge: Uuid::new_v4(),
            waiters: Waiters::new(limit),
            shutdown,
            started: Instant::now(),
        }
    }

    /// Everything the daemons answer to this process.
    pub(crate) async fn replies(&self) -> Result<impl Stream<Item = Vec<Answer>> + use<>, Error> {
        self.bus.replies(self.edge).await
    }

    /// Hands out `replies` until they end, which they do only with the connection to NATS.
    pub(crate) async fn hand_out(&self, replies: impl Stream<Item = Vec<Answer>>) {
        let mut replies = pin!(replies);
        while let Some(answers) = replies.next().await {
            for Answer { command, reply } in answers {
                self.waiters.deliver(&command, reply);
            }
        }
    }

    /// Publishes `command` and waits for the writer's decision, within its deadline. An error means that the command may
    /// be stored or not, and that the client may safely try again.
    ///
    /// Beyond the limit it is refused at once: a command more would only make all of them wait longer.
    pub(crate) async fn send<T: Serialize>(
        &self,
        command: Command<'_, T>,
    ) -> Result<Outcome, Problem> {
        let id = CommandId::fresh();
        let Some(mut waiter) = self.waiters.register(&id) else {
            counter!("orders_commands_shed_total").increment(1);
            let detail = "Too many requests are in flight; this one was not accepted, try again";
            return Err(Problem::unavailable(detail));
        };
        let deadline = Instant::now() + waiter.patience();
        let metadata = Metadata {
            id: id.to_string(),
            source: "/orders/edge".to_owned(),
            order_id: command.order_id.clone(),
            time: Timestamp::now(),
            trace: command.trace,
            reply_to: Some(ReplyTo::new(self.edge, &id)),
        };
        let message = Message::new(command.channel, command.tenant, metadata, command.body);

        // The writer can be faster than the ack of JetStream, and its word says even more.
        tokio::select! {
            biased;
            decision = waiter.decision() => return Ok(Outcome::Decided(decision, waiter)),
            stored = self.bus.publish(message) => stored.map_err(not_stored)?,
            () = self.too_late() => return Err(Problem::unavailable("Shutting down, try again")),
        }
        tokio::select! {
            biased;
            decision = waiter.decision() => Ok(Outcome::Decided(decision, waiter)),
            () = sleep_until(deadline) => {
                waiter.give_up();
                Ok(Outcome::Accepted)
            }
            () = self.shutdown.cancelled() => Ok(Outcome::Accepted),
        }
    }

    /// Waits for the next moment at which commands are published together.
    async fn gather(&self) {
        let passed = self.started.elapsed().as_millis() / GATHERING.as_millis();
        let next = u32::try_from(passed + 1).unwrap_or(u32::MAX);
        sleep_until(self.started + GATHERING * next).await;
    }

    /// Resolves when a shutdown leaves no time to wait for an ack.
    async fn too_late(&self) {
        self.shutdown.cancelled().await;
        sleep(LAST_ACKS).await;
    }
}

fn not_stored(error: Error) -> Problem {
    if matches!(error, Error::Disconnected) {
        // The bus has told the log, once.
        debug!("a command was not published: {error}");
        return Problem::unavailable("The request was not accepted, try again");
    }
    warn!("a command may not be stored: {error}");
    Problem::unavailable("The request may or may not be carried out; sending it again is safe")
}
