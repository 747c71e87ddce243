//! Many clients of one realtime daemon that only note when they are cut.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future::join_all};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

use crate::sse::Follower;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// When its members are cut.
pub(super) struct Crowd(JoinSet<Instant>);

impl Crowd {
    /// Joins with `count` sockets and half as many streams.
    pub(super) async fn join(url: &str, count: usize) -> Self {
        let mut cut = JoinSet::new();
        let sockets = (0..count).map(async |_| Self::join_one(url).await.expect("a socket"));
        for mut socket in join_all(sockets).await {
            cut.spawn(async move {
                while let Some(Ok(_)) = socket.next().await {}
                Instant::now()
            });
        }
        let streams = (0..count / 2).map(|_| Follower::open(url, "t-1", None));
        for mut stream in join_all(streams).await {
            cut.spawn(async move {
                stream.end().await;
                Instant::now()
            });
        }
        Self(cut)
    }

    /// Joins with one socket, and waits until it is in the room of its tenant.
    pub(super) async fn join_one(url: &str) -> Result<Socket, Error> {
        let url = url.replacen("http", "ws", 1) + "/ws/?EIO=4&transport=websocket";
        let (mut socket, _) = connect_async(url).await?;
        let connect = Message::text(r#"40{"tenantId":"t-1"}"#);
        socket.send(connect).await?;
        while let Some(message) = socket.next().await {
            if message?.to_text()?.contains("\"connected\"") {
                return Ok(socket);
            }
        }
        Err(Error::ConnectionClosed)
    }

    /// Checks that all were cut during a drain that began at that time, as many in each part of it.
    pub(super) async fn left_evenly(self, began: Instant, drain: Duration) {
        const PARTS: usize = 4;
        let cuts = self.0.join_all().await;
        let mut counts = [0; PARTS];
        for cut in &cuts {
            let part = (*cut - began).as_secs_f64() / drain.as_secs_f64() * PARTS as f64;
            // What came last may be read a little later.
            counts[(part as usize).min(PARTS - 1)] += 1;
            assert!(*cut < began + drain + Duration::from_secs(1), "{part}");
        }
        eprintln!("{counts:?} in the parts of {drain:?}");
        let fair = cuts.len() / PARTS;
        let is_even = |count: &usize| (fair / 2..fair * 2).contains(count);
        assert!(counts.iter().all(is_even), "{counts:?}");
    }
}
