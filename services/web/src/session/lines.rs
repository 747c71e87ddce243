//! The live updates that sessions have open, to be closed when a session ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use orders_contracts::{Revocable, Revocation, Timestamp};
use tokio_util::sync::CancellationToken;

/// So many entries before those that are gone are looked for.
const FEW: usize = 256;

#[derive(Default)]
pub(crate) struct Lines(Mutex<State>);

#[derive(Default)]
struct State {
    /// The lines of sessions, by what these are called.
    open: HashMap<Revocable, Vec<Line>>,
    /// How many entries there are.
    count: usize,
    /// How many there may be before those that are gone are looked for.
    most: usize,
}

struct Line {
    started: Timestamp,
    cut: Weak<CancellationToken>,
}

impl Lines {
    /// A line of a session with these names that began at `started`: it is to be closed when the token is cancelled, and
    /// counts as open until the token is dropped.
    pub(crate) fn open(
        &self,
        names: impl Iterator<Item = Revocable>,
        started: Timestamp,
    ) -> Arc<CancellationToken> {
        let cut = Arc::new(CancellationToken::new());
        let mut state = self.state();
        if state.count >= state.most {
            state.forget();
        }
        for name in names {
            state.open.entry(name).or_default().push(Line {
                started,
                cut: Arc::downgrade(&cut),
            });
            state.count += 1;
        }
        cut
    }

    /// Closes the lines of the sessions that a revocation ends.
    pub(crate) fn close(&self, what: &Revocable, revocation: &Revocation) {
        let state = self.state();
        let lines = state.open.get(what).into_iter().flatten();
        let ended = lines.filter(|line| revocation.covers(line.started));
        ended
            .filter_map(|line| line.cut.upgrade())
            .for_each(|cut| cut.cancel());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the lines that are gone.
    fn forget(&mut self) {
        self.open.retain(|_, lines| {
            lines.retain(|line| line.cut.strong_count() > 0);
            !lines.is_empty()
        });
        self.count = self.open.values().map(Vec::len).sum();
        self.most = FEW.max(2 * self.count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orders_contracts::Claim;

    use super::*;

    fn name(claim: Claim, value: &str) -> Revocable {
        Revocable::new("https://login.example", claim, value)
    }

    fn open(lines: &Lines, sid: &str, subject: &str, at: Timestamp) -> Arc<CancellationToken> {
        let names = [name(Claim::Session, sid), name(Claim::Subject, subject)];
        lines.open(names.into_iter(), at)
    }

    #[test]
    fn the_lines_of_a_session_that_ends_are_closed_and_no_others() {
        let now = Timestamp::now();
        for (claim, value, expected) in [
            (Claim::Session, "s1", [true, false, false]),
            (Claim::Subject, "u1", [true, true, false]),
            (Claim::Subject, "s1", [false; 3]),
        ] {
            let lines = Lines::default();
            let open = [("s1", "u1"), ("s2", "u1"), ("s3", "u2")]
                .map(|(sid, subject)| open(&lines, sid, subject, now));
            lines.close(&name(claim, value), &Revocation::at(now, claim));
            let closed = open.map(|cut| cut.is_cancelled());
            assert_eq!(closed, expected, "{claim:?} {value}");
        }
    }

    #[test]
    fn a_revocation_that_is_told_again_closes_nothing_that_began_after_it() {
        let lines = Lines::default();
        let now = Timestamp::now();
        let later = now.later(Duration::from_secs(1));
        let (before, after) = (
            open(&lines, "s1", "u1", now),
            open(&lines, "s2", "u1", later),
        );
        let revocation = Revocation::at(now, Claim::Subject);
        lines.close(&name(Claim::Subject, "u1"), &revocation);
        assert!(before.is_cancelled() && !after.is_cancelled());
    }

    #[test]
    fn lines_that_are_gone_are_forgotten() {
        let lines = Lines::default();
        let now = Timestamp::now();
        let kept = open(&lines, "kept", "u1", now);
        for number in 0..10_000 {
            drop(open(&lines, &number.to_string(), "u1", now));
        }
        let entries: usize = lines.state().open.values().map(Vec::len).sum();
        assert!(entries <= FEW, "{entries}");
        lines.close(
            &name(Claim::Subject, "u1"),
            &Revocation::at(now, Claim::Subject),
        );
        assert!(kept.is_cancelled());
    }
}
