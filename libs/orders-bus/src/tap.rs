//! Watching messages of all streams, for people. Even malformed messages are shown.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue, jetstream::message::StreamMessage};
use bytes::Bytes;
use futures_util::{Stream as Messages, StreamExt, TryStreamExt, stream};
use orders_contracts::{
    OrderId, Subject, TenantId, Timestamp, TraceContext, header,
    streams::{Retention, Stream},
};
use tokio::time::sleep;
use tracing::debug;

use crate::{
    Error, Operator,
    history::{Content, Live, Page},
    inspect::timestamp,
};

/// How long to wait before reading a stream again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A message that was watched. Its texts are unchecked and may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its stream.
    pub stream: &'static str,
    /// Its sequence there; `None` if it was only overheard.
    pub sequence: Option<u64>,
    /// When the stream stored it.
    pub time: Timestamp,
    /// Its subject.
    pub subject: String,
    /// `ce-id`.
    pub id: Option<String>,
    /// `ce-type`.
    pub message_type: Option<String>,
    /// `ce-subject`, the order it is about.
    pub order_id: Option<String>,
    /// The id of its trace.
    pub trace_id: Option<String>,
    /// Why it was given up, if it is a dead letter.
    pub reason: Option<String>,
    /// Its body.
    pub body: Bytes,
}

/// Selects messages to watch; an unset field matches all.
#[derive(Debug, Clone, Default)]
pub struct TapFilter {
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those about this order.
    pub order: Option<OrderId>,
}

impl TapFilter {
    fn fits(&self, passage: &Passage) -> bool {
        self.order
            .as_ref()
            .is_none_or(|order| passage.order_id.as_deref() == Some(order.as_str()))
    }

    fn subject(&self, stream: &Stream) -> Subject {
        Subject::filter(stream, self.tenant.as_ref())
    }
}

impl Operator {
    /// The stored messages of `stream` that match `filter`, up to the sequence `up_to`, in order. A work queue holds only
    /// messages that are not settled yet. `progress` hears of each part that was read, how many messages it had.
    pub fn past<'a>(
        &'a self,
        stream: &'a Stream,
        filter: &'a TapFilter,
        up_to: u64,
        progress: &'a dyn Fn(u64),
    ) -> impl Messages<Item = Result<Passage, Error>> + 'a {
        let pages = stream::try_unfold(0, move |after| async move {
            if after >= up_to {
                return Ok(None);
            }
            let subject = filter.subject(stream);
            let page = if stream.retention == Retention::WorkQueue {
                self.queued(stream, &subject, after, up_to).await?
            } else {
                self.page(stream, &subject, Content::Whole, after, up_to)
                    .await?
            };
            progress(page.messages.len() as u64);
            let messages = page.messages.into_iter();
            let passages = messages.map(move |message| Ok(Passage::stored(stream, message)));
            Ok(Some((stream::iter(passages), page.reached)))
        });
        pages
            .try_flatten()
            .try_filter(|passage| std::future::ready(filter.fits(passage)))
    }

    /// New messages of `stream` after the sequence `after` that match `filter`, without end. For a work queue use
    /// [`passing`](Self::passing).
    pub fn coming<'a>(
        &'a self,
        stream: &'a Stream,
        filter: &'a TapFilter,
        after: u64,
    ) -> impl Messages<Item = Passage> + 'a {
        let messages = stream::unfold((after, None), move |(mut after, mut live)| async move {
            loop {
                let messages = match &mut live {
                    Some(messages) => messages,
                    None => live.insert(self.reopened(stream, filter, after).await),
                };
                match messages.next().await {
                    None => live = None,
                    Some(message) => {
                        after = message.sequence;
                        return Some((Passage::stored(stream, message), (after, live)));
                    }
                }
            }
        });
        messages.filter(|passage| std::future::ready(filter.fits(passage)))
    }

    /// Messages published to `stream` from now on that match `filter`. They are overheard outside the stream, so they
    /// have no sequence, and those published while the connection is down are missed.
    pub async fn passing<'a>(
        &self,
        stream: &'a Stream,
        filter: &'a TapFilter,
    ) -> Result<impl Messages<Item = Passage> + use<'a>, Error> {
        let failed =
            |cause: async_nats::Error| Error::api(format!("listen to {}", stream.subjects), cause);
        let subject = self.subject(filter.subject(stream).as_str());
        let messages = self.client.subscribe(subject).await;
        let messages = messages.map_err(|error| failed(error.into()))?;
        let flushed = self.client.flush().await;
        flushed.map_err(|error| failed(error.into()))?;
        let bus = self.bus.clone();
        let passages = messages.map(move |mut message| {
            bus.strip(&mut message.subject);
            let headers = message.headers.unwrap_or_default();
            Passage::overheard(stream, &message.subject, &headers, message.payload)
        });
        Ok(passages.filter(|passage| std::future::ready(filter.fits(passage))))
    }

    async fn reopened(&self, stream: &Stream, filter: &TapFilter, after: u64) -> Live {
        loop {
            match self.live(stream, &filter.subject(stream), after).await {
                Ok(live) => return live,
                Err(error) => debug!("{error}"),
            }
            sleep(PAUSE).await;
        }
    }

    /// A page of a work queue, which allows its daemon's consumer and no other: one message.
    pub(crate) async fn queued(
        &self,
        stream: &Stream,
        subject: &Subject,
        after: u64,
        up_to: u64,
    ) -> Result<Page, Error> {
        let found = self.first_stored(stream, subject, after + 1).await?;
        let found = found.filter(|message| message.sequence <= up_to);
        Ok(Page {
            reached: found.as_ref().map_or(up_to, |message| message.sequence),
            messages: found.into_iter().collect(),
        })
    }
}

impl Passage {
    fn stored(stream: &Stream, message: StreamMessage) -> Self {
        Self {
            sequence: Some(message.sequence),
            time: timestamp(message.time),
            ..Self::overheard(stream, &message.subject, &message.headers, message.payload)
        }
    }

    fn overheard(stream: &Stream, subject: &str, headers: &HeaderMap, body: Bytes) -> Self {
        let text = |name: &'static str| headers.get(name).map(|value| value.as_str().to_owned());
        let trace = TraceContext::of_message(|name| headers.get(name).map(HeaderValue::as_str));
        Self {
            stream: stream.name,
            sequence: None,
            time: Timestamp::now(),
            subject: subject.to_owned(),
            id: text(header::ID),
            message_type: text(header::TYPE),
            order_id: text(header::SUBJECT),
            trace_id: trace.map(TraceContext::trace_id),
            reason: text(header::REASON),
            body,
        }
    }
}
