//! The routes of the API.

pub(crate) mod orders;
pub(crate) mod uploads;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::{header, request::Parts},
    routing::{MethodRouter, get, post, put},
};

use crate::{Edge, openapi, problem::Problem};

/// Every route that `openapi.json` describes.
pub(crate) fn table() -> [(&'static str, MethodRouter<Arc<Edge>>); 6] {
    let document = openapi::openapi();
    let document = async || ([(header::CONTENT_TYPE, "application/json")], document);
    [
        ("/api/orders", get(orders::list).post(orders::create)),
        ("/api/orders/{orderId}", get(orders::show)),
        ("/api/orders/{orderId}/cancel", post(orders::cancel)),
        ("/api/uploads/presign", post(uploads::presign)),
        ("/mock-upload/{key}", put(uploads::receive)),
        ("/openapi.json", get(document)),
    ]
}

/// The one variable segment of a path. Routes match the path as it was sent, so `%2F` does not end a segment; it is
/// decoded once.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(Problem::bad_request(
                "The path must be percent-encoded UTF-8",
            )),
        }
    }
}
