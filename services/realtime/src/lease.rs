//! How long a socket or a stream may stay, by its credentials. Pure: every function is told the time.

use std::time::Duration;

use orders_auth::{Identity, Scope};
use orders_contracts::{TenantId, Timestamp, socket::RefreshRefusal};

/// How long before its token expires a client is asked for another one.
const NOTICE: Duration = Duration::from_secs(30);
/// How often a client may send another token.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a socket stays whose credentials never expire: then its client comes back with them, and they are verified
/// again.
const UNTIL_VERIFIED_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The longest that a socket stays after its token expired and the leeway passed. Each draws its own time within it, so
/// that clients whose tokens expire together do not come back together.
pub(crate) const JITTER: Duration = Duration::from_secs(5);

/// How often the clock is read while a socket stays: it may jump.
pub(crate) const CLOCK: Duration = Duration::from_secs(60);

/// The stay of one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// When its credentials expire, if they ever do.
    expires_at: Option<Timestamp>,
    /// How long it stays after that.
    grace: Duration,
    /// When it ends.
    end: Timestamp,
    is_noticed: bool,
    /// When the client last sent another token.
    tried_at: Option<Timestamp>,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// To ask the client for another token, because its own expires then.
    Notice(Timestamp),
    /// To close the connection.
    End,
}

impl Lease {
    /// The stay of a socket with credentials that expire at `expires_at`; it ends `grace` later.
    pub(crate) fn new(expires_at: Option<Timestamp>, grace: Duration, now: Timestamp) -> Self {
        Self {
            expires_at,
            grace,
            end: match expires_at {
                Some(expires_at) => expires_at.later(grace),
                None => now.later(UNTIL_VERIFIED_AGAIN).later(grace),
            },
            is_noticed: false,
            tried_at: None,
        }
    }

    /// What is due at `now`.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Due> {
        if now >= self.end {
            return Some(Due::End);
        }
        let expires_at = self.expires_at.filter(|_| !self.is_noticed)?;
        (now.later(NOTICE) >= expires_at).then_some(Due::Notice(expires_at))
    }

    /// How long after `now` something is due.
    pub(crate) fn wait(&self, now: Timestamp) -> Duration {
        let notice = self.expires_at.filter(|_| !self.is_noticed);
        let notice = notice.map(|expires_at| expires_at.since(now).saturating_sub(NOTICE));
        let end = self.end.since(now);
        notice.map_or(end, |notice| notice.min(end))
    }

    /// Notes that the client was asked for another token.
    pub(crate) fn noticed(&mut self) {
        self.is_noticed = true;
    }

    /// Notes that the client sends another token; refuses it if the last one came just before.
    pub(crate) fn try_refresh(&mut self, now: Timestamp) -> Result<(), RefreshRefusal> {
        if self.tried_at.is_some_and(|tried| now.since(tried) < PAUSE) {
            return Err(RefreshRefusal::TooSoon);
        }
        self.tried_at = Some(now);
        Ok(())
    }

    /// Goes on with credentials that expire at `expires_at`.
    pub(crate) fn renew(&mut self, expires_at: Option<Timestamp>, now: Timestamp) {
        *self = Self {
            tried_at: self.tried_at,
            ..Self::new(expires_at, self.grace, now)
        };
    }
}

/// Whether `next` may take the place of the credentials of `holder`, whose socket is in the room of `tenant`.
pub(crate) fn may_follow(
    holder: &Identity,
    next: &Identity,
    tenant: &TenantId,
) -> Result<(), RefreshRefusal> {
    if (&next.issuer, &next.subject) != (&holder.issuer, &holder.subject) {
        return Err(RefreshRefusal::Subject);
    }
    next.tenant(Some(tenant))
        .map_err(|_| RefreshRefusal::Tenant)?;
    next.require(Scope::OrdersRead)
        .map_err(|_| RefreshRefusal::Scope)
}

#[cfg(test)]
mod tests;
