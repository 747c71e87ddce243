//! Uploads: a mock of an object store's presigned URLs, and a sink for them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt;
use orders_contracts::PresignUpload;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use tracing::info;
use uuid::Uuid;

use crate::{Edge, body::JsonBody, problem::Problem, routes::Segment};

const EXPIRES_IN_SECONDS: u32 = 120;

/// What JavaScript's `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Where and how to upload a file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Presigned {
    /// Where to PUT the file.
    url: String,
    /// The key by which an order's attachment refers to the file.
    storage_key: String,
    /// How long the URL is valid.
    expires_in_seconds: u32,
    /// The headers to send with the file.
    headers: BTreeMap<&'static str, String>,
}

/// What became of an uploaded file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Received {
    /// Always true.
    ok: bool,
    /// The key from the path.
    storage_key: String,
    /// How many bytes came.
    size: u64,
}

/// `POST /api/uploads/presign`
pub(crate) async fn presign(
    State(edge): State<Arc<Edge>>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Presigned>), Problem> {
    let upload = PresignUpload::parse(&body)?;
    let unique = &Uuid::new_v4().simple().to_string()[..8];
    let storage_key = format!(
        "tenants/{}/orders/{unique}/{}",
        upload.tenant_id, upload.filename
    );
    let presigned = Presigned {
        url: format!(
            "{}/mock-upload/{}",
            edge.public_url,
            utf8_percent_encode(&storage_key, COMPONENT)
        ),
        storage_key,
        expires_in_seconds: EXPIRES_IN_SECONDS,
        headers: BTreeMap::from([("Content-Type", upload.content_type)]),
    };
    Ok((StatusCode::CREATED, Json(presigned)))
}

/// `PUT /mock-upload/{key}`: counts the bytes and keeps none.
pub(crate) async fn receive(
    Segment(storage_key): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Received>, Problem> {
    let mut size = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("The body ended too early"))?;
        size += chunk.len() as u64;
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    info!(
        upload.key = storage_key,
        upload.content_type = content_type,
        upload.size = size,
        "received {size} bytes and kept none"
    );
    Ok(Json(Received {
        ok: true,
        storage_key,
        size,
    }))
}
