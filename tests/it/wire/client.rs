//! HTTP/1.1 by hand.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a server may take to answer and hang up.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    /// Takes the first answer from `text`, of which the rest stays.
    pub(super) fn take(text: &mut &str) -> Self {
        let (head, rest) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length");
        let length = length.map_or(rest.len(), |length| length.parse().expect("a length"));
        let (body, rest) = rest.split_at(length.min(rest.len()));
        *text = rest;
        Self {
            status: status.expect("a status"),
            headers,
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

pub(super) async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Everything that comes until the server hangs up.
pub(super) async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("the server hangs up").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a request that closes its connection, and returns the answer.
pub(super) async fn send(port: u16, request: &[u8]) -> Answer {
    let mut stream = connect(port).await;
    stream.write_all(request).await.unwrap();
    let text = read(&mut stream).await;
    Answer::take(&mut text.as_str())
}

/// A request without a body.
pub(super) async fn ask(port: u16, method: &str, target: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
    );
    send(port, request.as_bytes()).await
}

/// `POST` to `path`; `headers` has each header with its line end.
pub(super) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(super) const JSON: &str = "content-type: application/json\r\n";
