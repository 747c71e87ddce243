use std::time::Duration;

use crate::Scope;

/// Why a request is refused. What the client is told is the edge's and realtime's matter; the text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are no credentials.
    #[error("no credentials")]
    Missing,
    /// There are several credentials, or some that are no bearer token.
    #[error("malformed credentials")]
    Malformed,
    /// The credentials prove nothing.
    #[error("invalid credentials: {0}")]
    Invalid(Reason),
    /// The credentials were valid once.
    #[error("expired credentials")]
    Expired,
    /// The credentials are valid and lack a scope.
    #[error("the scope {} is lacking", .0.as_str())]
    Scope(Scope),
    /// The credentials are valid and for other tenants, or for several of which none is named.
    #[error("another tenant, or none of several")]
    Tenant,
    /// The provider's keys are not known yet.
    #[error("the keys of the provider are not known yet")]
    NoKeys {
        /// When to try again.
        retry_after: Duration,
    },
    /// Whether the credentials are revoked is not known.
    #[error("the revocations are not all known")]
    NoRevocations,
}

/// What is wrong with credentials: for logs and metrics, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// It is no JWT: its length, its segments, their encoding, JSON or members.
    #[error("shape")]
    Shape,
    /// `alg` is not in the settings.
    #[error("algorithm")]
    Algorithm,
    /// `typ` is another one.
    #[error("type")]
    Type,
    /// The header has `crit`.
    #[error("critical")]
    Critical,
    /// No key of the provider has this name and fits the algorithm.
    #[error("key")]
    Key,
    /// The signature does not fit.
    #[error("signature")]
    Signature,
    /// `iss` is another one.
    #[error("issuer")]
    Issuer,
    /// `aud` is another one.
    #[error("audience")]
    Audience,
    /// `exp`, `nbf` or `iat` is missing, in the future or too far from the others.
    #[error("times")]
    Times,
    /// It is bound to a key of the client, whose possession is not proved here.
    #[error("confirmation")]
    Confirmation,
    /// `sub`, `client_id` or `azp` is missing, empty or too long.
    #[error("subject")]
    Subject,
    /// The scopes are of another type.
    #[error("scopes")]
    Scopes,
    /// A tenant is no tenant's id.
    #[error("tenants")]
    Tenants,
    /// It is an ID token where an access token belongs, or the other way round.
    #[error("use")]
    Use,
    /// `nonce` is another one.
    #[error("nonce")]
    Nonce,
    /// It was revoked.
    #[error("revoked")]
    Revoked,
    /// It is no API key of the file.
    #[error("api_key")]
    ApiKey,
}

/// Why no token can be verified yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no keys from the issuer: {0}")]
pub struct NotReady(pub(crate) String);
