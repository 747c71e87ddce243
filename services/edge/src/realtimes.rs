//! Forwards `/ws` to a realtime daemon.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, Uri, header},
    response::Response,
};
use orders_http::{Forward, Unanswered, client_address};
use tokio_util::sync::CancellationToken;

use crate::{config::Origins, problem::Problem};

pub(crate) struct Realtimes {
    forward: Forward,
    origins: Vec<String>,
    turn: AtomicUsize,
}

impl Realtimes {
    pub(crate) fn new(origins: &Origins, shutdown: CancellationToken) -> Self {
        Self {
            forward: Forward::new(shutdown),
            origins: origins.iter().map(str::to_owned).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Picks a daemon. A session lives in one daemon, so the client's address decides for all its requests. A WebSocket
    /// without a session id is a whole session, and the daemons take turns.
    fn pick(&self, client: &str, is_bare_websocket: bool) -> &str {
        let number = if is_bare_websocket {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            hash(client)
        };
        &self.origins[number % self.origins.len()]
    }
}

/// Forwards a request, and its response back.
pub(crate) async fn forward(
    State(realtimes): State<Arc<Realtimes>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let client = client_address(request.headers(), peer.ip());
    let is_websocket = request.headers().contains_key(header::UPGRADE);
    let origin = realtimes.pick(&client, is_websocket && !has_session(request.uri()));
    let answer = realtimes.forward.send(origin, peer.ip(), request);
    answer.await.map_err(|unanswered| match unanswered {
        Unanswered::Path => Problem::bad_request("The path is not valid"),
        Unanswered::Silence => Problem::new(
            StatusCode::BAD_GATEWAY,
            "The realtime service does not answer",
        ),
        Unanswered::Shutdown => Problem::unavailable("Shutting down, connect again"),
    })
}

fn has_session(uri: &Uri) -> bool {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.starts_with("sid="))
}

/// FNV-1a, which is the same in every edge whatever compiler built it.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stays_with_one_realtime_and_bare_websockets_take_turns() {
        let origins = Origins::try_from("http://a,http://b,http://c".to_owned()).unwrap();
        let realtimes = Realtimes::new(&origins, CancellationToken::new());
        let picked = realtimes.pick("192.0.2.7", false);
        assert_eq!(realtimes.pick("192.0.2.7", false), picked);
        let turns: Vec<_> = (0..4).map(|_| realtimes.pick("192.0.2.7", true)).collect();
        assert_eq!(turns, ["http://a", "http://b", "http://c", "http://a"]);
        let spread: std::collections::HashSet<_> = (0..50)
            .map(|i| realtimes.pick(&format!("10.0.0.{i}"), false).to_owned())
            .collect();
        assert_eq!(spread.len(), 3);
    }
}
