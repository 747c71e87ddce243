//! Interactive API docs at `/docs`, from this binary alone.

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::{Html, Response},
    routing::get,
};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use crate::guard::Resource;

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = concat!(include_str!("docs/dark.js"), include_str!("docs/start.js"));
/// With a login, whose window comes back to this origin.
const SCRIPT_WITH_LOGIN: &str = concat!(
    include_str!("docs/dark.js"),
    include_str!("docs/start-with-login.js")
);

/// Swagger UI styles its elements in place; scripts come from here only. Requests go here and to the provider, which
/// exchanges the code of a login for a token.
fn policy(provider: Option<&str>) -> HeaderValue {
    let provider = provider.map_or_else(String::new, |origin| format!(" {origin}"));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self'{provider}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin fits into a header")
}

/// With a resource, whose users have to log in.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(resource: Option<&Resource>) -> Router<S> {
    let policy = policy(resource.map(Resource::provider));
    let script = resource.map_or(SCRIPT, |_| SCRIPT_WITH_LOGIN);
    let page = get(async || Html(PAGE));
    let script = get(async move || ([(header::CONTENT_TYPE, "text/javascript")], script));
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
        .layer(map_response(move |response: Response| {
            let policy = [(header::CONTENT_SECURITY_POLICY, policy.clone())];
            async move { (policy, response) }
        }))
}
