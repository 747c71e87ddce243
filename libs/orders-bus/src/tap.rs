//! Watching messages of all streams, for people. Even malformed messages are shown.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
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
    history::{Content, Live},
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

/// A work queue allows its daemon's consumer and no other.
fn is_queue(stream: &Stream) -> bool {
    stream.retention == Retention::WorkQueue
}

impl Operator {
    /// The stored messages of `stream` that match `filter`, up to the sequence `up_to`, in order. A work queue holds only
    /// messages that are not settled yet.
    pub fn past<'a>(
        &'a self,
        stream: &'a Stream,
        filter: &'a TapFilter,
        up_to: u64,
    ) -> impl Messages<Item = Result<Passage, Error>> + 'a {
        let pages = stream::try_unfold(0, move |after| async move {
            if after >= up_to {
                return Ok(None);
            }
            let (passages, reached) = if is_queue(stream) {
                self.queued(stream, filter, after, up_to).await?
            } else {
                self.kept(stream, filter, after, up_to).await?
            };
            Ok(Some((stream::iter(passages.into_iter().map(Ok)), reached)))
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
                        let passage = Passage::of_message(stream, &message);
                        after = passage.sequence.unwrap_or(after);
                        return Some((passage, (after, live)));
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
        let failed = |error: String| Error::api(format!("listen to {}", stream.subjects), error);
        let messages = self
            .bus
            .client
            .subscribe(filter.subject(stream).to_string())
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.bus
            .client
            .flush()
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(messages
            .map(|message| {
                let headers = message.headers.unwrap_or_default();
                let parts = (message.subject.as_str(), &headers, message.payload);
                Passage::new(stream, None, Timestamp::now(), parts)
            })
            .filter(|passage| std::future::ready(filter.fits(passage))))
    }

    async fn reopened(&self, stream: &Stream, filter: &TapFilter, after: u64) -> Live {
        loop {
            match self.bus.live(stream, &filter.subject(stream), after).await {
                Ok(live) => return live,
                Err(error) => debug!("{error}"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn kept(
        &self,
        stream: &Stream,
        filter: &TapFilter,
        after: u64,
        up_to: u64,
    ) -> Result<(Vec<Passage>, u64), Error> {
        let subject = filter.subject(stream);
        let page = self
            .bus
            .page(stream, &subject, Content::Whole, after, up_to)
            .await?;
        let passages = page.messages.iter();
        let passages = passages.map(|message| Passage::of_message(stream, message));
        Ok((passages.collect(), page.reached))
    }

    async fn queued(
        &self,
        stream: &Stream,
        filter: &TapFilter,
        after: u64,
        up_to: u64,
    ) -> Result<(Vec<Passage>, u64), Error> {
        let subject = filter.subject(stream);
        let found = self.bus.first_stored(stream, &subject, after + 1).await?;
        let Some(message) = found.filter(|message| message.sequence <= up_to) else {
            return Ok((Vec::new(), up_to));
        };
        let time = timestamp(message.time.unix_timestamp_nanos());
        let parts = (
            message.subject.as_str(),
            &message.headers,
            message.payload.clone(),
        );
        let passage = Passage::new(stream, Some(message.sequence), time, parts);
        Ok((vec![passage], message.sequence))
    }
}

impl Passage {
    fn of_message(stream: &Stream, message: &jetstream::Message) -> Self {
        let none = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&none);
        let parts = (message.subject.as_str(), headers, message.payload.clone());
        let info = message.info().ok();
        let sequence = info.as_ref().map(|info| info.stream_sequence);
        let time = info.map_or_else(Timestamp::now, |info| {
            timestamp(info.published.unix_timestamp_nanos())
        });
        Self::new(stream, sequence, time, parts)
    }

    fn new(
        stream: &Stream,
        sequence: Option<u64>,
        time: Timestamp,
        (subject, headers, body): (&str, &HeaderMap, Bytes),
    ) -> Self {
        let text = |name: &'static str| headers.get(name).map(|value| value.as_str().to_owned());
        let trace = text(header::TRACEPARENT).and_then(|text| text.parse::<TraceContext>().ok());
        Self {
            stream: stream.name,
            sequence,
            time,
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
