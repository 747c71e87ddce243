mod publication;

use std::{error::Error as _, fmt::Display, time::Duration};

use async_nats::{
    HeaderMap, HeaderValue,
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
        stream::LastRawMessageErrorKind,
    },
};
use backon::BackoffBuilder;
use bytes::Bytes;
use futures_util::future::join_all;
use orders_contracts::{Channel, Metadata, OrderEvent, ReplyTo, TenantId, TraceContext, header};
use orders_service::{
    Seldom, chain,
    metrics::{PUBLISH_DURATION, histogram},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::{Span, warn};

use self::publication::Publication;
use crate::{BACKOFF, Bus, Error, ids};

/// How long a publisher waits for the ack of JetStream.
pub const ACK_DEADLINE: Duration = Duration::from_secs(2);

/// The longest that [`Bus::publish`] takes, whatever NATS does: a client waits for it.
pub const PUBLISH_DEADLINE: Duration = Duration::from_millis(1500);

/// How long a reply or an ack may wait for room in the connection; losing one costs a redelivery at worst.
pub(crate) const BEST_EFFORT: Duration = Duration::from_millis(500);

/// A message to be stored in its channel's stream.
#[derive(Debug, Clone)]
pub struct Message {
    /// The kind of message; with the tenant it makes the subject.
    pub channel: Channel,
    /// The tenant.
    pub tenant: TenantId,
    /// Its headers.
    pub metadata: Metadata,
    /// `Nats-Msg-Id`: for two minutes, the stream drops a second message with the same id.
    pub message_id: String,
    /// Its body, JSON.
    pub body: Bytes,
    /// An attribute of the span of its publication.
    pub note: Option<(&'static str, i64)>,
}

impl Message {
    /// A message with `body` as JSON and the metadata's id as its message id.
    pub fn new<T: Serialize>(
        channel: Channel,
        tenant: &TenantId,
        metadata: Metadata,
        body: &T,
    ) -> Self {
        let body = serde_json::to_vec(body).expect("contracts have only string keys");
        Self {
            channel,
            tenant: tenant.clone(),
            message_id: metadata.id.clone(),
            metadata,
            body: body.into(),
            note: None,
        }
    }

    /// The message that announces `event`: always the same id and bytes, whoever makes it.
    pub fn of_event(event: &OrderEvent, trace: TraceContext, reply_to: Option<ReplyTo>) -> Self {
        let channel = event.channel();
        let metadata = Metadata {
            id: format!("{}:{}", event.order.order_id, event.version),
            source: OrderEvent::SOURCE.to_owned(),
            order_id: event.order.order_id.clone(),
            time: event.occurred_at,
            trace,
            reply_to,
        };
        Self::new(channel, &event.tenant_id, metadata, event)
    }

    /// The same message on another `occasion`: the stream does not take it for a duplicate of an earlier one, which may
    /// be lost, but stores it only once if several processes publish it on the same occasion.
    #[must_use]
    pub fn on(self, occasion: impl Display) -> Self {
        Self {
            message_id: format!("{}@{occasion}", self.metadata.id),
            ..self
        }
    }

    /// The same message, and an attribute for the span of its publication.
    #[must_use]
    pub fn noting(self, key: &'static str, value: i64) -> Self {
        Self {
            note: Some((key, value)),
            ..self
        }
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            subject: self.channel.of(&self.tenant).to_string(),
            headers: headers(&self.message_id, self.metadata.headers(self.channel)),
            body: self.body.clone(),
        }
    }
}

/// A message of any kind on its way to a stream, with its message id among the headers.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Headers that differ when the same message is published again.
const OF_ONE_ATTEMPT: [&str; 7] = [
    "Nats-Msg-Id",
    header::TRACEPARENT,
    header::OLD_TRACEPARENT,
    header::REPLY_TO,
    header::TIME,
    header::DELIVERIES,
    header::ERROR,
];

impl Outgoing {
    /// The same message under an id that nobody has taken for something else.
    fn beside(&self, sequence: u64) -> Self {
        let id = self.headers.get(async_nats::header::NATS_MESSAGE_ID);
        let id = format!("{}@{sequence}", id.map_or("", |id| id.as_str()));
        let mut again = self.clone();
        again
            .headers
            .insert(async_nats::header::NATS_MESSAGE_ID, id);
        again
    }

    fn has_headers_in(&self, stored: &HeaderMap) -> bool {
        let own = self
            .headers
            .iter()
            .filter(|(name, _)| !OF_ONE_ATTEMPT.contains(&AsRef::<str>::as_ref(*name)));
        own.into_iter()
            .all(|(name, values)| stored.get_all(name.clone()).eq(values))
    }
}

impl Bus {
    /// Publishes `message` and waits until JetStream has stored it, at most [`PUBLISH_DEADLINE`].
    ///
    /// While the connection is known to be down it fails at once. After any other error the outcome is unknown.
    pub async fn publish(&self, message: Message) -> Result<(), Error> {
        let began = Instant::now();
        // One deadline for sending and ack: a connection that swallows everything would use up two of them.
        let publication = Publication::begin(message);
        let stored = timeout(PUBLISH_DEADLINE, self.store(|| publication.outgoing()))
            .await
            .unwrap_or_else(|_| {
                self.unanswered.note(began);
                Err(Error::unacknowledged("no answer in time"))
            });
        if stored.is_err() {
            publication.given_up();
        }
        measured(publication.message.channel, began, stored.is_ok());
        stored
    }

    /// Publishes messages one after another without waiting in between; the results are in the same order.
    async fn publish_all(&self, publications: &[Publication]) -> Vec<Result<(), Error>> {
        let began = Instant::now();
        let mut sent = Vec::with_capacity(publications.len());
        for publication in publications {
            // If one cannot be sent, the others would only wait for the same deadline.
            let stuck = matches!(sent.last(), Some(Err(_)));
            sent.push(if stuck {
                Err(Error::Disconnected)
            } else {
                self.send(publication.outgoing()).await
            });
        }
        // The deadline of an ack runs from its first poll, so they are all polled at once.
        let acks = sent.into_iter().zip(publications);
        let acks = acks.map(async |(ack, publication)| {
            let stored = match ack {
                Ok(ack) => self.confirm(ack, || publication.outgoing()).await,
                Err(error) => Err(error),
            };
            publication.attempted(&stored);
            stored
        });
        let stored = join_all(acks).await;
        if let Some(first) = publications.first() {
            measured(
                first.message.channel,
                began,
                stored.iter().all(Result::is_ok),
            );
        }
        stored
    }

    /// Publishes `messages`, and retries those that are not acknowledged until all are stored, however long NATS is away.
    /// Drop the future to give up.
    pub async fn publish_until_stored(&self, messages: Vec<Message>) {
        let publications = messages.into_iter().map(Publication::begin);
        let mut publications: Vec<_> = publications.collect();
        let mut backoff = BACKOFF.build();
        let lines = Seldom::new();
        loop {
            let results = self.publish_all(&publications).await;
            let left = publications.into_iter().zip(results);
            let left = left.filter_map(|(publication, result)| Some((publication, result.err()?)));
            let (left, errors): (Vec<_>, Vec<_>) = left.unzip();
            let Some(error) = errors.last() else { return };
            publications = left;
            let (count, error) = (publications.len(), chain(error));
            let span = match &publications[..] {
                [Publication { message, .. }] => ids::span(&message.tenant, &message.metadata),
                _ => Span::current(),
            };
            lines.say(
                |_| warn!(parent: &span, "cannot publish {count} messages: {error}; retrying"),
            );
            tokio::time::sleep(backoff.next().unwrap_or(ACK_DEADLINE)).await;
        }
    }

    /// Sends what `outgoing` makes and waits until its stream has stored it.
    pub(crate) async fn store(&self, outgoing: impl Fn() -> Outgoing) -> Result<(), Error> {
        self.confirm(self.send(outgoing()).await?, outgoing).await
    }

    async fn send(&self, outgoing: Outgoing) -> Result<PublishAckFuture, Error> {
        let Outgoing {
            subject,
            headers,
            body,
        } = outgoing;
        self.send_raw(subject, headers, body).await
    }

    /// Sends a message, without waiting for the ack.
    pub(crate) async fn send_raw(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<PublishAckFuture, Error> {
        if !self.is_connected() {
            return Err(Error::Disconnected);
        }
        let subject = self.subject(subject);
        let publish = PublishMessage::build().headers(headers).payload(body);
        match timeout(ACK_DEADLINE, self.jetstream.send_publish(subject, publish)).await {
            Ok(sent) => sent.map_err(Error::unacknowledged),
            Err(_) => Err(Error::unacknowledged("the connection takes nothing")),
        }
    }

    /// Waits for the ack of what `outgoing` makes. One that calls it a duplicate of something else is no ack: anybody can
    /// take a message id first. Then the message is sent under another id.
    async fn confirm(
        &self,
        ack: PublishAckFuture,
        outgoing: impl FnOnce() -> Outgoing,
    ) -> Result<(), Error> {
        let ack = self.ack(ack).await?;
        if !ack.duplicate {
            return Ok(());
        }
        let outgoing = outgoing();
        if self.holds(&ack, &outgoing).await? {
            return Ok(());
        }
        let place = format!("{}:{}", ack.stream, ack.sequence);
        let header = |name: &'static str| outgoing.headers.get(name).map(HeaderValue::as_str);
        warn!(
            parent: &ids::span_of(&outgoing.subject, header),
            "{place} has the message id of another message, which is stored under a new one"
        );
        let again = outgoing.beside(ack.sequence);
        let ack = self.ack(self.send(again.clone()).await?).await?;
        if !ack.duplicate || self.holds(&ack, &again).await? {
            return Ok(());
        }
        Err(Error::unacknowledged("its message ids are taken"))
    }

    /// Waits for an ack, and notes if the server can store nothing, or says nothing.
    async fn ack(&self, ack: PublishAckFuture) -> Result<PublishAck, Error> {
        let began = Instant::now();
        // The context's timeout bounds the wait.
        let ack = ack.await;
        match &ack {
            Err(error) if error.kind() == PublishErrorKind::TimedOut => self.unanswered.note(began),
            _ => self.unanswered.clear(),
        }
        ack.map_err(|error| {
            if of_subject(&error) {
                return Error::TooMany;
            }
            if let Some(cause) = refusal(&error) {
                self.refusals
                    .note(format!("a message was refused: {cause}"));
            }
            Error::unacknowledged(error)
        })
    }

    /// Whether the stream holds `outgoing` where `ack` says. A message that has left its stream counts as another.
    async fn holds(&self, ack: &PublishAck, outgoing: &Outgoing) -> Result<bool, Error> {
        let failed = |error| Error::api(format!("read {}", ack.stream), error);
        let stream = self.jetstream.get_stream_no_info(&ack.stream).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        match stream.get_raw_message(ack.sequence).await {
            Ok(stored) => Ok(
                stored.subject.as_str() == self.subject(outgoing.subject.as_str())
                    && stored.payload == outgoing.body
                    && outgoing.has_headers_in(&stored.headers),
            ),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => {
                Ok(false)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Notes how long it took to publish a message, or a batch of them.
fn measured(channel: Channel, began: Instant, is_stored: bool) {
    let outcome = if is_stored { "ok" } else { "failed" };
    histogram!(PUBLISH_DURATION, "stream" => channel.stream().name, "outcome" => outcome)
        .record(began.elapsed());
}

pub(crate) async fn acknowledged(sent: Result<PublishAckFuture, Error>) -> Result<(), Error> {
    // The context's timeout bounds the wait.
    sent?.await.map(drop).map_err(Error::unacknowledged)
}

/// What the server said if it can store nothing. A single message that is too large, or whose copy is still being stored,
/// says nothing about others; nor does a server that has just lost the lead of its stream.
fn refusal(error: &PublishError) -> Option<String> {
    let cause = error.source()?.downcast_ref::<jetstream::Error>()?;
    let passes = [
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
    ];
    (!passes.contains(&cause.error_code())).then(|| cause.to_string())
}

/// Whether the stream holds as many messages of the subject as it may. The server has no code of its own for that.
fn of_subject(error: &PublishError) -> bool {
    let cause = error.source();
    let cause = cause.and_then(|cause| cause.downcast_ref::<jetstream::Error>());
    cause.is_some_and(|cause| cause.to_string().contains("per subject"))
}

/// The headers of a message with the id `message_id`.
pub(crate) fn headers(message_id: &str, own: Vec<(&'static str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
    for (name, value) in own {
        headers.insert(name, value);
    }
    headers
}
