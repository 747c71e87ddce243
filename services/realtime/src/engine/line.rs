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

/// How long the peer may take none of what is written to it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that ends when its link is cancelled, or when the peer takes nothing for [`PATIENCE`]; the link is
/// cancelled when the connection is gone.
///
/// The library waits for ever for a peer that has stopped reading, even after the session was closed. On a line the
/// session reads the end of the stream, what it still has to write may pass, and a write that would wait fails.
pub(super) struct Line<T> {
    io: T,
    link: CancellationToken,
    /// Reader and writer are two tasks: each is woken by a future of its own.
    reads_end: Pin<Box<WaitForCancellationFutureOwned>>,
    writes_end: Pin<Box<WaitForCancellationFutureOwned>>,
    stalled: Option<Pin<Box<Sleep>>>,
    _gone: DropGuard,
}

impl<T> Line<T> {
    pub(super) fn new(io: T, link: CancellationToken) -> Self {
        Self {
            io,
            reads_end: Box::pin(link.clone().cancelled_owned()),
            writes_end: Box::pin(link.clone().cancelled_owned()),
            stalled: None,
            _gone: link.clone().drop_guard(),
            link,
        }
    }

    /// What came of a write; one that waits may do so only for a while.
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
                .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            ready!(stalled.as_mut().poll(cx));
            self.link.cancel();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Line<T> {
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
    async fn a_peer_that_takes_nothing_ends_the_line() {
        let (near, _far) = duplex(4);
        let link = CancellationToken::new();
        let (mut reader, mut writer) = split(Line::new(near, link.clone()));
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let began = Instant::now();
        assert_eq!(
            writer.write_all(b"12345").await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(link.is_cancelled());
        assert_eq!(
            reading.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_does_not() {
        let (near, mut far) = duplex(1);
        let link = CancellationToken::new();
        let mut line = Line::new(near, link.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PATIENCE * 9 / 10).await;
                far.read_u8().await.unwrap();
            }
        });
        line.write_all(b"12345").await.unwrap();
        assert!(!link.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_link_cuts_the_line_once_what_can_be_written_is() {
        let (near, mut far) = duplex(4);
        let link = CancellationToken::new();
        let mut line = Line::new(near, link.clone());
        link.cancel();
        let began = Instant::now();
        assert_eq!(line.read(&mut [0]).await.unwrap(), 0);
        line.write_all(b"1234").await.unwrap();
        assert!(line.write_all(b"5").await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut received = [0; 4];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"1234");
    }

    #[tokio::test]
    async fn the_link_tells_when_the_line_is_gone() {
        let link = CancellationToken::new();
        drop(Line::new(duplex(1).0, link.clone()));
        assert!(link.is_cancelled());
    }
}
