//! The Engine.IO server, with the one thing that the library does not offer: hanging up on a client.
//!
//! `SocketRef::disconnect` tells a client that the server wants it gone, and Socket.IO clients do not come back after
//! that. One that has to resume must see its transport close instead. So WebSockets are attached here, each over a
//! [`Line`] that can be cut, and a session on polling is ended the way its client would end it.

mod line;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{self, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use socketioxide::{
    SocketIo, SocketIoBuilder, extract::SocketRef, service::SocketIoService, socket::Sid,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use self::line::Line;

/// The path of the server.
pub(crate) const PATH: &str = "/ws";
/// How long a client on polling may take to send what it has to say.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Cancelled when a WebSocket is over, or to end it.
type Link = CancellationToken;

/// Serves Engine.IO sessions, and hangs up on them.
#[derive(Clone)]
pub(crate) struct Engine {
    service: SocketIoService<Router>,
    /// The links of the sessions that began on polling; the others have theirs in their request.
    upgraded: Arc<Mutex<HashMap<Sid, Link>>>,
}

impl Engine {
    /// A server as `builder` describes it, and the handle for its namespaces.
    pub(crate) fn new(builder: SocketIoBuilder) -> (Self, SocketIo) {
        let (service, io) = builder.req_path(PATH).build_with_inner_svc(Router::new());
        let upgraded = Arc::default();
        (Self { service, upgraded }, io)
    }

    /// Answers one request.
    pub(crate) async fn serve(&self, mut request: Request) -> Response {
        // Without it the service answers as ever, but leaves the WebSocket alone.
        let upgrade = hyper::upgrade::on(&mut request);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = self.service.clone().oneshot(request);
        let Ok(response) = if method == Method::POST {
            // The library would wait for ever for the rest of a body.
            match timeout(BODY_DEADLINE, answer).await {
                Ok(answer) => answer,
                Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
            }
        } else {
            answer.await
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tokio::spawn(self.clone().attach(upgrade, own(&uri)));
        }
        response.map(Body::new)
    }

    /// Closes the transport under `socket`, so that its client connects again.
    pub(crate) fn hang_up(&self, socket: &SocketRef) {
        let link = socket.req_parts().extensions.get::<Link>().cloned();
        if let Some(link) = link.or_else(|| self.upgraded().get(&socket.id).cloned()) {
            link.cancel();
        }
        tokio::spawn(self.clone().end_polling(socket.id));
    }

    async fn attach(self, upgrade: OnUpgrade, uri: Uri) {
        let Ok(connection) = upgrade.await else {
            return;
        };
        let sid = sid(&uri);
        let link = match sid {
            Some(sid) => self.upgraded().entry(sid).or_default().clone(),
            None => Link::new(),
        };
        let line = Line::new(TokioIo::new(connection), link.clone());
        // The request was found valid before. All that a session needs of it are its URI and its link.
        let mut request = http::Request::new(());
        *request.uri_mut() = uri;
        request.extensions_mut().insert(link.clone());
        let _ = self.service.clone().call((line, request)).await;
        if let Some(sid) = sid {
            link.cancelled().await;
            self.upgraded().remove(&sid);
            // An upgrade that failed half-way would leave a session that is on no transport.
            self.end_polling(sid).await;
        }
    }

    /// Ends the session `sid` if it is on polling.
    async fn end_polling(self, sid: Sid) {
        let uri = format!("{PATH}/?EIO=4&transport=polling&sid={sid}");
        let request = Request::post(uri)
            .body(Body::from("1"))
            .expect("session ids fit into URIs");
        let Ok(_) = self.service.oneshot(request).await;
    }

    fn upgraded(&self) -> MutexGuard<'_, HashMap<Sid, Link>> {
        self.upgraded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy that owns its text. A clone shares the buffer that the whole request was read into, which would last as long
/// as the session.
fn own(uri: &Uri) -> Uri {
    let text = uri.to_string();
    text.parse().expect("the text of a URI is one")
}

fn sid(uri: &Uri) -> Option<Sid> {
    let mut pairs = uri.query()?.split('&');
    pairs
        .find_map(|pair| pair.strip_prefix("sid="))?
        .parse()
        .ok()
}
