//! Sends commands to the writer and waits for their outcomes.

use std::pin::pin;

use futures_util::{Stream, StreamExt};
use orders_bus::{Bus, Error, Message};
use orders_contracts::{
    Answer, Channel, CommandId, Metadata, OrderId, OrderRow, Reply, ReplyTo, Status, TenantId,
    Timestamp, TraceContext,
};
use orders_http::Arrived;
use orders_service::{
    Seldom, chain,
    metrics::{COMMANDS_SHED, counter},
    shutdown,
};
use orders_store::ReadModel;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    breaker::WriterBreaker,
    course::Course,
    deadlines::REFUSAL,
    in_flight::{Full, InFlight},
    inbox::{Inbox, Replies},
    listed::is_listed,
    problem::Problem,
};

/// Sends commands and receives what the daemons reply.
pub(crate) struct Commands {
    bus: Bus,
    rows: ReadModel,
    /// Names this process in the subjects of the replies to it.
    edge: Uuid,
    in_flight: InFlight,
    inbox: Inbox,
    writer: WriterBreaker,
    shutdown: CancellationToken,
}

/// A command about one order.
pub(crate) struct Command<'a, T> {
    pub(crate) channel: Channel,
    pub(crate) tenant: &'a TenantId,
    pub(crate) order_id: &'a OrderId,
    pub(crate) trace: TraceContext,
    /// When its request arrived.
    pub(crate) arrived: Arrived,
    pub(crate) body: &'a T,
}

/// The outcome of a command that is stored.
pub(crate) enum Outcome {
    /// The writer has not decided yet.
    Accepted,
    /// The writer decided; and whether lists show it.
    Decided(Reply, bool),
}

impl Commands {
    pub(crate) fn new(
        bus: Bus,
        rows: ReadModel,
        in_flight: InFlight,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            bus,
            rows,
            edge: Uuid::new_v4(),
            in_flight,
            inbox: Inbox::default(),
            writer: WriterBreaker::new(),
            shutdown,
        }
    }

    /// Subscribes to the replies to this process.
    pub(crate) async fn replies(&self) -> Result<impl Stream<Item = Vec<Answer>> + use<>, Error> {
        self.bus.replies(self.edge).await
    }

    /// Delivers `replies` until they end, which they do only when the connection to NATS is closed.
    pub(crate) async fn deliver(&self, replies: impl Stream<Item = Vec<Answer>>) {
        let mut replies = pin!(replies);
        while let Some(answers) = replies.next().await {
            for Answer { command, reply } in answers {
                if !matches!(reply, Reply::Projected { .. }) {
                    self.writer.hear();
                }
                self.inbox.deliver(&command, reply);
            }
        }
    }

    /// Sends `command`, and waits for the writer's decision and until lists show it, each within its deadline.
    ///
    /// After an error the command may be stored or not; the client may safely try again. A command beyond the limit is
    /// refused at once, because it would only make all of them wait longer.
    pub(crate) async fn send<T: Serialize>(
        &self,
        command: Command<'_, T>,
    ) -> Result<Outcome, Problem> {
        let mut place = match self.in_flight.enter(command.tenant) {
            Ok(place) => place,
            Err(full) => return Err(self.shed(full).await),
        };
        tokio::select! {
            // Whoever came with the last connections still has a turn, as long as there is room.
            biased;
            () = place.turn() => {}
            () = self.shutdown.cancelled() => return Err(Problem::unavailable("Shutting down, try again")),
        }
        let mut course = Course::begin(command.channel, command.arrived);
        let id = CommandId::fresh();
        let mut replies = self.inbox.expect(id.clone());
        let decision = self.decision(id, &command, &mut replies, &mut course);
        let Some(reply) = decision.await? else {
            return Ok(Outcome::Accepted);
        };
        course.decided();
        let (rows, tenant, id) = (&self.rows, command.tenant, command.order_id);
        let is_cancelled = |row: &OrderRow| row.status == Status::Cancelled;
        let listed = match &reply {
            Reply::Created | Reply::Cancelled => replies.are_listed().await,
            Reply::Replayed { .. } => is_listed(rows, tenant, id, |_| true).await,
            Reply::AlreadyCancelled => is_listed(rows, tenant, id, is_cancelled).await,
            _ => false,
        };
        Ok(Outcome::Decided(reply, listed))
    }

    /// Publishes `command` and waits for the writer's decision; `None` if the command is stored and the decision does
    /// not come in time.
    async fn decision<T: Serialize>(
        &self,
        id: CommandId,
        command: &Command<'_, T>,
        replies: &mut Replies<'_>,
        course: &mut Course,
    ) -> Result<Option<Reply>, Problem> {
        let wait = self.writer.wait();
        let deadline = Instant::now() + wait.limit;
        let metadata = Metadata {
            id: id.to_string(),
            source: "/orders/edge".to_owned(),
            order_id: command.order_id.clone(),
            time: Timestamp::now(),
            trace: command.trace,
            reply_to: Some(ReplyTo::new(self.edge, &id)),
        };
        let message = Message::new(command.channel, command.tenant, metadata, command.body);
        // The writer can be faster than the ack of JetStream, and its decision says more.
        tokio::select! {
            biased;
            reply = replies.decision() => return Ok(Some(reply)),
            stored = self.bus.publish(message) => stored.map_err(not_stored)?,
            () = self.too_late() => return Err(Problem::unavailable("Shutting down, try again")),
        }
        course.published();
        tokio::select! {
            biased;
            reply = replies.decision() => Ok(Some(reply)),
            () = sleep_until(deadline) => {
                self.writer.give_up(wait);
                Ok(None)
            }
            () = self.shutdown.cancelled() => Ok(None),
        }
    }

    /// Refuses a command. A tenant beyond its own limit is told after a pause, or a client that tries again at once
    /// would take the processors from all others.
    async fn shed(&self, full: Full) -> Problem {
        if full == Full::Tenant {
            tokio::select! {
                // Clients that came at once do not come back at once.
                () = sleep(REFUSAL.mul_f64(0.5 + fastrand::f64())) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        shed(full)
    }

    /// Resolves when a shutdown leaves no time to wait for an ack.
    async fn too_late(&self) {
        self.shutdown.cancelled().await;
        sleep(shutdown::LAST_ACKS).await;
    }
}

fn shed(full: Full) -> Problem {
    let limit = match full {
        Full::All => "all",
        Full::Tenant => "tenant",
        Full::Waiting => "waiting",
    };
    counter!(COMMANDS_SHED, "limit" => limit).increment(1);
    match full {
        Full::All => Problem::overloaded(
            "Too many requests are in flight; this one was not accepted, try again",
        ),
        Full::Waiting => Problem::too_much(
            "tenant-waiting",
            1,
            "Too many requests of this tenant wait for the writer; this one was not accepted, try again",
        ),
        Full::Tenant => Problem::too_much(
            "tenant-in-flight",
            1,
            "Too many requests of this tenant are in flight; this one was not accepted, try again",
        ),
    }
}

fn not_stored(error: Error) -> Problem {
    if matches!(error, Error::TooMany) {
        return shed(Full::Waiting);
    }
    if matches!(error, Error::Disconnected) {
        // The bus has logged it, once.
        debug!("a command was not published: {error}");
        return Problem::unavailable("The request was not accepted, try again");
    }
    static LINES: Seldom = Seldom::new();
    LINES.say(|unsaid| warn!(unsaid, "a command may not be stored: {}", chain(&error)));
    Problem::unavailable("The request may or may not be carried out; sending it again is safe")
}
