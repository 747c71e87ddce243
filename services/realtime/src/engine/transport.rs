use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::dialect;

/// How long the peer may take nothing of what is written to it.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A connection that closes when its token is cancelled, or when the peer takes nothing for [`WRITE_DEADLINE`]; the
/// token is cancelled when the connection is gone. A client that speaks msgpack is told so, and the connection closes.
///
/// socketioxide waits for ever for a peer that has stopped reading, even after the session was closed. On a closed
/// transport the session reads the end of the stream, it can still write as much as does not have to wait, and a write
/// that would wait fails.
pub(super) struct Transport<T> {
    io: T,
    closing: CancellationToken,
    /// Reader and writer are two tasks: each is woken by a future of its own.
    reads_end: Pin<Box<WaitForCancellationFutureOwned>>,
    writes_end: Pin<Box<WaitForCancellationFutureOwned>>,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether the peer has sent nothing yet.
    is_silent: bool,
    _gone: DropGuard,
}

impl<T> Transport<T> {
    pub(super) fn new(io: T, closing: CancellationToken) -> Self {
        Self {
            io,
            reads_end: Box::pin(closing.clone().cancelled_owned()),
            writes_end: Box::pin(closing.clone().cancelled_owned()),
            stalled: None,
            is_silent: true,
            _gone: closing.clone().drop_guard(),
            closing,
        }
    }

    /// Fails a write that waits for too long, or at all once the transport is closed.
    fn bounded<R>(
        &mut self,
        write: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        if self.writes_end.as_mut().poll(cx).is_pending() {
            let stalled = self
                .stalled
                .get_or_insert_with(|| Box::pin(sleep(WRITE_DEADLINE)));
            ready!(stalled.as_mut().poll(cx));
            self.closing.cancel();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let first = buffer.filled().get(before).copied();
        if let Some(first) = first.filter(|_| std::mem::take(&mut self.is_silent))
            && dialect::is_msgpack_frame(first)
        {
            // So far the peer was sent one frame, and has taken it, so there is room for another.
            let _ = Pin::new(&mut self.io).poll_write(cx, &dialect::not_msgpack_frame());
            let _ = Pin::new(&mut self.io).poll_flush(cx);
            self.closing.cancel();
            buffer.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.bounded(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex, split},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_closes_the_transport() {
        let (near, _far) = duplex(4);
        let closing = CancellationToken::new();
        let (mut reader, mut writer) = split(Transport::new(near, closing.clone()));
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let began = Instant::now();
        assert_eq!(
            writer.write_all(b"12345").await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(began.elapsed(), WRITE_DEADLINE);
        assert!(closing.is_cancelled());
        assert_eq!(
            reading.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_does_not() {
        let (near, mut far) = duplex(1);
        let closing = CancellationToken::new();
        let mut transport = Transport::new(near, closing.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WRITE_DEADLINE * 9 / 10).await;
                far.read_u8().await.unwrap();
            }
        });
        transport.write_all(b"12345").await.unwrap();
        assert!(!closing.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_token_closes_the_transport_once_what_can_be_written_is() {
        let (near, mut far) = duplex(4);
        let closing = CancellationToken::new();
        let mut transport = Transport::new(near, closing.clone());
        closing.cancel();
        let began = Instant::now();
        assert_eq!(transport.read(&mut [0]).await.unwrap(), 0);
        transport.write_all(b"1234").await.unwrap();
        assert!(transport.write_all(b"5").await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut received = [0; 4];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"1234");
    }

    #[tokio::test]
    async fn the_token_is_cancelled_when_the_transport_is_gone() {
        let closing = CancellationToken::new();
        drop(Transport::new(duplex(1).0, closing.clone()));
        assert!(closing.is_cancelled());
    }
}
