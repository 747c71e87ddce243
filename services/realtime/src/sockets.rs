//! The Socket.IO server: admits clients and writes events to their sockets.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    middleware::from_fn_with_state,
    routing::any,
};
use orders_contracts::{
    Offset, Timestamp,
    socket::{
        self, AuthExpiring, AuthRefresh, Connected, FeedReset, OrderChange, Position,
        RefreshRefusal, Refreshed,
    },
};
use orders_http::Origins;
use orders_service::{
    Departure,
    metrics::{
        SOCKET_CONNECTIONS, SOCKET_DISCONNECTS, SOCKET_EMITS, SOCKET_REFRESHES, counter, gauge,
    },
};
use serde_json::Value;
use socketioxide::{
    ParserConfig, SendError, SocketError, SocketIo, SocketIoBuilder,
    extract::{AckSender, Extension, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use tokio::{sync::mpsc, time::sleep};
use tower_http::cors::{AllowHeaders, CorsLayer};
use tracing::{Instrument as _, debug};

use crate::{
    Rooms,
    door::{Guest, Pass},
    engine::{self, Engine, PATH},
    handshake::ConnectError,
    lease::{CLOCK, Due},
    members::Member,
    origin::Guard,
    refusal,
    session::{Client, End, Refused, Session, SocketEvent},
};

/// The largest message of a client, on either transport.
const MAX_MESSAGE: usize = 64 << 10;
/// The same where clients need tokens, which are the largest that they have to say.
const MAX_MESSAGE_WITH_TOKEN: usize = 16 << 10;
/// The read buffer of each WebSocket. Clients send little but pongs.
const READ_BUFFER: usize = 1 << 10;
/// The most events in the buffer of a socket.
///
/// All of them must fit into one answer to a poll: what is left over is lost if the client upgrades to a WebSocket at
/// that moment.
const MAX_BUFFERED: usize = 128;
/// How long a client may take to say which tenant it belongs to; its `auth` may be a function that asks others first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where clients need tokens: until then nobody knows who they are.
const CONNECT_TIMEOUT_WITH_TOKEN: Duration = Duration::from_secs(5);
/// When a client that had no room for it is asked for another token again.
const AGAIN: Duration = Duration::from_secs(1);

/// A client between its admission and its session.
type Waiting = Arc<Mutex<Option<Guest>>>;
/// Another token of a client, and how to answer.
type Refresh = (String, AckSender);

impl Rooms {
    /// The routes of the Socket.IO server.
    pub(crate) fn sockets(self, origins: Origins) -> Router {
        let (max_message, connect_timeout) = match self.door.asks_for_tokens() {
            false => (MAX_MESSAGE, CONNECT_TIMEOUT),
            true => (MAX_MESSAGE_WITH_TOKEN, CONNECT_TIMEOUT_WITH_TOKEN),
        };
        let (engine, io) = Engine::new(server(max_message, connect_timeout), max_message);
        let departure = self.departure.clone();
        self.attend(&io, engine.clone());
        // Lets the pages of these origins read the answers to polling.
        let cors = CorsLayer::new()
            .allow_origin(origins.cors())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .allow_credentials(true);
        let serve = any(
            async |State((engine, departure)): State<(Engine, Departure)>, request: Request| {
                // A client tries again after a 503, and its next request finds another daemon.
                match departure.has_begun() && engine::begins(request.uri()) {
                    true => refusal::shutting_down(),
                    false => engine.serve(request).await,
                }
            },
        );
        Router::new()
            .route(PATH, serve.clone())
            .route(&format!("{PATH}/"), serve)
            .with_state((engine, departure))
            .layer(from_fn_with_state(Guard::new(origins), Guard::check))
            .layer(cors)
    }

    fn attend(self, io: &SocketIo, engine: Engine) {
        let (departure, door) = (self.departure.clone(), self.door.clone());
        let admit = async move |socket: SocketRef, TryData(auth): TryData<Value>| {
            if departure.is_over() {
                // A client reconnects when its transport closes, but not after a refusal.
                pending::<()>().await;
            }
            let auth = auth.unwrap_or_default();
            let guest = door.admit(&auth, socket.req_parts()).await?;
            socket
                .extensions
                .insert(Waiting::new(Mutex::new(Some(guest))));
            Ok::<_, ConnectError>(())
        };
        let attend = async move |socket: SocketRef, Extension(waiting): Extension<Waiting>| {
            let guest = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(guest) = guest {
                let span = guest.span.clone();
                let session = self.serve_socket(&engine, socket, guest).instrument(span);
                let session = Box::pin(session);
                self.sessions.track_future(session).await;
            }
        };
        io.ns("/", attend.with(admit));
    }

    async fn serve_socket(&self, engine: &Engine, socket: SocketRef, guest: Guest) {
        let Guest {
            handshake,
            member,
            pass,
            span: _,
        } = guest;
        let (leave, mut left) = mpsc::channel(1);
        socket.on_disconnect(async move |reason: DisconnectReason| {
            let _ = leave.try_send(reason);
        });
        let (refresh, refreshes) = mpsc::channel(1);
        if pass.is_some() {
            socket.on(
                socket::AUTH_REFRESH,
                async move |TryData(sent): TryData<AuthRefresh>, ack: AckSender| match sent {
                    Ok(AuthRefresh { token }) => take(&refresh, token, ack),
                    Err(_) => answer(ack, Err(RefreshRefusal::Unauthorized)),
                },
            );
        }
        if !socket.connected() {
            return;
        }
        let room = format!("tenant:{}", handshake.tenant);
        debug!(socket.id = %socket.id, "socket {} enters {room}", socket.id);
        socket.join(room);
        gauge!(SOCKET_CONNECTIONS).increment(1);
        let session = Session::run(
            &self.hub,
            self.archive.clone(),
            Outlet(socket.clone()),
            handshake,
        );
        let reason = tokio::select! {
            end = session => match end {
                End::Gone => left.recv().await.map_or("gone", name),
                End::Slow => "slow",
                End::Behind => "behind",
            },
            reason = left.recv() => reason.map_or("gone", name),
            reason = self.stay(&socket, member, pass, refreshes) => reason,
            () = self.departure.turn() => "shutdown",
        };
        // This does nothing if the client has already closed its transport.
        engine.close_transport(&socket);
        gauge!(SOCKET_CONNECTIONS).decrement(1);
        counter!(SOCKET_DISCONNECTS, "reason" => reason).increment(1);
        debug!(socket.id = %socket.id, "socket {} disconnected: {reason}", socket.id);
    }

    /// Ends, with the reason, when the credentials of the client do.
    async fn stay(
        &self,
        socket: &SocketRef,
        mut member: Member,
        pass: Option<Pass>,
        mut refreshes: mpsc::Receiver<Refresh>,
    ) -> &'static str {
        let Some(mut pass) = pass else {
            return pending().await;
        };
        loop {
            let now = Timestamp::now();
            let wait = match pass.lease.due(now) {
                Some(Due::End) => return "expired",
                Some(Due::Notice(expires_at)) => {
                    let expiring = AuthExpiring { expires_at };
                    if socket.emit(socket::AUTH_EXPIRING, &expiring).is_ok() {
                        pass.lease.noticed();
                        counter!(SOCKET_EMITS, "event" => socket::AUTH_EXPIRING).increment(1);
                    }
                    AGAIN
                }
                None => pass.lease.wait(now).min(CLOCK),
            };
            tokio::select! {
                () = member.revoked().cancelled() => return "revoked",
                () = sleep(wait) => {}
                Some((token, ack)) = refreshes.recv() => {
                    let refreshed = self.door.refresh(&mut pass, &mut member, &token).await;
                    answer(ack, refreshed);
                }
            }
        }
    }
}

/// Passes on another token of a client, unless the last one has not been looked at yet.
fn take(refreshes: &mpsc::Sender<Refresh>, token: String, ack: AckSender) {
    if let Err(error) = refreshes.try_send((token, ack)) {
        let (_, ack) = error.into_inner();
        answer(ack, Err(RefreshRefusal::TooSoon));
    }
}

fn answer(ack: AckSender, refreshed: Result<Option<Timestamp>, RefreshRefusal>) {
    let outcome = match &refreshed {
        Ok(_) => "taken",
        Err(refusal) => refusal.as_str(),
    };
    counter!(SOCKET_REFRESHES, "outcome" => outcome).increment(1);
    // A client that is gone needs none.
    let _ = ack.send(&Refreshed::of(refreshed));
}

fn server(max_message: usize, connect_timeout: Duration) -> SocketIoBuilder {
    let parser = ParserConfig::common()
        .max_incoming_binaries(16)
        .max_incoming_binary_buf_size(max_message);
    SocketIo::builder()
        .with_parser(parser)
        .connect_timeout(connect_timeout)
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(20))
        .max_buffer_size(MAX_BUFFERED)
        .max_payload(max_message as u64)
        .ws_read_buffer_size(READ_BUFFER)
        .ws_max_message_size(max_message)
        .ws_max_frame_size(max_message)
}

const fn name(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::TransportClose => "transport_close",
        DisconnectReason::TransportError => "transport_error",
        DisconnectReason::HeartbeatTimeout => "ping_timeout",
        DisconnectReason::ClientNSDisconnect => "client",
        DisconnectReason::PacketParsingError | DisconnectReason::MultipleHttpPollingError => {
            "protocol_error"
        }
        DisconnectReason::ServerNSDisconnect | DisconnectReason::ClosingServer => "server",
    }
}

/// Writes events to a socket.
struct Outlet(SocketRef);

impl Client for Outlet {
    fn emit(&self, event: &SocketEvent) -> Result<(), Refused> {
        let Self(socket) = self;
        let name = event.name();
        let emitted = match event {
            SocketEvent::Connected(tenant_id, offset) => {
                let connected = Connected {
                    ok: true,
                    tenant_id,
                };
                let arguments = (connected, position(*offset, None));
                socket.emit(name, &arguments)
            }
            SocketEvent::Changed(message, offset) => {
                let entry = &message.entry;
                let change = OrderChange {
                    order_id: &entry.order_id,
                    status: &entry.status,
                };
                let arguments = (change, position(*offset, Some(entry.version)));
                socket.emit(name, &arguments)
            }
            SocketEvent::Reset(reason, offset) => {
                let reset = FeedReset { reason: *reason };
                socket.emit(name, &(reset, position(*offset, None)))
            }
        };
        match emitted {
            Ok(()) => {
                counter!(SOCKET_EMITS, "event" => name).increment(1);
                Ok(())
            }
            Err(SendError::Socket(SocketError::InternalChannelFull)) => Err(Refused::Full),
            Err(_) => Err(Refused::Gone),
        }
    }
}

const fn position(offset: Offset, version: Option<u32>) -> Position {
    Position { offset, version }
}
