use std::sync::{Arc, OnceLock};

use axum::{extract::FromRequestParts, http::request::Parts};
use orders_auth::{Identity, Refusal, Scope};
use orders_contracts::TenantId;
use orders_http::name_tenant;
use tracing::error;

use crate::{problem::Problem, state::AppState};

/// Who calls: somebody known, or in mode off anybody, who may act for every tenant.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<Arc<Known>>);

#[derive(Debug)]
struct Known {
    identity: Arc<Identity>,
    /// The tenant that the request is about, once it has been read.
    tenant: OnceLock<TenantId>,
}

impl Caller {
    /// Anybody.
    pub(crate) fn anybody() -> Self {
        Self(None)
    }

    pub(crate) fn known(identity: Arc<Identity>) -> Self {
        let tenant = OnceLock::new();
        Self(Some(Arc::new(Known { identity, tenant })))
    }

    /// Who it is, if that is known.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.0.as_deref().map(|known| &*known.identity)
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Refuses one who lacks `scope`.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Refusal> {
        match &self.0 {
            Some(known) => known.identity.require(scope),
            None => Ok(()),
        }
    }

    /// The tenant of a request that names none, if the caller acts for one alone.
    pub(crate) fn only_tenant(&self) -> Option<&TenantId> {
        match self.0.as_ref()?.identity.tenants.as_slice() {
            [tenant] => Some(tenant),
            _ => None,
        }
    }

    /// Refuses a request about `tenant` unless the caller may act for it. Its log lines name the tenant from now on.
    pub(crate) fn act_for(&self, tenant: &TenantId) -> Result<(), Problem> {
        name_tenant(tenant);
        let Some(known) = &self.0 else {
            return Ok(());
        };
        let _ = known.tenant.set(tenant.clone());
        match known.identity.tenant(Some(tenant)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Problem::forbidden()),
        }
    }

    /// Who it is, if it is an operator, and the tenant that the request was about, if it was read so far.
    pub(crate) fn operator(&self) -> Option<(&Identity, Option<&TenantId>)> {
        let known = self.0.as_ref().filter(|known| known.identity.operator)?;
        Some((&known.identity, known.tenant.get()))
    }
}

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        edge: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(caller.clone()),
            None if edge.guard.resource().is_none() => Ok(Self::anybody()),
            None => {
                error!("{} has no guard", parts.uri.path());
                Err(Problem::internal())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};
    use chrono::DateTime;

    use super::*;

    fn caller(tenants: &[&str], operator: bool) -> Caller {
        Caller::known(Arc::new(Identity {
            issuer: "https://login.example".to_owned(),
            subject: "u1".to_owned(),
            client: None,
            session: None,
            token_id: None,
            tenants: tenants.iter().map(|text| text.parse().unwrap()).collect(),
            scopes: Vec::new(),
            operator,
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: None,
        }))
    }

    #[test]
    fn a_caller_acts_for_its_own_tenants_and_an_operator_for_all() {
        let tenant: TenantId = "t-1".parse().unwrap();
        let may = |caller: &Caller| match caller.act_for(&tenant) {
            Ok(()) => true,
            Err(problem) => {
                assert_eq!(problem.into_response().status(), StatusCode::FORBIDDEN);
                false
            }
        };
        assert!(may(&Caller::anybody()));
        assert!(may(&caller(&["t-2", "t-1"], false)));
        assert!(may(&caller(&[], true)));
        for tenants in [&[][..], &["t-2"], &["t-10", "T-1"]] {
            assert!(!may(&caller(tenants, false)), "{tenants:?}");
        }
    }

    #[test]
    fn only_a_single_tenant_need_not_be_named() {
        let only = |caller: &Caller| caller.only_tenant().map(ToString::to_string);
        assert_eq!(only(&caller(&["t-1"], false)).as_deref(), Some("t-1"));
        for caller in [
            caller(&[], true),
            caller(&["a", "b"], false),
            Caller::anybody(),
        ] {
            assert_eq!(only(&caller), None, "{caller:?}");
        }
    }
}
