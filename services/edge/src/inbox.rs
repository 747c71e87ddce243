//! Requests that wait for what the writer and the projector say of their commands.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orders_contracts::{CommandId, Reply};
use tokio::{sync::mpsc, time::timeout};

/// How long a request waits for the writer.
const DECISION_DEADLINE: Duration = Duration::from_secs(3);
/// How long it waits while the writer is known to be silent.
const SILENT_DEADLINE: Duration = Duration::from_millis(100);
/// How long it waits for the list to show what the writer decided.
pub(crate) const LISTED_DEADLINE: Duration = Duration::from_millis(500);

/// All the waiting requests of this process, up to a limit. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Waiters(Arc<Shared>);

struct Shared {
    limit: usize,
    waiting: Mutex<HashMap<CommandId, mpsc::UnboundedSender<Reply>>>,
    /// How often a writer was heard.
    heard: AtomicU64,
    /// The value of `heard` at which a request waited in vain; the writer is silent until it is heard again.
    silent_at: AtomicU64,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<CommandId, mpsc::UnboundedSender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One waiting request.
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    command: CommandId,
    replies: mpsc::UnboundedReceiver<Reply>,
    heard: u64,
    projected: bool,
}

impl Waiters {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            waiting: Mutex::default(),
            heard: AtomicU64::new(0),
            silent_at: AtomicU64::new(u64::MAX),
        }))
    }

    /// Waits for `command`, which must not have been published yet; `None` when as many wait as may.
    pub(crate) fn register(&self, command: &CommandId) -> Option<Waiter> {
        let mut waiting = self.0.waiting();
        if waiting.len() >= self.0.limit {
            return None;
        }
        let (sender, replies) = mpsc::unbounded_channel();
        waiting.insert(command.clone(), sender);
        Some(Waiter {
            shared: Arc::clone(&self.0),
            command: command.clone(),
            replies,
            heard: self.0.heard.load(Ordering::Relaxed),
            projected: false,
        })
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.0.waiting().len()
    }

    /// Hands `reply` to whoever waits for `command`, if anybody still does.
    pub(crate) fn deliver(&self, command: &CommandId, reply: Reply) {
        if !matches!(reply, Reply::Projected { .. }) {
            self.0.heard.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(waiter) = self.0.waiting().get(command) {
            let _ = waiter.send(reply);
        }
    }
}

impl Waiter {
    /// How long to wait for the decision.
    pub(crate) fn patience(&self) -> Duration {
        if self.shared.silent_at.load(Ordering::Relaxed) == self.heard {
            SILENT_DEADLINE
        } else {
            DECISION_DEADLINE
        }
    }

    /// What the writer decided.
    pub(crate) async fn decision(&mut self) -> Reply {
        loop {
            match self.next().await {
                // The projector was faster.
                Reply::Projected { .. } => self.projected = true,
                decision => return decision,
            }
        }
    }

    /// Notes that the decision did not come in time.
    pub(crate) fn give_up(self) {
        // A writer that answers others is not silent, it is only slow with this command.
        if self.shared.heard.load(Ordering::Relaxed) == self.heard {
            self.shared.silent_at.store(self.heard, Ordering::Relaxed);
        }
    }

    /// Whether the list shows what was decided; `false` when it does not within [`LISTED_DEADLINE`].
    pub(crate) async fn projected(mut self) -> bool {
        let projected = async {
            while !self.projected {
                self.projected = matches!(self.next().await, Reply::Projected { .. });
            }
        };
        timeout(LISTED_DEADLINE, projected).await.is_ok()
    }

    async fn next(&mut self) -> Reply {
        match self.replies.recv().await {
            Some(reply) => reply,
            // The sender is ours until we are dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.command);
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

    fn register(waiters: &Waiters, id: &str) -> Waiter {
        waiters.register(&command(id)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn decision_and_projection_come_in_either_order() {
        for replies in [[Reply::Created, PROJECTED], [PROJECTED, Reply::Created]] {
            let waiters = Waiters::new(8);
            let mut waiter = register(&waiters, "c");
            replies
                .into_iter()
                .for_each(|reply| waiters.deliver(&command("c"), reply));
            assert_eq!(waiter.decision().await, Reply::Created);
            assert!(waiter.projected().await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_redelivered_decision_is_no_projection() {
        let waiters = Waiters::new(8);
        let mut waiter = register(&waiters, "c");
        waiters.deliver(&command("c"), Reply::Created);
        waiters.deliver(&command("c"), Reply::Created);
        assert_eq!(waiter.decision().await, Reply::Created);
        let asked = Instant::now();
        assert!(!waiter.projected().await);
        assert_eq!(asked.elapsed(), LISTED_DEADLINE);
    }

    #[tokio::test]
    async fn everybody_gets_their_own_replies_and_nobody_is_left_behind() {
        let waiters = Waiters::new(8);
        let mut first = register(&waiters, "a");
        let mut second = register(&waiters, "b");
        waiters.deliver(&command("b"), Reply::Replayed { same_body: true });
        waiters.deliver(&command("a"), Reply::Created);
        waiters.deliver(&command("gone"), Reply::Created);
        assert_eq!(first.decision().await, Reply::Created);
        assert_eq!(second.decision().await, Reply::Replayed { same_body: true });
        drop((first, second));
        assert!(waiters.0.waiting().is_empty());
    }

    #[tokio::test]
    async fn after_a_silent_deadline_patience_is_short_until_a_writer_is_heard() {
        let waiters = Waiters::new(8);
        let patience = || register(&waiters, "next").patience();
        assert_eq!(patience(), DECISION_DEADLINE);
        register(&waiters, "a").give_up();
        assert_eq!(patience(), SILENT_DEADLINE);
        waiters.deliver(&command("a"), PROJECTED);
        assert_eq!(
            patience(),
            SILENT_DEADLINE,
            "the projector is not the writer"
        );
        waiters.deliver(&command("a"), Reply::Created);
        assert_eq!(patience(), DECISION_DEADLINE);
    }

    #[tokio::test]
    async fn no_more_wait_than_may_and_who_leaves_makes_room() {
        let waiters = Waiters::new(2);
        let (first, _second) = (register(&waiters, "a"), register(&waiters, "b"));
        assert!(waiters.register(&command("c")).is_none());
        drop(first);
        assert!(waiters.register(&command("c")).is_some());
    }

    #[tokio::test]
    async fn one_slow_command_does_not_make_the_writer_silent() {
        let waiters = Waiters::new(8);
        let slow = register(&waiters, "slow");
        waiters.deliver(&command("other"), Reply::Created);
        slow.give_up();
        assert_eq!(register(&waiters, "next").patience(), DECISION_DEADLINE);
    }
}
