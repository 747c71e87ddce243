//! Uploads: a mock of an object store's presigned URLs, and a sink for them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt;
use orders_contracts::{PresignUpload, PresignedUpload, ReceivedUpload};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::info;
use uuid::Uuid;

use crate::{body::JsonBody, problem::Problem, segment::Segment, state::AppState};

const EXPIRES_IN_SECONDS: u32 = 120;

/// The characters that JavaScript's `encodeURIComponent` encodes.
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

/// `POST /api/uploads/presign`
pub(crate) async fn presign(
    State(edge): State<Arc<AppState>>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<PresignedUpload>), Problem> {
    let upload = PresignUpload::parse(&body)?;
    let unique = &Uuid::new_v4().simple().to_string()[..8];
    let storage_key = format!(
        "tenants/{}/orders/{unique}/{}",
        upload.tenant_id, upload.filename
    );
    let presigned = PresignedUpload {
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

/// `PUT /mock-upload/{key}`: counts the bytes and discards them.
pub(crate) async fn receive(
    Segment(storage_key): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReceivedUpload>, Problem> {
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
        "received and discarded {size} bytes"
    );
    Ok(Json(ReceivedUpload {
        ok: true,
        storage_key,
        size,
    }))
}
