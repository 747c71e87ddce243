use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use orders_contracts::{OrderId, TenantId, TraceContext, http_header};
use orders_service::{
    metrics::{Gauge, HTTP_ACTIVE_REQUESTS, HTTP_REQUESTS, gauge, histogram},
    trace,
};
use tracing::{
    Instrument, Span, debug, error_span,
    field::{Empty, display},
};

use crate::correlation::{CorrelationId, REQUEST_ID};

const TRACERESPONSE: HeaderName = HeaderName::from_static(http_header::TRACERESPONSE);

/// When a request arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrived(pub Instant);

/// Continues the client's W3C trace or starts one, and records the request: a span, a log line, metrics. The response
/// gets the `x-request-id`, and a `traceresponse` if the trace is sampled.
///
/// Handlers find the [`TraceContext`], the [`CorrelationId`] and when it [`Arrived`] in the request's extensions.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _active = Active::begin();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let method = known(request.method());
    let answering = trace::Span::enter(method, &route, theirs(&request));
    let trace = answering.context();
    let id = CorrelationId::of(request.headers(), trace);
    request.extensions_mut().insert(trace);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(Arrived(started));
    let trace_id = trace.trace_id();
    // Unless the client has its own, one id is both. The path is not logged: it may name a client's file.
    let request_id = Some(id.as_str()).filter(|id| *id != trace_id);
    // As severe as any line in it, so that a filter that lets a line pass does not take away its ids.
    let span = error_span!(
        "request",
        trace.id = trace_id,
        tenant.id = Empty,
        order.id = Empty,
        http.request.id = request_id,
        http.request.method = method,
        http.route = route,
    );

    async {
        let mut response = next.run(request).await;
        response.headers_mut().insert(REQUEST_ID, id.header());
        let (status, elapsed) = (response.status(), started.elapsed());
        if answering.is_recorded() {
            answering.number("http.response.status_code", status.as_u16().into());
            if status.is_server_error() {
                answering.fail(status.canonical_reason().unwrap_or_default());
            }
            let context = HeaderValue::try_from(trace.to_string());
            let context = context.expect("digits fit into a header");
            response.headers_mut().insert(TRACERESPONSE, context);
        }
        debug!(
            http.response.status_code = status.as_u16(),
            "{method} {route} answered {} in {elapsed:.1?}",
            status.as_u16()
        );
        histogram!(
            HTTP_REQUESTS,
            "http_request_method" => method,
            "http_route" => route,
            "http_response_status_code" => status.as_str().to_owned()
        )
        .record(elapsed);
        response
    }
    .instrument(span)
    .await
}

/// Has all further log lines of the request under way name its tenant. Called once in a request.
pub fn name_tenant(tenant: &TenantId) {
    Span::current().record("tenant.id", display(tenant));
}

/// Has all further log lines of the request under way name its order. Called once in a request.
pub fn name_order(order: &OrderId) {
    Span::current().record("order.id", display(order));
}

/// The trace context of whoever sends the request.
fn theirs(request: &Request) -> Option<TraceContext> {
    let theirs = request.headers().get(http_header::TRACEPARENT)?;
    theirs.to_str().ok()?.parse().ok()
}

/// A request that waits for its answer, or is given up.
struct Active(Gauge);

impl Active {
    fn begin() -> Self {
        let active = gauge!(HTTP_ACTIVE_REQUESTS);
        active.increment(1);
        Self(active)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A client may invent methods, which must not become labels of metrics.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
