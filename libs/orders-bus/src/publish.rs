use std::{collections::BTreeMap, fmt::Display, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{context::PublishAckFuture, message::PublishMessage},
};
use backon::BackoffBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::join_all};
use orders_contracts::{
    Answer, Channel, Metadata, OrderEvent, Reply, ReplyTo, TenantId, TraceContext,
};
use serde::Serialize;
use tokio::time::timeout;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{BACKOFF, Bus, Error};

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
}

impl Bus {
    /// Publishes `message` and waits until JetStream has stored it, at most [`PUBLISH_DEADLINE`].
    ///
    /// While the connection is known to be down it fails at once. After any other error the outcome is unknown.
    pub async fn publish(&self, message: Message) -> Result<(), Error> {
        // One deadline for sending and ack: a connection that swallows everything would use up two of them.
        let stored = async { acknowledged(self.send(&message).await).await };
        timeout(PUBLISH_DEADLINE, stored)
            .await
            .unwrap_or_else(|_| Err(Error::unacknowledged("no answer in time")))
    }

    /// Publishes `messages` one after another without waiting in between; the results are in the same order.
    pub async fn publish_all(&self, messages: &[Message]) -> Vec<Result<(), Error>> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            // If one cannot be sent, the others would only wait for the same deadline.
            let stuck = matches!(sent.last(), Some(Err(_)));
            sent.push(if stuck {
                Err(Error::Disconnected)
            } else {
                self.send(message).await
            });
        }
        // The deadline of an ack runs from its first poll, so they are all polled at once.
        join_all(sent.into_iter().map(acknowledged)).await
    }

    /// Publishes `messages`, and retries those that are not acknowledged until all are stored, however long NATS is away.
    /// Drop the future to give up.
    pub async fn publish_until_stored(&self, mut messages: Vec<Message>) {
        let mut backoff = BACKOFF.build();
        let mut has_warned = false;
        loop {
            let results = self.publish_all(&messages).await;
            let left = messages.into_iter().zip(results);
            let left = left.filter_map(|(message, result)| Some((message, result.err()?)));
            let (left, errors): (Vec<_>, Vec<_>) = left.unzip();
            let Some(error) = errors.last() else { return };
            messages = left;
            if !has_warned {
                has_warned = true;
                warn!(
                    "cannot publish {} messages: {error}; retrying",
                    messages.len()
                );
            }
            tokio::time::sleep(backoff.next().unwrap_or(ACK_DEADLINE)).await;
        }
    }

    /// Sends the edges the results of their commands, in one message for each edge. Best effort: an edge that is gone has
    /// no client waiting.
    pub async fn reply<'a>(&self, replies: impl IntoIterator<Item = (&'a ReplyTo, Reply)>) {
        let mut by_edge: BTreeMap<&str, (&ReplyTo, Vec<Answer>)> = BTreeMap::new();
        for (to, reply) in replies {
            let (edge, command) = to.parts();
            let (_, answers) = by_edge.entry(edge).or_insert_with(|| (to, Vec::new()));
            answers.push(Answer { command, reply });
        }
        for (to, answers) in by_edge.into_values() {
            let body = serde_json::to_vec(&answers).expect("contracts have only string keys");
            let sent = self.client.publish(to.to_string(), body.into());
            if !matches!(timeout(BEST_EFFORT, sent).await, Ok(Ok(()))) {
                debug!("{} replies could not be sent", answers.len());
            }
        }
    }

    /// All replies to the edge instance `edge`, for as long as the process lives.
    pub async fn replies(
        &self,
        edge: Uuid,
    ) -> Result<impl Stream<Item = Vec<Answer>> + use<>, Error> {
        let replies = self
            .client
            .subscribe(ReplyTo::filter(edge))
            .await
            .map_err(|error| Error::api("subscribe to replies", error))?;
        Ok(replies.filter_map(|message| {
            std::future::ready(serde_json::from_slice(&message.payload).ok())
        }))
    }

    async fn send(&self, message: &Message) -> Result<PublishAckFuture, Error> {
        let subject = message.channel.of(&message.tenant).to_string();
        let headers = headers(
            &message.message_id,
            message.metadata.headers(message.channel),
        );
        self.send_raw(subject, headers, message.body.clone()).await
    }

    pub(crate) async fn send_raw(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<PublishAckFuture, Error> {
        if !self.is_connected() {
            return Err(Error::Disconnected);
        }
        let publish = PublishMessage::build().headers(headers).payload(body);
        match timeout(ACK_DEADLINE, self.jetstream.send_publish(subject, publish)).await {
            Ok(sent) => sent.map_err(Error::unacknowledged),
            Err(_) => Err(Error::unacknowledged("the connection takes nothing")),
        }
    }
}

pub(crate) async fn acknowledged(sent: Result<PublishAckFuture, Error>) -> Result<(), Error> {
    // The context's timeout bounds the wait.
    sent?.await.map(drop).map_err(Error::unacknowledged)
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
