//! Uploads: presigned URLs of a bucket, or a mock of them, and a sink for the mock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use futures_util::StreamExt;
use orders_contracts::{PresignUpload, PresignedUpload, ReceivedUpload};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};
use tracing::info;
use uuid::Uuid;

use crate::{
    body::JsonBody,
    guard::Caller,
    limits::Cost,
    problem::{self, Problem},
    segment::Segment,
    state::AppState,
};

/// How long the mock says that its URLs are valid; they always are.
const EXPIRES_IN_SECONDS: u32 = 120;
/// How many uploads there may be at once.
pub(crate) const AT_ONCE: usize = 256;
/// How long a client may send nothing.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// How long an upload may take to get going, and how fast it must be from then on.
const START: Duration = Duration::from_secs(30);
const MIN_BYTES_PER_SECOND: u64 = 1024;

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
    caller: Caller,
    headers: HeaderMap,
    cost: Cost,
    body: JsonBody,
) -> Result<(StatusCode, Json<PresignedUpload>), Problem> {
    let upload = body.parse(|bytes| PresignUpload::parse(bytes, caller.only_tenant()))?;
    caller.act_for(&upload.tenant_id)?;
    cost.charge(&edge, &upload.tenant_id).await?;
    if let Some(attachments) = &edge.attachments {
        let presigned = attachments.presign(&upload)?;
        return Ok((StatusCode::CREATED, Json(presigned)));
    }
    let unique = &Uuid::new_v4().simple().to_string()[..8];
    let storage_key = format!(
        "tenants/{}/orders/{unique}/{}",
        upload.tenant_id, upload.filename
    );
    let presigned = PresignedUpload {
        url: format!(
            "{}/mock-upload/{}",
            edge.place.url(&headers),
            utf8_percent_encode(&storage_key, COMPONENT)
        ),
        storage_key,
        expires_in_seconds: EXPIRES_IN_SECONDS,
        headers: BTreeMap::from([("Content-Type", upload.content_type)]),
    };
    Ok((StatusCode::CREATED, Json(presigned)))
}

/// `PUT /mock-upload/{key}`: counts the bytes and discards them. Where there is a bucket there is no mock.
pub(crate) async fn receive(
    State(edge): State<Arc<AppState>>,
    Segment(storage_key): Segment,
    headers: HeaderMap,
    method: Method,
    uri: Uri,
    body: Body,
) -> Result<Json<ReceivedUpload>, Problem> {
    if edge.attachments.is_some() {
        return Err(problem::not_found(method, uri).await);
    }
    let Ok(_permit) = edge.uploads.try_acquire() else {
        return Err(Problem::overloaded("Too many uploads at once, try again"));
    };
    let mut chunks = body.into_data_stream();
    let (began, mut size) = (Instant::now(), 0);
    loop {
        let Ok(chunk) = timeout_at(next_chunk(began, size), chunks.next()).await else {
            let detail = "The file arrived too slowly: nothing for 10 s, or less than 1 KiB/s";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
        };
        match chunk {
            Some(Ok(chunk)) => size += chunk.len() as u64,
            Some(Err(_)) => return Err(Problem::bad_request("The body ended too early")),
            None => break,
        }
    }
    // What else the client says of the file stays out of the log.
    let content_type = essence(&headers);
    info!(size, content_type, "received an upload");
    Ok(Json(ReceivedUpload {
        ok: true,
        storage_key,
        size,
    }))
}

/// The media type of a body, without parameters, which may say anything; nothing if it is none or is long.
fn essence(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next()?.trim();
    let (kind, subtype) = essence.split_once('/')?;
    let is_name = |part: &str| {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
        (1..=127).contains(&part.len()) && part.bytes().all(is_allowed)
    };
    (is_name(kind) && is_name(subtype)).then_some(essence)
}

/// When the next chunk is late: 10 s from now, or earlier if the whole upload falls behind 1 KiB/s after its first 30 s.
fn next_chunk(began: Instant, size: u64) -> Instant {
    let pace = began + START + Duration::from_secs(size / MIN_BYTES_PER_SECOND);
    pace.min(Instant::now() + CHUNK_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_content_type_only_the_media_type_is_told() {
        for (sent, told) in [
            ("application/pdf", Some("application/pdf")),
            ("text/plain; name=alice@example.com", Some("text/plain")),
            ("alice@example.com", None),
            ("text/alice@example.com", None),
            ("text/", None),
            (&format!("text/{}", "x".repeat(128)), None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, sent.parse().unwrap())]);
            assert_eq!(essence(&headers), told, "{sent}");
        }
        assert_eq!(essence(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_be_slow_but_not_stop_and_not_drip() {
        let began = Instant::now();
        assert_eq!(next_chunk(began, 0), began + CHUNK_DEADLINE);
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(next_chunk(began, 25), began + START);
        let steady = 25 * MIN_BYTES_PER_SECOND;
        assert_eq!(next_chunk(began, steady), Instant::now() + CHUNK_DEADLINE);
    }
}
