mod span;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

pub use self::span::{CollectedSpan, SpanPlace};

/// A collector of traces, which takes OTLP over HTTP.
#[derive(Debug)]
pub struct Collector {
    /// The address at which it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    keeps: bool,
    spans: Vec<CollectedSpan>,
    count: usize,
    headers: HeaderMap,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::new(true).await
    }

    /// Starts one that only counts spans.
    pub async fn counting() -> Self {
        Self::new(false).await
    }

    async fn new(keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let received = Arc::new(Mutex::new(Received {
            keeps,
            ..Received::default()
        }));
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&received));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    /// Its URL, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans that it has, in the order in which they came.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        lock(&self.received).spans.clone()
    }

    /// Those of the trace with this id.
    pub fn trace(&self, trace: &str) -> Vec<CollectedSpan> {
        let mut spans = self.spans();
        spans.retain(|span| span.place.trace == trace);
        spans
    }

    /// How many spans have come.
    pub fn count(&self) -> usize {
        lock(&self.received).count
    }

    /// The value of a header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let received = lock(&self.received);
        let value = received.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }
}

async fn take(
    State(received): State<Arc<Mutex<Received>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut received = lock(&received);
    received.headers = headers;
    for resource in &request.resource_spans {
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            received.count += 1;
            if received.keeps {
                let span = CollectedSpan::new(resource.resource.as_ref(), span);
                received.spans.push(span);
            }
        }
    }
    StatusCode::OK
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
