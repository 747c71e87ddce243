//! How sessions end before their time: here at once, and everywhere by the stream of revocations.

use std::{sync::Arc, time::Duration};

use orders_auth::Verifier;
use orders_bus::{Bus, Error, Revocations};
use orders_contracts::{Claim, Revocable, Revocation, Timestamp, streams::REVOCATIONS};
use orders_service::{Daemon, Seldom, retry};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, warn};

use super::{Session, lines::Lines};

/// How long a provider waits to hear whether everybody else knows that a login has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sessions that have ended, and those whose live updates are to be closed when they end.
pub(crate) struct Endings {
    issuer: String,
    verifier: Verifier,
    lines: Lines,
    /// Where other instances, the edges and the realtime daemons hear of it; nothing in mode off.
    bus: Option<Bus>,
}

/// The way of an end to everybody else. It goes on when nobody waits for it.
pub(crate) struct Telling(Option<JoinHandle<Result<(), Error>>>);

impl Endings {
    pub(crate) fn new(issuer: String, verifier: Verifier, bus: Option<Bus>) -> Self {
        if bus.is_none() {
            verifier.revocations().set_read();
        }
        Self {
            issuer,
            verifier,
            lines: Lines::default(),
            bus,
        }
    }

    /// Hears of what ends elsewhere. Until all of it is known, web is not ready, and nobody's session counts.
    pub(crate) fn start(self: &Arc<Self>, daemon: &Daemon) -> Option<Revocations> {
        let bus = self.bus.as_ref()?;
        daemon.health.probe("nats", bus.readiness());
        daemon
            .health
            .probe("streams", bus.needs(&[REVOCATIONS], &[]));
        bus.answer_operators(daemon);
        let endings = Arc::clone(self);
        let learn = move |what, revocation| endings.learn(what, revocation);
        let verifier = self.verifier.clone();
        let have_all = move || verifier.revocations().set_read();
        let revocations = bus.revocations();
        revocations.teach(daemon, learn, have_all);
        Some(revocations)
    }

    /// Whether all that has ended is known.
    pub(crate) fn are_known(&self) -> bool {
        self.verifier.revocations().are_complete()
    }

    /// Whether a session has ended: it or its access token, its login at the provider, or all of its subject.
    pub(crate) fn has_ended(&self, session: &Session) -> bool {
        let revocations = self.verifier.revocations();
        revocations.cover(self.names(session), started(session))
    }

    /// Live updates of a session: they are to be closed when the token is cancelled. Nothing if it has ended.
    pub(crate) fn line(&self, session: &Session) -> Option<Arc<CancellationToken>> {
        let cut = self.lines.open(self.names(session), started(session));
        // One that ended just before found no line to close.
        (!self.has_ended(session)).then_some(cut)
    }

    /// Ends sessions at the moment `at`: their cookies count no more, and their live updates are closed.
    pub(crate) fn end(&self, claim: Claim, value: &str, at: Timestamp) -> Telling {
        let what = Revocable::new(&self.issuer, claim, value);
        let revocation = Revocation::at(at, claim);
        self.learn(what, revocation);
        let bus = self.bus.clone();
        Telling(bus.map(|bus| tokio::spawn(tell(bus, what, revocation).in_current_span())))
    }

    fn learn(&self, what: Revocable, revocation: Revocation) {
        static LINES: Seldom = Seldom::new();
        if !self.verifier.revocations().apply(what, revocation) {
            let told = "a session cannot be ended on this side: there are too many that were";
            LINES.say(|unsaid| warn!(unsaid, "{told}"));
        }
        self.lines.close(&what, &revocation);
    }

    /// What a session is called by whoever ends it.
    fn names(&self, session: &Session) -> impl Iterator<Item = Revocable> {
        [
            // To a session, its own name is what its id is to a token.
            (Claim::Token, Some(&session.id)),
            (Claim::Token, session.token_id.as_ref()),
            (Claim::Session, session.sid.as_ref()),
            (Claim::Subject, Some(&session.subject)),
        ]
        .into_iter()
        .filter_map(|(claim, value)| Some(Revocable::new(&self.issuer, claim, value?)))
    }
}

impl Telling {
    /// Whether everybody else can know of it within moments.
    pub(crate) async fn has_arrived(self) -> bool {
        match self.0 {
            None => true,
            Some(telling) => matches!(timeout(PATIENCE, telling).await, Ok(Ok(Ok(())))),
        }
    }
}

/// Tells everybody else, however long NATS is away, as long as it matters.
async fn tell(bus: Bus, what: Revocable, revocation: Revocation) -> Result<(), Error> {
    let may_pass = |error: &Error| error.may_pass() && Timestamp::now() < revocation.until;
    retry("tell that a session has ended", may_pass, || {
        bus.revoke(what, revocation)
    })
    .await
}

/// The moment of a session's login.
fn started(session: &Session) -> Timestamp {
    let millis = i64::try_from(session.times.started.saturating_mul(1_000)).ok();
    let moment = millis.and_then(Timestamp::from_millis);
    // No cookie of ours has a moment that is in no calendar.
    moment.unwrap_or_else(Timestamp::now)
}
