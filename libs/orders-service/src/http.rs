//! The HTTP server of a daemon: health and metrics always, an API once the service has mounted one.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::{Health, shutdown::REQUESTS};

/// How long a client may take to send the head of its next request, or leave an answer unread.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of a request's head, and the size of a connection's buffers.
const MAX_HEAD: usize = 64 << 10;

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

/// `/livez` answers while the process runs; `/readyz` runs the probes too, with `?verbose` for people and
/// `?exclude=NAME`. `/healthz`, the old name, is an alias of `/livez`: whatever watches it may restart the daemon, and
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

/// Serves until `stop`, then finishes the requests in hand within [`REQUESTS`]. Idle connections are closed at once.
pub(crate) async fn serve(mut listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    while let Some((stream, peer)) = stop
        .run_until_cancelled(Listener::accept(&mut listener))
        .await
    {
        connections.spawn(converse(stream, peer, router.clone(), stop.clone()));
    }
    drop(listener);
    connections.close();
    if timeout(REQUESTS, connections.wait()).await.is_err() {
        warn!("requests still open after {REQUESTS:?}, dropping them");
    }
}

/// Serves one connection. `axum::serve` would wait for ever for a client that stops half-way.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // hyper counts a connection without a request yet as busy, so it would hold up the stop.
    let asked = timeout(CLIENT_DEADLINE, stream.readable());
    if !matches!(stop.run_until_cancelled(asked).await, Some(Ok(Ok(())))) {
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        debug!("no TCP_NODELAY: {error}");
    }
    // A write waits only once the kernel's buffer is full, which takes megabytes: the kernel needs a deadline too.
    if let Err(error) = sockopt::set_tcp_user_timeout(&stream, CLIENT_DEADLINE.as_millis() as u32) {
        debug!("no TCP_USER_TIMEOUT: {error}");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(CLIENT_DEADLINE));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!("a connection of {peer} broke: {error}");
    }
}
