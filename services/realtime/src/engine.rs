//! The Engine.IO server. It exists because socketioxide has no `close_transport`, which makes a client reconnect.
//!
//! socketioxide only has `SocketRef::disconnect`, after which Socket.IO clients do not reconnect. A client that has to
//! resume must see its transport close. So WebSockets are attached here, each over a [`Transport`] that can be closed,
//! and a session on polling is closed the way its client would close it.

mod dialect;
mod transport;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{self, HeaderMap, HeaderValue, Method, StatusCode, Uri, header::AUTHORIZATION},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use orders_contracts::TraceContext;
use socketioxide::{
    SocketIo, SocketIoBuilder, extract::SocketRef, service::SocketIoService, socket::Sid,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use self::transport::Transport;
use crate::door::trace_of;

/// The path of the server.
pub(crate) const PATH: &str = "/ws";
/// How long a client on polling may take to send a body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long the reason why a session on polling was refused is kept for its next poll.
const REASON_KEPT: Duration = Duration::from_secs(10);

/// Cancelled to close the transport of a WebSocket, and when the transport is closed.
type Closing = CancellationToken;

/// Serves Engine.IO sessions, and closes their transports.
#[derive(Clone)]
pub(crate) struct Engine {
    service: SocketIoService<Router>,
    io: SocketIo,
    /// The tokens of the sessions that began on polling; the other sessions have theirs in their request.
    upgraded: Arc<Mutex<HashMap<Sid, Closing>>>,
    /// The sessions on polling whose clients speak msgpack, until they are told.
    refused: Arc<Mutex<HashSet<Sid>>>,
    /// The largest message of a client.
    max_message: usize,
}

impl Engine {
    /// A server as `builder` describes it, which takes messages up to `max_message`, and the handle for its namespaces.
    pub(crate) fn new(builder: SocketIoBuilder, max_message: usize) -> (Self, SocketIo) {
        let (service, io) = builder.req_path(PATH).build_with_inner_svc(Router::new());
        let engine = Self {
            service,
            io: io.clone(),
            upgraded: Arc::default(),
            refused: Arc::default(),
            max_message,
        };
        (engine, io)
    }

    /// Answers one request.
    pub(crate) async fn serve(&self, mut request: Request) -> Response {
        // Without it the service answers as usual, but leaves the WebSocket alone.
        let upgrade = hyper::upgrade::on(&mut request);
        if dialect::is_cut_short(&request) {
            return dialect::refuse_cut_short();
        }
        if dialect::is_too_old(request.uri()) {
            return dialect::refuse_too_old(&request, upgrade);
        }
        if *request.method() == Method::POST {
            // socketioxide would wait for ever for the rest of a body.
            let posted = timeout(BODY_DEADLINE, self.post(request)).await;
            return posted.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
        }
        let uri = request.uri().clone();
        if sid(&uri).is_some_and(|sid| lock(&self.refused).remove(&sid)) {
            return dialect::not_msgpack_poll();
        }
        let trace = trace_of(request.headers());
        let credentials = credentials(request.headers());
        let Ok(response) = self.service.clone().oneshot(request).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let attached = self.clone().attach(upgrade, own(&uri), credentials, trace);
            tokio::spawn(attached);
        }
        response.map(Body::new)
    }

    /// Takes the packets of a client on polling.
    async fn post(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, self.max_message).await else {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        if let Some(sid) = sid(&parts.uri)
            && dialect::is_msgpack(&body)
            && self.io.get_socket(sid).is_none()
            // This ends the poll that waits already; the next one gets the reason.
            && self.clone().end_polling(sid).await
        {
            lock(&self.refused).insert(sid);
            let refused = Arc::clone(&self.refused);
            tokio::spawn(async move {
                sleep(REASON_KEPT).await;
                lock(&refused).remove(&sid);
            });
            return "ok".into_response();
        }
        let request = Request::from_parts(parts, Body::from(body));
        let Ok(response) = self.service.clone().oneshot(request).await;
        response.map(Body::new)
    }

    /// Closes the transport of `socket`, so that its client reconnects.
    pub(crate) fn close_transport(&self, socket: &SocketRef) {
        let closing = socket.req_parts().extensions.get::<Closing>().cloned();
        if let Some(closing) = closing.or_else(|| lock(&self.upgraded).get(&socket.id).cloned()) {
            closing.cancel();
        }
        tokio::spawn(self.clone().end_polling(socket.id));
    }

    async fn attach(
        self,
        upgrade: OnUpgrade,
        uri: Uri,
        credentials: Vec<HeaderValue>,
        trace: Option<TraceContext>,
    ) {
        let Ok(connection) = upgrade.await else {
            return;
        };
        let sid = sid(&uri);
        let closing = match sid {
            Some(sid) => lock(&self.upgraded).entry(sid).or_default().clone(),
            None => Closing::new(),
        };
        let transport = Transport::new(TokioIo::new(connection), closing.clone());
        // The service has validated the request. All that a session needs of it are its URI, credentials, trace and
        // closing token.
        let mut request = http::Request::new(());
        *request.uri_mut() = uri;
        for credential in credentials {
            request.headers_mut().append(AUTHORIZATION, credential);
        }
        request.extensions_mut().insert(closing.clone());
        if let Some(trace) = trace {
            request.extensions_mut().insert(trace);
        }
        let _ = self.service.clone().call((transport, request)).await;
        if let Some(sid) = sid {
            closing.cancelled().await;
            lock(&self.upgraded).remove(&sid);
            // An upgrade that failed half-way would leave a session without a transport.
            self.end_polling(sid).await;
        }
    }

    /// Ends the session `sid` if it is on polling, and returns whether it is.
    async fn end_polling(self, sid: Sid) -> bool {
        let uri = format!("{PATH}/?EIO=4&transport=polling&sid={sid}");
        let request = Request::post(uri)
            .body(Body::from("1"))
            .expect("session ids fit into URIs");
        let Ok(response) = self.service.oneshot(request).await;
        response.status().is_success()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies `uri` with its text. A clone would share the buffer of the whole request, and keep it for as long as the
/// session lasts.
fn own(uri: &Uri) -> Uri {
    let text = uri.to_string();
    text.parse().expect("the text of a URI is one")
}

/// Copies the credentials of a request, for the same reason.
fn credentials(headers: &HeaderMap) -> Vec<HeaderValue> {
    let copies = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let mut copy =
            HeaderValue::from_bytes(value.as_bytes()).expect("the bytes of a header are one");
        copy.set_sensitive(true);
        copy
    });
    copies.collect()
}

/// Whether a request is to begin a session.
pub(crate) fn begins(uri: &Uri) -> bool {
    sid(uri).is_none()
}

fn sid(uri: &Uri) -> Option<Sid> {
    let mut pairs = uri.query()?.split('&');
    pairs
        .find_map(|pair| pair.strip_prefix("sid="))?
        .parse()
        .ok()
}
