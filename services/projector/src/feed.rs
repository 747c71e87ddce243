//! The feed: which changes belong in it, and in which order.
//!
//! Nobody knows whether a projector that stored a row lived to announce it, so whoever meets the change again announces
//! it again; the stream drops a duplicate, or clients ignore it. An old event that neither changes a row nor comes again
//! was announced long ago: somebody has recreated the consumer.

use std::{collections::HashSet, time::Duration};

use moka::sync::Cache;
use orders_bus::{Bus, Message};
use orders_contracts::{
    Channel, FeedEntry, Metadata, OrderEvent, OrderId, Status, Timestamp, TraceContext,
};

/// An event younger than this may not have been announced, though its row is stored and nobody has seen it before: a
/// server that is killed forgets how often it delivered a message.
const RECENT: Duration = Duration::from_secs(15 * 60);
/// The most orders whose announced creation this process remembers, for the duplicate window of the feed.
const REMEMBERED: u64 = 20_000;

/// The row of an order after a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// Its version, at least.
    pub(crate) version: u32,
    /// Whether this batch stored it, or may have.
    pub(crate) applied: bool,
}

/// Publishes the feed.
pub(crate) struct Feed {
    created: Cache<OrderId, ()>,
    /// For so long the stream drops a second copy.
    window: Duration,
}

/// The entries of one batch.
pub(crate) struct Entries<'f> {
    feed: &'f Feed,
    pub(crate) now: Timestamp,
    messages: Vec<Message>,
    composed: HashSet<(OrderId, u32)>,
}

/// Whether `event`, whose order has the row `shown`, is announced at `now`.
fn is_announced(event: &OrderEvent, shown: Shown, is_redelivered: bool, now: Timestamp) -> bool {
    let is_shown = event.version == 1 || event.version == shown.version;
    is_shown && (shown.applied || is_redelivered || now.since(event.occurred_at) < RECENT)
}

impl Feed {
    /// A feed whose stream has this duplicate window.
    pub(crate) fn new(window: Duration) -> Self {
        let created = Cache::builder().max_capacity(REMEMBERED);
        Self {
            created: created.time_to_live(window).build(),
            window,
        }
    }

    /// Whether another projector may be about to announce the creation of the order.
    fn is_new(&self, event: &OrderEvent) -> bool {
        event.occurred_at.since(event.order.created_at) < self.window
    }

    /// Begins the entries of a batch.
    pub(crate) fn compose(&self, now: Timestamp) -> Entries<'_> {
        Entries {
            feed: self,
            now,
            messages: Vec::new(),
            composed: HashSet::new(),
        }
    }
}

impl Entries<'_> {
    /// Adds the entry of `event`, if it belongs in the feed. The creation of a new order goes before its change, unless
    /// this process has announced it: of two copies the stream keeps the first.
    pub(crate) fn push(
        &mut self,
        event: &OrderEvent,
        shown: Shown,
        is_redelivered: bool,
        trace: TraceContext,
    ) {
        if !is_announced(event, shown, is_redelivered, self.now) {
            return;
        }
        let id = &event.order.order_id;
        if event.version > 1 && self.feed.is_new(event) && !self.feed.created.contains_key(id) {
            self.add(event, 1, Status::Pending, event.order.created_at, trace);
        }
        let (status, time) = (event.order.status, event.occurred_at);
        self.add(event, event.version, status, time, trace);
    }

    fn add(
        &mut self,
        event: &OrderEvent,
        version: u32,
        status: Status,
        time: Timestamp,
        trace: TraceContext,
    ) {
        let order_id = event.order.order_id.clone();
        if !self.composed.insert((order_id.clone(), version)) {
            return;
        }
        let channel = match version {
            1 => Channel::FeedCreated,
            _ => Channel::FeedUpdated,
        };
        let metadata = Metadata {
            id: format!("{order_id}:{version}"),
            source: "/orders/projector".to_owned(),
            order_id: order_id.clone(),
            time,
            trace,
            reply_to: None,
        };
        let entry = FeedEntry {
            order_id,
            status: status.as_str().to_owned(),
            version,
        };
        let message = Message::new(channel, &event.tenant_id, metadata, &entry);
        self.messages.push(message);
    }

    /// Publishes the entries, in the order in which they were added, however long NATS is away.
    pub(crate) async fn publish(self, bus: &Bus) {
        bus.publish_until_stored(self.messages).await;
        for (order_id, version) in self.composed {
            if version == 1 {
                self.feed.created.insert(order_id, ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orders_contracts::{OrderSnapshot, TenantId};

    use super::*;

    const NOW: i64 = 1_763_856_000_000;

    fn at(seconds_ago: i64) -> Timestamp {
        Timestamp::from_millis(NOW - 1_000 * seconds_ago).unwrap()
    }

    fn event(version: u32, created: i64, occurred: i64) -> OrderEvent {
        let tenant_id: TenantId = "t".parse().unwrap();
        OrderEvent {
            version,
            occurred_at: at(occurred),
            order: OrderSnapshot {
                order_id: OrderId::derive(&tenant_id, &"r".parse().unwrap()),
                status: if version == 1 {
                    Status::Pending
                } else {
                    Status::Paid
                },
                created_at: at(created),
                buyer_email: "a@b.example".to_owned(),
                total: "1".parse().unwrap(),
                attachment: None,
                buyer: None,
                item_count: None,
                currency: None,
                request_id: None,
                items: Vec::new(),
                metadata: BTreeMap::new(),
            },
            tenant_id,
        }
    }

    const HOUR: i64 = 3_600;

    #[test]
    fn old_events_are_announced_when_they_change_a_row_or_come_again() {
        let row = |version, applied| Shown { version, applied };
        let announced = |event: &OrderEvent, shown, again| is_announced(event, shown, again, at(0));
        for version in [1, 2] {
            let (old, recent) = (event(version, HOUR, HOUR), event(version, 30, 30));
            assert!(announced(&old, row(version, true), false));
            assert!(announced(&old, row(version, false), true));
            assert!(!announced(&old, row(version, false), false));
            assert!(announced(&recent, row(version, false), false));
        }
        // A creation is announced behind the next change, too; a change that was superseded is not.
        assert!(announced(&event(1, 30, 30), row(2, false), false));
        assert!(!announced(&event(2, 30, 30), row(3, true), true));
    }

    #[test]
    fn the_creation_of_a_new_order_goes_before_its_change_unless_it_was_announced() {
        let feed = Feed::new(Duration::from_secs(20));
        let ids = |events: &[&OrderEvent]| {
            let mut entries = feed.compose(at(0));
            for event in events {
                let shown = Shown {
                    version: 2,
                    applied: true,
                };
                entries.push(event, shown, false, TraceContext::root());
            }
            let versions = entries.messages.iter().map(|message| {
                let (_, version) = message.metadata.id.split_once(':').unwrap();
                (message.channel, version.to_owned())
            });
            versions.collect::<Vec<_>>()
        };
        let (created, updated) = (event(1, 30, 30), event(2, 30, 25));
        let both = [
            (Channel::FeedCreated, "1".to_owned()),
            (Channel::FeedUpdated, "2".to_owned()),
        ];
        assert_eq!(ids(&[&updated]), both);
        assert_eq!(ids(&[&created, &updated]), both);
        assert_eq!(ids(&[&updated, &created]), both);
        assert_eq!(ids(&[&event(2, HOUR, 30)]), both[1..]);
        assert_eq!(ids(&[&event(2, 30, 11)]), both);
        assert_eq!(
            ids(&[&event(2, 30, 10)]),
            both[1..],
            "the stream would take it"
        );
        feed.created.insert(created.order.order_id, ());
        assert_eq!(ids(&[&updated]), both[1..]);
    }
}
