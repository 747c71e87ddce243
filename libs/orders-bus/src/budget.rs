//! How much waits in memory: messages that no handler has yet, and those whose dead letters are being stored.

use tokio::sync::watch;

/// The most messages in one batch, and in memory before it.
const MESSAGES: usize = 512;
/// The most bytes of them.
const BYTES: usize = 8 << 20;
/// The most bytes of one message: asked for less, the server may have to refuse the next one.
const MESSAGE_BYTES: usize = 1 << 20;

/// Room for messages and bytes. Cheap to clone; all clones share the room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget(watch::Sender<Room>);

/// A number of messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The room that one message takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: usize,
    budget: Budget,
}

impl Budget {
    /// Takes room for a message of `bytes`, whether or not there is any.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        self.0.send_modify(|taken| {
            taken.messages += 1;
            taken.bytes += bytes;
        });
        Share {
            bytes,
            budget: self.clone(),
        }
    }

    /// The room that is left; `None` where a message of the largest size may not fit.
    pub(crate) fn room(&self) -> Option<Room> {
        let taken = *self.0.borrow();
        let room = Room {
            messages: MESSAGES.checked_sub(taken.messages)?,
            bytes: BYTES.checked_sub(taken.bytes)?,
        };
        (room.messages > 0 && room.bytes >= MESSAGE_BYTES).then_some(room)
    }

    /// Resolves when there is room.
    pub(crate) async fn has_room(&self) {
        let mut taken = self.0.subscribe();
        while self.room().is_none() {
            // The sender is ours.
            let _ = taken.changed().await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.send_modify(|taken| {
            taken.messages -= 1;
            taken.bytes -= self.bytes;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_comes_back_when_a_share_is_dropped() {
        let budget = Budget::default();
        let mut shares: Vec<_> = (0..MESSAGES).map(|_| budget.take(10)).collect();
        assert_eq!(budget.room(), None);
        let (_, ()) = tokio::join!(budget.has_room(), async { drop(shares.pop()) });
        let room = Room {
            messages: 1,
            bytes: BYTES - 10 * (MESSAGES - 1),
        };
        assert_eq!(budget.room(), Some(room));
    }

    #[test]
    fn there_is_no_room_unless_the_largest_message_fits() {
        let budget = Budget::default();
        let _large = budget.take(BYTES - MESSAGE_BYTES);
        assert!(budget.room().is_some());
        let _small = budget.take(1);
        assert_eq!(budget.room(), None);
    }
}
