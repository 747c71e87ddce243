//! The edge: the HTTP API of the pipeline.
//!
//! It checks requests, publishes commands, waits for the writer's decision and the projector's word, and reads
//! `orders_read`. It stores nothing. `/ws` goes to the realtime daemons, untouched.
//!
//! Every error has the same body, made in `problem` and nowhere else; no request waits without a bound.

mod body;
mod commands;
mod config;
mod docs;
mod idempotency;
mod openapi;
mod problem;
mod proxy;
mod query;
mod routes;
mod waiters;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Method, header},
    middleware::from_fn,
    routing::any,
};
use orders_bus::{Bus, Error as BusError};
use orders_contracts::streams;
use orders_http::observe;
use orders_service::{BoxError, Daemon, retry};
use orders_store::{ReadModel, Store};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, CorsLayer},
};

use crate::{
    commands::Commands,
    proxy::Proxy,
    routes::orders::{MISMATCH, PROJECTED, REPLAYED},
};
pub use crate::{
    config::{Config, Idempotency, OnMismatch, Origins},
    openapi::openapi,
};

/// Runs the edge until `daemon` is told to stop.
pub async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let bus = Bus::connect(&config.nats.url, "edge")
        .await?
        .auto_migrate(config.nats.auto_migrate);
    let store = Store::connect(&config.mongo.url, "edge").await?;
    daemon.health.probe("nats", bus.readiness());

    let edge = Arc::new(Edge {
        commands: Commands::new(bus.clone(), config.max_in_flight, daemon.shutdown.clone()),
        rows: store.read_model(),
        public_url: public_url(&config, daemon.port),
        on_mismatch: config.idempotency.on_mismatch,
    });
    let replies = edge.commands.replies().await?;
    daemon.spawn("replies", {
        let (edge, drained) = (Arc::clone(&edge), daemon.drained.clone());
        async move {
            match drained
                .run_until_cancelled(edge.commands.hand_out(replies))
                .await
            {
                None => Ok(()),
                Some(()) => Err("nats has ended the subscription"),
            }
        }
    });
    let proxy = Arc::new(Proxy::new(&config.realtime_urls, daemon.shutdown.clone()));
    daemon.mount(router(edge, proxy, &config.cors_origin));

    let declare = retry("declare streams", BusError::may_pass, async || {
        bus.declare(&[streams::ORDERS_COMMANDS], config.nats.streams.replicas)
            .await
    });
    if let Some(declared) = daemon.shutdown.run_until_cancelled(declare).await {
        declared?;
        daemon.health.ready();
        daemon.shutdown.cancelled().await;
    }
    daemon.drained.cancelled().await;
    bus.close().await;
    Ok(())
}

/// What the handlers work with.
pub(crate) struct Edge {
    commands: Commands,
    rows: ReadModel,
    /// Where clients reach the edge, without a slash at its end.
    public_url: String,
    on_mismatch: OnMismatch,
}

fn public_url(config: &Config, port: u16) -> String {
    match &config.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://localhost:{port}"),
    }
}

fn router(edge: Arc<Edge>, proxy: Arc<Proxy>, origins: &Origins) -> Router {
    let api = routes::table()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .merge(docs::router())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(cors(origins))
        .with_state(edge);
    // The realtime daemons decide which pages may connect.
    let forward = any(proxy::forward);
    let realtime = Router::new()
        .route("/ws", forward.clone())
        .route("/ws/", forward.clone())
        .route("/ws/{*rest}", forward)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(proxy);
    api.merge(realtime)
        .layer(from_fn(problem::negotiate))
        .layer(from_fn(body::discard_unread))
        .layer(from_fn(observe))
}

fn cors(origins: &Origins) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins
        .iter()
        .map(|origin| {
            HeaderValue::try_from(origin).expect("origins are URLs, which are visible ASCII")
        })
        .collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT])
        // Whatever a page of an allowed origin wants to send, as the seed has it.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            REPLAYED,
            MISMATCH,
            PROJECTED,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
        ])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests;
