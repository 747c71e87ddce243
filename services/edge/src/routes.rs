//! The routes of the API.

pub(crate) mod orders;
pub(crate) mod uploads;

use std::sync::Arc;

use axum::{
    http::header,
    routing::{MethodRouter, get, post, put},
};

use crate::{openapi, state::AppState};

/// Every route that `openapi.json` describes.
pub(crate) fn table() -> [(&'static str, MethodRouter<Arc<AppState>>); 6] {
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
