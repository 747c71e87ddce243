use axum::{
    Json,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use orders_contracts::ProblemDetails;
use tracing::warn;

use crate::{CorrelationId, Firsts, Misdirected};

impl Misdirected {
    /// Why such a request is refused, for whoever sent it. The log tells of the first few hosts.
    #[must_use]
    pub fn explain(&self) -> String {
        static TOLD: Firsts = Firsts::new();
        let host = &self.0;
        if TOLD.take(host) {
            warn!(
                "refused a request for {host:?}, which is no name of this machine: if it is, name http://{host} in CORS_ORIGIN"
            );
        }
        format!(
            "This server does not know the name {host}. If it is its own, http://{host} has to be named in CORS_ORIGIN."
        )
    }
}

/// The middleware of an API that asks for no credentials: refuses a request that is [`Misdirected`], which the page of
/// another site may have sent. Where credentials are asked for, such a page has none.
pub async fn refuse_misdirected(request: Request, next: Next) -> Response {
    let Some(misdirected) = request.extensions().get::<Misdirected>() else {
        return next.run(request).await;
    };
    let detail = misdirected.explain();
    let id = request.extensions().get::<CorrelationId>();
    let status = StatusCode::MISDIRECTED_REQUEST;
    let reason = status.canonical_reason().unwrap_or_default();
    let problem = ProblemDetails {
        status_code: status.as_u16(),
        message: vec![detail.clone()],
        error: reason.to_owned(),
        kind: "about:blank".to_owned(),
        title: reason.to_owned(),
        status: status.as_u16(),
        detail,
        instance: id.map(CorrelationId::uri),
        trace_id: id.map(CorrelationId::trace_id),
        errors: Vec::new(),
        violated_policies: Vec::new(),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Json(problem)).into_response()
}
