//! Reading a stream: stored messages page by page, and new ones live.

use std::{future::ready, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{self, AckPolicy, DeliverPolicy, FromConsumer, IntoConsumerConfig, pull},
    message::StreamMessage,
};
use futures_util::{StreamExt, stream::BoxStream};
use orders_contracts::{Subject, streams::Stream};
use tokio::time::timeout;
use tracing::debug;

use crate::{ACK_DEADLINE, Bus, Error};

/// The most messages in one page.
const PAGE: usize = 256;
/// How long the server keeps the consumer of a page whose reader has died.
const ABANDONED: Duration = Duration::from_secs(5);

/// The parts of each message to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Whole,
    /// The body stays on the server; its size is in the header `Nats-Msg-Size`.
    Headers,
}

/// A part of a stream.
pub(crate) struct Page {
    /// The messages, in order.
    pub(crate) messages: Vec<StreamMessage>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub(crate) reached: u64,
}

/// New messages of a stream, in order and without a gap. It ends when it has to be opened again, for example after a
/// reconnection.
pub(crate) type Live = BoxStream<'static, StreamMessage>;

impl Bus {
    /// The messages of `stream` under `filter` after the sequence `after`, live.
    pub(crate) async fn live(
        &self,
        stream: &Stream,
        filter: &Subject,
        after: u64,
    ) -> Result<Live, Error> {
        let config = pull::OrderedConfig {
            deliver_policy: start_after(after),
            filter_subject: self.subject(filter.as_str()),
            ..Default::default()
        };
        let bus = self.clone();
        let (name, reconnected) = (stream.name, self.reconnected());
        let messages = self.reader(stream, config).await?.messages().await;
        let messages = messages.map_err(|error| unreadable(stream, error))?;
        let until_an_error = messages.scan((), move |(), message| {
            let message = message.map_err(Into::into).and_then(stored);
            let message = message.map(|message| bus.stored_here(message));
            if let Err(error) = &message {
                debug!("{name} has to be opened again: {error}");
            }
            ready(message.ok())
        });
        // After a reconnection the server may have forgotten the consumer, and if no message has come yet, the client
        // would create it again from the start of the stream.
        Ok(until_an_error.take_until(reconnected).boxed())
    }

    /// Reads the next messages under `filter` after the sequence `after`, up to and including `up_to`.
    ///
    /// A page has a consumer of its own and deletes it, because by default the server allows a stream 1,000 of them.
    pub(crate) async fn page(
        &self,
        stream: &Stream,
        filter: &Subject,
        content: Content,
        after: u64,
        up_to: u64,
    ) -> Result<Page, Error> {
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: start_after(after),
            filter_subject: self.subject(filter.as_str()),
            headers_only: content == Content::Headers,
            memory_storage: true,
            inactive_threshold: ABANDONED,
            ..Default::default()
        };
        let consumer = self.reader(stream, config).await?;
        let page = timeout(ACK_DEADLINE, read(&consumer, after, up_to)).await;
        let name = &consumer.cached_info().name;
        let deleted = self
            .jetstream
            .delete_consumer_from_stream(name, self.name_of(stream));
        if let Err(error) = deleted.await {
            debug!("cannot delete consumer {name}: {error}");
        }
        let mut page = page
            .unwrap_or_else(|_| Err("no answer".into()))
            .map_err(|error| unreadable(stream, error))?;
        for message in &mut page.messages {
            self.strip(&mut message.subject);
        }
        Ok(page)
    }

    async fn reader<C: IntoConsumerConfig + FromConsumer>(
        &self,
        stream: &Stream,
        config: C,
    ) -> Result<consumer::Consumer<C>, Error> {
        let reader = self
            .jetstream
            .create_consumer_on_stream(config, self.name_of(stream));
        reader.await.map_err(|error| unreadable(stream, error))
    }
}

pub(crate) fn unreadable(stream: &Stream, cause: impl Into<async_nats::Error>) -> Error {
    Error::api(format!("read {}", stream.name), cause)
}

/// The message with its place in the stream.
fn stored(message: jetstream::Message) -> Result<StreamMessage, async_nats::Error> {
    let info = message.info()?;
    let (sequence, time) = (info.stream_sequence, info.published);
    let message = message.message;
    Ok(StreamMessage {
        subject: message.subject,
        sequence,
        headers: message.headers.unwrap_or_default(),
        payload: message.payload,
        time,
    })
}

async fn read(
    consumer: &consumer::Consumer<pull::Config>,
    after: u64,
    up_to: u64,
) -> Result<Page, async_nats::Error> {
    let mut page = Page {
        messages: Vec::new(),
        reached: up_to,
    };
    if consumer.cached_info().num_pending == 0 {
        return Ok(page);
    }
    page.reached = after;
    let mut batch = consumer.fetch().max_messages(PAGE).messages().await?;
    while page.reached < up_to
        && let Some(message) = batch.next().await
    {
        let message = message?;
        let is_end = message.info()?.pending == 0;
        let message = stored(message)?;
        let is_last = is_end || message.sequence >= up_to;
        page.reached = if is_last { up_to } else { message.sequence };
        if message.sequence <= up_to {
            page.messages.push(message);
        }
    }
    if page.reached > after {
        Ok(page)
    } else {
        Err("nothing came".into())
    }
}

fn start_after(sequence: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence {
        start_sequence: sequence + 1,
    }
}
