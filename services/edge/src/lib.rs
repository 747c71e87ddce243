//! The edge: the HTTP API of the pipeline.
//!
//! It checks requests, publishes commands, waits until the writer decides and lists show the decision, and reads
//! lists from `orders_read` and single orders from `orders_write`. It stores nothing. It forwards `/ws` to the realtime daemons unchanged, and opens streams of
//! events there.
//!
//! `problem` makes the body of every error; no request waits without a bound.

mod attachments;
mod body;
mod breaker;
mod commands;
mod conditional;
mod config;
mod course;
mod deadlines;
mod docs;
mod export;
mod guard;
mod idempotency;
mod in_flight;
mod inbox;
mod limits;
mod listed;
mod openapi;
mod payments;
mod problem;
mod rate;
mod realtimes;
mod routes;
mod segment;
mod state;

use std::{future::ready, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{from_fn, from_fn_with_state},
    routing::any,
};
use orders_auth::Verifier;
use orders_bus::{Bus, Error as BusError, Revocations};
use orders_contracts::{Namespace, Role, http_header, streams};
use orders_http::{
    Access, Front, Intake, Origins, below, discard_unread, observe, refuse_misdirected,
};
use orders_service::{About, BoxError, Daemon, Seldom, retry, shutdown};
use orders_store::{Error as StoreError, Store};
use tokio::{sync::Semaphore, time::sleep};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, CorsLayer},
    set_header::SetResponseHeaderLayer,
};
use tracing::warn;

use crate::{
    attachments::Attachments, commands::Commands, export::Exports, guard::Guard, listed::Unlisted,
    payments::Payments, realtimes::Realtimes, state::AppState,
};
pub use crate::{
    config::{Config, Idempotency, LimitSettings, OnMismatch},
    openapi::openapi,
    payments::PaymentSecrets,
};

/// The streams that the edge writes, the second one only where payments come from outside.
const STREAMS: [streams::Stream; 2] = [streams::ORDERS_COMMANDS, streams::PAYMENTS];
/// Who reads them.
const READERS: [streams::Consumer; 2] = [streams::WRITER_COMMANDS, streams::WRITER_PAYMENTS];

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs the edge until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let attachments = Attachments::open(&config.uploads)?;
    let bus = Bus::connect(&config.nats, Role::Edge)
        .await?
        .deployed(&config.nats.deployment);
    let find = retry("find the database", StoreError::is_transient, || {
        Store::open(&config.mongo, "edge")
    });
    let Some(store) = daemon.shutdown.run_until_cancelled(find).await else {
        return Ok(());
    };
    // It may do no more than read the database.
    let store = store?.auto_migrate(false);
    daemon.health.probe("nats", bus.readiness());
    let count = if config.payment.are_set() { 2 } else { 1 };
    let streams: &'static [streams::Stream] = &STREAMS[..count];
    daemon.health.probe("streams", bus.needs(streams, &[]));
    let limits = Arc::new(config.limits());
    let guard = Guard::new(&config, daemon.port, Arc::clone(&limits))?;
    let revocations = guard.verifier().map(|verifier| {
        keep_keys(verifier, &daemon);
        know_revocations(verifier, &bus, &daemon)
    });
    bus.answer_operators(&daemon);
    let report = bus.report(streams, &READERS[..count], daemon.shutdown.clone());
    daemon.spawn("report", report);

    let rows = store.read_model();
    let shutdown = daemon.shutdown.clone();
    let edge = Arc::new(AppState {
        commands: Commands::new(bus.clone(), rows.clone(), config.in_flight(), shutdown),
        rows,
        orders: store.write_model(),
        exports: Exports::default(),
        limits,
        intake: Intake::new(),
        uploads: Semaphore::new(routes::uploads::AT_ONCE),
        attachments,
        payments: Payments::open(&config.payment, bus.clone())?,
        unlisted: Unlisted {
            bus: bus.clone(),
            orders: store.write_model(),
        },
        place: config.place(daemon.port),
        guard,
        realtimes: Arc::new(Realtimes::new(
            &config.realtime_urls,
            daemon.departure.clone(),
        )),
        on_mismatch: config.idempotency.on_mismatch,
    });
    let replies = edge.commands.replies().await?;
    daemon.spawn("replies", {
        let (edge, drained) = (Arc::clone(&edge), daemon.drained.clone());
        async move {
            match drained
                .run_until_cancelled(edge.commands.deliver(replies))
                .await
            {
                None => Ok(()),
                Some(()) => Err("NATS ended the subscription to replies"),
            }
        }
    });
    daemon.mount(router(edge, &config.access, daemon.port));

    let declare = retry("declare streams", BusError::may_pass, async || {
        bus.declare(streams).await
    });
    if let Some(declared) = daemon.shutdown.run_until_cancelled(Box::pin(declare)).await {
        declared?;
        daemon.spawn("streams", bus.keep(streams, daemon.shutdown.clone()));
        let namespace = config.nats.deployment.namespace.clone();
        let compare = compare(bus.clone(), store, namespace);
        daemon.spawn("installation", {
            let shutdown = daemon.shutdown.clone();
            async move {
                shutdown
                    .run_until_cancelled(compare)
                    .await
                    .unwrap_or(Ok(()))
            }
        });
        // The probe tells this, too; but whoever excludes what needs NATS wants an edge that can go on without it.
        if let Some(revocations) = revocations {
            daemon
                .shutdown
                .run_until_cancelled(revocations.known())
                .await;
        }
        daemon.health.ready();
        daemon.shutdown.cancelled().await;
    }
    daemon.drained.cancelled().await;
    bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// Keeps the keys of the provider fresh. Until there are some, the edge is not ready, and requests with a token get 503.
fn keep_keys(verifier: &Verifier, daemon: &Daemon) {
    daemon.health.probe("auth", {
        let verifier = verifier.clone();
        move || ready(verifier.ready())
    });
    daemon.spawn("auth", {
        let (verifier, shutdown) = (verifier.clone(), daemon.shutdown.clone());
        async move {
            shutdown.run_until_cancelled(verifier.run()).await;
        }
    });
}

/// Learns what is revoked. Until all of it is known, the edge is not ready, and requests with a token get 503.
fn know_revocations(verifier: &Verifier, bus: &Bus, daemon: &Daemon) -> Revocations {
    let learn = {
        let verifier = verifier.clone();
        move |what, revocation| {
            static LINES: Seldom = Seldom::new();
            if !verifier.revocations().apply(what, revocation) {
                let told =
                    "a revocation is missing, as there are too many: nobody with a token is let in";
                LINES.say(|unsaid| warn!(unsaid, "{told}"));
            }
        }
    };
    let verifier = verifier.clone();
    let have_all = move || verifier.revocations().set_read();
    let revocations = bus.revocations();
    revocations.teach(daemon, learn, have_all);
    revocations
}

/// Fails if the database is not of the installation that the stream of commands belongs to. The edge serves meanwhile,
/// because its commands are right in any case, and the database may be away.
async fn compare(bus: Bus, store: Store, namespace: Namespace) -> Result<(), BoxError> {
    loop {
        let streams = retry("look for the installation", BusError::may_pass, || {
            bus.installation(&STREAMS[..1])
        })
        .await?;
        if streams.is_some() {
            retry("look at the database", StoreError::may_pass, || {
                store.join(&namespace, streams.as_ref())
            })
            .await?;
            return Ok(());
        }
        // The writer gives it its id.
        sleep(Duration::from_secs(1)).await;
    }
}

fn router(edge: Arc<AppState>, access: &Access, port: u16) -> Router {
    let front = Front::new(access, port);
    let realtimes = Arc::clone(&edge.realtimes);
    let guard = edge.guard.clone();
    let api = routes::table(&guard, &edge.payments)
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .merge(routes::metadata::router(&guard))
        .merge(docs::router(guard.resource()))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&edge), limits::tell))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(cors(&access.cors_origin, &guard))
        .with_state(edge);
    // The realtime daemons decide which pages may connect.
    let forward = ["/ws", "/ws/", "/ws/{*rest}"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(realtimes::forward))
        })
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(realtimes);
    // Answers have personal data in them: no cache keeps them, and no browser takes them for something else.
    let no_store = HeaderValue::from_static("no-store");
    let no_sniff = HeaderValue::from_static("nosniff");
    let served = api.merge(forward);
    let served = match guard.verifier() {
        None => served.layer(from_fn(refuse_misdirected)),
        Some(_) => served,
    };
    served.layer((
        from_fn_with_state(front, Front::receive),
        from_fn(below),
        from_fn(observe),
        from_fn(discard_unread),
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, no_store),
        SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, no_sniff),
        from_fn(problem::render),
    ))
}

fn cors(origins: &Origins, guard: &Guard) -> CorsLayer {
    let challenge = guard.resource().map(|_| header::WWW_AUTHENTICATE);
    let exposed = [
        HeaderName::from_static(http_header::REPLAYED),
        HeaderName::from_static(http_header::MISMATCH),
        HeaderName::from_static(http_header::PROJECTED),
        HeaderName::from_static(http_header::REQUEST_ID),
        HeaderName::from_static(http_header::TRACERESPONSE),
        header::CONTENT_DISPOSITION,
        header::ETAG,
        header::LINK,
        header::LOCATION,
        header::RETRY_AFTER,
        limits::RATE_LIMIT,
        limits::RATE_LIMIT_POLICY,
    ];
    CorsLayer::new()
        .allow_origin(origins.cors())
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT])
        // A page of an allowed origin may send any header, as in the seed; `Authorization` is one.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.into_iter().chain(challenge).collect::<Vec<_>>())
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests;
