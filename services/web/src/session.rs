//! Logins at an OpenID provider, and the sessions of those who have logged in: a backend for the frontend (BCP 212).
//!
//! The page has no token. A session is one sealed cookie, so no store is needed, and any instance with the same keys can
//! read it. What has ended before its time is in the stream of revocations, which each instance holds in memory.
//! Invariants:
//!
//! * nothing of a token is in a page, a log line or an answer to the script;
//! * the edge is the only one who gets the access token, and never gets the cookie;
//! * an instance uses a refresh token once, however many requests come at once (a proxy sends a visitor to one instance);
//! * what a page does on its own keeps no session alive.

mod callback;
mod clock;
mod cookies;
mod ending;
mod gate;
mod lines;
mod logout;
mod provider;
mod renewal;
mod seal;
mod settings;
mod start;
mod target;
mod visitor;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, HeaderValue};
use data_encoding::BASE64URL_NOPAD;
use orders_auth::{AuthSettings, Identity, Mode, Reason, Refusal, Verifier};
use orders_bus::{Bus, Revocations};
use orders_service::{BoxError, Daemon};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::sleep;
use tracing::{Instrument as _, info, warn};

pub use self::settings::{OidcSettings, SessionSettings};
use self::{
    clock::{Due, Times},
    cookies::SameSite,
    ending::Endings,
    provider::{NoTokens, Provider, Tokens},
    renewal::Renewals,
    seal::Ring,
};
pub(crate) use self::{
    gate::{api, introduce, pages, public},
    settings::LoginSettings,
    start::{login_path, routes},
    visitor::{Person, Visitor, Who},
};

/// How often the file with the keys is looked at, and old renewals are forgotten.
const UPKEEP: Duration = Duration::from_secs(10);

/// The logins of visitors.
pub(crate) struct Login {
    settings: LoginSettings,
    provider: Provider,
    verifier: Verifier,
    ring: RwLock<Arc<Ring>>,
    renewals: Renewals,
    endings: Arc<Endings>,
}

/// The session of somebody who has logged in, as the cookie has it. It has no `Debug`: nothing of it belongs in a log.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Its own name, which no other login has.
    id: String,
    access_token: String,
    /// `jti` of the access token.
    token_id: Option<String>,
    refresh_token: Option<String>,
    /// For the logout at the provider.
    id_token: String,
    /// The login at the provider.
    sid: Option<String>,
    subject: String,
    name: Option<String>,
    times: Times,
}

/// A request of somebody who has logged in.
pub(crate) struct Visit {
    person: Arc<Person>,
    session: Session,
    /// For the answer, if the cookie has changed.
    cookies: Vec<HeaderValue>,
}

/// Why a request is nobody's.
pub(crate) enum Nobody {
    /// There is no session, or it has ended.
    LoggedOut,
    /// It is unknown, as long as the provider is away, or NATS from the start.
    Unknown(Duration),
}

/// When to try again while the provider is away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Login {
    /// With a `bus`, sessions end at all instances at once.
    pub(crate) fn new(
        settings: LoginSettings,
        auth: AuthSettings,
        bus: Option<Bus>,
    ) -> Result<Self, BoxError> {
        let auth = AuthSettings {
            mode: Mode::Jwt,
            issuer: Some(settings.issuer.clone()),
            // Sessions have none.
            api_keys_file: None,
            ..auth
        };
        let verifier = Verifier::new(&auth)?;
        let endings = Endings::new(settings.issuer.clone(), verifier.clone(), bus);
        Ok(Self {
            ring: RwLock::new(Arc::new(settings::read_keys(&settings.keys)?)),
            provider: Provider::new(settings.clone(), auth.resource),
            verifier,
            renewals: Renewals::default(),
            endings: Arc::new(endings),
            settings,
        })
    }

    /// Does what goes on beside the requests. Returns what has to be known before the first visit, if anything has.
    pub(crate) fn start(self: &Arc<Self>, daemon: &Daemon) -> Option<Revocations> {
        self.settings.warn();
        let login = Arc::clone(self);
        daemon.health.probe("login", move || {
            let ready = login.ready();
            async move { ready }
        });
        let revocations = self.endings.start(daemon);
        let (login, shutdown) = (Arc::clone(self), daemon.shutdown.clone());
        daemon.spawn("login", async move {
            let work = async {
                tokio::join!(login.provider.run(), login.verifier.run(), login.upkeep());
            };
            shutdown.run_until_cancelled(work).await;
        });
        revocations
    }

    fn ready(&self) -> Result<(), BoxError> {
        if self.provider.endpoints().is_none() {
            return Err("ORDERS_OIDC__ISSUER: the provider does not answer".into());
        }
        Ok(self.verifier.ready()?)
    }

    async fn upkeep(&self) {
        loop {
            sleep(UPKEEP).await;
            self.renewals.forget(now());
            self.read_keys();
        }
    }

    fn read_keys(&self) {
        match settings::read_keys(&self.settings.keys) {
            Ok(ring) => *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring),
            Err(error) => warn!("the keys of sessions stay as they were: {error}"),
        }
    }

    /// Who sends a request. What a page does on its own is no visit.
    pub(crate) async fn visit(
        self: &Arc<Self>,
        headers: &HeaderMap,
        is_visit: bool,
    ) -> Result<Visit, Nobody> {
        let session = self.session(headers).ok_or(Nobody::LoggedOut)?;
        if !self.endings.are_known() {
            return Err(Nobody::Unknown(RETRY_AFTER));
        }
        let now = now();
        let mut session = match self.settings.limits.due(&session.times, now, is_visit) {
            Due::Nothing => return self.introduce(session, Vec::new()).await,
            Due::Login => return Err(Nobody::LoggedOut),
            Due::Note => session,
            Due::Refresh => match self.renewed(session.clone()).await {
                Ok(session) => session,
                // Another minute or so.
                Err(Nobody::Unknown(_)) if now < session.times.expires => {
                    return self.introduce(session, Vec::new()).await;
                }
                Err(nobody) => return Err(nobody),
            },
        };
        if is_visit {
            session.times.seen = now;
        }
        let cookies = self.seal(cookies::SESSION, &session, SameSite::Strict, None);
        let cookies = cookies.ok_or(Nobody::LoggedOut)?;
        self.introduce(session, cookies).await
    }

    /// The session in the cookie of a request, unless it was ended.
    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let session: Session = self.open(headers, cookies::SESSION)?;
        (!self.endings.has_ended(&session)).then_some(session)
    }

    async fn introduce(
        &self,
        session: Session,
        cookies: Vec<HeaderValue>,
    ) -> Result<Visit, Nobody> {
        let identity = match self.verifier.verify(&session.access_token).await {
            Ok(identity) => identity,
            Err(Refusal::NoKeys { retry_after }) => return Err(Nobody::Unknown(retry_after)),
            Err(refusal) => {
                info!("a session ends: {refusal}");
                return Err(Nobody::LoggedOut);
            }
        };
        let person = Person::new(&session.access_token, session.name.clone(), identity);
        Ok(Visit {
            person: Arc::new(person.ok_or(Nobody::LoggedOut)?),
            session,
            cookies,
        })
    }

    /// The session with newer tokens. The provider is asked in a task of its own: if the request ended midway, the tokens
    /// that come for its refresh token would be lost.
    async fn renewed(self: &Arc<Self>, session: Session) -> Result<Session, Nobody> {
        let refresh_token = session.refresh_token.clone().ok_or(Nobody::LoggedOut)?;
        let login = Arc::clone(self);
        let renewing = async move {
            let (login, taken) = (&*login, &refresh_token.clone());
            let renew = |session: Session| async move {
                let tokens = login.provider.refresh(taken).await?;
                login.with_tokens(session, tokens).await
            };
            let renewed = login.renewals.renew(session, refresh_token, renew).await;
            renewed.map_err(|failed| match failed {
                NoTokens::Refused | NoTokens::Revoked => Nobody::LoggedOut,
                NoTokens::Away => Nobody::Unknown(RETRY_AFTER),
            })
        };
        let renewing = tokio::spawn(renewing.in_current_span());
        renewing.await.unwrap_or(Err(Nobody::Unknown(RETRY_AFTER)))
    }

    async fn with_tokens(&self, mut session: Session, tokens: Tokens) -> Result<Session, NoTokens> {
        let identity = self
            .identity(&tokens.access_token, &session.subject)
            .await?;
        session.times.expires = end(&identity);
        session.access_token = tokens.access_token;
        session.token_id.clone_from(&identity.token_id);
        // Without a new one, the old one goes on.
        session.refresh_token = tokens.refresh_token.or(session.refresh_token);
        Ok(session)
    }

    /// Whom an access token is for, which must be `subject`.
    async fn identity(&self, access_token: &str, subject: &str) -> Result<Arc<Identity>, NoTokens> {
        let refused = |reason: String| {
            warn!("the provider gives access tokens that do not count: {reason}");
            NoTokens::Refused
        };
        match self.verifier.verify(access_token).await {
            Ok(identity) if identity.subject == subject => Ok(identity),
            Ok(_) => Err(refused("another subject".to_owned())),
            Err(Refusal::NoKeys { .. }) => Err(NoTokens::Away),
            Err(Refusal::Invalid(Reason::Revoked)) => Err(NoTokens::Revoked),
            Err(refusal) => Err(refused(refusal.to_string())),
        }
    }

    /// What the cookie `name` of a request has.
    fn open<T: DeserializeOwned>(&self, headers: &HeaderMap, name: &str) -> Option<T> {
        let sealed = cookies::read(headers, name)?;
        let plain = self.ring().open(name, &sealed)?;
        serde_json::from_slice(&plain).ok()
    }

    /// The `Set-Cookie` headers of an answer; nothing if the value is too long for browsers.
    fn seal(
        &self,
        name: &str,
        value: &impl Serialize,
        same_site: SameSite,
        seconds: Option<u64>,
    ) -> Option<Vec<HeaderValue>> {
        let plain = serde_json::to_vec(value).ok()?;
        let sealed = self.ring().seal(name, &plain);
        let cookies = cookies::write(name, &sealed, same_site, seconds);
        if cookies.is_none() {
            warn!(
                "the tokens of the provider are too long for cookies: {} bytes",
                plain.len()
            );
        }
        cookies
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Text of 32 random bytes.
fn secret() -> String {
    BASE64URL_NOPAD.encode(&seal::random::<32>())
}

/// The seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// When an access token ends.
fn end(identity: &Identity) -> u64 {
    let end = identity.expires_at.map_or(0, |end| end.timestamp());
    u64::try_from(end).unwrap_or(0)
}

#[cfg(test)]
mod tests;
