//! Who calls, and what they may do.
//!
//! [`Verifier`] turns the value of `Authorization: Bearer` into an [`Identity`]: a token of one OpenID provider, whose
//! keys it fetches and keeps, or an API key from a file. Invariants:
//!
//! * nothing of a token is believed before its signature is verified, except the name of the key;
//! * the tenants, the scopes and the subject come from the token alone; what a request says chooses among them at most;
//! * a token's text is neither logged nor part of an error;
//! * keys are fetched in [`Verifier::run`], at most once in 30 s for all requests with unknown keys.

mod address;
mod api_keys;
mod bearer;
mod claims;
mod client;
mod cooldown;
mod crypto;
mod identity;
mod jwks;
mod jws;
mod key_set;
mod pointer;
mod refusal;
mod revocations;
mod rules;
mod settings;
mod source;
mod strict;
mod verifier;

pub use self::{
    address::is_safe,
    bearer::bearer,
    client::{ProviderClient, Unanswered},
    identity::{Identity, Scope},
    pointer::{Match, Pointer},
    refusal::{NotReady, Reason, Refusal},
    revocations::Revocations,
    settings::{Algorithms, AuthSettings, Mode},
    verifier::{IdToken, LogoutToken, Verifier},
};
