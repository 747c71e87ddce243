//! The front end: pages for browsers, rendered on the server from the HTTP API of the edge.
//!
//! Every page is complete without JavaScript. Its script (`client/`) keeps it up to date and uploads files. The
//! script talks only to the page's own origin, which forwards `/api` and `/ws` to the edge, and to the origin of
//! presigned URLs.

mod assets;
mod config;
mod edge;
mod forward;
mod pages;
mod tenant;

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    http::HeaderValue,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use orders_http::{Forward, observe};
use orders_service::{BoxError, Daemon};
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer, csrf::CsrfLayer};
use tracing::warn;

pub use crate::config::Config;
use crate::{assets::ASSETS, edge::Edge};

/// Runs the front end until `daemon` is told to stop.
pub async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    if ASSETS.client.is_none() {
        warn!("built without Node: the pages have no live updates and no uploads");
    }
    let web = Web::new(config, daemon.shutdown.clone())?;
    daemon.mount(router(Arc::new(web)));
    daemon.health.ready();
    daemon.drained.cancelled().await;
    Ok(())
}

/// The state of the handlers.
pub(crate) struct Web {
    edge: Edge,
    forward: Forward,
    edge_url: String,
    policy: HeaderValue,
}

impl Web {
    fn new(config: Config, shutdown: CancellationToken) -> Result<Self, BoxError> {
        Ok(Self {
            edge: Edge::new(&config.edge_url)?,
            forward: Forward::new(shutdown),
            policy: pages::content_security_policy(&config.upload_origin)?,
            edge_url: config.edge_url,
        })
    }
}

fn router(web: Arc<Web>) -> Router {
    let pages = Router::new()
        .route("/", get(async || Redirect::to("/orders")))
        .route("/orders", get(pages::list::list))
        .route(
            "/orders/new",
            get(pages::new::form).post(pages::new::create),
        )
        .route("/orders/{orderId}", get(pages::order::show))
        .route(
            "/orders/{orderId}/cancel",
            post(pages::order::cancel).get(pages::order::after_cancel),
        )
        .route("/assets/{name}", get(asset))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CatchPanicLayer::custom(pages::panicked))
        .layer(CsrfLayer::new().with_rejection_response(|_| pages::cross_site().into_response()))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(Arc::clone(&web), pages::secure));
    let edge = Router::new()
        .route("/api", any(forward::api))
        .route("/api/{*rest}", any(forward::api))
        .route("/ws", any(forward::to_edge))
        .route("/ws/", any(forward::to_edge))
        .route("/ws/{*rest}", any(forward::to_edge));
    pages.merge(edge).layer(from_fn(observe)).with_state(web)
}

async fn asset(Path(name): Path<String>) -> Response {
    match assets::find(&name) {
        Some(asset) => asset,
        // An older page after an update: once loaded again, it has the new name.
        None => pages::not_found().await,
    }
}

#[cfg(test)]
mod tests;
