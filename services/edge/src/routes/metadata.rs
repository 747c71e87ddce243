//! What clients learn of the API before they have a token.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, Method, Uri},
    routing::get,
};
use serde_json::Value;

use crate::{
    guard::{Guard, WELL_KNOWN},
    problem::{self, Problem},
    state::AppState,
};

/// `GET /.well-known/oauth-protected-resource`, also followed by the path of the API; in mode off there is nothing to learn.
pub(crate) fn router(guard: &Guard) -> Router<Arc<AppState>> {
    if guard.resource().is_none() {
        return Router::new();
    }
    let below = format!("{WELL_KNOWN}/{{*path}}");
    Router::new()
        .route(WELL_KNOWN, get(show))
        .route(&below, get(show))
}

async fn show(
    State(edge): State<Arc<AppState>>,
    path: Option<Path<String>>,
    headers: HeaderMap,
    method: Method,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let path = path.as_ref().map(|Path(path)| path.as_str());
    let resource = edge.guard.resource();
    match resource.and_then(|resource| resource.metadata(&headers, path)) {
        Some(metadata) => Ok(Json(metadata)),
        None => Err(problem::not_found(method, uri).await),
    }
}
