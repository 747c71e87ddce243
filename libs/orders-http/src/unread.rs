use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// How much of an unread body is drained, and for how long.
const DISCARD_LIMIT: usize = 64 << 20;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

/// Drains the part of a body that handlers leave unread, while the response is sent.
///
/// Otherwise the connection would be reset under a client that sends its whole body before it reads, and the client
/// would never see why it was refused.
pub async fn discard_unread(request: Request, next: Next) -> Response {
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
    use super::*;

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
