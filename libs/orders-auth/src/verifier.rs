use std::sync::Arc;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use orders_service::Invalid;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::{
    AuthSettings, Identity, NotReady, Reason, Refusal, Revocations,
    api_keys::ApiKeys,
    claims::Claims,
    crypto,
    jws::{Jws, Use},
    key_set::{Generation, KeySet},
    rules::Rules,
    source::Source,
};

/// The most verified tokens that are remembered.
const REMEMBERED: u64 = 10_000;

/// Verifies credentials. Clones share keys, verified tokens and revocations.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    rules: Rules,
    keys: KeySet,
    api_keys: ApiKeys,
    /// Access tokens by their SHA-256, so that a token costs one signature and not one for each request.
    verified: Cache<[u8; 32], Verified>,
    revocations: Revocations,
}

/// What a signature said of a token, as long as the keys are the same.
#[derive(Clone)]
struct Verified {
    identity: Arc<Identity>,
    generation: Generation,
}

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdToken {
    /// `sub`.
    pub subject: String,
    /// `sid`.
    pub session: Option<String>,
    /// `name`, else `preferred_username`, else `email`: to show, never to decide by.
    pub name: Option<String>,
    /// `iat`.
    pub issued_at: DateTime<Utc>,
    /// `exp`.
    pub expires_at: DateTime<Utc>,
}

/// Which login has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// `sub`; without a session, all logins of this subject have ended.
    pub subject: Option<String>,
    /// `sid`.
    pub session: Option<String>,
    /// `iat`.
    pub issued_at: DateTime<Utc>,
}

impl Verifier {
    /// A verifier of the tokens of `settings.issuer`, whatever the mode: whether there is one to ask is the daemon's
    /// matter. The error names the setting.
    pub fn new(settings: &AuthSettings) -> Result<Self, Invalid> {
        settings.validate()?;
        let Some(issuer) = settings.issuer.clone() else {
            return Err(Invalid::new("auth.issuer", "must be set"));
        };
        crypto::install();
        let source = Source::new(issuer, settings.jwks_url.clone());
        Ok(Self(Arc::new(Inner {
            rules: Rules::new(settings),
            keys: KeySet::new(source, settings.algorithms.clone()),
            api_keys: ApiKeys::new(settings.api_keys_file.clone())?,
            verified: Cache::new(REMEMBERED),
            revocations: Revocations::default(),
        })))
    }

    /// Keeps the provider's keys and the API keys fresh, without end. No key is known before it runs.
    pub async fn run(&self) {
        tokio::join!(self.0.keys.run(), self.0.api_keys.run());
    }

    /// Why no token can be verified, for readiness.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.0.keys.ready()
    }

    /// Who has this credential, an access token or an API key.
    pub async fn verify(&self, credential: &str) -> Result<Arc<Identity>, Refusal> {
        let inner = &*self.0;
        let identity = match inner.api_keys.find(credential, Utc::now()) {
            Some(found) => found?,
            None => inner.access_token(credential).await?,
        };
        match inner.revocations.revokes(&identity) {
            true => Err(Refusal::Invalid(Reason::Revoked)),
            false => Ok(identity),
        }
    }

    /// Who has logged in to the client `client_id`, in answer to `nonce`, as an ID token says.
    pub async fn verify_id_token(
        &self,
        token: &str,
        client_id: &str,
        nonce: &str,
    ) -> Result<IdToken, Refusal> {
        let jws = Jws::read(token)?;
        let (claims, all, _) = self.0.signed(&jws, Use::Id, client_id).await?;
        Rules::id_token(&claims, &all, client_id, nonce)
    }

    /// Which login has ended, as a logout token for the client `client_id` says (OpenID Connect Back-Channel Logout).
    pub async fn verify_logout_token(
        &self,
        token: &str,
        client_id: &str,
    ) -> Result<LogoutToken, Refusal> {
        let jws = Jws::read(token)?;
        let (claims, ..) = self.0.signed(&jws, Use::Logout, client_id).await?;
        Rules::logout_token(&claims)
    }

    /// What was revoked; [`Verifier::verify`] asks it.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }
}

impl Inner {
    async fn access_token(&self, token: &str) -> Result<Arc<Identity>, Refusal> {
        let sha256 = digest(&SHA256, token.as_bytes());
        let sha256: [u8; 32] = sha256.as_ref().try_into().expect("32 bytes");
        if let Some(Verified {
            identity,
            generation,
        }) = self.verified.get(&sha256)
        {
            let end = identity.expires_at;
            if end.is_some_and(|end| self.rules.has_ended(end, Utc::now())) {
                self.verified.invalidate(&sha256);
                return Err(Refusal::Expired);
            }
            if self.keys.generation() == Some(generation) {
                return Ok(identity);
            }
        }
        let jws = Jws::read(token)?;
        let (claims, all, generation) = self
            .signed(&jws, self.rules.access(), &self.rules.audience)
            .await?;
        let identity = Arc::new(self.rules.identity(&claims, &all)?);
        let verified = Verified {
            identity: Arc::clone(&identity),
            generation,
        };
        self.verified.insert(sha256, verified);
        Ok(identity)
    }

    /// The claims of a token for `purpose` and `audience`, once its signature is verified.
    async fn signed(
        &self,
        jws: &Jws<'_>,
        purpose: Use,
        audience: &str,
    ) -> Result<(Claims, Value, Generation), Refusal> {
        let algorithm = self.rules.algorithm(jws)?;
        jws.require(purpose)?;
        let (key, generation) = self.keys.find(jws.key_id.as_deref(), algorithm).await?;
        let (claims, all) = self.rules.claims(jws, &key, algorithm, audience)?;
        Ok((claims, all, generation))
    }
}
