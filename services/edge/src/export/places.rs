use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orders_contracts::TenantId;

/// How many exports there are at once: each reads with one of the connections that lists need too.
const AT_ONCE: usize = 4;
/// How many of them are of one tenant.
const OF_A_TENANT: usize = 2;

/// The exports under way, by tenant. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports(Arc<Mutex<HashMap<TenantId, usize>>>);

/// The place of one export, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    exports: Exports,
    tenant: TenantId,
}

/// Whose exports are too many already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Those of all tenants.
    All,
    /// Those of the same tenant.
    Tenant,
}

impl Exports {
    /// Takes a place for an export of `tenant`, without waiting.
    pub(crate) fn enter(&self, tenant: &TenantId) -> Result<Place, Full> {
        let mut counts = self.counts();
        if counts.get(tenant).is_some_and(|own| *own >= OF_A_TENANT) {
            return Err(Full::Tenant);
        }
        if counts.values().sum::<usize>() >= AT_ONCE {
            return Err(Full::All);
        }
        *counts.entry(tenant.clone()).or_default() += 1;
        Ok(Place {
            exports: self.clone(),
            tenant: tenant.clone(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.exports.counts();
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_some_of_the_places_and_whoever_leaves_makes_room() {
        let exports = Exports::default();
        let enter = |tenant: &str| exports.enter(&tenant.parse().unwrap());
        let first = enter("t-1").unwrap();
        let second = enter("t-1").unwrap();
        assert_eq!(enter("t-1").unwrap_err(), Full::Tenant);
        let others = [enter("t-2").unwrap(), enter("t-3").unwrap()];
        assert_eq!(enter("t-4").unwrap_err(), Full::All);
        assert_eq!(enter("t-1").unwrap_err(), Full::Tenant);
        drop(first);
        let third = enter("t-4").unwrap();
        assert_eq!(enter("t-1").unwrap_err(), Full::All);
        drop((second, third, others));
        assert!(exports.counts().is_empty());
    }
}
