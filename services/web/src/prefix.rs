//! Pages below a path that a proxy takes away.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use orders_http::prefix;

/// The attributes whose values are references. No text of a user has a quotation mark, so none begins like these.
const REFERENCES: [&str; 4] = [" href=\"/", " src=\"/", " action=\"/", " data-url=\"/"];

/// Moves the references of a page below the prefix.
pub(crate) async fn apply(request: Request, next: Next) -> Response {
    let prefix = prefix(request.headers()).to_owned();
    let response = next.run(request).await;
    let content = response.headers().get(header::CONTENT_TYPE);
    let is_page = content.is_some_and(|content| content.as_bytes().starts_with(b"text/html"));
    if prefix.is_empty() || !is_page {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(page) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let page = String::from_utf8_lossy(&page).into_owned();
    let page = REFERENCES.iter().fold(page, |page, reference| {
        let moved = format!("{}{prefix}/", reference.trim_end_matches('/'));
        page.replace(reference, &moved)
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(page))
}
