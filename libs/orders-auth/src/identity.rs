use chrono::{DateTime, Utc};
use orders_contracts::TenantId;

use crate::Refusal;

/// Who calls, as valid credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `iss` of the token, or [`Identity::API_KEYS`].
    pub issuer: String,
    /// `sub` of the token, or the id of the API key.
    pub subject: String,
    /// `client_id` or `azp` of the token.
    pub client: Option<String>,
    /// `sid` of the token: the login at the provider.
    pub session: Option<String>,
    /// `jti` of the token.
    pub token_id: Option<String>,
    /// The tenants it may act for; perhaps none.
    pub tenants: Vec<TenantId>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whether it may act for every tenant, within its scopes.
    pub operator: bool,
    /// When the credentials were made; an API key has no such time and counts as made at the beginning.
    pub issued_at: DateTime<Utc>,
    /// When they end, without the leeway.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    /// The issuer of API keys.
    pub const API_KEYS: &str = "api-key";

    /// The tenant of a request that names `named`; only one with a single tenant may name none.
    pub fn tenant(&self, named: Option<&TenantId>) -> Result<TenantId, Refusal> {
        let allowed = match (named, self.tenants.as_slice()) {
            (Some(named), tenants) if self.operator || tenants.contains(named) => Some(named),
            (None, [single]) => Some(single),
            _ => None,
        };
        allowed.cloned().ok_or(Refusal::Tenant)
    }

    /// Refuses one who lacks `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        match self.scopes.contains(&scope) {
            true => Ok(()),
            false => Err(Refusal::Scope(scope)),
        }
    }

    /// Who acted, for the audit: `iss|sub`.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("{}|{}", self.issuer, self.subject)
    }
}

/// What credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To read orders, the live feed too.
    OrdersRead,
    /// To create orders.
    OrdersCreate,
    /// To cancel orders.
    OrdersCancel,
    /// To upload attachments.
    UploadsCreate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::OrdersRead,
        Self::OrdersCreate,
        Self::OrdersCancel,
        Self::UploadsCreate,
    ];

    /// The scope as tokens have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrdersRead => "orders:read",
            Self::OrdersCreate => "orders:create",
            Self::OrdersCancel => "orders:cancel",
            Self::UploadsCreate => "uploads:create",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(tenants: &[&str], operator: bool) -> Identity {
        Identity {
            issuer: "https://login.example".to_owned(),
            subject: "u1".to_owned(),
            client: None,
            session: None,
            token_id: None,
            tenants: tenants.iter().map(|text| text.parse().unwrap()).collect(),
            scopes: vec![Scope::OrdersRead],
            operator,
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn a_request_chooses_among_the_tenants_of_its_token() {
        let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
        for (tenants, operator, named, expected) in [
            (&["a"][..], false, None, Ok(&a)),
            (&["a"], false, Some(&a), Ok(&a)),
            (&["a"], false, Some(&b), Err(Refusal::Tenant)),
            (&["a", "b"], false, None, Err(Refusal::Tenant)),
            (&["a", "b"], false, Some(&b), Ok(&b)),
            (&[], false, None, Err(Refusal::Tenant)),
            (&[], false, Some(&a), Err(Refusal::Tenant)),
            (&[], true, Some(&a), Ok(&a)),
            (&[], true, None, Err(Refusal::Tenant)),
            (&["a"], true, Some(&b), Ok(&b)),
            (&["a"], true, None, Ok(&a)),
        ] {
            let found = identity(tenants, operator).tenant(named);
            assert_eq!(found.as_ref().map_err(|refusal| *refusal), expected);
        }
    }

    #[test]
    fn an_operator_needs_its_scopes_too() {
        let operator = identity(&[], true);
        assert_eq!(operator.require(Scope::OrdersRead), Ok(()));
        let refused = operator.require(Scope::OrdersCancel);
        assert_eq!(refused, Err(Refusal::Scope(Scope::OrdersCancel)));
        assert_eq!(operator.actor(), "https://login.example|u1");
    }

    #[test]
    fn every_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("orders:*"), None);
    }
}
