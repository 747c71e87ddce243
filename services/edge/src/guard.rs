//! Who calls. In mode off the guard lets everything through, and the tenant is what a request says.

mod answer;
mod audit;
mod caller;
mod resource;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderValue, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use orders_auth::{Identity, Mode, Refusal, Scope, Verifier, bearer};
use orders_service::{
    Invalid, Seldom,
    metrics::{AUTH_REFUSALS, counter},
};
use tracing::{debug, info};

pub(crate) use self::{
    caller::Caller,
    resource::{Resource, WELL_KNOWN},
};
use crate::{
    config::Config,
    limits::{Key, Limits},
    problem::Problem,
    state::AppState,
};

/// Stands before every route that has somebody's orders.
#[derive(Clone)]
pub(crate) struct Guard(Option<Arc<Inner>>);

struct Inner {
    verifier: Verifier,
    resource: Resource,
    limits: Arc<Limits>,
}

/// The guard of the operations that require one scope.
#[derive(Clone)]
struct Gate {
    guard: Arc<Inner>,
    scope: Scope,
}

impl Guard {
    /// The one that the settings ask for, of an edge that listens on `port`. `limits` counts failures.
    pub(crate) fn new(config: &Config, port: u16, limits: Arc<Limits>) -> Result<Self, Invalid> {
        let (Mode::Jwt, Some(issuer)) = (config.auth.mode, config.auth.issuer.clone()) else {
            return Ok(Self(None));
        };
        let resource = Resource {
            issuer,
            url: config.resource()?,
            place: config.place(port),
        };
        let verifier = Verifier::new(&config.auth)?;
        Ok(Self(Some(Arc::new(Inner {
            verifier,
            resource,
            limits,
        }))))
    }

    /// What verifies credentials, if callers have to prove who they are.
    pub(crate) fn verifier(&self) -> Option<&Verifier> {
        self.0.as_deref().map(|inner| &inner.verifier)
    }

    /// What clients learn of the API, if they have to prove who they are.
    pub(crate) fn resource(&self) -> Option<&Resource> {
        self.0.as_deref().map(|inner| &inner.resource)
    }

    /// Lets only callers with `scope` through to `methods`, before anything of their body is read.
    pub(crate) fn require(
        &self,
        scope: Scope,
        methods: MethodRouter<Arc<AppState>>,
    ) -> MethodRouter<Arc<AppState>> {
        let Some(guard) = self.0.clone() else {
            return methods;
        };
        methods.route_layer(from_fn_with_state(Gate { guard, scope }, admit))
    }
}

async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = gate.guard.limits.may_try(request.headers()).await {
        return problem.into_response();
    }
    let mut response = match gate.identify(request.headers()).await {
        Ok(identity) => {
            let caller = Caller::known(identity);
            let entry = caller.operator().map(|_| audit::Entry::of(&request));
            let response = match caller.require(gate.scope) {
                Ok(()) => {
                    request.extensions_mut().insert(caller.clone());
                    next.run(request).await
                }
                Err(refusal) => match gate.charge(&caller, request.extensions()).await {
                    Ok(()) => gate.refuse(refusal, request.headers()),
                    Err(problem) => problem.into_response(),
                },
            };
            if let Some(entry) = entry {
                entry.write(&caller, response.status());
            }
            response
        }
        Err(refusal) => gate.refuse(refusal, request.headers()),
    };
    // A cache that keeps answers all the same must not give one caller's to another.
    let vary = HeaderValue::from_static("authorization");
    response.headers_mut().append(header::VARY, vary);
    response
}

impl Gate {
    async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Refusal> {
        let credential = bearer(headers.get_all(header::AUTHORIZATION).iter())?;
        let verifier = &self.guard.verifier;
        if !verifier.revocations().are_complete() {
            return Err(Refusal::NoRevocations);
        }
        verifier.verify(credential).await
    }

    /// Takes what a request costs that is refused before its operation does.
    async fn charge(&self, caller: &Caller, request: &Extensions) -> Result<(), Problem> {
        let Some(identity) = caller.identity() else {
            return Ok(());
        };
        let subject = Key::Subject(&identity.issuer, &identity.subject);
        let told = request.get().cloned().unwrap_or_default();
        self.guard.limits.take(&[subject], 0, &told).await
    }

    fn refuse(&self, refusal: Refusal, headers: &HeaderMap) -> Response {
        note(refusal);
        if matches!(
            refusal,
            Refusal::Missing | Refusal::Malformed | Refusal::Invalid(_) | Refusal::Expired
        ) {
            self.guard.limits.note_failure(headers);
        }
        answer::answer(refusal, &self.guard.resource.metadata_url(headers))
    }
}

/// Only the log says why: who tries credentials learns nothing from the answers.
fn note(refusal: Refusal) {
    static LINES: Seldom = Seldom::new();
    let kind = answer::kind(refusal);
    counter!(AUTH_REFUSALS, "kind" => kind).increment(1);
    match refusal {
        Refusal::Missing => debug!("a request was refused: {refusal}"),
        _ => LINES.say(|unsaid| info!(unsaid, "a request was refused: {refusal}")),
    }
}
