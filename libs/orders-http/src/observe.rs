use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use metrics::{counter, histogram};
use orders_contracts::{TraceContext, header};
use tracing::{Instrument, debug, info_span};

use crate::correlation::{CorrelationId, REQUEST_ID};

/// Continues the client's W3C trace or starts one, and records the request: a span, a log line, metrics. The response
/// gets the `x-request-id`.
///
/// Handlers find the [`TraceContext`] and the [`CorrelationId`] in the request's extensions.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let trace = trace(&request);
    let id = CorrelationId::of(request.headers(), trace);
    request.extensions_mut().insert(trace);
    request.extensions_mut().insert(id.clone());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let method = known(request.method());
    let trace_id = trace.trace_id();
    // Unless the client has its own, one id is both. The path is not logged: it may name a client's file.
    let request_id = Some(id.as_str()).filter(|id| *id != trace_id);
    let span = info_span!("request", trace_id, request_id, method, route);

    async {
        let mut response = next.run(request).await;
        response.headers_mut().insert(REQUEST_ID, id.header());
        let (status, elapsed) = (response.status(), started.elapsed());
        debug!(
            http.status = status.as_u16(),
            "{method} {route} answered {} in {elapsed:.1?}",
            status.as_u16()
        );
        counter!(
            "orders_http_requests_total",
            "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned()
        )
        .increment(1);
        histogram!("orders_http_request_duration_seconds", "route" => route, "method" => method)
            .record(elapsed);
        response
    }
    .instrument(span)
    .await
}

fn trace(request: &Request) -> TraceContext {
    let theirs = request
        .headers()
        .get(header::TRACEPARENT)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    theirs.map_or_else(TraceContext::root, TraceContext::child)
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
        _ => "OTHER",
    }
}
