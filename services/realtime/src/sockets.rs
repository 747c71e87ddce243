//! The Socket.IO server: admits clients and writes events to their sockets.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    middleware::from_fn_with_state,
    routing::any,
};
use metrics::{counter, gauge};
use orders_contracts::{
    Channel, Offset,
    socket::{self, Connected, FeedReset, OrderChange, Position},
};
use orders_http::Origins;
use serde::Serialize;
use serde_json::Value;
use socketioxide::{
    ParserConfig, SendError, SocketError, SocketIo, SocketIoBuilder,
    extract::{Extension, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::{AllowHeaders, CorsLayer};
use tracing::debug;

use crate::{
    archive::StoredFeed,
    engine::{Engine, PATH},
    handshake::{ConnectError, Handshake},
    hub::Hub,
    metric_definitions::{CONNECTIONS, DISCONNECTS, EMITS},
    origin::Guard,
    session::{Client, End, Refused, Session, SocketEvent},
};

/// The largest message of a client, on either transport.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;
/// The read buffer of each WebSocket. Clients send little but pongs.
const READ_BUFFER: usize = 1 << 10;
/// The most events in the buffer of a socket.
///
/// All of them must fit into one answer to a poll: what is left over is lost if the client upgrades to a WebSocket at
/// that moment.
const MAX_BUFFERED: usize = 128;
/// How long a client may take to say which tenant it belongs to; its `auth` may be a function that asks others first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that serves sockets.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) hub: Arc<Hub>,
    pub(crate) archive: StoredFeed,
    /// Ends all sessions.
    pub(crate) shutdown: CancellationToken,
    /// The sessions that have not ended.
    pub(crate) sessions: TaskTracker,
}

impl Sockets {
    /// The routes of the Socket.IO server.
    pub(crate) fn router(self, origins: Origins) -> Router {
        let (engine, io) = Engine::new(server());
        self.attend(&io, engine.clone());
        // Lets the pages of these origins read the answers to polling.
        let cors = CorsLayer::new()
            .allow_origin(origins.cors())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .allow_credentials(true);
        let serve =
            any(async |State(engine): State<Engine>, request: Request| engine.serve(request).await);
        Router::new()
            .route(PATH, serve.clone())
            .route(&format!("{PATH}/"), serve)
            .with_state(engine)
            .layer(from_fn_with_state(Guard::new(origins), Guard::check))
            .layer(cors)
    }

    fn attend(self, io: &SocketIo, engine: Engine) {
        let shutdown = self.shutdown.clone();
        let admit = async move |socket: SocketRef, TryData(auth): TryData<Value>| {
            if shutdown.is_cancelled() {
                // A client reconnects when its transport closes, but not after a refusal.
                pending::<()>().await;
            }
            let auth = auth.unwrap_or_default();
            let handshake = Handshake::read(&auth, &socket.req_parts().uri)?;
            socket.extensions.insert(handshake);
            Ok::<_, ConnectError>(())
        };
        let serve = async move |socket: SocketRef, Extension(handshake): Extension<Handshake>| {
            let sessions = self.sessions.clone();
            sessions
                .track_future(self.serve(&engine, socket, handshake))
                .await;
        };
        io.ns("/", serve.with(admit));
    }

    async fn serve(&self, engine: &Engine, socket: SocketRef, handshake: Handshake) {
        let (leave, mut left) = mpsc::channel(1);
        socket.on_disconnect(async move |reason: DisconnectReason| {
            let _ = leave.try_send(reason);
        });
        if !socket.connected() {
            return;
        }
        let room = format!("tenant:{}", handshake.tenant);
        debug!(socket.id = %socket.id, "socket {} enters {room}", socket.id);
        socket.join(room);
        gauge!(CONNECTIONS).increment(1);
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
            () = self.shutdown.cancelled() => "shutdown",
        };
        // This does nothing if the client has already closed its transport.
        engine.close_transport(&socket);
        gauge!(CONNECTIONS).decrement(1);
        counter!(DISCONNECTS, "reason" => reason).increment(1);
        debug!(socket.id = %socket.id, "socket {} disconnected: {reason}", socket.id);
    }
}

fn server() -> SocketIoBuilder {
    let parser = ParserConfig::common()
        .max_incoming_binaries(16)
        .max_incoming_binary_buf_size(MAX_MESSAGE);
    SocketIo::builder()
        .with_parser(parser)
        .connect_timeout(CONNECT_TIMEOUT)
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(20))
        .max_buffer_size(MAX_BUFFERED)
        .max_payload(MAX_MESSAGE as u64)
        .ws_read_buffer_size(READ_BUFFER)
        .ws_max_message_size(MAX_MESSAGE)
        .ws_max_frame_size(MAX_MESSAGE)
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
        let (name, emitted) = match event {
            SocketEvent::Connected(tenant_id, offset) => {
                let connected = Connected {
                    ok: true,
                    tenant_id,
                };
                let arguments = (connected, position(*offset, None));
                emit(socket, socket::CONNECTED, &arguments)
            }
            SocketEvent::Changed(message, offset) => {
                let entry = &message.entry;
                let change = OrderChange {
                    order_id: &entry.order_id,
                    status: &entry.status,
                };
                let name = match message.channel {
                    Channel::FeedCreated => socket::ORDER_CREATED,
                    _ => socket::ORDER_UPDATED,
                };
                let arguments = (change, position(*offset, Some(entry.version)));
                emit(socket, name, &arguments)
            }
            SocketEvent::Reset(reason, offset) => {
                let reset = FeedReset { reason: *reason };
                emit(
                    socket,
                    socket::FEED_RESET,
                    &(reset, position(*offset, None)),
                )
            }
        };
        match emitted {
            Ok(()) => {
                counter!(EMITS, "event" => name).increment(1);
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

fn emit<T: Serialize>(
    socket: &SocketRef,
    name: &'static str,
    arguments: &T,
) -> (&'static str, Result<(), SendError>) {
    (name, socket.emit(name, arguments))
}
