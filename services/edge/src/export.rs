//! Exports: all orders of a list in one answer.
//!
//! An export has few rows in memory: the next are read once the client has taken those before. One that ends too early
//! is seen as such. Its connection breaks off without the end of the body, and the number of its rows is missing, which
//! comes last: in a trailer, and in the last line of NDJSON.

mod lines;
mod places;

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue},
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http_body_util::StreamBody;
use hyper::body::Frame;
use orders_contracts::{OrderRow, http_header, query::ExportFormat};
use orders_service::{
    Seldom, chain,
    metrics::{EXPORTS, counter},
};
use orders_store::Error as StoreError;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, warn};

use self::lines::Lines;
pub(crate) use self::places::{Exports, Full, Place};

/// In the trailer: how many rows a complete export has.
pub(crate) const ROWS: HeaderName = HeaderName::from_static(http_header::EXPORT_ROWS);
/// How long a client may take for the rows that it was given last. One that takes nothing at all is cut off earlier, by
/// the server.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Rows as they are read, some at once.
pub(crate) type Rows = BoxStream<'static, Result<Vec<OrderRow>, StoreError>>;

/// Why an export ends too early. The client does not learn it: its answer has begun.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error("rows cannot be read")]
    Rows(#[source] StoreError),
    #[error("the client reads too slowly")]
    Slow,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    First,
    Rows,
    Trailer,
    Nothing,
}

/// An export under way.
struct Export {
    rows: Rows,
    lines: Lines,
    next: Part,
    /// When the client last took something.
    taken: Instant,
    outcome: &'static str,
    /// Of the request, which is answered while rows are still read.
    span: Span,
    _place: Place,
}

/// The body that has all `rows`. It keeps `place` to its end.
pub(crate) fn body(rows: Rows, format: ExportFormat, place: Place) -> Body {
    let export = Export {
        rows,
        lines: Lines::new(format),
        next: Part::First,
        taken: Instant::now(),
        outcome: "abandoned",
        span: Span::current(),
        _place: place,
    };
    let frames = stream::try_unfold(export, async |mut export| {
        let span = export.span.clone();
        let frame = export.frame().instrument(span).await?;
        Ok::<_, Interrupted>(frame.map(|frame| (frame, export)))
    });
    Body::new(StreamBody::new(frames))
}

impl Export {
    /// What the client gets next; nothing at the end.
    async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Interrupted> {
        if self.taken.elapsed() > TAKEN_WITHIN {
            return Err(self.interrupt(Interrupted::Slow));
        }
        let frame = match self.next {
            Part::First => {
                self.next = Part::Rows;
                Frame::data(self.lines.first())
            }
            Part::Rows => match self.rows.next().await {
                Some(Ok(rows)) => Frame::data(self.lines.of(&rows)),
                Some(Err(error)) => return Err(self.interrupt(Interrupted::Rows(error))),
                None => {
                    self.next = Part::Trailer;
                    Frame::data(self.lines.last())
                }
            },
            Part::Trailer => {
                self.next = Part::Nothing;
                self.outcome = "complete";
                let rows = HeaderValue::from(self.lines.written);
                Frame::trailers(HeaderMap::from_iter([(ROWS, rows)]))
            }
            Part::Nothing => return Ok(None),
        };
        self.taken = Instant::now();
        Ok(Some(frame))
    }

    fn interrupt(&mut self, interrupted: Interrupted) -> Interrupted {
        static LINES: Seldom = Seldom::new();
        self.outcome = "interrupted";
        let (rows, text) = (self.lines.written, chain(&interrupted));
        LINES.say(|unsaid| warn!(unsaid, rows, "an export ends too early: {text}"));
        interrupted
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        counter!(EXPORTS, "outcome" => self.outcome).increment(1);
    }
}

#[cfg(test)]
mod tests;
