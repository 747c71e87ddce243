//! Forwards `/api` and `/ws` to the edge, as the seed's front end does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use orders_contracts::ProblemDetails;
use orders_http::Unanswered;
use tokio::time::timeout;

use crate::Web;

/// The edge gives a body 10 s to arrive, and answers within about 6 s whatever is away behind it.
const EDGE_DEADLINE: Duration = Duration::from_secs(20);

/// Forwards a call of the API.
pub(crate) async fn api(
    web: State<Arc<Web>>,
    peer: ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let answer = timeout(EDGE_DEADLINE, to_edge(web, peer, request)).await;
    answer.unwrap_or_else(|_| problem(StatusCode::GATEWAY_TIMEOUT, "The API does not answer"))
}

/// Forwards a request without a deadline: a poll of Socket.IO lasts for as long as nothing happens.
pub(crate) async fn to_edge(
    State(web): State<Arc<Web>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let answer = web.forward.send(&web.edge_url, peer.ip(), request).await;
    answer.unwrap_or_else(|unanswered| match unanswered {
        Unanswered::Path => problem(StatusCode::BAD_REQUEST, "The path is not valid"),
        Unanswered::Silence => problem(StatusCode::BAD_GATEWAY, "The API does not answer"),
        Unanswered::Shutdown => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "Shutting down, connect again",
        ),
    })
}

/// An error in the shape that the edge gives its own.
fn problem(status: StatusCode, detail: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let problem = ProblemDetails {
        status_code: status.as_u16(),
        message: vec![detail.to_owned()],
        error: reason.to_owned(),
        kind: "about:blank".to_owned(),
        title: reason.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        errors: Vec::new(),
    };
    (status, Json(problem)).into_response()
}
