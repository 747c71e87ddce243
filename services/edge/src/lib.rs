//! The edge: the HTTP API of the pipeline.
//!
//! It checks requests, publishes commands, waits until the writer decides and lists show the decision, and reads
//! `orders_read`. It stores nothing. It forwards `/ws` to the realtime daemons unchanged.
//!
//! `problem` makes the body of every error; no request waits without a bound.

mod body;
mod breaker;
mod commands;
mod config;
mod deadlines;
mod docs;
mod idempotency;
mod inbox;
mod listed;
mod openapi;
mod problem;
mod realtimes;
mod routes;
mod segment;
mod state;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::from_fn,
    routing::any,
};
use orders_bus::{Bus, Error as BusError};
use orders_contracts::{http_header, streams};
use orders_http::observe;
use orders_service::{BoxError, Daemon, retry, shutdown};
use orders_store::Store;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, CorsLayer},
};

use crate::{commands::Commands, realtimes::Realtimes, state::AppState};
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

    let rows = store.read_model();
    let shutdown = daemon.shutdown.clone();
    let edge = Arc::new(AppState {
        commands: Commands::new(bus.clone(), rows.clone(), config.max_in_flight, shutdown),
        rows,
        public_url: public_url(&config, daemon.port),
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
    let realtimes = Realtimes::new(&config.realtime_urls, daemon.shutdown.clone());
    daemon.mount(router(edge, Arc::new(realtimes), &config.cors_origin));

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
    bus.close(shutdown::FLUSH).await;
    Ok(())
}

fn public_url(config: &Config, port: u16) -> String {
    match &config.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://localhost:{port}"),
    }
}

fn router(edge: Arc<AppState>, realtimes: Arc<Realtimes>, origins: &Origins) -> Router {
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
    let forward = ["/ws", "/ws/", "/ws/{*rest}"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(realtimes::forward))
        })
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(realtimes);
    api.merge(forward)
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
        // A page of an allowed origin may send any header, as in the seed.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            HeaderName::from_static(http_header::REPLAYED),
            HeaderName::from_static(http_header::MISMATCH),
            HeaderName::from_static(http_header::PROJECTED),
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
        ])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests;
