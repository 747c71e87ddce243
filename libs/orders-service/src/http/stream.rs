//! The stream of one client, which ends when the client stops half-way.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Response, StatusCode, header},
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_io_timeout::TimeoutStream;

use super::CLIENT_DEADLINE;

/// What a connection waits for. hyper has one deadline for idling and for reading a head; a client may idle for longer
/// than it may leave a head unfinished, so the stream has both, and its requests say which one counts.
#[derive(Clone)]
pub(super) struct Awaiting(Arc<Mutex<Awaited>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Nothing: a request is in hand, and its handler limits how long its body may take.
    Nothing,
    /// That the client leaves: the answer has no other end. hyper does not look, because a client may close its side and
    /// wait for the answer; for this one that makes no sense.
    Departure,
    /// The next request. The beginning of a head that came in one piece with the request before counts as nothing yet.
    Request,
    /// The rest of a head, until then.
    Head(Instant),
}

impl Awaiting {
    /// A new connection awaits a request.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Awaited::Request)))
    }

    /// The head of a request is complete.
    pub(super) fn begin(&self) {
        self.set(Awaited::Nothing);
    }

    /// The next request is awaited when the response is sent; after that of a WebSocket, none is.
    pub(super) fn until_sent(self, response: Response<Body>) -> Response<Sending> {
        let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let media_type = response.headers().get(header::CONTENT_TYPE);
        if media_type.is_some_and(|media_type| media_type == "text/event-stream") {
            self.set(Awaited::Departure);
        }
        response.map(|body| Sending {
            body,
            awaiting: (!is_upgrade).then_some(self),
        })
    }

    fn get(&self) -> Awaited {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, awaited: Awaited) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = awaited;
    }
}

/// The body of a response.
pub(super) struct Sending {
    body: Body,
    awaiting: Option<Awaiting>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(awaiting) = &self.awaiting {
            awaiting.set(Awaited::Request);
        }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's stream. Reading fails when the client idles for too long, or 10 s after it began a head that is still not
/// complete; writing fails when the client takes nothing for 10 s, or has left while an answer without an end is written.
pub(super) struct ClientStream {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    awaiting: Awaiting,
    idle: Duration,
    /// What the deadline of the stream is for.
    awaited: Awaited,
}

impl ClientStream {
    /// A stream whose client may be silent for `idle` between its requests, and 10 s before the first.
    pub(super) fn new(stream: TcpStream, awaiting: Awaiting, idle: Duration) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(CLIENT_DEADLINE));
        stream.set_read_timeout(Some(CLIENT_DEADLINE));
        Self {
            stream: Box::pin(stream),
            awaiting,
            idle,
            awaited: Awaited::Request,
        }
    }

    fn wait_for(&mut self, awaited: Awaited) {
        let limit = match awaited {
            Awaited::Nothing | Awaited::Departure => None,
            Awaited::Request => Some(self.idle),
            Awaited::Head(end) => Some(end.saturating_duration_since(Instant::now())),
        };
        self.awaited = awaited;
        self.stream.as_mut().set_read_timeout_pinned(limit);
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let awaited = self.awaiting.get();
        if awaited != self.awaited {
            self.wait_for(awaited);
        }
        let before = buffer.filled().len();
        let read = self.stream.as_mut().poll_read(context, buffer);
        if buffer.filled().len() > before {
            match awaited {
                Awaited::Nothing | Awaited::Departure => {}
                Awaited::Request => {
                    let head = Awaited::Head(Instant::now() + CLIENT_DEADLINE);
                    self.awaiting.set(head);
                    self.wait_for(head);
                }
                // Each read begins the countdown anew, but a head has one end.
                Awaited::Head(_) => self.wait_for(awaited),
            }
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.as_mut().poll_flush(context))?;
        if self.awaiting.get() != Awaited::Departure {
            return Poll::Ready(Ok(()));
        }
        let mut byte = [0];
        let peeked = self
            .stream
            .get_ref()
            .poll_peek(context, &mut ReadBuf::new(&mut byte));
        match peeked {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // It stays, and may have sent its next request.
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
