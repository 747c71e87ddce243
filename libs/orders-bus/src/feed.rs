use async_nats::{HeaderValue, jetstream::message::StreamMessage};
use futures_util::{StreamExt, stream::BoxStream};
use orders_contracts::{Channel, FeedEntry, Metadata, Subject, TenantId, streams::ORDERS_FEED};
use tracing::{Span, warn};

use crate::{Bus, Error, history::Content, ids};

/// The current bounds of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedBounds {
    /// When the stream was created, in milliseconds. A different number means another feed, with other sequences.
    pub epoch: u64,
    /// The sequence of its oldest entry; `last + 1` when it is empty.
    pub first: u64,
    /// The sequence of its newest entry; 0 when it never had one.
    pub last: u64,
    /// When its newest entry was stored, in milliseconds; 0 when it never had one.
    pub last_time: u64,
    /// When the entry that was asked about was stored, in milliseconds; `None` when it is not there.
    pub asked: Option<u64>,
}

/// One entry of the feed and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, in milliseconds.
    pub time: u64,
    /// [`Channel::FeedCreated`] or [`Channel::FeedUpdated`].
    pub channel: Channel,
    /// Whose it is.
    pub tenant: TenantId,
    /// The change.
    pub entry: FeedEntry,
    /// Its headers.
    pub metadata: Metadata,
}

impl FeedMessage {
    /// The span of its log lines, as [`Delivery::span`](crate::Delivery::span).
    pub fn span(&self) -> Span {
        ids::span(&self.tenant, &self.metadata)
    }
}

/// An entry of the live feed that nobody has read yet. Its subject tells whose it is; to read its headers and its body
/// takes far longer.
#[derive(Debug, Clone)]
pub struct FeedArrival(StreamMessage);

impl FeedArrival {
    /// Its sequence in the stream.
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// When it was stored, in milliseconds.
    pub fn time(&self) -> u64 {
        time_of(&self.0)
    }

    /// Whose it is; `None` if its subject does not say so, which makes it malformed.
    pub fn tenant(&self) -> Option<&str> {
        Subject::tenant_of_feed(&self.0.subject)
    }

    /// The entry; `None` if it is malformed, which the log tells.
    pub fn read(&self) -> Option<FeedMessage> {
        read(&self.0)
    }
}

/// A part of one tenant's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// The entries, in order.
    pub entries: Vec<FeedMessage>,
    /// The sequence up to which the feed was read; the next page starts after it.
    pub reached: u64,
}

/// The live feed, in order and without a gap. It ends when it has to be opened again, for example after a reconnection.
pub type Feed = BoxStream<'static, FeedArrival>;

impl Bus {
    /// The current bounds of the feed, and the time of the entry `asked`; 0 for none.
    pub async fn feed_bounds(&self, asked: u64) -> Result<FeedBounds, Error> {
        let info = self.stream_info(&ORDERS_FEED).await?;
        let info = info.ok_or_else(|| Error::api("look up the feed", "it is missing"))?;
        let last = info.state.last_sequence;
        let last_time = match last {
            0 => 0,
            _ => millis(info.state.last_timestamp.unix_timestamp_nanos()),
        };
        let asked = match asked {
            0 => None,
            asked if asked == last => Some(last_time),
            asked => {
                let entry = self.stored(&ORDERS_FEED, asked).await?;
                entry.map(|entry| millis(entry.time.unix_timestamp_nanos()))
            }
        };
        Ok(FeedBounds {
            epoch: millis(info.created.unix_timestamp_nanos()),
            first: info.state.first_sequence,
            last,
            last_time,
            asked,
        })
    }

    /// The feed of all tenants after the sequence `after`, live.
    pub async fn feed_after(&self, after: u64) -> Result<Feed, Error> {
        let filter = Subject::filter(&ORDERS_FEED, None);
        let messages = self.live(&ORDERS_FEED, &filter, after).await?;
        Ok(messages.map(FeedArrival).boxed())
    }

    /// Reads the next entries of `tenant` after the sequence `after`, up to and including `up_to`, at most 256.
    pub async fn feed_of(
        &self,
        tenant: &TenantId,
        after: u64,
        up_to: u64,
    ) -> Result<FeedPage, Error> {
        let filter = Subject::feed_of(tenant);
        let page = self
            .page(&ORDERS_FEED, &filter, Content::Whole, after, up_to)
            .await?;
        Ok(FeedPage {
            entries: page.messages.iter().filter_map(read).collect(),
            reached: page.reached,
        })
    }
}

fn time_of(message: &StreamMessage) -> u64 {
    millis(message.time.unix_timestamp_nanos())
}

fn millis(nanos: i128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}

/// Reads an entry; a malformed one is skipped.
fn read(message: &StreamMessage) -> Option<FeedMessage> {
    let sequence = message.sequence;
    let value = |name: &'static str| message.headers.get(name).map(HeaderValue::as_str);
    let read = || {
        let (channel, tenant) = Channel::parse(&message.subject)?;
        let metadata = Metadata::parse(channel, value).ok()?;
        let entry = serde_json::from_slice(&message.payload).ok()?;
        Some(FeedMessage {
            sequence,
            time: time_of(message),
            channel,
            tenant,
            entry,
            metadata,
        })
    };
    let entry = read();
    if entry.is_none() {
        let span = ids::span_of(&message.subject, value);
        warn!(parent: &span, "skipped malformed entry {sequence} of the feed");
    }
    entry
}
