//! A plain HTTP/1.1 client: one connection, one request at a time, and as little work as possible between the two.

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) const GET: &Method = &Method::GET;
pub(crate) const POST: &Method = &Method::POST;

/// A connection to a server.
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    authorization: Option<HeaderValue>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Connects to `url`, which has no path.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let host = url.strip_prefix("http://").context("an http:// address")?;
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            host: host.to_owned(),
            sender,
            authorization: None,
        })
    }

    /// Sends this as `Authorization` from now on.
    pub(crate) fn authorize(&mut self, authorization: Option<HeaderValue>) {
        self.authorization = authorization;
    }

    /// Sends a request, with a body of JSON unless `body` is empty, and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        if self.sender.ready().await.is_err() {
            // The server closes a connection that nothing comes over for a while.
            self.sender = Self::open(&format!("http://{}", self.host)).await?.sender;
            self.sender.ready().await?;
        }
        let body = body.into();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let answer = self
            .sender
            .send_request(request.body(Full::new(body))?)
            .await?;
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }
}
