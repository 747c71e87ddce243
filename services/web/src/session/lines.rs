//! The live updates that sessions have open, to be closed when a session ends.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use super::Session;

/// So many before those that are gone are looked for.
const FEW: usize = 64;

#[derive(Default)]
pub(crate) struct Lines(Mutex<State>);

#[derive(Default)]
struct State {
    open: Vec<Line>,
    /// How many there may be before those that are gone are looked for.
    most: usize,
}

struct Line {
    session: String,
    sid: Option<String>,
    subject: String,
    cut: Weak<CancellationToken>,
}

/// Which sessions have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended<'a> {
    /// The one with this id.
    Session(&'a str),
    /// Those of one login at the provider.
    Sid(&'a str),
    /// Those of one person.
    Subject(&'a str),
}

impl Lines {
    /// A line of a session: it is to be closed when the token is cancelled, and counts as open until the token is dropped.
    pub(crate) fn open(&self, session: &Session) -> Arc<CancellationToken> {
        let cut = Arc::new(CancellationToken::new());
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open.len() >= state.most {
            state.open.retain(|line| line.cut.strong_count() > 0);
            state.most = FEW.max(2 * state.open.len());
        }
        state.open.push(Line {
            session: session.id.clone(),
            sid: session.sid.clone(),
            subject: session.subject.clone(),
            cut: Arc::downgrade(&cut),
        });
        cut
    }

    /// Closes the lines of sessions that have ended.
    pub(crate) fn close(&self, ended: Ended<'_>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.retain(|line| {
            let is_over = line.is_of(ended);
            if let (true, Some(cut)) = (is_over, line.cut.upgrade()) {
                cut.cancel();
            }
            !is_over
        });
    }
}

impl Line {
    fn is_of(&self, ended: Ended<'_>) -> bool {
        match ended {
            Ended::Session(id) => self.session == id,
            Ended::Sid(sid) => self.sid.as_deref() == Some(sid),
            Ended::Subject(subject) => self.subject == subject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::session;

    #[test]
    fn the_lines_of_a_session_that_ends_are_closed_and_no_others() {
        for (ended, expected) in [
            (Ended::Session("a"), [true, false, false]),
            (Ended::Sid("s"), [true, true, false]),
            (Ended::Subject("u1"), [true, true, true]),
            (Ended::Subject("u2"), [false; 3]),
        ] {
            let lines = Lines::default();
            let open = [("a", Some("s")), ("b", Some("s")), ("c", None)].map(|(id, sid)| {
                lines.open(&Session {
                    id: id.to_owned(),
                    sid: sid.map(str::to_owned),
                    ..session()
                })
            });
            lines.close(ended);
            assert_eq!(open.map(|cut| cut.is_cancelled()), expected, "{ended:?}");
        }
    }

    #[test]
    fn lines_that_are_gone_are_forgotten() {
        let lines = Lines::default();
        let kept = lines.open(&session());
        for _ in 0..10_000 {
            drop(lines.open(&session()));
        }
        assert!(lines.0.lock().unwrap().open.len() <= FEW);
        lines.close(Ended::Subject("u1"));
        assert!(kept.is_cancelled());
    }
}
