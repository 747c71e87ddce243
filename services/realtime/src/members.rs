//! The sockets and streams that are in a room: how many there may be, and which of them a revocation cuts. Here both are
//! called sockets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orders_auth::Identity;
use orders_contracts::{Claim, Revocable, Revocation, TenantId};
use tokio_util::sync::CancellationToken;

/// The most sockets of one subject.
const PER_SUBJECT: usize = 20;

/// Everybody who is in.
#[derive(Debug)]
pub(crate) struct Members {
    /// The most sockets of one tenant, if there is a limit.
    per_tenant: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tenants: HashMap<TenantId, usize>,
    revocable: HashMap<Revocable, HashMap<u64, Issued>>,
    next_id: u64,
}

/// Credentials of a member.
#[derive(Debug, Clone)]
struct Issued {
    identity: Arc<Identity>,
    revoked: CancellationToken,
}

/// There are as many sockets as there may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The place of one socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    members: Arc<Members>,
    id: u64,
    tenant: TenantId,
    /// By what its credentials can be revoked.
    revocable: Vec<Revocable>,
    revoked: CancellationToken,
}

impl Members {
    pub(crate) fn new(per_tenant: Option<usize>) -> Self {
        Self {
            per_tenant,
            state: Mutex::default(),
        }
    }

    /// Lets a socket of `tenant` in, with the credentials of `identity`, if there is room.
    pub(crate) fn enter(
        self: &Arc<Self>,
        tenant: &TenantId,
        identity: Option<&Arc<Identity>>,
    ) -> Result<Member, Full> {
        let mut state = self.state();
        let of_tenant = state.tenants.get(tenant).copied().unwrap_or(0);
        let is_full = self.per_tenant.is_some_and(|most| of_tenant >= most);
        let subject = identity.map(|identity| subject(identity));
        let of_subject = subject.and_then(|subject| state.revocable.get(&subject));
        if is_full || of_subject.is_some_and(|sockets| sockets.len() >= PER_SUBJECT) {
            return Err(Full);
        }
        state.tenants.insert(tenant.clone(), of_tenant + 1);
        let id = state.next_id;
        state.next_id += 1;
        let mut member = Member {
            members: Arc::clone(self),
            id,
            tenant: tenant.clone(),
            revocable: vec![],
            revoked: CancellationToken::new(),
        };
        if let Some(identity) = identity {
            member.list(&mut state, identity);
        }
        Ok(member)
    }

    /// Cuts the sockets whose credentials are revoked; returns how many.
    pub(crate) fn revoke(&self, what: &Revocable, revocation: &Revocation) -> usize {
        let state = self.state();
        let listed = state.revocable.get(what).into_iter().flatten();
        let hit = listed.filter(|(_, issued)| issued.identity.is_covered_by(revocation));
        hit.map(|(_, issued)| issued.revoked.cancel()).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Cancelled when the credentials are revoked.
    pub(crate) fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// Goes on with the credentials of `identity`, who is the same subject.
    pub(crate) fn renew(&mut self, identity: &Arc<Identity>) {
        let members = Arc::clone(&self.members);
        let mut state = members.state();
        self.strike(&mut state);
        self.list(&mut state, identity);
    }

    fn list(&mut self, state: &mut State, identity: &Arc<Identity>) {
        let issued = Issued {
            identity: Arc::clone(identity),
            revoked: self.revoked.clone(),
        };
        self.revocable = identity.revocable().collect();
        for what in &self.revocable {
            let listed = state.revocable.entry(*what).or_default();
            listed.insert(self.id, issued.clone());
        }
    }

    fn strike(&mut self, state: &mut State) {
        for what in self.revocable.drain(..) {
            if let Some(listed) = state.revocable.get_mut(&what) {
                listed.remove(&self.id);
                if listed.is_empty() {
                    state.revocable.remove(&what);
                }
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let members = Arc::clone(&self.members);
        let mut state = members.state();
        self.strike(&mut state);
        if let Some(count) = state.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                state.tenants.remove(&self.tenant);
            }
        }
    }
}

fn subject(identity: &Identity) -> Revocable {
    Revocable::new(&identity.issuer, Claim::Subject, &identity.subject)
}

#[cfg(test)]
mod tests {
    use orders_contracts::Timestamp;

    use super::*;

    const ISSUER: &str = "https://login.example";

    fn identity(subject: &str, session: &str, token: &str) -> Arc<Identity> {
        Arc::new(Identity {
            issuer: ISSUER.to_owned(),
            subject: subject.to_owned(),
            client: None,
            session: Some(session.to_owned()),
            token_id: Some(token.to_owned()),
            tenants: vec![],
            scopes: vec![],
            operator: false,
            issued_at: Default::default(),
            expires_at: None,
        })
    }

    fn members(per_tenant: Option<usize>) -> Arc<Members> {
        Arc::new(Members::new(per_tenant))
    }

    fn tenant(text: &str) -> TenantId {
        text.parse().unwrap()
    }

    fn now(claim: Claim) -> Revocation {
        Revocation::at(Timestamp::now(), claim)
    }

    #[test]
    fn a_tenant_has_as_many_sockets_as_it_may_and_leaves_room_when_they_go() {
        let members = members(Some(2));
        let enter = |name: &str| members.enter(&tenant(name), None);
        let (first, _second) = (enter("a").unwrap(), enter("a").unwrap());
        assert_eq!(enter("a").err(), Some(Full));
        assert!(enter("b").is_ok(), "another tenant has its own");
        drop(first);
        let third = enter("a").unwrap();
        assert_eq!(enter("a").err(), Some(Full));
        drop((_second, third));
        assert!(members.state().tenants.is_empty());
    }

    #[test]
    fn a_subject_has_twenty_in_all_tenants() {
        let members = members(None);
        let u1 = identity("u1", "s", "t");
        let mut inside: Vec<_> = (0..PER_SUBJECT)
            .map(|n| members.enter(&tenant(&format!("t-{}", n % 3)), Some(&u1)))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(members.enter(&tenant("a"), Some(&u1)).err(), Some(Full));
        let u2 = identity("u2", "s2", "t2");
        assert!(members.enter(&tenant("a"), Some(&u2)).is_ok());
        inside.pop();
        assert!(members.enter(&tenant("a"), Some(&u1)).is_ok());
        drop(inside);
        let state = members.state();
        assert!(state.tenants.is_empty() && state.revocable.is_empty());
    }

    #[test]
    fn a_revocation_cuts_the_sockets_that_it_names_and_no_other() {
        let members = members(None);
        let enter = |subject, session, token| {
            let identity = identity(subject, session, token);
            members.enter(&tenant("a"), Some(&identity)).unwrap()
        };
        let hit = |claim, value| {
            let inside = [
                enter("u1", "s1", "t1"),
                enter("u1", "s2", "t2"),
                enter("u2", "u1", "u1"),
            ];
            let what = Revocable::new(ISSUER, claim, value);
            let count = members.revoke(&what, &now(claim));
            let hit = inside.map(|member| member.revoked().is_cancelled());
            assert_eq!(hit.iter().filter(|hit| **hit).count(), count);
            hit
        };
        assert_eq!(hit(Claim::Subject, "u1"), [true, true, false]);
        assert_eq!(hit(Claim::Session, "s1"), [true, false, false]);
        assert_eq!(hit(Claim::Token, "t2"), [false, true, false]);
        assert_eq!(hit(Claim::Token, "s1"), [false; 3]);

        let member = enter("u1", "s1", "t1");
        let elsewhere = Revocable::new("https://other.example", Claim::Subject, "u1");
        assert_eq!(members.revoke(&elsewhere, &now(Claim::Subject)), 0);
        let what = Revocable::new(ISSUER, Claim::Subject, "u1");
        let before_it = Revocation {
            before: Timestamp::from_millis(-1).unwrap(),
            until: Timestamp::now(),
        };
        assert_eq!(members.revoke(&what, &before_it), 0);
        assert!(!member.revoked().is_cancelled());
    }

    #[test]
    fn a_socket_goes_by_its_latest_token() {
        let members = members(None);
        let mut member = members
            .enter(&tenant("a"), Some(&identity("u1", "s1", "t1")))
            .unwrap();
        member.renew(&identity("u1", "s1", "t2"));
        let revoke = |token| {
            let what = Revocable::new(ISSUER, Claim::Token, token);
            members.revoke(&what, &now(Claim::Token))
        };
        assert_eq!((revoke("t1"), revoke("t2")), (0, 1));
        assert!(member.revoked().is_cancelled());
    }
}
