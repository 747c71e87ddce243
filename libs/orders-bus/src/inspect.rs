//! The state of the server, its streams and its consumers.

use async_nats::{
    datetime::DateTime,
    jetstream::{
        consumer,
        message::StreamMessage,
        stream::{self, LastRawMessageErrorKind, RawMessageError},
    },
};
use orders_contracts::{
    Channel, Subject, TenantId, Timestamp,
    streams::{Consumer, Stream},
};

use crate::{Bus, Error, Operator, error::is_not_found, history::unreadable};

/// The server that the bus is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its id, which its monitoring shows too.
    pub id: String,
    /// Its version, such as `2.12.0`.
    pub version: String,
}

/// The contents of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// The number of messages.
    pub messages: u64,
    /// The sequence of its newest message; 0 when it never had one.
    pub last: u64,
}

/// The progress of a durable consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerState {
    /// The number of messages not delivered yet.
    pub pending: u64,
    /// The number of messages delivered but not acked.
    pub ack_pending: u64,
    /// The number of waiting pull requests; 0 if nobody reads.
    pub waiting: u64,
    /// The sequence up to which every message is acked.
    pub ack_floor: u64,
    /// When the oldest unacked message was stored.
    pub oldest: Option<Timestamp>,
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

    /// The contents of `stream`; `None` if it does not exist.
    pub async fn stream_state(&self, stream: &Stream) -> Result<Option<StreamState>, Error> {
        let info = self.stream_info(stream).await?;
        Ok(info.map(|info| StreamState {
            messages: info.state.messages,
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
            waiting: info.num_waiting as u64,
            ack_floor: info.ack_floor.stream_sequence,
            oldest: self.oldest_unacked(consumer, &info).await?,
        }))
    }
}

impl Bus {
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
        match self.jetstream.get_stream(stream.name).await {
            Ok(found) => Ok(Some(found.cached_info().clone())),
            Err(error) if is_not_found(&error.kind()) => Ok(None),
            Err(error) => Err(Error::api(format!("look up stream {}", stream.name), error)),
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
            Err(error) => Err(Error::api(format!("look up consumer {consumer}"), error)),
        }
    }

    /// The message of `stream` at `sequence`.
    pub(crate) async fn stored(
        &self,
        stream: &Stream,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let handle = self.stream_handle(stream).await?;
        found(stream, handle.get_raw_message(sequence).await)
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
        let first = handle.get_first_raw_message_by_subject(filter.as_str(), from);
        found(stream, first.await)
    }

    /// The stream, without asking the server for it.
    pub(crate) async fn stream_handle(&self, stream: &Stream) -> Result<stream::Stream<()>, Error> {
        self.jetstream
            .get_stream_no_info(stream.name)
            .await
            .map_err(|error| Error::api(format!("look up stream {}", stream.name), error))
    }
}

fn found(
    stream: &Stream,
    answer: Result<StreamMessage, RawMessageError>,
) -> Result<Option<StreamMessage>, Error> {
    match answer {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(unreadable(stream, error)),
    }
}

/// Converts a time of the server.
pub(crate) fn timestamp(time: DateTime) -> Timestamp {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .and_then(Timestamp::from_millis)
        .expect("the server's clock is within the calendar")
}
