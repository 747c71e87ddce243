use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use orders_contracts::TraceContext;
use orders_http::{Firsts, Origins};
use serde_json::json;
use tracing::warn;

use crate::door::trace_of;

/// Keeps out the pages of other origins. CORS alone does not, because it does not apply to WebSockets.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    origins: Origins,
    /// The refused origins that the log has told of.
    told: Arc<Firsts>,
}

impl Guard {
    pub(crate) fn new(origins: Origins) -> Self {
        Self {
            origins,
            told: Arc::default(),
        }
    }

    /// Answers a request from the page of another origin as an Engine.IO server does.
    pub(crate) async fn check(State(guard): State<Self>, request: Request, next: Next) -> Response {
        if guard.origins.admit(request.headers()) {
            return next.run(request).await;
        }
        let reason = guard.reason(request.headers());
        let body = json!({ "code": 4, "message": reason });
        (StatusCode::FORBIDDEN, Json(body)).into_response()
    }

    fn reason(&self, headers: &HeaderMap) -> String {
        let shown = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = shown(header::ORIGIN).unwrap_or("?");
        let host = shown(header::HOST).unwrap_or("another host");
        let reason = format!(
            "pages of {origin} may not connect to {host}: CORS_ORIGIN does not name their origin"
        );
        if self.told.take(origin) {
            let trace = trace_of(headers).map(TraceContext::trace_id);
            warn!(trace.id = trace, "{reason}");
        }
        reason
    }
}
