//! The HTTP server of a daemon: health and metrics always, an API once the service has mounted one.

mod listen;
mod stream;
mod wire;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{any, get},
    serve::Listener,
};
use futures_util::future::join_all;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tracing::{debug, warn};

pub(crate) use self::listen::{listen, passed};
use self::stream::{Awaiting, ClientStream};
use crate::{Departure, Health, Metrics, shutdown::REQUESTS};

/// How long a client may take to begin its first request, to complete the head of any, or leave an answer unread.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take for its first request when the daemon stops.
const LAST_CALL: Duration = Duration::from_millis(500);
/// How long after the start a request waits until the daemon can answer. One that takes over a socket has some at once.
const STARTING: Duration = Duration::from_secs(2);
/// The most bytes of a request's head, which is what Node takes, and the size of a connection's buffers.
const MAX_HEAD: usize = 16 << 10;

/// The routes of a service, absent until it has started far enough to answer.
pub(crate) type Api = Arc<OnceLock<Router>>;

/// `/livez` answers while the process runs. `/healthz`, the old name, is an alias of it: whatever watches it may restart
/// the daemon, and a restart does not help when a dependency is away.
pub(crate) fn liveness() -> Router {
    let live = get(|| async { "ok" });
    Router::new()
        .route("/livez", live.clone())
        .route("/healthz", live)
}

/// `/readyz` runs the probes too, with `?verbose` for people and, as often as wanted, `?exclude=NAME`; `/metrics` is for
/// Prometheus.
pub(crate) fn probes(health: Health, metrics: Metrics) -> Router {
    liveness()
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(render).with_state(metrics))
}

/// `own`, and the API once it is there.
pub(crate) fn router(own: Router, health: Health, api: Api) -> Router {
    let early = Instant::now() + STARTING;
    own.fallback_service(any(call).with_state((health, api, early)))
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

async fn call(
    State((health, api, early)): State<(Health, Api, Instant)>,
    request: Request,
) -> Response {
    if !health.is_started() {
        let _ = timeout_at(early, health.started()).await;
    }
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
/// otherwise after `idle`. Once the `departure` has begun, each connection closes after its next answer.
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    idle: Duration,
    departure: Departure,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let accepting = listeners.into_iter().map(|listener| {
        let (stopped, stop) = (stop.clone(), stop.clone());
        let service = Service {
            router: router.clone(),
            departure: departure.clone(),
        };
        let converse =
            move |stream, peer| converse(stream, peer, service.clone(), idle, stop.clone());
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
    service: Service,
    idle: Duration,
    stop: CancellationToken,
) {
    // Whoever has just connected has the time to ask, even when the stop comes.
    let mut first = [0];
    let late = async {
        stop.cancelled().await;
        sleep(LAST_CALL).await;
    };
    tokio::select! {
        biased;
        // `readable` would sometimes say so before there is anything to read.
        asked = timeout(CLIENT_DEADLINE, stream.peek(&mut first)) => match asked {
            Ok(Ok(1)) => {}
            _ => return,
        },
        () = late => {
            debug!("{peer} connected and did not ask");
            return;
        }
    }
    set_options(&stream);
    let awaiting = Awaiting::new();
    let stream = ClientStream::new(stream, awaiting.clone(), idle);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        awaiting.begin();
        let (awaiting, service) = (awaiting.clone(), service.clone());
        async move {
            let response = service.answer(peer, request.map(Body::new)).await;
            Ok::<_, Infallible>(awaiting.until_sent(response))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        // Some clients close their side once they have asked, and wait for the answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        // First, because at the stop hyper closes a connection of which it has read nothing.
        biased;
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

/// What answers the requests.
#[derive(Clone)]
struct Service {
    router: Router,
    departure: Departure,
}

impl Service {
    async fn answer(self, peer: SocketAddr, mut request: Request) -> Response {
        if let Some(fault) = wire::wrong_host(&request) {
            return (StatusCode::BAD_REQUEST, fault).into_response();
        }
        wire::drop_slashes(request.uri_mut());
        request.extensions_mut().insert(ConnectInfo(peer));
        let Ok(mut response) = self.router.oneshot(request).await;
        if self.departure.has_begun() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The client comes back to another daemon, rather than when this one is about to close the connection.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}
