//! Request bodies: JSON within a limit, and the draining of unread bodies.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

use crate::problem::Problem;

/// NATS takes messages of up to 1 MiB, headers included.
const JSON_LIMIT: usize = 512 * 1024;
/// How long a client may take to send a JSON body.
const JSON_DEADLINE: Duration = Duration::from_secs(10);
/// How much of an unread body is drained, and for how long.
const DISCARD_LIMIT: usize = 64 << 20;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

/// A body that is labelled as JSON.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "The content type must be application/json, in UTF-8 and not compressed";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let too_large = || {
            let detail = "The body must not exceed 512 KiB";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let body = request.into_body();
        if body.size_hint().lower() > JSON_LIMIT as u64 {
            return Err(too_large());
        }
        match timeout(JSON_DEADLINE, Limited::new(body, JSON_LIMIT).collect()).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::bad_request("The body ended too early")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "The body took longer than 10 s to arrive",
            )),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(content_type) = text(header::CONTENT_TYPE) else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset")
                || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    let is_plain =
        text(header::CONTENT_ENCODING).is_none_or(|name| name.eq_ignore_ascii_case("identity"));
    is_json && is_utf8 && is_plain
}

/// Drains the part of a body that handlers leave unread, while the response is sent.
///
/// Otherwise the connection would be reset under a client that sends its whole body before it reads, and the client
/// would never see why it was refused.
pub(crate) async fn discard_unread(request: Request, next: Next) -> Response {
    let waits_for_go = request.headers().contains_key(header::EXPECT);
    if waits_for_go || request.body().is_end_stream() {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Discarding(Some(body)))))
        .await
}

/// A body that is drained when it is dropped before its end.
struct Discarding(Option<Body>);

impl HttpBody for Discarding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Discarding {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(DISCARD_DEADLINE, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len);
        if received > DISCARD_LIMIT {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::HeaderValue, response::IntoResponse};

    use super::*;

    #[test]
    fn only_plain_json_in_utf_8_is_read() {
        let is_json = |content_type: &'static str| {
            let value = HeaderValue::from_static(content_type);
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/jsonp",
            "application/json; charset=latin1",
            "",
            "application/problem+json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
        assert!(!super::is_json(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_says_how_long_it_is() {
        let read = async |body: Body| {
            let request = Request::builder()
                .header("content-type", "application/json")
                .body(body)
                .unwrap();
            JsonBody::from_request(request, &())
                .await
                .map(|JsonBody(bytes)| bytes.len())
                .map_err(|problem| problem.into_response().status())
        };
        let chunked = |chunks: usize| {
            let chunks = std::iter::repeat_n(
                Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 64 * 1024])),
                chunks,
            );
            Body::from_stream(futures_util::stream::iter(chunks))
        };
        assert_eq!(read(chunked(8)).await, Ok(JSON_LIMIT));
        assert_eq!(read(chunked(9)).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(
            read(Body::from(vec![b' '; JSON_LIMIT + 1])).await,
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let silent =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let request = Request::builder()
            .header("content-type", "application/json")
            .body(silent)
            .unwrap();
        let problem = JsonBody::from_request(request, &()).await.err().unwrap();
        assert_eq!(
            problem.into_response().status(),
            StatusCode::REQUEST_TIMEOUT
        );
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_is_received_all_the_same() {
        let (chunks, body) = tokio::sync::mpsc::channel(1);
        let stream = futures_util::stream::unfold(body, async |mut body| {
            body.recv().await.map(|chunk| (chunk, body))
        });
        let body = Body::from_stream(stream);
        drop(Discarding(Some(body)));
        for _ in 0..10 {
            chunks
                .send(Ok::<_, axum::Error>(Bytes::from_static(b"x")))
                .await
                .unwrap();
        }
    }
}
