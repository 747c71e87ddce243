//! Users of a few tenants, who share the connections of a load, and the tokens that say who they are.

use std::{iter, time::Duration};

use hyper::header::HeaderValue;
use orders_testkit::{Issuer, Token};
use uuid::Uuid;

use crate::load::TENANTS;

pub(crate) const USERS: usize = 64;
/// How many requests a new token is for.
pub(crate) const REQUESTS: usize = 20;
const SCOPES: &str = "orders:read orders:create orders:cancel uploads:create";
/// Longer than any benchmark takes.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// All users, and what they send to prove who they are.
#[derive(Clone)]
pub(crate) enum Users {
    /// Nothing.
    Unproven,
    /// Each the same token all the time, over all its connections.
    OneToken(Vec<HeaderValue>),
    /// Over each connection a new token after every [`REQUESTS`] requests.
    NewTokens(Vec<Token>),
}

impl Users {
    /// Those of `issuer`, with one token each.
    pub(crate) fn with_one_token(issuer: &Issuer) -> Self {
        let tokens = tokens(issuer);
        Self::OneToken(tokens.iter().map(authorization).collect())
    }

    /// Those of `issuer`, with ever new tokens.
    pub(crate) fn with_new_tokens(issuer: &Issuer) -> Self {
        Self::NewTokens(tokens(issuer))
    }

    /// The one who sends over the connection of this number.
    pub(crate) fn on(&self, connection: usize) -> User {
        let user = connection % USERS;
        let proofs: Proofs = match self {
            Self::Unproven => Box::new(iter::repeat(None)),
            Self::OneToken(proofs) => Box::new(iter::repeat(Some(proofs[user].clone()))),
            Self::NewTokens(tokens) => {
                let token = tokens[user].clone();
                // Signed during the load: a twentieth of a signature for each order is on the generator's account.
                let proof = move || {
                    let id = Uuid::new_v4().to_string();
                    authorization(&token.clone().claim("jti", id))
                };
                let proofs = iter::repeat_with(proof);
                Box::new(proofs.flat_map(|proof| iter::repeat_n(Some(proof), REQUESTS)))
            }
        };
        User {
            tenant: tenant(user),
            proofs,
        }
    }
}

/// What goes into `Authorization`, for each request.
type Proofs = Box<dyn Iterator<Item = Option<HeaderValue>> + Send>;

/// A user on one connection.
pub(crate) struct User {
    pub(crate) tenant: String,
    proofs: Proofs,
}

impl User {
    /// The `Authorization` of the next request.
    pub(crate) fn authorization(&mut self) -> Option<HeaderValue> {
        self.proofs.next().flatten()
    }
}

fn tenant(user: usize) -> String {
    format!("bench-{}", user % TENANTS)
}

/// A token of each user, all different.
fn tokens(issuer: &Issuer) -> Vec<Token> {
    let token = |user| {
        let token = issuer.token().subject(&format!("user-{user}"));
        token.tenant(&tenant(user)).scopes(SCOPES).expires_in(LIFE)
    };
    (0..USERS).map(token).collect()
}

fn authorization(token: &Token) -> HeaderValue {
    let value = format!("Bearer {}", token.sign());
    HeaderValue::try_from(value).expect("a token is ASCII")
}
