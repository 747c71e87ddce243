//! Reads the feed into the hub.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use orders_bus::{Bus, Error, FeedArrival, FeedBounds};
use orders_contracts::{
    Timestamp,
    streams::{ORDERS_FEED, Stream as Declaration},
};
use orders_service::{
    always,
    metrics::{FEED_DELAY, FEED_LAG, Histogram, UNKNOWN, gauge, histogram},
    retry,
};
use tracing::{debug, info};

use crate::{bounds, hub::Hub};

/// The stream that realtime reads.
pub(crate) const STREAMS: [Declaration; 1] = [ORDERS_FEED];

/// How often the bounds of the feed are checked, because its consumer does not notice that the feed was recreated or
/// lost its end.
const CHECK: Duration = Duration::from_secs(5);

/// Whether the feed is being read, for the readiness probe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading(Arc<AtomicBool>);

impl Reading {
    /// Fails while the feed is not being read.
    pub(crate) async fn probe(self) -> Result<(), &'static str> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("not reading the feed")
        }
    }

    fn set(&self, reading: bool) {
        self.0.store(reading, Ordering::Relaxed);
    }
}

/// Declares the feed and reads its bounds; `asked` is the entry they are asked about.
pub(crate) async fn open(bus: &Bus, asked: u64) -> Result<FeedBounds, Error> {
    bus.declare(&STREAMS).await?;
    bus.feed_bounds(asked).await
}

/// Reads the feed for ever, and reopens it when reading fails or another feed has taken its place.
pub(crate) async fn read(bus: &Bus, hub: &Hub, reading: &Reading) {
    let delay = histogram!(FEED_DELAY);
    loop {
        gauge!(FEED_LAG).set(UNKNOWN);
        let opened = retry("open the feed", always, async || {
            let after = hub.follow(&open(bus, hub.head().sequence).await?);
            bus.feed_after(after).await
        });
        let Ok(feed) = opened.await else { continue };
        info!("reading the feed after {}", hub.head());
        reading.set(true);
        let mut feed = pin!(feed);
        let mut checks = pin!(checks(bus, hub));
        loop {
            tokio::select! {
                arrival = feed.next() => match arrival {
                    Some(arrival) => take(hub, &delay, &arrival),
                    None => break,
                },
                goes_on = checks.next() => if goes_on != Some(true) { break },
            }
        }
        reading.set(false);
    }
}

/// An entry that no client here follows is not even read: with many tenants on several of these daemons, most are such.
fn take(hub: &Hub, delay: &Histogram, arrival: &FeedArrival) {
    let read = || {
        let message = arrival.read()?;
        delay.record(Timestamp::now().since(message.metadata.time));
        debug!(parent: &message.span(), "passing on ORDERS_FEED:{}", message.sequence);
        Some(message)
    };
    hub.dispatch(arrival.sequence(), arrival.time(), arrival.tenant(), read);
}

/// Checks at intervals whether the feed is still the one that is being read.
fn checks(bus: &Bus, hub: &Hub) -> impl Stream<Item = bool> {
    stream::unfold((), async |()| {
        tokio::time::sleep(CHECK).await;
        let head = hub.head();
        let goes_on = bus.feed_bounds(head.sequence).await.is_ok_and(|bounds| {
            gauge!(FEED_LAG).set(bounds.last.saturating_sub(head.sequence) as f64);
            bounds::check(head, &bounds).is_ok()
        });
        Some((goes_on, ()))
    })
}
