use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::SigningKey;

/// How an issuer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Answer,
    /// With status 500.
    Fail,
    /// Never.
    Hang,
    /// With a body that has no end.
    Flood,
    /// With a redirect to the right answer.
    Redirect,
    /// With the discovery document of another issuer.
    Pretend,
}

#[derive(Debug)]
pub(super) struct Server {
    url: String,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) signing: Arc<SigningKey>,
    pub(super) published: Vec<Value>,
    pub(super) behaviour: Behaviour,
    pub(super) key_fetches: usize,
}

impl Server {
    pub(super) fn new(url: String, key: SigningKey) -> Self {
        let state = State {
            published: vec![key.jwk()],
            signing: Arc::new(key),
            behaviour: Behaviour::Answer,
            key_fetches: 0,
        };
        Self {
            url,
            state: Mutex::new(state),
        }
    }

    pub(super) fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&self);
            tokio::spawn(async move { server.answer(stream).await });
        }
    }

    /// One request a connection; a client that goes away is no matter.
    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let path = path(&mut stream).await?;
        let behaviour = self.state(|state| {
            state.key_fetches += usize::from(path.starts_with("/keys"));
            state.behaviour
        });
        let (status, body) = match behaviour {
            Behaviour::Fail => (
                "500 Internal Server Error",
                json!({"error": "server_error"}),
            ),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Flood => return flood(&mut stream).await,
            // The right answer is behind it, so a client that follows is found out.
            Behaviour::Redirect if !path.ends_with("?again") => {
                let head = format!(
                    "HTTP/1.1 302 Found\r\nlocation: {}{path}?again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    self.url
                );
                return stream.write_all(head.as_bytes()).await.ok();
            }
            Behaviour::Redirect | Behaviour::Answer | Behaviour::Pretend => {
                self.document(&path, behaviour)
            }
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(body.as_bytes()).await.ok()
    }

    fn document(&self, path: &str, behaviour: Behaviour) -> (&'static str, Value) {
        let issuer = match behaviour {
            Behaviour::Pretend => "http://127.0.0.1:1",
            _ => &self.url,
        };
        match path.trim_end_matches("?again") {
            "/.well-known/openid-configuration" => (
                "200 OK",
                json!({"issuer": issuer, "jwks_uri": format!("{}/keys", self.url)}),
            ),
            "/keys" => (
                "200 OK",
                json!({"keys": self.state(|state| state.published.clone())}),
            ),
            _ => ("404 Not Found", json!({"error": "not_found"})),
        }
    }
}

/// The path of a request without a body.
async fn path(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.split(' ').nth(1).map(str::to_owned)
}

async fn flood(stream: &mut TcpStream) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    loop {
        stream.write_all(&[b' '; 16 << 10]).await.ok()?;
    }
}
