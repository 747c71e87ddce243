//! The state of the server, its streams and its consumers.

use std::time::Duration;

use async_nats::{
    datetime::DateTime,
    jetstream::{
        consumer,
        message::StreamMessage,
        stream::{self, LastRawMessageErrorKind, RawMessageError},
    },
};
use orders_contracts::{
    Channel, PaymentSettings, Subject, TenantId, Timestamp,
    streams::{self, Consumer, Retention, Stream},
};

use crate::{Bus, Error, Operator, error::is_not_found, history::unreadable};

/// The server that the bus is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its id, which its monitoring shows too.
    pub id: String,
    /// Its version, such as `2.12.6`.
    pub version: String,
}

/// The contents of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The number of messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most bytes that it holds; `None` without a limit.
    pub max_bytes: Option<u64>,
    /// The age at which a message leaves it; `None` without a limit.
    pub max_age: Option<Duration>,
    /// How long it remembers the id of a message, to drop a second one.
    pub duplicate_window: Duration,
    /// The sequence of its oldest message; `last + 1` when it is empty.
    pub first: u64,
    /// When its oldest message was stored; `None` when it is empty.
    pub oldest: Option<Timestamp>,
    /// The sequence of its newest message; 0 when it never had one.
    pub last: u64,
}

/// The progress of a durable consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerState {
    /// The number of messages not delivered yet.
    pub pending: u64,
    /// The number of messages delivered but not acked.
    pub ack_pending: u64,
    /// The most that the server delivers before one of them is acked.
    pub max_ack_pending: u64,
    /// The number of these that were delivered more than once.
    pub redelivered: u64,
    /// The number of waiting pull requests; 0 if nobody reads.
    pub waiting: u64,
    /// The sequence up to which every message is acked.
    pub ack_floor: u64,
    /// When the oldest unacked message was stored.
    pub oldest: Option<Timestamp>,
    /// How long the server waits for an ack before it delivers a message again.
    pub ack_wait: Duration,
    /// Whether somebody has paused it: the server hands out nothing until it is resumed.
    pub is_paused: bool,
}

impl Operator {
    /// The server that the bus is connected to.
    pub fn server(&self) -> Server {
        let info = self.bus.client.server_info();
        Server {
            id: info.server_id,
            version: info.version,
        }
    }

    /// What the server has refused lately, such as a right that is missing; what was asked gets no other answer.
    pub fn refused(&self) -> Option<String> {
        self.bus.refusals.check().err()
    }
}

impl ConsumerState {
    /// How many messages, at most, `consumer`'s stream dropped before the consumer got them. `contents` is what the stream
    /// held *before* this was seen: what is acked in between may leave it.
    pub fn lost(&self, consumer: &Consumer, contents: &StreamState) -> u64 {
        // A work queue drops nothing.
        if consumer.stream.retention == Retention::WorkQueue {
            return 0;
        }
        // The floor of a consumer that wants one kind of message only stays behind the others, so it tells nothing unless
        // the consumer is behind.
        let is_behind = consumer.filter.is_none() || self.pending > 0;
        let lost = contents.first.saturating_sub(self.ack_floor + 1);
        if is_behind { lost } else { 0 }
    }
}

impl Bus {
    /// The contents of `stream`; `None` if it does not exist.
    pub async fn stream_state(&self, stream: &Stream) -> Result<Option<StreamState>, Error> {
        let info = self.stream_info(stream).await?;
        Ok(info.map(|info| StreamState {
            messages: info.state.messages,
            bytes: info.state.bytes,
            max_bytes: u64::try_from(info.config.max_bytes)
                .ok()
                .filter(|bytes| *bytes > 0),
            max_age: Some(info.config.max_age).filter(|age| !age.is_zero()),
            duplicate_window: info.config.duplicate_window,
            first: info.state.first_sequence,
            oldest: (info.state.messages > 0).then(|| timestamp(info.state.first_timestamp)),
            last: info.state.last_sequence,
        }))
    }

    /// The progress of `consumer`; `None` if it does not exist.
    pub async fn consumer_state(
        &self,
        consumer: &Consumer,
    ) -> Result<Option<ConsumerState>, Error> {
        let Some(info) = self.consumer_info(consumer).await? else {
            return Ok(None);
        };
        Ok(Some(ConsumerState {
            pending: info.num_pending,
            ack_pending: info.num_ack_pending as u64,
            redelivered: info.num_redelivered as u64,
            waiting: info.num_waiting as u64,
            ack_floor: info.ack_floor.stream_sequence,
            oldest: self.oldest_unacked(consumer, &info).await?,
            max_ack_pending: u64::try_from(info.config.max_ack_pending).unwrap_or(0),
            ack_wait: info.config.ack_wait,
            is_paused: info.paused,
        }))
    }

    /// The delay of payments, as the consumer of the payment-simulator tells it; `None` if that does not exist.
    pub async fn payment_delay(&self) -> Result<Option<Duration>, Error> {
        // Its settings do not identify the consumer.
        let payments = streams::payment_simulator(&PaymentSettings::default());
        let info = self.consumer_info(&payments).await?;
        Ok(info.map(|info| streams::payment_delay(info.config.ack_wait)))
    }

    /// When `stream` was made; `None` if it does not exist. One that was lost and made again is another stream.
    pub async fn made_at(&self, stream: &Stream) -> Result<Option<Timestamp>, Error> {
        let info = self.stream_info(stream).await?;
        Ok(info.map(|info| timestamp(info.created)))
    }

    /// When the oldest message that `consumer` has not settled was stored; `None` if it has settled all of them, or does
    /// not exist. Its daemon has handled every message stored earlier.
    pub async fn unsettled_since(&self, consumer: &Consumer) -> Result<Option<Timestamp>, Error> {
        match self.consumer_info(consumer).await? {
            Some(info) => self.oldest_unacked(consumer, &info).await,
            None => Ok(None),
        }
    }

    /// The sequence of the oldest message of `channel` and `tenant` in `stream`. In a work queue that is the oldest
    /// message not settled yet, or settled just now.
    pub async fn oldest(
        &self,
        stream: &Stream,
        channel: Channel,
        tenant: &TenantId,
    ) -> Result<Option<u64>, Error> {
        let oldest = self.first_stored(stream, &channel.of(tenant), 1).await?;
        Ok(oldest.map(|message| message.sequence))
    }

    async fn oldest_unacked(
        &self,
        consumer: &Consumer,
        info: &consumer::Info,
    ) -> Result<Option<Timestamp>, Error> {
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(None);
        }
        let stream = &consumer.stream;
        let of_all = || Subject::filter(stream, None);
        let filter = consumer.filter.map_or_else(of_all, Channel::of_all_tenants);
        let first = info.ack_floor.stream_sequence + 1;
        let oldest = self.first_stored(stream, &filter, first).await?;
        Ok(oldest.map(|message| timestamp(message.time)))
    }

    /// The stream as the server has it.
    pub(crate) async fn stream_info(&self, stream: &Stream) -> Result<Option<stream::Info>, Error> {
        let name = self.name_of(stream);
        match self.jetstream.get_stream(&name).await {
            Ok(found) => Ok(Some(found.cached_info().clone())),
            Err(error) if is_not_found(&error.kind()) => Ok(None),
            Err(error) => Err(Error::api(format!("look up stream {name}"), error)),
        }
    }

    /// The consumer as the server has it.
    pub(crate) async fn consumer_info(
        &self,
        consumer: &Consumer,
    ) -> Result<Option<consumer::Info>, Error> {
        use async_nats::jetstream::context::ConsumerInfoErrorKind::{NotFound, StreamNotFound};
        let stream = self.stream_handle(&consumer.stream).await?;
        match stream.consumer_info(consumer.durable).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if matches!(error.kind(), NotFound | StreamNotFound) => Ok(None),
            Err(error) => {
                let name = self.name_of_consumer(consumer);
                Err(Error::api(format!("look up consumer {name}"), error))
            }
        }
    }

    /// The message of `stream` at `sequence`.
    pub(crate) async fn stored(
        &self,
        stream: &Stream,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let handle = self.stream_handle(stream).await?;
        self.found(stream, handle.get_raw_message(sequence).await)
    }

    /// The first message of `stream` under `filter` from the sequence `from` on. Unlike a consumer, this also works on a
    /// work queue.
    pub(crate) async fn first_stored(
        &self,
        stream: &Stream,
        filter: &Subject,
        from: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let handle = self.stream_handle(stream).await?;
        let subject = self.subject(filter.as_str());
        let first = handle.get_first_raw_message_by_subject(subject, from);
        self.found(stream, first.await)
    }

    /// The stream, without asking the server for it.
    pub(crate) async fn stream_handle(&self, stream: &Stream) -> Result<stream::Stream<()>, Error> {
        let name = self.name_of(stream);
        self.jetstream
            .get_stream_no_info(&name)
            .await
            .map_err(|error| Error::api(format!("look up stream {name}"), error))
    }

    fn found(
        &self,
        stream: &Stream,
        answer: Result<StreamMessage, RawMessageError>,
    ) -> Result<Option<StreamMessage>, Error> {
        match answer {
            Ok(message) => Ok(Some(self.stored_here(message))),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => {
                Ok(None)
            }
            Err(error) => Err(unreadable(stream, error)),
        }
    }
}

/// Converts a time of the server.
pub(crate) fn timestamp(time: DateTime) -> Timestamp {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .and_then(Timestamp::from_millis)
        .expect("the server's clock is within the calendar")
}
