//! Reading a stream: stored messages page by page, and new ones live.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    consumer::{self, AckPolicy, DeliverPolicy, pull},
};
use futures_util::{FutureExt, Stream as Messages, StreamExt, future::BoxFuture};
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
    pub(crate) messages: Vec<jetstream::Message>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub(crate) reached: u64,
}

/// New messages of a stream, in order and without a gap. It ends when it has to be opened again, for example after a
/// reconnection.
pub(crate) struct Live {
    stream: &'static str,
    messages: Pin<Box<pull::Ordered>>,
    /// Resolves on a reconnection. The server may have forgotten the consumer then, and if no message has come yet, the
    /// client would create it again from the start of the stream.
    reconnected: BoxFuture<'static, ()>,
}

impl Messages for Live {
    type Item = jetstream::Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reconnected.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let message = std::task::ready!(self.messages.as_mut().poll_next(cx));
        Poll::Ready(match message {
            Some(Ok(message)) => Some(message),
            Some(Err(error)) => {
                debug!("{} has to be opened again: {error}", self.stream);
                None
            }
            None => None,
        })
    }
}

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
            filter_subject: filter.to_string(),
            ..Default::default()
        };
        let reconnected = self.reconnected().boxed();
        let failed = |error: String| Error::api(format!("open {}", stream.name), error);
        let consumer = self
            .jetstream
            .create_consumer_on_stream(config, stream.name)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Live {
            stream: stream.name,
            messages: Box::pin(messages),
            reconnected,
        })
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
            filter_subject: filter.to_string(),
            headers_only: content == Content::Headers,
            memory_storage: true,
            inactive_threshold: ABANDONED,
            ..Default::default()
        };
        let failed = |error: String| Error::api(format!("read {}", stream.name), error);
        let consumer = self
            .jetstream
            .create_consumer_on_stream(config, stream.name)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let page = timeout(ACK_DEADLINE, read(&consumer, after, up_to)).await;
        let name = &consumer.cached_info().name;
        let deleted = self
            .jetstream
            .delete_consumer_from_stream(name, stream.name);
        if let Err(error) = deleted.await {
            debug!("cannot delete consumer {name}: {error}");
        }
        page.unwrap_or_else(|_| Err("no answer".to_owned()))
            .map_err(failed)
    }
}

async fn read(
    consumer: &consumer::Consumer<pull::Config>,
    after: u64,
    up_to: u64,
) -> Result<Page, String> {
    let mut page = Page {
        messages: Vec::new(),
        reached: up_to,
    };
    if consumer.cached_info().num_pending == 0 {
        return Ok(page);
    }
    page.reached = after;
    let mut batch = consumer
        .fetch()
        .max_messages(PAGE)
        .messages()
        .await
        .map_err(|error| error.to_string())?;
    while page.reached < up_to
        && let Some(message) = batch.next().await
    {
        let message = message.map_err(|error| error.to_string())?;
        let info = message.info().map_err(|error| error.to_string())?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        if sequence <= up_to {
            page.messages.push(message);
        }
        let is_last = pending == 0 || sequence >= up_to;
        page.reached = if is_last { up_to } else { sequence };
    }
    if page.reached > after {
        Ok(page)
    } else {
        Err("nothing came".to_owned())
    }
}

fn start_after(sequence: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence {
        start_sequence: sequence + 1,
    }
}
