//! Who asks for the page that is being rendered.

use std::sync::Arc;

use axum::http::HeaderValue;
use orders_auth::Identity;
use orders_contracts::TenantId;

tokio::task_local! {
    static CURRENT: Visitor;
}

/// Who asks, for the pages and for the calls of the edge that a page makes.
#[derive(Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) who: Who,
    /// The address of the client, as `X-Forwarded-For` has it.
    pub(crate) address: Option<HeaderValue>,
}

#[derive(Clone, Default)]
pub(crate) enum Who {
    /// The pages have no login.
    #[default]
    Anybody,
    /// Somebody who has not logged in.
    Stranger,
    /// Somebody who has.
    Person(Arc<Person>),
}

/// Somebody who has logged in.
pub(crate) struct Person {
    /// `Authorization` for the edge.
    pub(crate) authorization: HeaderValue,
    /// The name to show.
    pub(crate) name: Option<String>,
    identity: Arc<Identity>,
}

impl Visitor {
    /// The visitor of the request that this task handles.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Handles a request for this visitor.
    pub(crate) async fn scope<F: Future>(self, handling: F) -> F::Output {
        CURRENT.scope(self, handling).await
    }
}

impl Who {
    pub(crate) fn person(&self) -> Option<&Person> {
        match self {
            Self::Person(person) => Some(person),
            Self::Anybody | Self::Stranger => None,
        }
    }

    pub(crate) fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger)
    }
}

impl Person {
    /// Somebody with a verified access token.
    pub(crate) fn new(
        access_token: &str,
        name: Option<String>,
        identity: Arc<Identity>,
    ) -> Option<Self> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {access_token}")).ok()?;
        authorization.set_sensitive(true);
        Some(Self {
            authorization,
            name,
            identity,
        })
    }

    /// The tenants to choose from; nothing for an operator, who may choose any.
    pub(crate) fn tenants(&self) -> Option<&[TenantId]> {
        (!self.identity.operator).then_some(&self.identity.tenants)
    }

    /// Whether this person may see a tenant's orders.
    pub(crate) fn may_see(&self, tenant: &TenantId) -> bool {
        self.identity.tenant(Some(tenant)).is_ok()
    }
}
