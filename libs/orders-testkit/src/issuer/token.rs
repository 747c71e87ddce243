use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::SigningKey;

/// A token that is not signed yet.
#[derive(Debug, Clone)]
pub struct Token {
    key: Arc<SigningKey>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    pub(super) fn access(issuer: &str, key: Arc<SigningKey>) -> Self {
        let now = now();
        let token = Self {
            key,
            header: Map::new(),
            claims: Map::new(),
        };
        token
            .header("typ", "at+jwt")
            .claim("iss", issuer)
            .claim("aud", "orders-api")
            .claim("sub", "u1")
            .claim("client_id", "test")
            .claim("jti", uuid::Uuid::new_v4().to_string())
            .claim("iat", now)
            .claim("exp", now + 300)
    }

    /// The tenant; further calls add tenants.
    #[must_use]
    pub fn tenant(self, tenant: &str) -> Self {
        let tenants = match self.claims.get("tenant") {
            None => json!(tenant),
            Some(Value::Array(tenants)) => {
                let more = tenants.iter().cloned().chain([tenant.into()]);
                more.collect()
            }
            Some(one) => json!([one, tenant]),
        };
        self.claim("tenant", tenants)
    }

    /// The scopes, separated by spaces.
    #[must_use]
    pub fn scopes(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// The subject.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// The login.
    #[must_use]
    pub fn session(self, session: &str) -> Self {
        self.claim("sid", session)
    }

    /// With the scope and the claim of an operator, besides its other scopes.
    #[must_use]
    pub fn operator(self) -> Self {
        let scopes = self.claims.get("scope").and_then(Value::as_str);
        let scopes = format!("{} orders:operator", scopes.unwrap_or_default());
        self.scopes(scopes.trim())
            .claim("roles", json!(["orders-operators"]))
    }

    /// The time from now until it ends.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        self.claim("exp", now() + time.as_secs())
    }

    /// Made and ended so long ago, after a life of five minutes.
    #[must_use]
    pub fn expired(self, ago: Duration) -> Self {
        let end = now() - ago.as_secs();
        self.claim("iat", end - 300).claim("exp", end)
    }

    /// Any claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Any member of the header; `alg` and `kid` are the key's unless they are set, and `null` leaves one out.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// To be signed with this key instead of the issuer's.
    #[must_use]
    pub fn key(mut self, key: Arc<SigningKey>) -> Self {
        self.key = key;
        self
    }

    /// Its claims as JSON.
    #[must_use]
    pub fn claims(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// The token as text.
    #[must_use]
    pub fn sign(&self) -> String {
        let mut header = self.header.clone();
        let key = [("alg", self.key.algorithm()), ("kid", self.key.id())];
        for (name, value) in key {
            let member = header.entry(name);
            member.or_insert_with(|| value.into());
        }
        header.retain(|_, value| !value.is_null());
        self.key
            .sign(&Value::Object(header).to_string(), &self.claims())
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is right").as_secs()
}
