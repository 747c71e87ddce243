//! Who may connect.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use orders_auth::{Identity, Refusal, Scope, Verifier, bearer};
use orders_contracts::{
    Revocable, Revocation, TenantId, Timestamp, TraceContext, http_header::TRACEPARENT,
    socket::RefreshRefusal,
};
use orders_http::name_tenant;
use orders_service::metrics::{SOCKET_REFUSALS, SOCKET_REVOCATIONS_MISSED, counter};
use serde_json::Value;
use tracing::{Instrument as _, Span, debug, error_span, field::Empty, info};

use crate::{
    handshake::{ConnectError, Handshake},
    lease::{JITTER, Lease, may_follow},
    members::{Member, Members},
};

/// Lets clients in, and keeps those that are in.
#[derive(Clone)]
pub(crate) struct Door {
    guard: Guard,
    members: Arc<Members>,
}

#[derive(Clone)]
enum Guard {
    /// A client says its tenant.
    Trust,
    /// Its token does.
    Tokens {
        verifier: Verifier,
        leeway: Duration,
    },
}

/// A client that was let in.
pub(crate) struct Guest {
    pub(crate) handshake: Handshake,
    pub(crate) member: Member,
    /// What its token says, if it needs one.
    pub(crate) pass: Option<Pass>,
    /// The span of its log lines.
    pub(crate) span: Span,
}

/// The token of a client that is in.
pub(crate) struct Pass {
    pub(crate) lease: Lease,
    identity: Arc<Identity>,
    tenant: TenantId,
}

impl Door {
    /// A door for everybody, with at most `per_tenant` sockets of a tenant.
    pub(crate) fn open(per_tenant: Option<usize>) -> Self {
        Self {
            guard: Guard::Trust,
            members: Arc::new(Members::new(per_tenant)),
        }
    }

    /// A door for those with a token, who may stay for `leeway` after it expires.
    pub(crate) fn guarded(verifier: Verifier, leeway: Duration, per_tenant: Option<usize>) -> Self {
        Self {
            guard: Guard::Tokens { verifier, leeway },
            ..Self::open(per_tenant)
        }
    }

    /// Whether clients need tokens.
    pub(crate) const fn asks_for_tokens(&self) -> bool {
        matches!(self.guard, Guard::Tokens { .. })
    }

    /// Lets a client in that sent `auth` and the request `parts`, or says why not.
    pub(crate) async fn admit(&self, auth: &Value, parts: &Parts) -> Result<Guest, ConnectError> {
        let trace = parts.extensions.get().copied();
        let trace = trace.or_else(|| trace_of(&parts.headers));
        // As severe as any line in it, so that a filter that lets a line pass does not take away its ids.
        let span = error_span!(
            "client",
            trace.id = trace.map(TraceContext::trace_id),
            tenant.id = Empty
        );
        let admitted = self.check(auth, parts).instrument(span).await;
        if let Err(refusal) = &admitted {
            counter!(SOCKET_REFUSALS, "reason" => refusal.as_str()).increment(1);
        }
        admitted
    }

    async fn check(&self, auth: &Value, parts: &Parts) -> Result<Guest, ConnectError> {
        let Guard::Tokens { verifier, leeway } = &self.guard else {
            let handshake = Handshake::read(auth, &parts.uri)?;
            name_tenant(&handshake.tenant);
            let member = self.members.enter(&handshake.tenant, None);
            return Ok(Guest {
                member: member.map_err(|_| ConnectError::Full)?,
                handshake,
                pass: None,
                span: Span::current(),
            });
        };
        if !verifier.revocations().are_complete() {
            return Err(ConnectError::Revocations);
        }
        let identity = verifier.verify(credential(auth, parts)?).await?;
        identity.require(Scope::OrdersRead)?;
        let choose = |named: Option<TenantId>| Ok(identity.tenant(named.as_ref())?);
        let handshake = Handshake::choose(auth, &parts.uri, choose)
            // Of a tenant that a token is to choose, a client learns no more than that.
            .map_err(|refusal| match refusal {
                ConnectError::Twice | ConnectError::Invalid(_) => ConnectError::Forbidden,
                other => other,
            })?;
        name_tenant(&handshake.tenant);
        let member = self.members.enter(&handshake.tenant, Some(&identity));
        let member = member.map_err(|_| ConnectError::Full)?;
        // One that came between the verification and the entry found no member to cut.
        if verifier.revocations().revokes(&identity) {
            return Err(ConnectError::TokenRequired);
        }
        let tenant = handshake.tenant.clone();
        if identity.operator {
            let actor = identity.actor();
            info!(target: "audit", %actor, tenant.id = %tenant, "operator {actor} follows the feed of {tenant}");
        }
        let now = Timestamp::now();
        let jitter = JITTER.mul_f64(fastrand::f64());
        Ok(Guest {
            handshake,
            member,
            pass: Some(Pass {
                lease: Lease::new(expires_at(&identity), *leeway + jitter, now),
                identity,
                tenant,
            }),
            span: Span::current(),
        })
    }

    /// Takes another `token` from the client that has `pass`; returns when the token expires.
    pub(crate) async fn refresh(
        &self,
        pass: &mut Pass,
        member: &mut Member,
        token: &str,
    ) -> Result<Option<Timestamp>, RefreshRefusal> {
        let Guard::Tokens { verifier, .. } = &self.guard else {
            return Err(RefreshRefusal::Unavailable);
        };
        pass.lease.try_refresh(Timestamp::now())?;
        let identity = verifier.verify(token).await.map_err(|refusal| {
            debug!("refused a token: {refusal}");
            match refusal {
                Refusal::Expired => RefreshRefusal::Expired,
                Refusal::NoKeys { .. } | Refusal::NoRevocations => RefreshRefusal::Unavailable,
                _ => RefreshRefusal::Unauthorized,
            }
        })?;
        may_follow(&pass.identity, &identity, &pass.tenant)?;
        member.renew(&identity);
        // One that came between the verification and the renewal found another token.
        if verifier.revocations().revokes(&identity) {
            member.revoked().cancel();
            return Err(RefreshRefusal::Unauthorized);
        }
        let expires_at = expires_at(&identity);
        pass.lease.renew(expires_at, Timestamp::now());
        pass.identity = identity;
        Ok(expires_at)
    }

    /// Learns of a revocation; returns how many sockets it cuts.
    pub(crate) fn revoke(&self, what: Revocable, revocation: Revocation) -> usize {
        if let Guard::Tokens { verifier, .. } = &self.guard {
            // First, so that nobody comes in whom it would have to cut.
            if !verifier.revocations().apply(what, revocation) {
                counter!(SOCKET_REVOCATIONS_MISSED).increment(1);
            }
        }
        self.members.revoke(&what, &revocation)
    }
}

/// The trace that a request belongs to.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// The client's credential: `auth.token`, or else its `Authorization`. Never the query: URLs are logged.
fn credential<'a>(auth: &'a Value, parts: &'a Parts) -> Result<&'a str, Refusal> {
    match auth.get("token") {
        Some(Value::String(token)) if !token.is_empty() => Ok(token),
        Some(Value::String(_) | Value::Null) | None => {
            bearer(parts.headers.get_all(AUTHORIZATION).iter())
        }
        Some(_) => Err(Refusal::Malformed),
    }
}

fn expires_at(identity: &Identity) -> Option<Timestamp> {
    Timestamp::from_millis(identity.expires_at?.timestamp_millis())
}

impl From<Refusal> for ConnectError {
    fn from(refusal: Refusal) -> Self {
        debug!("refused a socket: {refusal}");
        match refusal {
            Refusal::Missing | Refusal::Malformed | Refusal::Invalid(_) => Self::TokenRequired,
            Refusal::Expired => Self::TokenExpired,
            Refusal::Scope(_) | Refusal::Tenant => Self::Forbidden,
            Refusal::NoKeys { .. } => Self::Unavailable,
            Refusal::NoRevocations => Self::Revocations,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};
    use serde_json::json;

    use super::*;

    fn presented(auth: &Value, uri: &str, headers: &[&'static str]) -> Result<String, Refusal> {
        let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        for header in headers {
            let value = HeaderValue::from_static(header);
            parts.headers.append(AUTHORIZATION, value);
        }
        credential(auth, &parts).map(str::to_owned)
    }

    #[test]
    fn a_token_comes_from_auth_or_else_from_the_header() {
        let of = |auth, headers: &[&'static str]| presented(&auth, "/ws/", headers);
        let (a, b) = (Ok("a".to_owned()), Ok("b".to_owned()));
        assert_eq!(of(json!({ "token": "a" }), &[]), a);
        assert_eq!(of(json!({ "token": "a" }), &["Bearer b"]), a);
        for none in [
            json!(null),
            json!({}),
            json!({ "token": null }),
            json!({ "token": "" }),
        ] {
            assert_eq!(of(none.clone(), &["Bearer b"]), b);
            assert_eq!(of(none.clone(), &[]), Err(Refusal::Missing));
            assert_eq!(of(none, &["Bearer b", "Bearer b"]), Err(Refusal::Malformed));
        }
        for malformed in [json!(7), json!(["a"]), json!({ "a": "b" })] {
            let auth = json!({ "token": malformed });
            assert_eq!(of(auth, &["Bearer b"]), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn a_token_in_the_query_is_none() {
        let uri = "/ws/?EIO=4&token=a&access_token=a&Authorization=Bearer%20a";
        assert_eq!(presented(&json!({}), uri, &[]), Err(Refusal::Missing));
    }

    #[test]
    fn a_client_learns_one_of_five_texts() {
        let told = |refusal: Refusal| ConnectError::from(refusal).to_string();
        assert_eq!(told(Refusal::Missing), "unauthorized: token required");
        assert_eq!(told(Refusal::Malformed), "unauthorized: token required");
        assert_eq!(told(Refusal::Expired), "unauthorized: token expired");
        assert_eq!(told(Refusal::Scope(Scope::OrdersRead)), "forbidden: tenant");
        assert_eq!(told(Refusal::Tenant), "forbidden: tenant");
        let retry_after = Duration::from_secs(1);
        assert_eq!(told(Refusal::NoKeys { retry_after }), "unavailable: keys");
        assert_eq!(ConnectError::Revocations.to_string(), "unavailable: keys");
        assert_eq!(ConnectError::Full.to_string(), "limit: sockets");
    }
}
