//! The limits of commands in flight: in all, and of one tenant, so that no tenant can take the place of all others.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orders_contracts::TenantId;

/// Counts the commands in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    limit: usize,
    tenant_limit: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// The place of one command, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    in_flight: &'a InFlight,
    tenant: TenantId,
}

/// Which limit a command exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit of all commands.
    All,
    /// The limit of its tenant.
    Tenant,
    /// The limit of its tenant's commands that wait in the stream.
    Waiting,
}

impl InFlight {
    pub(crate) fn new(limit: usize, tenant_limit: usize) -> Self {
        Self {
            limit,
            tenant_limit,
            counts: Mutex::default(),
        }
    }

    /// Takes a place for a command of `tenant`, without waiting.
    pub(crate) fn enter(&self, tenant: &TenantId) -> Result<Place<'_>, Full> {
        let mut counts = self.counts();
        if counts.by_tenant.get(tenant).copied().unwrap_or(0) >= self.tenant_limit {
            return Err(Full::Tenant);
        }
        if counts.all >= self.limit {
            return Err(Full::All);
        }
        counts.all += 1;
        *counts.by_tenant.entry(tenant.clone()).or_default() += 1;
        Ok(Place {
            in_flight: self,
            tenant: tenant.clone(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_tenant.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_share_and_leaves_the_rest_to_others() {
        let in_flight = InFlight::new(4, 2);
        let [a, b, c] = ["a", "b", "c"].map(|name| name.parse::<TenantId>().unwrap());
        let first = in_flight.enter(&a).unwrap();
        let second = in_flight.enter(&a).unwrap();
        assert_eq!(in_flight.enter(&a).unwrap_err(), Full::Tenant);
        let third = in_flight.enter(&b).unwrap();
        let fourth = in_flight.enter(&b).unwrap();
        assert_eq!(in_flight.enter(&c).unwrap_err(), Full::All);
        drop(first);
        let fifth = in_flight.enter(&c).unwrap();
        assert_eq!(in_flight.enter(&a).unwrap_err(), Full::All);
        drop((second, third, fourth, fifth));
        assert!(in_flight.counts().by_tenant.is_empty());
        assert_eq!(in_flight.counts().all, 0);
    }
}
