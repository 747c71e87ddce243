//! Socket.IO subscribers, as thin as can be: they look for an order's id in what they are sent and note the time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// Events are small, and there may be thousands of sockets.
const READ_BUFFER: usize = 2 << 10;

/// A socket that has entered the room of its tenant.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects to the Socket.IO server behind `url` as a client of `tenant`.
    pub(crate) async fn connect(url: &str, tenant: &str) -> Result<Self> {
        let url = url.replacen("http", "ws", 1);
        let url = format!("{url}/ws/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (stream, _) = connect_async_with_config(url, Some(config), true).await?;
        let mut socket = Self(stream);
        ensure!(socket.packet().await?.starts_with('0'), "no handshake");
        let connect = format!(r#"40{{"tenantId":"{tenant}"}}"#);
        socket.0.send(Message::text(connect)).await?;
        while !socket.packet().await?.starts_with("40") {}
        Ok(socket)
    }

    /// The text of the next packet that is not a ping.
    async fn packet(&mut self) -> Result<String> {
        loop {
            let message = self.0.next().await.context("the socket was closed")??;
            match message {
                Message::Text(text) if text.as_str() == "2" => {
                    self.0.send(Message::text("3")).await?
                }
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                _ => {}
            }
        }
    }

    /// The next event: its name and the id of its order.
    pub(crate) async fn event(&mut self) -> Result<(String, String)> {
        loop {
            let packet = self.packet().await?;
            if packet.starts_with("42[")
                && let Some(name) = between(&packet, "[\"", '"')
                && let Some(order) = between(&packet, "\"orderId\":\"", '"')
            {
                return Ok((name.to_owned(), order.to_owned()));
            }
        }
    }
}

/// What is in `text` after `start` and before `end`.
pub(crate) fn between<'t>(text: &'t str, start: &str, end: char) -> Option<&'t str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// When each order was told to be updated.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<HashMap<String, Instant>>>);

impl Told {
    /// Listens with one socket for each tenant, as long as the set of tasks lives.
    pub(crate) async fn listen(
        url: &str,
        tenants: &[String],
    ) -> Result<(Self, JoinSet<Result<()>>)> {
        let told = Self::default();
        let mut tasks = JoinSet::new();
        for tenant in tenants {
            let mut socket = Socket::connect(url, tenant).await?;
            let told = told.clone();
            tasks.spawn(async move {
                loop {
                    let (name, order) = socket.event().await?;
                    if name == "order.updated" {
                        told.note(order);
                    }
                }
            });
        }
        Ok((told, tasks))
    }

    fn note(&self, order: String) {
        let now = Instant::now();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(order)
            .or_insert(now);
    }

    /// When `order` was told, which is forgotten.
    pub(crate) fn take(&self, order: &str) -> Option<Instant> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(order)
    }

    /// Whether each of `orders` was told. Others may have been as well: those that were accepted, but not stored in time.
    pub(crate) fn has_all(&self, orders: &[&str]) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.iter().all(|order| told.contains_key(*order))
    }
}
