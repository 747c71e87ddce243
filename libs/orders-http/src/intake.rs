use std::{ops::Deref, sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use memmap2::MmapMut;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The most bytes of bodies that a service holds at once while it reads them.
const BUDGET: usize = 64 << 20;
/// The bytes of each body that do not count, so that small bodies get in while large ones use up the budget. A
/// connection has as much of its own for the head.
const FREE: usize = 16 << 10;
/// How long a client may take to send a body.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads whole request bodies into memory, and bounds how much memory that takes.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Semaphore>);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is longer than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body took longer than 10 s to arrive")]
    Late,
    /// It ended too early, or breaks the rules of HTTP.
    #[error("the body ended too early")]
    Broken,
    /// The bodies of other requests use up the memory for bodies.
    #[error("too many large bodies arrive at once")]
    Busy,
}

/// A body that was read. It counts against the budget until it is dropped.
#[derive(Debug)]
pub struct Whole {
    place: Place,
    length: usize,
    _counted: Option<OwnedSemaphorePermit>,
}

/// Where a body is.
#[derive(Debug)]
enum Place {
    Heap(Vec<u8>),
    /// Pages of its own, which the system gets back at once; an allocator would keep them for the next burst.
    Pages(MmapMut),
}

impl Intake {
    /// An intake with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }

    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// If the body is too long, late or broken, or the budget is used up.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Whole, Unread> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Unread::TooLarge);
        }
        let read = timeout(DEADLINE, self.collect(body, limit)).await;
        read.unwrap_or(Err(Unread::Late))
    }

    /// Copies the frames into one buffer: a frame keeps the whole buffer of its connection alive, and a list of frames
    /// takes many times the memory of a body that comes byte by byte.
    async fn collect(&self, mut body: Body, limit: usize) -> Result<Whole, Unread> {
        let announced = body.size_hint().upper();
        let most = announced.map_or(limit, |most| {
            usize::try_from(most).unwrap_or(limit).min(limit)
        });
        let mut place = Place::Heap(Vec::new());
        let mut length = 0;
        let mut counted: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
                continue;
            };
            let before = length;
            length += data.len();
            if length > most {
                return Err(Unread::TooLarge);
            }
            if length > FREE {
                let more = self.take(length - before.max(FREE))?;
                match &mut counted {
                    Some(counted) => counted.merge(more),
                    None => counted = Some(more),
                }
            }
            match &mut place {
                Place::Heap(bytes) if length <= FREE => bytes.extend_from_slice(&data),
                Place::Heap(bytes) => {
                    // Pages take no memory before something is written to them.
                    let mut pages = MmapMut::map_anon(most).map_err(|_| Unread::Busy)?;
                    pages[..before].copy_from_slice(bytes);
                    pages[before..length].copy_from_slice(&data);
                    place = Place::Pages(pages);
                }
                Place::Pages(pages) => pages[before..length].copy_from_slice(&data),
            }
        }
        Ok(Whole {
            place,
            length,
            _counted: counted,
        })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let bytes = u32::try_from(bytes).map_err(|_| Unread::TooLarge)?;
        let taken = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        taken.map_err(|_| Unread::Busy)
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Heap(bytes) => bytes,
            Place::Pages(pages) => &pages[..self.length],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use futures_util::stream;

    use super::*;

    const LIMIT: usize = 512 << 10;

    fn chunked(chunks: usize, size: usize) -> Body {
        let chunk = Ok::<_, Infallible>(Bytes::from(vec![b' '; size]));
        Body::from_stream(stream::iter(std::iter::repeat_n(chunk, chunks)))
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_says_how_long_it_is() {
        let intake = Intake::new();
        let read = async |body| intake.read(body, LIMIT).await.map(|whole| whole.len());
        assert_eq!(read(Body::empty()).await, Ok(0));
        assert_eq!(read(chunked(8, LIMIT / 8)).await, Ok(LIMIT));
        assert_eq!(read(chunked(9, LIMIT / 8)).await, Err(Unread::TooLarge));
        let long = Body::from(vec![b' '; LIMIT + 1]);
        assert_eq!(read(long).await, Err(Unread::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let read = Intake::new().read(silent, LIMIT).await;
        assert_eq!(read.err(), Some(Unread::Late));
    }

    #[tokio::test]
    async fn large_bodies_use_up_the_budget_and_small_ones_still_get_in() {
        let intake = Intake::new();
        let mut held = Vec::new();
        let refused = loop {
            match intake.read(chunked(2, LIMIT / 2), LIMIT).await {
                Ok(whole) => held.push(whole),
                Err(unread) => break unread,
            }
        };
        assert_eq!(refused, Unread::Busy);
        assert_eq!(held.len(), BUDGET / (LIMIT - FREE));
        let small = intake.read(chunked(FREE / 16, 16), LIMIT).await;
        assert_eq!(small.map(|whole| whole.len()), Ok(FREE));
        held.pop();
        assert!(intake.read(chunked(2, LIMIT / 2), LIMIT).await.is_ok());
    }
}
