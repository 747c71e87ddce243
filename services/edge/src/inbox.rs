use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orders_contracts::{CommandId, Reply};
use tokio::{sync::oneshot, time::timeout};

use crate::deadlines::LISTED;

/// Hands the replies of the daemons to the requests that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<HashMap<CommandId, Senders>>);

#[derive(Debug)]
struct Senders {
    decision: Option<oneshot::Sender<Reply>>,
    projected: Option<oneshot::Sender<()>>,
}

/// The replies to one command, which may come in either order.
#[derive(Debug)]
pub(crate) struct Replies<'a> {
    inbox: &'a Inbox,
    command: CommandId,
    decision: oneshot::Receiver<Reply>,
    projected: oneshot::Receiver<()>,
}

impl Inbox {
    /// Waits for the replies to `command`, which must not be published yet.
    pub(crate) fn expect(&self, command: CommandId) -> Replies<'_> {
        let (decided, decision) = oneshot::channel();
        let (shown, projected) = oneshot::channel();
        let senders = Senders {
            decision: Some(decided),
            projected: Some(shown),
        };
        self.waiting().insert(command.clone(), senders);
        Replies {
            inbox: self,
            command,
            decision,
            projected,
        }
    }

    /// Hands `reply` to the request that waits for `command`, if there is one. A redelivered reply changes nothing.
    pub(crate) fn deliver(&self, command: &CommandId, reply: Reply) {
        let mut waiting = self.waiting();
        let Some(senders) = waiting.get_mut(command) else {
            return;
        };
        if let Reply::Projected { .. } = reply {
            let _ = senders.projected.take().map(|sender| sender.send(()));
        } else {
            let _ = senders.decision.take().map(|sender| sender.send(reply));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<CommandId, Senders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replies<'_> {
    /// The writer's decision, which can be received once.
    pub(crate) async fn decision(&mut self) -> Reply {
        match (&mut self.decision).await {
            Ok(reply) => reply,
            // The inbox keeps the sender until it is used or `self` is dropped.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the projector says within [`LISTED`] that lists show the decision.
    pub(crate) async fn are_listed(mut self) -> bool {
        matches!(timeout(LISTED, &mut self.projected).await, Ok(Ok(())))
    }
}

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        self.inbox.waiting().remove(&self.command);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const PROJECTED: Reply = Reply::Projected { version: 1 };

    fn command(id: &str) -> CommandId {
        id.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn decision_and_projection_come_in_either_order() {
        for replies in [[Reply::Created, PROJECTED], [PROJECTED, Reply::Created]] {
            let inbox = Inbox::default();
            let mut expected = inbox.expect(command("c"));
            replies
                .into_iter()
                .for_each(|reply| inbox.deliver(&command("c"), reply));
            assert_eq!(expected.decision().await, Reply::Created);
            assert!(expected.are_listed().await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_redelivered_decision_is_no_projection() {
        let inbox = Inbox::default();
        let mut expected = inbox.expect(command("c"));
        inbox.deliver(&command("c"), Reply::Created);
        inbox.deliver(&command("c"), Reply::Created);
        assert_eq!(expected.decision().await, Reply::Created);
        let asked = Instant::now();
        assert!(!expected.are_listed().await);
        assert_eq!(asked.elapsed(), LISTED);
    }

    #[tokio::test]
    async fn everybody_gets_their_own_replies_and_nobody_is_left_behind() {
        let inbox = Inbox::default();
        let mut first = inbox.expect(command("a"));
        let mut second = inbox.expect(command("b"));
        inbox.deliver(&command("b"), Reply::Replayed { same_body: true });
        inbox.deliver(&command("a"), Reply::Created);
        inbox.deliver(&command("gone"), Reply::Created);
        assert_eq!(first.decision().await, Reply::Created);
        assert_eq!(second.decision().await, Reply::Replayed { same_body: true });
        drop((first, second));
        assert!(inbox.waiting().is_empty());
    }
}
