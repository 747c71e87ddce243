//! Interactive API docs at `/docs`, from this binary alone.

use axum::{
    Router,
    http::header,
    middleware::map_response,
    response::{Html, Response},
    routing::get,
};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/start.js");

/// Swagger UI styles its elements in place; scripts come from here only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = get(async || Html(PAGE));
    let script = get(async || ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT));
    // The page that the crate makes has its script inline, so it is not used.
    let assets = generate_routes(ApiDefinition {
        uri_prefix: "/docs/assets",
        api_definition: OpenApiSource::Uri("/openapi.json"),
        title: None,
    });
    Router::new()
        .route("/docs", page.clone())
        .route("/docs/", page)
        .route("/docs/start.js", script)
        .merge(assets.with_state(()))
        .layer(map_response(async |response: Response| {
            ([(header::CONTENT_SECURITY_POLICY, POLICY)], response)
        }))
}
