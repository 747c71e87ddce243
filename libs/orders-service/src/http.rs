//! The HTTP server of a daemon: health and metrics always, an API once the service has mounted one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{future::IntoFuture as _, io};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::Health;

/// How long requests may take to finish after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The routes of a service, absent until it has started far enough to answer.
pub(crate) type Api = Arc<OnceLock<Router>>;

/// Listens on `port` of every address, IPv6 and IPv4, so that `localhost` works whichever it resolves to.
pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        result => result,
    }
}

/// `/livez` says that the process turns and asks nothing else; `/readyz` asks the probes too, with `?verbose` for people
/// and `?exclude=NAME`. `/healthz`, the old name, is an alias of `/livez`: what watches it may restart the daemon, and
/// a restart does not help when a dependency is away.
pub(crate) fn router(health: Health, metrics: PrometheusHandle, api: Api) -> Router {
    let live = get(|| async { "ok" });
    Router::new()
        .route("/livez", live.clone())
        .route("/healthz", live)
        .route("/readyz", get(ready).with_state(health.clone()))
        .route("/metrics", get(render).with_state(metrics))
        .fallback(call)
        .with_state((health, api))
}

async fn ready(
    State(health): State<Health>,
    Query(query): Query<Vec<(String, String)>>,
) -> (StatusCode, String) {
    let verbose = query.iter().any(|(key, _)| key == "verbose");
    let exclude: Vec<_> = query
        .into_iter()
        .filter(|(key, _)| key == "exclude")
        .map(|(_, name)| name)
        .collect();
    let report = health.report(&exclude).await;
    match report.is_ready() {
        true if !verbose => (StatusCode::OK, "ok".to_owned()),
        true => (StatusCode::OK, report.to_string()),
        false => (StatusCode::SERVICE_UNAVAILABLE, report.to_string()),
    }
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        metrics.render(),
    )
        .into_response()
}

async fn call(State((health, api)): State<(Health, Api)>, request: Request) -> Response {
    match api.get() {
        Some(api) => api.clone().oneshot(request).await.into_response(),
        None if health.is_started() => {
            (StatusCode::NOT_FOUND, "only /livez, /readyz, /metrics\n").into_response()
        }
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
            "starting\n",
        )
            .into_response(),
    }
}

/// Serves until `stop`, then finishes the requests in hand for at most [`DRAIN`]. Idle connections are closed at once.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!("no TCP_NODELAY: {error}");
        }
    });
    let server = axum::serve(
        listener,
        router.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stop.clone().cancelled_owned())
    .into_future();
    let overrun = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = server => {}
        () = overrun => warn!("requests still open after {DRAIN:?}, dropping them"),
    }
}
