//! New tokens for a session, one request of the provider at a time.
//!
//! A refresh token that is used twice ends the login at many providers, and a page sends several requests at once. So
//! whoever still has the tokens from before gets those that came for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Session;

/// Sessions by their id, each with its last renewal.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<HashMap<String, Slot>>);

type Slot = Arc<tokio::sync::Mutex<Option<Renewal>>>;

struct Renewal {
    /// The refresh token that it took.
    taken: String,
    session: Session,
}

impl Renewals {
    /// The session with newer tokens: those that `renew` brings, or those that came for the same refresh token before.
    pub(crate) async fn renew<E, F: Future<Output = Result<Session, E>>>(
        &self,
        session: Session,
        refresh_token: String,
        renew: impl FnOnce(Session) -> F,
    ) -> Result<Session, E> {
        let slot = self.slot(&session.id);
        let mut last = slot.lock().await;
        if let Some(last) = &*last
            && last.taken == refresh_token
            && last.session.times.expires > session.times.expires
        {
            let times = last.session.times;
            let seen = times.seen.max(session.times.seen);
            let mut session = last.session.clone();
            session.times.seen = seen;
            return Ok(session);
        }
        let session = renew(session).await?;
        *last = Some(Renewal {
            taken: refresh_token,
            session: session.clone(),
        });
        Ok(session)
    }

    /// Forgets the renewals whose tokens have ended: nobody has older ones that still count.
    pub(crate) fn forget(&self, now: u64) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            let is_used = Arc::strong_count(slot) > 1;
            let last = slot.try_lock();
            is_used
                || last.is_ok_and(|last| {
                    last.as_ref()
                        .is_some_and(|last| now < last.session.times.expires)
                })
        });
    }

    fn slot(&self, id: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(id.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicU64, Ordering},
    };

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;
    use crate::session::tests::session;

    #[tokio::test]
    async fn a_crowd_of_requests_takes_a_refresh_token_once() {
        let renewals = Renewals::default();
        let asked = AtomicU64::new(0);
        let renew = |mut session: Session| {
            let count = asked.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                yield_now().await;
                session.refresh_token = Some(format!("r{count}"));
                session.times.expires += 300;
                Ok::<_, ()>(session)
            }
        };
        let old = session();
        let crowd = (0..100).map(|_| renewals.renew(old.clone(), "r0".to_owned(), renew));
        let renewed = join_all(crowd).await;
        let tokens = |sessions: &[Result<Session, ()>]| -> Vec<_> {
            sessions
                .iter()
                .map(|one| one.as_ref().unwrap().refresh_token.clone().unwrap())
                .collect()
        };
        assert_eq!(tokens(&renewed), vec!["r1"; 100]);

        // The next time, and for another session.
        let next = renewed[0].clone().unwrap();
        let again = renewals.renew(next.clone(), "r1".to_owned(), renew).await;
        let other = Session {
            id: "other".to_owned(),
            ..next
        };
        let other = renewals.renew(other, "r1".to_owned(), renew).await;
        assert_eq!(tokens(&[again, other]), ["r2", "r3"]);
    }

    #[tokio::test]
    async fn a_provider_that_gives_the_same_refresh_token_again_is_asked_again() {
        let renewals = Renewals::default();
        let renew = |mut session: Session| {
            session.times.expires += 300;
            ready(Ok::<_, ()>(session))
        };
        let first = renewals
            .renew(session(), "r".to_owned(), renew)
            .await
            .unwrap();
        let second = renewals
            .renew(first.clone(), "r".to_owned(), renew)
            .await
            .unwrap();
        assert_eq!(second.times.expires, first.times.expires + 300);
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_and_what_has_ended_is_forgotten() {
        let renewals = Renewals::default();
        let refused = renewals.renew(session(), "r".to_owned(), |_| ready(Err("away")));
        assert_eq!(refused.await.err(), Some("away"));
        let renewed = renewals.renew(session(), "r".to_owned(), |session| {
            ready(Ok::<_, ()>(session))
        });
        let end = renewed.await.unwrap().times.expires;
        let count = || renewals.0.lock().unwrap().len();
        renewals.forget(end - 1);
        assert_eq!(count(), 1);
        renewals.forget(end);
        assert_eq!(count(), 0);
    }
}
