//! Forwards `/api`, its documentation, uploads and `/ws` to the edge.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use orders_contracts::{ProblemDetails, query::ExportFormat};
use orders_http::{CorrelationId, Unanswered};
use tokio::time::timeout;

use crate::{Web, pages::parameter};

/// The edge gives a body 10 s to arrive, and answers within about 6 s whatever is away behind it.
const EDGE_DEADLINE: Duration = Duration::from_secs(20);

/// Forwards a call of the API. A stream of events has the deadline for its beginning only.
pub(crate) async fn api(
    web: State<Arc<Web>>,
    id: Extension<CorrelationId>,
    request: Request,
) -> Response {
    if looks_whole(&request) {
        let detail = "CSV takes HTTP/1.1, which tells the end of a file from a broken connection; or ask for format=ndjson";
        return problem(&id, StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail);
    }
    let answer = timeout(EDGE_DEADLINE, to_edge(web, id.clone(), request)).await;
    let late = |_| problem(&id, StatusCode::GATEWAY_TIMEOUT, "The API does not answer");
    answer.unwrap_or_else(late)
}

/// Whether half of the answer would pass for a whole file. The edge refuses such a request, but does not see by which
/// version of HTTP it came.
fn looks_whole(request: &Request) -> bool {
    let format = parameter(request.uri().query(), "format");
    // The edge takes more slashes than there have to be.
    let segments = request.uri().path().split('/').filter(|it| !it.is_empty());
    request.version() < Version::HTTP_11
        && segments.eq(["api", "orders", "export"])
        && format.is_none_or(|format| format != ExportFormat::Ndjson.as_str())
}

/// Forwards a request without a deadline: a poll of Socket.IO lasts for as long as nothing happens, and the edge cuts off
/// uploads itself.
pub(crate) async fn to_edge(
    State(web): State<Arc<Web>>,
    Extension(id): Extension<CorrelationId>,
    request: Request,
) -> Response {
    let answer = web.forward.send(&web.edge_url, request).await;
    answer.unwrap_or_else(|unanswered| {
        let (status, detail) = match unanswered {
            Unanswered::Path => (StatusCode::BAD_REQUEST, "The path is not valid"),
            Unanswered::Body => (StatusCode::BAD_REQUEST, "The body ended too early"),
            Unanswered::Silence => (StatusCode::BAD_GATEWAY, "The API does not answer"),
            Unanswered::Shutdown => {
                let detail = "Shutting down, connect again";
                (StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        };
        problem(&id, status, detail)
    })
}

/// The answer to a call that another site's page sends.
pub(crate) fn cross_site() -> Response {
    let detail = "Another site sent this request. (If it was this one, its origin has to be named in CORS_ORIGIN.)";
    answer(StatusCode::FORBIDDEN, detail, None)
}

/// An error in the shape that the edge gives its own.
pub(crate) fn problem(id: &CorrelationId, status: StatusCode, detail: &str) -> Response {
    answer(status, detail, Some(id))
}

fn answer(status: StatusCode, detail: &str, id: Option<&CorrelationId>) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let problem = ProblemDetails {
        status_code: status.as_u16(),
        message: vec![detail.to_owned()],
        error: reason.to_owned(),
        kind: "about:blank".to_owned(),
        title: reason.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        instance: id.map(CorrelationId::uri),
        trace_id: id.map(CorrelationId::trace_id),
        errors: Vec::new(),
        violated_policies: Vec::new(),
    };
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Json(problem)).into_response()
}
