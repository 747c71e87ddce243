//! Tells clients that speak another dialect why they cannot connect, in theirs: an answer of HTTP never reaches their
//! users.

use std::time::Duration;

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

const TOO_OLD: &str = "Socket.IO 2 is too old for this server: use a client of version 3 or newer";
const NOT_MSGPACK: &str =
    "this server reads packets as Socket.IO writes them by default: leave out the option `parser`";

/// A session of Socket.IO 2 as far as its error; the server keeps nothing of it.
const OPEN: &str = r#"0{"sid":"none","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
const CLOSE: &str = "1";
/// How long a client that was told may take to hang up.
const LINGER: Duration = Duration::from_secs(5);

/// Whether a client of Socket.IO 2 sends the request.
pub(super) fn is_too_old(uri: &Uri) -> bool {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair == "EIO=3")
}

/// Answers a client of Socket.IO 2.
pub(super) fn refuse_too_old(request: &Request, upgrade: OnUpgrade) -> Response {
    let packets = [
        OPEN.to_owned(),
        format!(r#"44"{TOO_OLD}""#),
        CLOSE.to_owned(),
    ];
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
        let accept = derive_accept_key(key.as_bytes());
        tokio::spawn(send(upgrade, packets));
        let switch = [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
        ];
        return (StatusCode::SWITCHING_PROTOCOLS, switch).into_response();
    }
    if *request.method() != Method::GET {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let payload = packets.map(|packet| format!("{}:{packet}", packet.len()));
    payload.concat().into_response()
}

async fn send<const N: usize>(upgrade: OnUpgrade, packets: [String; N]) {
    let Ok(connection) = upgrade.await else {
        return;
    };
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, None).await;
    for packet in packets {
        if socket.send(Message::text(packet)).await.is_err() {
            return;
        }
    }
    let hang_up = async {
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(LINGER, hang_up).await;
}

/// Whether the request is for a WebSocket, but a proxy has removed that from its head.
pub(super) fn is_cut_short(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let is_websocket = query.split('&').any(|pair| pair == "transport=websocket");
    is_websocket && !request.headers().contains_key(header::UPGRADE)
}

/// Has its client try polling.
pub(super) fn refuse_cut_short() -> Response {
    let message = "no Upgrade: a proxy in between passes on no WebSockets";
    (
        StatusCode::BAD_REQUEST,
        Json(json!({ "code": 3, "message": message })),
    )
        .into_response()
}

/// Whether a client on polling sends a packet of msgpack, if it is its first.
pub(super) fn is_msgpack(body: &[u8]) -> bool {
    body.starts_with(b"b")
}

/// Whether a client on WebSocket does so, by its first byte: a final frame of binary data.
pub(super) fn is_msgpack_frame(first: u8) -> bool {
    first == 0x82
}

/// The frame that answers it.
pub(super) fn not_msgpack_frame() -> Vec<u8> {
    let packet = not_msgpack();
    // A server does not mask, and the length of a short payload is one byte.
    let length = u8::try_from(packet.len())
        .ok()
        .filter(|length| *length < 126);
    [vec![0x82, length.expect("a short text")], packet].concat()
}

/// The answer to its next poll.
pub(super) fn not_msgpack_poll() -> Response {
    let text = HeaderValue::from_static("text/plain; charset=UTF-8");
    let packets = format!("b{}\u{1e}{CLOSE}", BASE64.encode(&not_msgpack()));
    ([(header::CONTENT_TYPE, text)], packets).into_response()
}

/// The refusal `{"type": 4, "nsp": "/", "data": {"message": …}}`, as msgpack.
fn not_msgpack() -> Vec<u8> {
    let length = u8::try_from(NOT_MSGPACK.len()).expect("a short text");
    let head: [&[u8]; 5] = [
        b"\x83",
        b"\xa4type\x04",
        b"\xa3nsp\xa1/",
        b"\xa4data\x81",
        b"\xa7message",
    ];
    [
        head.concat(),
        vec![0xd9, length],
        NOT_MSGPACK.as_bytes().to_vec(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_msgpack_is_told_in_msgpack() {
        let frame = not_msgpack_frame();
        assert_eq!((frame[0], usize::from(frame[1])), (0x82, frame.len() - 2));
        let packet = &frame[2..];
        assert!(packet.starts_with(b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xd9"));
        assert!(packet.ends_with(NOT_MSGPACK.as_bytes()));
    }
}
