//! The HTTP server of a daemon: health and metrics always, an API once the service has mounted one.

mod stream;
mod wire;

use std::{
    convert::Infallible,
    io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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
    routing::{any, get},
    serve::Listener,
};
use futures_util::future::join_all;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use self::stream::{Awaiting, ClientStream};
use crate::{Health, Metrics, shutdown::REQUESTS};

/// How long a client may take to begin its first request, to complete the head of any, or leave an answer unread.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of a request's head, which is what Node takes, and the size of a connection's buffers.
const MAX_HEAD: usize = 16 << 10;

/// The routes of a service, absent until it has started far enough to answer.
pub(crate) type Api = Arc<OnceLock<Router>>;

/// Listens on `port` of `host`. If that is `0.0.0.0`, every IPv6 address counts too, and with `127.0.0.1` `::1`, so that
/// `localhost` works whichever it resolves to. A machine without IPv6 has the IPv4 addresses alone.
pub(crate) async fn bind(host: IpAddr, port: u16) -> io::Result<Vec<TcpListener>> {
    if host == Ipv4Addr::UNSPECIFIED
        && let Some(all) = bind_v6(Ipv6Addr::UNSPECIFIED, port).await?
    {
        return Ok(vec![all]);
    }
    let first = TcpListener::bind((host, port)).await?;
    let second = match host == Ipv4Addr::LOCALHOST {
        true => bind_v6(Ipv6Addr::LOCALHOST, first.local_addr()?.port()).await?,
        false => None,
    };
    Ok(iter::once(first).chain(second).collect())
}

/// Listens on an IPv6 address, if this machine has IPv6.
async fn bind_v6(address: Ipv6Addr, port: u16) -> io::Result<Option<TcpListener>> {
    match TcpListener::bind((address, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Ok(None),
        result => result.map(Some),
    }
}

/// `/livez` answers while the process runs. `/healthz`, the old name, is an alias of it: whatever watches it may restart
/// the daemon, and a restart does not help when a dependency is away.
pub(crate) fn liveness() -> Router {
    let live = get(|| async { "ok" });
    Router::new()
        .route("/livez", live.clone())
        .route("/healthz", live)
}

/// `/readyz` runs the probes too, with `?verbose` for people and `?exclude=NAME`; `/metrics` is for Prometheus.
pub(crate) fn probes(health: Health, metrics: Metrics) -> Router {
    liveness()
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(render).with_state(metrics))
}

/// `own`, and the API once it is there.
pub(crate) fn router(own: Router, health: Health, api: Api) -> Router {
    own.fallback_service(any(call).with_state((health, api)))
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

async fn render(State(metrics): State<Metrics>) -> Response {
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

/// Serves until `stop`, then finishes the requests in hand within [`REQUESTS`]. Idle connections are closed at once, and
/// otherwise after `idle`.
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    idle: Duration,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let accepting = listeners.into_iter().map(|listener| {
        let (stopped, stop, router) = (stop.clone(), stop.clone(), router.clone());
        let converse =
            move |stream, peer| converse(stream, peer, router.clone(), idle, stop.clone());
        accept(listener, connections.clone(), stopped, converse)
    });
    join_all(accepting).await;
    connections.close();
    if timeout(REQUESTS, connections.wait()).await.is_err() {
        warn!("requests still open after {REQUESTS:?}, dropping them");
    }
}

/// Spawns a conversation for each connection, until `stop`.
async fn accept<F>(
    mut listener: TcpListener,
    connections: TaskTracker,
    stop: CancellationToken,
    converse: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some((stream, peer)) = stop
        .run_until_cancelled(Listener::accept(&mut listener))
        .await
    {
        connections.spawn(converse(stream, peer));
    }
}

/// Serves one connection. `axum::serve` would wait for ever for a client that stops half-way.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    idle: Duration,
    stop: CancellationToken,
) {
    // hyper counts a connection without a request yet as busy, so it would hold up the stop.
    let asked = timeout(CLIENT_DEADLINE, stream.readable());
    if !matches!(stop.run_until_cancelled(asked).await, Some(Ok(Ok(())))) {
        return;
    }
    set_options(&stream);
    let awaiting = Awaiting::new();
    let stream = ClientStream::new(stream, awaiting.clone(), idle);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        awaiting.begin();
        let (awaiting, router) = (awaiting.clone(), router.clone());
        async move {
            let response = answer(router, peer, request.map(Body::new)).await;
            Ok::<_, Infallible>(awaiting.until_sent(response))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        // Some clients close their side once they have asked, and wait for the answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
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

fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("no TCP_NODELAY: {error}");
    }
    // A write waits only once the kernel's buffer is full, which takes megabytes: the kernel needs a deadline too.
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::net::sockopt::set_tcp_user_timeout(stream, CLIENT_DEADLINE.as_millis() as u32)
    {
        debug!("no TCP_USER_TIMEOUT: {error}");
    }
}

async fn answer(router: Router, peer: SocketAddr, mut request: Request) -> Response {
    if let Some(fault) = wire::wrong_host(&request) {
        return (StatusCode::BAD_REQUEST, fault).into_response();
    }
    wire::drop_slashes(request.uri_mut());
    request.extensions_mut().insert(ConnectInfo(peer));
    let Ok(response) = router.oneshot(request).await;
    response
}
