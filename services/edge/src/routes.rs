//! The routes of the API.

pub(crate) mod orders;
pub(crate) mod uploads;

use std::sync::Arc;

use axum::{
    http::header,
    routing::{MethodRouter, get, post, put},
};

use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
};

use crate::{openapi, state::AppState};

/// A shorter answer fits into one packet as it is.
const WORTH_COMPRESSING: SizeAbove = SizeAbove::new(1_200);

/// Every route that `openapi.json` describes.
pub(crate) fn table() -> [(&'static str, MethodRouter<Arc<AppState>>); 6] {
    let document = openapi::openapi();
    let document = async || ([(header::CONTENT_TYPE, "application/json")], document);
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(WORTH_COMPRESSING);
    let list = get(orders::list).layer(compression);
    [
        ("/api/orders", list.post(orders::create)),
        ("/api/orders/{orderId}", get(orders::show)),
        ("/api/orders/{orderId}/cancel", post(orders::cancel)),
        ("/api/uploads/presign", post(uploads::presign)),
        ("/mock-upload/{*key}", put(uploads::receive)),
        ("/openapi.json", get(document)),
    ]
}
