use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orders_bus::{FeedBounds, FeedMessage};
use orders_contracts::{Offset, TenantId};
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::warn;

use crate::{bounds, emission::Emission};

/// The most entries that wait for one socket while it catches up or reads slowly. A socket that falls further behind is
/// disconnected, and its client resumes from its offset.
const MAILBOX: usize = 4_096;

/// Hands the entries of the feed to the rooms of their tenants, and knows the head: the last entry that was read.
///
/// A session that enters a room learns the head at that moment and finds each later entry of the tenant in its mailbox,
/// so its replay up to the head and its mailbox join without a gap.
#[derive(Debug)]
pub(crate) struct Hub(Mutex<State>);

#[derive(Debug)]
struct State {
    head: Offset,
    rooms: HashMap<TenantId, HashMap<u64, mpsc::Sender<Arc<Emission>>>>,
    next_id: u64,
}

/// The entries for one socket. It ends when the socket has to be disconnected: the socket is too slow, or another feed
/// has taken the place of this one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    hub: Arc<Hub>,
    tenant: TenantId,
    id: u64,
    entries: mpsc::Receiver<Arc<Emission>>,
}

impl Hub {
    /// A hub that has read everything up to `head`.
    pub(crate) fn new(head: Offset) -> Self {
        Self(Mutex::new(State {
            head,
            rooms: HashMap::new(),
            next_id: 0,
        }))
    }

    /// The end of what was read of the feed.
    pub(crate) fn head(&self) -> Offset {
        self.state().head
    }

    /// Enters the room of `tenant`: every entry after the returned head comes to the mailbox.
    pub(crate) fn enter(self: &Arc<Self>, tenant: &TenantId) -> (Offset, Mailbox) {
        let (sender, entries) = mpsc::channel(MAILBOX);
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state
            .rooms
            .entry(tenant.clone())
            .or_default()
            .insert(id, sender);
        let mailbox = Mailbox {
            hub: Arc::clone(self),
            tenant: tenant.clone(),
            id,
            entries,
        };
        (state.head, mailbox)
    }

    /// Takes the next entry of the feed, stored at `time` for `tenant`; ignores an entry that it took before. It has the
    /// entry `read` only if somebody is in the room: nobody enters between that look and the new head.
    pub(crate) fn dispatch(
        &self,
        sequence: u64,
        time: u64,
        tenant: Option<&str>,
        read: impl FnOnce() -> Option<FeedMessage>,
    ) {
        let mut state = self.state();
        if sequence <= state.head.sequence {
            return;
        }
        state.head = state.head.at(sequence, time);
        let room = tenant.and_then(|tenant| state.rooms.get_mut(tenant));
        if let Some(room) = room
            && let Some(message) = read()
        {
            let emission = Emission::live(message, room.len());
            room.retain(|_, mailbox| match mailbox.try_send(Arc::clone(&emission)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => false,
            });
        }
    }

    /// The sequence after which to read a feed with these bounds. If the feed does not continue what was read so far, all
    /// mailboxes end.
    pub(crate) fn follow(&self, bounds: &FeedBounds) -> u64 {
        let mut state = self.state();
        if let Err(reset) = bounds::check(state.head, bounds) {
            let sockets: usize = state.rooms.values().map(HashMap::len).sum();
            warn!(
                "the feed does not continue from {} ({}); disconnecting {sockets} sockets, which will be reset",
                state.head,
                reset.as_str()
            );
            state.rooms.clear();
            state.head = bounds::head(bounds);
        }
        state.head.sequence
    }

    fn leave(&self, tenant: &TenantId, id: u64) {
        let mut state = self.state();
        if let Some(room) = state.rooms.get_mut(tenant) {
            room.remove(&id);
            if room.is_empty() {
                state.rooms.remove(tenant);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    /// The next entry; `None` when the socket has to be disconnected.
    pub(crate) async fn next(&mut self) -> Option<Arc<Emission>> {
        self.entries.recv().await
    }

    /// Whether no more entries will come, though some may be left.
    pub(crate) fn has_ended(&self) -> bool {
        self.entries.is_closed()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.hub.leave(&self.tenant, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{TIME, dispatch, message};

    const HEAD: Offset = Offset {
        epoch: 7,
        sequence: 10,
        time: TIME,
    };

    fn received(mailbox: &mut Mailbox) -> Vec<u64> {
        std::iter::from_fn(|| mailbox.entries.try_recv().ok())
            .map(|message| message.sequence)
            .collect()
    }

    fn bounds(epoch: u64, first: u64, last: u64) -> FeedBounds {
        FeedBounds {
            epoch,
            first,
            last,
            last_time: TIME,
            asked: None,
        }
    }

    #[test]
    fn a_mailbox_gets_its_tenants_entries_after_the_head_once() {
        let hub = Arc::new(Hub::new(HEAD));
        let (head, mut ours) = hub.enter(&"a".parse().unwrap());
        assert_eq!(head, HEAD);
        for (sequence, tenant) in [
            (9, "a"),
            (10, "a"),
            (11, "a"),
            (12, "b"),
            (13, "a"),
            (11, "a"),
        ] {
            dispatch(&hub, message(sequence, tenant));
        }
        assert_eq!(hub.head(), HEAD.at(13, TIME));
        let (head, mut late) = hub.enter(&"a".parse().unwrap());
        assert_eq!(head, HEAD.at(13, TIME));
        dispatch(&hub, message(14, "a"));
        assert_eq!(received(&mut ours), [11, 13, 14]);
        assert_eq!(received(&mut late), [14]);
        assert!(!ours.has_ended());
    }

    #[test]
    fn an_entry_that_nobody_follows_moves_the_head_unread() {
        let hub = Arc::new(Hub::new(HEAD));
        let unread = || -> Option<FeedMessage> { panic!("read for nobody") };
        hub.dispatch(11, TIME + 1, Some("b"), unread);
        let (head, mut ours) = hub.enter(&"a".parse().unwrap());
        assert_eq!(head, HEAD.at(11, TIME + 1));
        hub.dispatch(12, TIME + 2, Some("b"), unread);
        hub.dispatch(13, TIME + 2, None, unread);
        // It was taken before.
        hub.dispatch(13, TIME + 2, Some("a"), unread);
        // It turns out to be malformed.
        hub.dispatch(14, TIME + 3, Some("a"), || None);
        assert_eq!(hub.head(), HEAD.at(14, TIME + 3));
        dispatch(&hub, message(15, "a"));
        assert_eq!(received(&mut ours), [15]);
        drop(ours);
        hub.dispatch(16, TIME + 4, Some("a"), unread);
        assert_eq!(hub.head(), HEAD.at(16, TIME + 4));
    }

    #[test]
    fn a_full_mailbox_ends_and_no_other() {
        let hub = Arc::new(Hub::new(HEAD.at(0, TIME)));
        let (_, mut slow) = hub.enter(&"a".parse().unwrap());
        let capacity = MAILBOX as u64;
        for sequence in 1..=capacity {
            dispatch(&hub, message(sequence, "a"));
        }
        let (_, mut other) = hub.enter(&"a".parse().unwrap());
        assert!(!slow.has_ended());
        dispatch(&hub, message(capacity + 1, "a"));
        dispatch(&hub, message(capacity + 2, "a"));
        assert!(slow.has_ended());
        assert_eq!(received(&mut slow), (1..=capacity).collect::<Vec<_>>());
        assert_eq!(received(&mut other), [capacity + 1, capacity + 2]);
    }

    #[test]
    fn an_empty_room_is_forgotten() {
        let hub = Arc::new(Hub::new(HEAD));
        let tenant = "a".parse().unwrap();
        let (first, second) = (hub.enter(&tenant).1, hub.enter(&tenant).1);
        drop(first);
        assert_eq!(hub.state().rooms[&tenant].len(), 1);
        drop(second);
        assert!(hub.state().rooms.is_empty());
    }

    #[test]
    fn a_feed_that_does_not_go_on_ends_all_mailboxes() {
        let hub = Arc::new(Hub::new(HEAD));
        let (_, mailbox) = hub.enter(&"a".parse().unwrap());
        assert_eq!(hub.follow(&bounds(7, 3, 20)), 10);
        assert!(!mailbox.has_ended());
        let rolled_back = FeedBounds {
            asked: Some(TIME + 1),
            ..bounds(7, 3, 20)
        };
        assert_eq!(hub.follow(&rolled_back), 20);
        assert!(mailbox.has_ended());
        for (bounds, head) in [
            (bounds(8, 1, 4), "8.4.99"),
            (bounds(8, 1, 3), "8.3.99"),
            (bounds(8, 5, 9), "8.9.99"),
        ] {
            let (_, mailbox) = hub.enter(&"a".parse().unwrap());
            assert_eq!(hub.follow(&bounds), bounds.last);
            assert_eq!(hub.head().to_string(), head);
            assert!(mailbox.has_ended());
        }
    }
}
