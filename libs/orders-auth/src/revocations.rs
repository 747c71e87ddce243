//! What was revoked, in memory.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use orders_contracts::{Claim, Revocable, Revocation, Timestamp};

use crate::Identity;

/// The most revocations at a time, as many as the stream REVOCATIONS keeps.
const MOST: usize = 100_000;

/// The revocations, those that still matter.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    revoked: HashMap<Revocable, Revocation>,
    /// Whether all that were stored have been applied.
    is_read: bool,
    overflowed: bool,
}

impl Identity {
    /// By what its credentials can be revoked: its subject, its login, its token.
    pub fn revocable(&self) -> impl Iterator<Item = Revocable> + '_ {
        let claims = [
            (Claim::Subject, Some(&self.subject)),
            (Claim::Session, self.session.as_ref()),
            (Claim::Token, self.token_id.as_ref()),
        ];
        let given = claims.into_iter();
        given.filter_map(|(claim, value)| Some(Revocable::new(&self.issuer, claim, value?)))
    }

    /// Whether `revocation`, of something that it has, covers its credentials.
    #[must_use]
    pub fn is_covered_by(&self, revocation: &Revocation) -> bool {
        Timestamp::from_millis(self.issued_at.timestamp_millis())
            .is_none_or(|issued_at| revocation.covers(issued_at))
    }
}

impl Revocations {
    /// Learns of a revocation. Of two for the same, both count. False says that there was no room: see
    /// [`Revocations::are_complete`].
    pub fn apply(&self, what: Revocable, revocation: Revocation) -> bool {
        self.apply_at(Timestamp::now(), what, revocation)
    }

    fn apply_at(&self, now: Timestamp, what: Revocable, revocation: Revocation) -> bool {
        if revocation.until < now {
            return true;
        }
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.revoked.get_mut(&what) {
            known.before = known.before.max(revocation.before);
            known.until = known.until.max(revocation.until);
            return true;
        }
        if state.revoked.len() >= MOST {
            state
                .revoked
                .retain(|_, revocation| revocation.until >= now);
        }
        if state.revoked.len() >= MOST {
            state.overflowed = true;
            return false;
        }
        state.overflowed = false;
        state.revoked.insert(what, revocation);
        true
    }

    /// Whether the credentials of `identity` are revoked: by their id, their login or their subject.
    #[must_use]
    pub fn revokes(&self, identity: &Identity) -> bool {
        self.any(identity.revocable(), |revocation| {
            identity.is_covered_by(revocation)
        })
    }

    /// Whether what was issued at `issued_at` is revoked by one of `names`.
    pub fn cover(&self, names: impl Iterator<Item = Revocable>, issued_at: Timestamp) -> bool {
        self.any(names, |revocation| revocation.covers(issued_at))
    }

    fn any(
        &self,
        names: impl Iterator<Item = Revocable>,
        is_covered_by: impl Fn(&Revocation) -> bool,
    ) -> bool {
        let state = self.read();
        if state.revoked.is_empty() {
            return false;
        }
        let mut known = names.filter_map(|what| state.revoked.get(&what));
        known.any(is_covered_by)
    }

    /// Learns that all that were stored have been applied. From then on those that come count, whatever is away.
    pub fn set_read(&self) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.is_read = true;
    }

    /// Whether none is missing: those that were stored have been read, and there was room for each. Until then nobody can
    /// say of credentials that they are not revoked.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        let state = self.read();
        state.is_read && !state.overflowed
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read().revoked.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};

    use super::*;

    const ISSUER: &str = "https://login.example";
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn identity(issued_at: Timestamp) -> Identity {
        Identity {
            issuer: ISSUER.to_owned(),
            subject: "u1".to_owned(),
            client: None,
            session: Some("s1".to_owned()),
            token_id: Some("j1".to_owned()),
            tenants: Vec::new(),
            scopes: Vec::new(),
            operator: false,
            issued_at: DateTime::<Utc>::from_timestamp_millis(issued_at.millis()).unwrap(),
            expires_at: None,
        }
    }

    fn of(claim: Claim, value: &str) -> Revocable {
        Revocable::new(ISSUER, claim, value)
    }

    fn lasting(before: Timestamp, lasts: Duration) -> Revocation {
        Revocation {
            before,
            until: before.later(lasts),
        }
    }

    #[test]
    fn a_token_is_revoked_by_its_id_its_login_or_its_subject() {
        let before = Timestamp::now();
        for (claim, value) in [
            (Claim::Token, "j1"),
            (Claim::Session, "s1"),
            (Claim::Subject, "u1"),
        ] {
            let revocations = Revocations::default();
            assert!(revocations.apply(of(claim, value), lasting(before, HOUR)));
            assert!(revocations.revokes(&identity(before)));
            assert!(revocations.revokes(&identity(before.earlier(HOUR).unwrap())));
            assert!(!revocations.revokes(&identity(before.later(Duration::from_secs(1)))));
            let names = || [of(Claim::Token, "other"), of(claim, value)].into_iter();
            assert!(revocations.cover(names(), before));
            assert!(!revocations.cover(names(), before.later(Duration::from_secs(1))));
            assert!(!revocations.cover(names().take(1), before));
            let other = Identity {
                issuer: "https://other.example".to_owned(),
                ..identity(before)
            };
            assert!(!revocations.revokes(&other));
        }
        let revocations = Revocations::default();
        assert!(revocations.apply(of(Claim::Session, "u1"), lasting(before, HOUR)));
        assert!(!revocations.revokes(&identity(before)), "another claim");
    }

    #[test]
    fn a_token_without_a_login_is_not_revoked_by_one() {
        let now = Timestamp::now();
        let revocations = Revocations::default();
        revocations.apply(of(Claim::Session, ""), lasting(now, HOUR));
        let identity = Identity {
            session: None,
            ..identity(now)
        };
        assert!(!revocations.revokes(&identity));
    }

    #[test]
    fn an_older_revocation_takes_nothing_back() {
        let now = Timestamp::now();
        let revocations = Revocations::default();
        for before in [now, now.earlier(HOUR / 2).unwrap()] {
            revocations.apply(of(Claim::Subject, "u1"), lasting(before, HOUR));
        }
        assert!(revocations.revokes(&identity(now)));
        assert_eq!(revocations.count(), 1);
    }

    #[test]
    fn they_are_bounded_and_those_that_ended_make_room() {
        let start = Timestamp::now();
        let revocations = Revocations::default();
        let apply = |now, name: usize, lasts| {
            let what = of(Claim::Token, &name.to_string());
            revocations.apply_at(now, what, lasting(start, lasts))
        };
        assert!((0..MOST).all(|name| apply(start, name, HOUR)));
        assert!(!revocations.are_complete(), "more may be stored");
        revocations.set_read();
        assert!(revocations.are_complete());
        assert!(!apply(start, MOST, HOUR * 2));
        assert!(!revocations.are_complete() && revocations.count() == MOST);

        let later = start.later(HOUR * 2);
        assert!(apply(later, MOST + 1, HOUR), "one that ended needs no room");
        assert!(apply(later, MOST, HOUR * 2));
        assert!(revocations.are_complete());
        assert_eq!(revocations.count(), 1);
    }
}
