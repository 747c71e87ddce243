//! What a token must say to count, and what it then says of its owner.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use orders_contracts::TenantId;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{
    Algorithms, AuthSettings, IdToken, Identity, LogoutToken, Match, Pointer, Reason, Refusal,
    Scope,
    claims::{Claims, is_name},
    jwks::Key,
    jws::{Jws, Use},
};

/// The longest time from `iat` to `exp`: revocations are kept as long.
const LONGEST_LIFE: TimeDelta = TimeDelta::hours(24);
/// The event of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The settings that decide over a token.
pub(crate) struct Rules {
    issuer: String,
    /// Whom access tokens are for.
    pub(crate) audience: String,
    algorithms: Algorithms,
    leeway: TimeDelta,
    require_at_jwt: bool,
    tenant_claim: Pointer,
    scope_claims: [Pointer; 3],
    operator_scope: String,
    operator_claim: Match,
}

impl Rules {
    pub(crate) fn new(settings: &AuthSettings) -> Self {
        let pointer = |text: &str| Pointer::try_from(text.to_owned()).expect("a pointer");
        Self {
            issuer: settings.issuer.clone().unwrap_or_default(),
            audience: settings.audience.clone(),
            algorithms: settings.algorithms.clone(),
            leeway: TimeDelta::from_std(settings.leeway).expect("a short time"),
            require_at_jwt: settings.require_at_jwt,
            tenant_claim: settings.tenant_claim.clone(),
            scope_claims: [
                settings.scope_claim.clone(),
                pointer("/scp"),
                pointer("/permissions"),
            ],
            operator_scope: settings.operator_scope.clone(),
            operator_claim: settings.operator_claim.clone(),
        }
    }

    /// The type that access tokens must have.
    pub(crate) fn access(&self) -> Use {
        match self.require_at_jwt {
            true => Use::Access,
            false => Use::PlainAccess,
        }
    }

    /// The algorithm of a token, if it counts.
    pub(crate) fn algorithm(&self, jws: &Jws<'_>) -> Result<Algorithm, Refusal> {
        let found = self.algorithms.find(&jws.algorithm);
        found.ok_or(Refusal::Invalid(Reason::Algorithm))
    }

    /// Whether credentials that end at `end` have ended, the leeway over too.
    pub(crate) fn has_ended(&self, end: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        end + self.leeway < now
    }

    /// The claims of a token that `key` signed for `audience`.
    pub(crate) fn claims(
        &self,
        jws: &Jws<'_>,
        key: &Key,
        algorithm: Algorithm,
        audience: &str,
    ) -> Result<(Claims, Value), Refusal> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.num_seconds().unsigned_abs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        jsonwebtoken::decode::<IgnoredAny>(jws.text, &key.decoding, &validation)
            .map_err(|error| refusal(error.kind()))?;

        let all = jws.claims()?;
        let claims = Claims::read(&all)?;
        if claims.iss != self.issuer {
            return Err(Refusal::Invalid(Reason::Issuer));
        }
        if claims.iat.0 > Utc::now() + self.leeway {
            return Err(Refusal::Invalid(Reason::Times));
        }
        Ok((claims, all))
    }

    /// Who has an access token with these claims.
    pub(crate) fn identity(&self, claims: &Claims, all: &Value) -> Result<Identity, Refusal> {
        let refuse = |reason| Err(Refusal::Invalid(reason));
        if claims.exp.0 - claims.iat.0 > LONGEST_LIFE {
            return refuse(Reason::Times);
        }
        if claims.cnf.is_some() {
            return refuse(Reason::Confirmation);
        }
        let client = claims.client();
        if client.is_some_and(|client| !is_name(client)) || client.is_none() && self.require_at_jwt
        {
            return refuse(Reason::Subject);
        }
        if !self.require_at_jwt {
            // An ID token may look the same otherwise.
            let is_for_client = client.is_some_and(|client| claims.aud.contains(client));
            if claims.nonce.is_some() || claims.at_hash.is_some() || is_for_client {
                return refuse(Reason::Use);
            }
        }
        let subject = claims.subject()?;
        let scopes = self.scopes(all)?;
        Ok(Identity {
            issuer: claims.iss.clone(),
            subject,
            client: client.map(str::to_owned),
            session: claims.sid.clone(),
            token_id: claims.jti.clone(),
            tenants: self.tenants(all)?,
            operator: scopes.contains(self.operator_scope.as_str())
                && self.operator_claim.is_in(all),
            scopes: Scope::ALL
                .into_iter()
                .filter(|scope| scopes.contains(scope.as_str()))
                .collect(),
            issued_at: claims.iat.0,
            expires_at: Some(claims.exp.0),
        })
    }

    /// A text of scopes separated by spaces, or an array of them.
    fn scopes<'a>(&self, all: &'a Value) -> Result<HashSet<&'a str>, Refusal> {
        let found = self.scope_claims.iter().find_map(|claim| claim.find(all));
        let scopes = match found {
            None => Some(HashSet::new()),
            Some(Value::String(text)) => Some(text.split(' ').collect()),
            Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
            Some(_) => None,
        };
        scopes.ok_or(Refusal::Invalid(Reason::Scopes))
    }

    /// A tenant, an array of them, or an object whose members are named after them.
    fn tenants(&self, all: &Value) -> Result<Vec<TenantId>, Refusal> {
        let tenant = |text: &str| text.parse::<TenantId>().ok();
        let tenants = match self.tenant_claim.find(all) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => tenant(text).map(|tenant| vec![tenant]),
            Some(Value::Array(items)) => {
                let tenants = items.iter().map(|item| item.as_str().and_then(tenant));
                tenants.collect()
            }
            Some(Value::Object(members)) => members.keys().map(|name| tenant(name)).collect(),
            Some(_) => None,
        };
        let mut tenants: Vec<_> = tenants.ok_or(Refusal::Invalid(Reason::Tenants))?;
        tenants.sort_unstable();
        tenants.dedup();
        Ok(tenants)
    }

    /// Who has logged in to the client `client_id`, in answer to `nonce` (OpenID Connect Core section 3.1.3.7).
    pub(crate) fn id_token(
        claims: &Claims,
        all: &Value,
        client_id: &str,
        nonce: &str,
    ) -> Result<IdToken, Refusal> {
        let is_other = claims.azp.as_deref().is_some_and(|azp| azp != client_id);
        if is_other || claims.azp.is_none() && claims.aud.is_shared() {
            return Err(Refusal::Invalid(Reason::Audience));
        }
        if claims.nonce.as_ref().and_then(Value::as_str) != Some(nonce) {
            return Err(Refusal::Invalid(Reason::Nonce));
        }
        let names = ["name", "preferred_username", "email"];
        let mut names = names.iter().filter_map(|name| all.get(name)?.as_str());
        Ok(IdToken {
            subject: claims.subject()?,
            session: claims.sid.clone(),
            name: names.find(|name| is_name(name)).map(str::to_owned),
            issued_at: claims.iat.0,
            expires_at: claims.exp.0,
        })
    }

    /// Which login has ended (OpenID Connect Back-Channel Logout section 2.6).
    pub(crate) fn logout_token(claims: &Claims) -> Result<LogoutToken, Refusal> {
        let events = claims.events.as_ref();
        let is_logout = events.is_some_and(|events| events[LOGOUT].is_object());
        if !is_logout || claims.nonce.is_some() || claims.jti.is_none() {
            return Err(Refusal::Invalid(Reason::Use));
        }
        let is_named = |name: &Option<String>| name.as_deref().is_none_or(is_name);
        let names_one = claims.sub.is_some() || claims.sid.is_some();
        if !names_one || !is_named(&claims.sub) || !is_named(&claims.sid) {
            return Err(Refusal::Invalid(Reason::Subject));
        }
        Ok(LogoutToken {
            subject: claims.sub.clone(),
            session: claims.sid.clone(),
            issued_at: claims.iat.0,
        })
    }
}

fn refusal(error: &ErrorKind) -> Refusal {
    Refusal::Invalid(match error {
        ErrorKind::ExpiredSignature => return Refusal::Expired,
        ErrorKind::InvalidSignature => Reason::Signature,
        ErrorKind::ImmatureSignature => Reason::Times,
        ErrorKind::InvalidIssuer => Reason::Issuer,
        ErrorKind::InvalidAudience => Reason::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            match claim.as_str() {
                "iss" => Reason::Issuer,
                "aud" => Reason::Audience,
                _ => Reason::Times,
            }
        }
        _ => Reason::Shape,
    })
}

#[cfg(test)]
mod tests;
