//! The feed as Server-Sent Events: the sessions of sockets, over the answer to a plain request.
//!
//! A stream begins with the offset from which it goes on, as an `id` without an event, so a client that is cut before
//! its first event misses nothing either.

use std::{future::pending, time::Duration};

use axum::{
    Error, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use orders_contracts::{
    Offset, Timestamp, Unparsable,
    socket::FeedReset,
    sse::{LAST_EVENT_ID, OrderChange, PATH},
};
use orders_service::metrics::{STREAM_CONNECTIONS, STREAM_ENDS, STREAM_EVENTS, counter, gauge};
use serde_json::Value;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Rooms,
    door::{Guest, Pass},
    handshake::Handshake,
    lease::CLOCK,
    members::Member,
    refusal,
    session::{Client, End, Refused, Session, SocketEvent},
};

/// The most events that wait until the connection takes them.
const MAX_BUFFERED: usize = 128;
/// How long a client that was cut waits before it comes back, at least and at most. Each stream draws its own time, so
/// that clients that were cut together do not come back together.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// How long a stream says nothing. Then it sends a comment, so that proxies do not take it for broken.
const COMMENTS: Duration = Duration::from_secs(15);
/// Tells nginx to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl Rooms {
    /// The route of the streams. Pages of other origins reach it only through the edge, which knows which may read it.
    pub(crate) fn streams(self) -> Router {
        Router::new().route(PATH, get(follow)).with_state(self)
    }

    /// The answer to a client that was let in.
    fn stream(self, guest: Guest) -> Response {
        let Guest {
            handshake,
            member,
            pass,
            span,
        } = guest;
        let (sender, events) = mpsc::channel(MAX_BUFFERED);
        let revoked = member.revoked().clone();
        let sessions = self.sessions.clone();
        let session = self.serve(sender, handshake, revoked, pass);
        sessions.spawn(Box::pin(session.instrument(span)));
        answer(events, Place::new(member))
    }

    /// Sends events until the session is over.
    async fn serve(
        self,
        events: mpsc::Sender<SocketEvent>,
        handshake: Handshake,
        revoked: CancellationToken,
        pass: Option<Pass>,
    ) {
        let left = events.clone();
        let session = Session::run(&self.hub, self.archive, Outlet(events), handshake);
        let reason = tokio::select! {
            end = session => match end {
                End::Gone => "client",
                End::Slow => "slow",
                End::Behind => "behind",
            },
            () = left.closed() => "client",
            () = revoked.cancelled() => "revoked",
            () = expired(pass) => "expired",
            () = self.departure.turn() => "shutdown",
        };
        counter!(STREAM_ENDS, "reason" => reason).increment(1);
    }
}

async fn follow(State(rooms): State<Rooms>, request: Request) -> Response {
    if rooms.departure.has_begun() {
        return refusal::shutting_down();
    }
    let (parts, _) = request.into_parts();
    let mut guest = match rooms.door.admit(&Value::Null, &parts).await {
        Ok(guest) => guest,
        Err(refusal) => return refusal::answer(&refusal),
    };
    guest.handshake.resume = last_event_id(&parts.headers);
    rooms.stream(guest)
}

/// Writes `events` until there are no more. `place` lasts until the connection has sent all or is gone: longer than the
/// session, if the client reads slowly.
fn answer<P: Send + 'static>(events: mpsc::Receiver<SocketEvent>, place: P) -> Response {
    let events = stream::unfold((events, place), async |(mut events, place)| {
        let event = written(&events.recv().await?);
        Some((event, (events, place)))
    });
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let keep_alive = KeepAlive::new().interval(COMMENTS);
    (headers, Sse::new(events).keep_alive(keep_alive)).into_response()
}

/// Where the client wants to go on. Only the header says it: the URL of an `EventSource` stays the same when it
/// reconnects, and would say an old place.
fn last_event_id(headers: &HeaderMap) -> Option<Result<Offset, Unparsable>> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let text = match (values.next()?.to_str(), values.next()) {
        (Ok(text), None) => text,
        // No offset.
        _ => "?",
    };
    (!text.is_empty()).then(|| text.parse())
}

/// Ends when the credentials of the client do. A stream cannot take others, so nobody is asked for them.
async fn expired(pass: Option<Pass>) {
    let Some(mut pass) = pass else {
        return pending().await;
    };
    pass.lease.noticed();
    loop {
        let now = Timestamp::now();
        if pass.lease.due(now).is_some() {
            return;
        }
        sleep(pass.lease.wait(now).min(CLOCK)).await;
    }
}

/// The place of a stream.
struct Place(#[expect(dead_code, reason = "it leaves when it is dropped")] Member);

impl Place {
    fn new(member: Member) -> Self {
        gauge!(STREAM_CONNECTIONS).increment(1);
        Self(member)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(STREAM_CONNECTIONS).decrement(1);
    }
}

/// Puts events into the buffer of a stream.
struct Outlet(mpsc::Sender<SocketEvent>);

impl Client for Outlet {
    fn emit(&self, event: &SocketEvent) -> Result<(), Refused> {
        let room = self.0.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Refused::Full,
            mpsc::error::TrySendError::Closed(()) => Refused::Gone,
        })?;
        room.send(event.clone());
        counter!(STREAM_EVENTS, "event" => event.name()).increment(1);
        Ok(())
    }
}

/// An event as clients read it. The greeting has no name and no data, so it only sets the id.
fn written(event: &SocketEvent) -> Result<Event, Error> {
    let at = |offset: &Offset| Event::default().id(offset.to_string());
    match event {
        SocketEvent::Connected(_, offset) => {
            let (least, most) = RETRY;
            let spread = (most - least).mul_f64(fastrand::f64());
            Ok(at(offset).retry(least + spread))
        }
        SocketEvent::Changed(message, offset) => {
            let entry = &message.entry;
            at(offset).event(event.name()).json_data(OrderChange {
                order_id: &entry.order_id,
                status: &entry.status,
                version: entry.version,
            })
        }
        SocketEvent::Reset(reason, offset) => at(offset)
            .event(event.name())
            .json_data(FeedReset { reason: *reason }),
    }
}

#[cfg(test)]
mod tests;
