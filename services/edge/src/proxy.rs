//! Passes `/ws` to a realtime daemon, byte for byte: polling as plain requests, websockets as a tunnel.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::{copy, split};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    config::Origins,
    problem::{Kind, Problem},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The headers of one connection, which a proxy does not pass on (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way to the realtime daemons.
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    realtimes: Vec<String>,
    turn: AtomicUsize,
    shutdown: CancellationToken,
}

impl Proxy {
    pub(crate) fn new(realtimes: &Origins, shutdown: CancellationToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            realtimes: realtimes.iter().map(str::to_owned).collect(),
            turn: AtomicUsize::new(0),
            shutdown,
        }
    }

    /// A session lives in one realtime daemon, so all its requests go by the client's address. A websocket without one
    /// is a session of its own and goes to the next in turn.
    fn pick(&self, client: &str, is_bare_websocket: bool) -> &str {
        let number = if is_bare_websocket {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            hash(client)
        };
        &self.realtimes[number % self.realtimes.len()]
    }
}

/// How long a client may take nothing of what is sent to it.
const STALLED: Duration = Duration::from_secs(10);

/// Passes a request on and its answer back.
pub(crate) async fn forward(
    State(proxy): State<Arc<Proxy>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Result<Response, Problem> {
    let upgrade = requested_upgrade(request.headers());
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let forwarded_for = forwarded_for(request.headers(), peer.ip());
    let address = forwarded_for.split(',').next().unwrap_or_default().trim();
    let realtime = proxy.pick(address, upgrade.is_some() && !has_session(request.uri()));

    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("{realtime}{path}")
        .parse()
        .map_err(|_| Problem::bad_request("The path is not valid"))?;
    *request.version_mut() = hyper::Version::HTTP_11;
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    if let Some(protocol) = upgrade {
        upgrade_to(headers, protocol);
    }
    if let Ok(value) = HeaderValue::try_from(&forwarded_for) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Some(host) = headers.remove(header::HOST) {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }

    let answer = proxy
        .shutdown
        .run_until_cancelled(proxy.client.request(request))
        .await;
    let mut response = match answer {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            warn!("{realtime} does not answer: {error}");
            return Err(Problem::new(
                Kind::BadGateway,
                "The realtime service does not answer",
            ));
        }
        None => return Err(Problem::unavailable("Shutting down, connect again")),
    };
    let realtime = hyper::upgrade::on(&mut response);
    let protocol = response.headers_mut().remove(header::UPGRADE);
    remove_hop_by_hop(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let (Some(client), Some(protocol)) = (client, protocol)
    {
        upgrade_to(response.headers_mut(), protocol);
        tokio::spawn(
            proxy
                .shutdown
                .clone()
                .run_until_cancelled_owned(tunnel(client, realtime)),
        );
    }
    Ok(response.map(Body::new))
}

/// Carries bytes both ways until either side closes.
async fn tunnel(client: OnUpgrade, realtime: OnUpgrade) {
    let (client, realtime) = match tokio::try_join!(client, realtime) {
        Ok(both) => both,
        Err(error) => return debug!("a tunnel was not opened: {error}"),
    };
    // A client that has stopped reading would hold its tunnel for ever.
    let mut client = TimeoutStream::new(TokioIo::new(client));
    client.set_write_timeout(Some(STALLED));
    let (mut from_client, mut to_client) = split(Box::pin(client));
    let (mut from_realtime, mut to_realtime) = split(TokioIo::new(realtime));
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_realtime) => ended,
        ended = copy(&mut from_realtime, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        debug!("a tunnel broke: {error}");
    }
}

fn requested_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| wants).cloned()
}

fn upgrade_to(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| option.parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The addresses the request came through so far, the client's first.
fn forwarded_for(headers: &HeaderMap, peer: IpAddr) -> String {
    let values = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut addresses: Vec<String> = values.map(str::to_owned).collect();
    addresses.push(peer.to_canonical().to_string());
    addresses.join(", ")
}

fn has_session(uri: &Uri) -> bool {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.starts_with("sid="))
}

/// FNV-1a: the same in every edge, whatever it was built with.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash as usize
}

#[cfg(test)]
mod tests;
