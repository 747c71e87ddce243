//! The front end: pages for browsers, rendered on the server from the HTTP API of the edge.
//!
//! Every page is complete without JavaScript. Its script (`client/`) keeps it up to date and uploads files. The
//! script talks only to the page's own origin, which forwards `/api` and `/ws` to the edge, and to the origin of
//! presigned URLs.
//!
//! In mode jwt pages have a login, and the bus says which sessions have ended; in mode off web connects to nothing but
//! the edge.

mod assets;
mod config;
mod edge;
mod forward;
mod pages;
mod prefix;
mod session;
mod tenant;

use std::{process::ExitCode, sync::Arc};

use axum::{
    Router,
    extract::Path,
    http::HeaderValue,
    middleware::{from_fn, from_fn_with_state},
    response::{Redirect, Response},
    routing::{any, get, post, put},
};
use orders_bus::Bus;
use orders_contracts::Role;
use orders_http::{Access, Forward, Front, Intake, Origin, below, discard_unread, observe};
use orders_service::{About, BoxError, Daemon, Departure, Settings, shutdown};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    csrf::{CsrfLayer, ProtectionError},
};
use tracing::warn;

use crate::{
    assets::ASSETS,
    edge::Edge,
    session::{Login, LoginSettings},
};
pub use crate::{
    config::Config,
    session::{OidcSettings, SessionSettings},
};

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs the front end until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    if ASSETS.client.is_none() {
        warn!("built without Node: the pages have no live updates and no uploads");
    }
    let bus = match config.uses_nats() {
        true => Some(
            Bus::connect(&config.nats, Role::Web)
                .await?
                .deployed(&config.nats.deployment),
        ),
        false => None,
    };
    let web = Web::new(config, bus.clone(), daemon.departure.clone())?;
    let revocations = web.login.as_ref().and_then(|login| login.start(&daemon));
    daemon.mount(router(Arc::new(web), daemon.port));
    // The probe tells this, too; but whoever excludes what needs NATS wants pages that can go on without it.
    if let Some(revocations) = revocations {
        daemon
            .shutdown
            .run_until_cancelled(revocations.known())
            .await;
    }
    daemon.health.ready();
    daemon.drained.cancelled().await;
    if let Some(bus) = bus {
        bus.close(shutdown::FLUSH).await;
    }
    Ok(())
}

/// The state of the handlers.
pub(crate) struct Web {
    edge: Edge,
    forward: Forward,
    intake: Intake,
    edge_url: String,
    upload_origin: String,
    access: Access,
    policy: HeaderValue,
    /// The login, if the pages have one.
    login: Option<Arc<Login>>,
}

impl Web {
    fn new(config: Config, bus: Option<Bus>, departure: Departure) -> Result<Self, BoxError> {
        let upload_origin = config.upload_origin();
        let login = LoginSettings::new(&config.oidc, &config.session)?;
        let login = login
            .map(|settings| Login::new(settings, config.auth, bus))
            .transpose()?;
        Ok(Self {
            login: login.map(Arc::new),
            edge: Edge::new(&config.edge_url)?,
            forward: Forward::new(departure),
            intake: Intake::new(),
            policy: pages::content_security_policy(&upload_origin)?,
            edge_url: config.edge_url,
            upload_origin,
            access: config.access,
        })
    }
}

fn router(web: Arc<Web>, port: u16) -> Router {
    let front = Front::new(&web.access, port);
    let pages = Router::new()
        .route("/", get(async || Redirect::to("/orders")))
        .route("/orders", get(pages::list::list))
        .route(
            "/orders/new",
            get(pages::new::form).post(pages::new::create),
        )
        .route("/orders/{orderId}", get(pages::order::show))
        .route("/orders/{orderId}/attachment", get(pages::attachment::lead))
        .route(
            "/orders/{orderId}/cancel",
            post(pages::order::cancel).get(pages::order::after_cancel),
        )
        .fallback(pages::not_found)
        .layer(from_fn_with_state(Arc::clone(&web), session::pages))
        .route("/assets/{name}", get(asset))
        .merge(session::routes(web.login.as_ref()))
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CatchPanicLayer::custom(pages::panicked))
        .layer(csrf(&web.access, |_| pages::cross_site()))
        .layer(from_fn(prefix::apply))
        .layer(from_fn(below))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(Arc::clone(&web), pages::secure));
    let mut edge = Router::new()
        .route("/api", any(forward::api))
        .route("/api/{*rest}", any(forward::api))
        .route("/ws", any(forward::to_edge))
        .route("/ws/", any(forward::to_edge))
        .route("/ws/{*rest}", any(forward::to_edge))
        .layer(from_fn_with_state(Arc::clone(&web), session::api));
    if web.login.is_some() {
        // Here, too, the cookie is what counts.
        edge = edge.layer(csrf(&web.access, |_| forward::cross_site()));
    }
    let public = Router::new()
        .route("/mock-upload/{*key}", put(forward::to_edge))
        .route("/docs", get(forward::api))
        .route("/docs/", get(forward::api))
        .route("/docs/{*rest}", get(forward::api))
        .route("/openapi.json", get(forward::api))
        .layer(from_fn_with_state(Arc::clone(&web), session::public));
    pages
        .merge(edge)
        .merge(public)
        .layer((
            from_fn_with_state(front, Front::receive),
            from_fn(observe),
            from_fn_with_state(Arc::clone(&web), session::introduce),
            from_fn(pages::refuse_misdirected),
            from_fn(discard_unread),
        ))
        .with_state(web)
}

/// Refuses forms that another site's page sends. A proxy may tell a host of its own, so the pages' origins are named too.
fn csrf<R>(access: &Access, refuse: R) -> CsrfLayer<R>
where
    R: Fn(ProtectionError) -> Response + Clone,
{
    let origins = access.cors_origin.iter().map(Origin::as_str);
    let is_web = |origin: &&str| origin.starts_with("http://") || origin.starts_with("https://");
    origins
        .filter(is_web)
        .fold(CsrfLayer::new(), |layer, origin| {
            layer.add_trusted_origin(origin).expect("an origin")
        })
        .with_rejection_response(refuse)
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
