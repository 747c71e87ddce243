//! The life of one socket or stream: greet it, replay the entries that it missed, then pass on new ones.

use std::{convert::Infallible, sync::Arc, time::Duration};

use orders_bus::{Error, FeedBounds, FeedPage};
use orders_contracts::{
    Channel, Offset, TenantId, Unparsable,
    socket::{self, ResetReason},
};
use orders_service::metrics::{SOCKET_RESUMES, counter};
use tokio::time::Instant;
use tracing::debug;

use crate::{
    bounds,
    emission::Emission,
    handshake::Handshake,
    hub::{Hub, Mailbox},
};

/// How long a socket whose buffer is full may take to make room for one event.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// The first pause before a full buffer is tried again; each next pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause before a full buffer is tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// The first pause before an interrupted replay continues; each next pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest pause before an interrupted replay continues.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// An event for a client, with the offset after it.
#[derive(Debug, Clone)]
pub(crate) enum SocketEvent {
    /// The client is in the room of its tenant.
    Connected(TenantId, Offset),
    /// An order changed.
    Changed(Arc<Emission>, Offset),
    /// The feed cannot honour the client's offset: the client has to reload its list.
    Reset(ResetReason, Offset),
}

impl SocketEvent {
    /// Its name, as clients know it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connected(..) => socket::CONNECTED,
            Self::Changed(message, _) => match message.channel {
                Channel::FeedCreated => socket::ORDER_CREATED,
                _ => socket::ORDER_UPDATED,
            },
            Self::Reset(..) => socket::FEED_RESET,
        }
    }
}

/// Why a socket did not take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The buffer of the socket is full.
    Full,
    /// The socket is gone.
    Gone,
}

/// Why a session ended. All but [`Gone`](Self::Gone) leave a connection to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The socket is gone.
    Gone,
    /// The buffer of the socket stayed full.
    Slow,
    /// The session fell too far behind, or another feed has taken the place of this one.
    Behind,
}

/// Takes the events of one socket, without waiting.
pub(crate) trait Client {
    /// Puts `event` into the socket's buffer.
    fn emit(&self, event: &SocketEvent) -> Result<(), Refused>;
}

/// The source of missed entries.
pub(crate) trait Archive {
    /// The bounds of the feed now, asked about the entry `asked`; 0 for none.
    fn bounds(&self, asked: u64) -> impl Future<Output = Result<FeedBounds, Error>> + Send;

    /// The tenant's next entries after the sequence `after` up to `up_to`.
    fn page(
        &self,
        tenant: &TenantId,
        after: u64,
        up_to: u64,
    ) -> impl Future<Output = Result<FeedPage, Error>> + Send;
}

/// One socket in the room of its tenant.
pub(crate) struct Session<C, A> {
    client: C,
    archive: A,
    tenant: TenantId,
    /// The head of the feed when the socket entered the room.
    head: Offset,
    mailbox: Mailbox,
    /// The position up to which the client has all entries.
    last: Offset,
}

/// Why a replay stopped before its end.
enum Interrupted {
    /// The session cannot continue.
    End(End),
    /// The feed cannot honour the client's offset.
    Reset(ResetReason),
    /// The feed could not be read; the replay may be retried.
    Error(Error),
}

impl From<End> for Interrupted {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl<C: Client, A: Archive> Session<C, A> {
    /// Enters the room of the tenant and serves the client until the session ends.
    pub(crate) async fn run(hub: &Arc<Hub>, archive: A, client: C, handshake: Handshake) -> End {
        let (head, mailbox) = hub.enter(&handshake.tenant);
        let mut session = Self {
            client,
            archive,
            tenant: handshake.tenant,
            head,
            mailbox,
            last: head,
        };
        let Err(end) = session.serve(handshake.resume).await;
        end
    }

    async fn serve(
        &mut self,
        resume: Option<Result<Offset, Unparsable>>,
    ) -> Result<Infallible, End> {
        let resumed = match resume {
            None => {
                self.connected(self.head).await?;
                Ok(())
            }
            Some(Ok(offset)) if offset.epoch == self.head.epoch => {
                self.connected(offset).await?;
                self.last = offset;
                self.catch_up().await?
            }
            Some(other) => {
                self.connected(self.head).await?;
                Err(other.map_or(ResetReason::Malformed, |_| ResetReason::OtherFeed))
            }
        };
        if resume.is_some() {
            let outcome = resumed.map_or_else(ResetReason::as_str, |()| "resumed");
            counter!(SOCKET_RESUMES, "outcome" => outcome).increment(1);
        }
        if let Err(reset) = resumed {
            self.last = self.head;
            self.send(SocketEvent::Reset(reset, self.head)).await?;
        }
        while let Some(message) = self.mailbox.next().await {
            self.changed(message).await?;
        }
        Err(End::Behind)
    }

    /// Replays up to the head, and waits while NATS is away.
    async fn catch_up(&mut self) -> Result<Result<(), ResetReason>, End> {
        let mut pause = FIRST_RETRY;
        loop {
            match self.replay().await {
                Ok(()) => return Ok(Ok(())),
                Err(Interrupted::Reset(reset)) => return Ok(Err(reset)),
                Err(Interrupted::End(end)) => return Err(end),
                Err(Interrupted::Error(error)) => {
                    debug!("a replay was interrupted: {error}; retrying")
                }
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_RETRY.min(pause * 2);
            if self.mailbox.has_ended() {
                return Err(End::Behind);
            }
        }
    }

    async fn replay(&mut self) -> Result<(), Interrupted> {
        let head = self.head.sequence;
        if self.last == self.head || self.last == self.head.at(head, 0) {
            return Ok(());
        }
        if self.last.sequence >= head {
            // Another instance may have told the client of entries that this one has not read yet.
            return self.check(self.last).await;
        }
        while self.last.sequence < head {
            let from = self.last;
            let page = self.archive.page(&self.tenant, from.sequence, head).await?;
            // Not earlier, because the feed may drop entries while the page is read.
            self.check(from).await?;
            for message in page.entries {
                self.changed(Emission::missed(message)).await?;
            }
            if page.reached > self.last.sequence {
                // The entry there may be another tenant's.
                self.last = self.head.at(page.reached, 0);
            }
        }
        Ok(())
    }

    async fn check(&self, from: Offset) -> Result<(), Interrupted> {
        let asked = if from.time == 0 { 0 } else { from.sequence };
        let bounds = self.archive.bounds(asked).await?;
        if bounds.epoch != from.epoch {
            // The hub is about to notice; the client reconnects, and its offset is then one of another feed.
            return Err(Interrupted::End(End::Behind));
        }
        bounds::check(from, &bounds).map_err(Interrupted::Reset)
    }

    async fn connected(&self, offset: Offset) -> Result<(), End> {
        self.send(SocketEvent::Connected(self.tenant.clone(), offset))
            .await
    }

    /// Announces a change, once.
    async fn changed(&mut self, message: Arc<Emission>) -> Result<(), End> {
        let after = self.head.at(message.sequence, message.time);
        if after.sequence > self.last.sequence {
            self.send(SocketEvent::Changed(message, after)).await?;
            self.last = after;
        }
        Ok(())
    }

    /// Waits for room in the socket's buffer, by polling, because the engine does not say when there is room.
    async fn send(&self, event: SocketEvent) -> Result<(), End> {
        let deadline = Instant::now() + DRAIN_DEADLINE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.client.emit(&event) {
                Ok(()) => return Ok(()),
                Err(Refused::Gone) => return Err(End::Gone),
                Err(Refused::Full) if Instant::now() >= deadline => return Err(End::Slow),
                Err(Refused::Full) => tokio::time::sleep(pause).await,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
