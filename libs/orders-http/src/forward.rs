use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use orders_contracts::{TraceContext, http_header::TRACEPARENT};
use orders_service::{Departure, Seldom, chain};
use tokio::{
    io::{copy, split},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, warn};

use crate::{
    correlation::{CorrelationId, REQUEST_ID},
    prefix::FORWARDED_PREFIX,
    proxies::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection to a service is kept. The service keeps it for longer, so it does not close the connection
/// under a request.
const IDLE: Duration = Duration::from_secs(5);
/// How long a client may take nothing of the data that is sent to it.
const STALLED: Duration = Duration::from_secs(10);

/// The media type of answers that have no end.
const EVENT_STREAM: &str = "text/event-stream";

/// The headers of one connection, which are not forwarded (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers that no `Connection` takes away: they say who calls, and where, so they are for whoever answers.
const FOR_ALL: [HeaderName; 5] = [
    FORWARDED_FOR,
    FORWARDED_PROTO,
    FORWARDED_PREFIX,
    header::HOST,
    header::AUTHORIZATION,
];

/// Forwards requests to other services, byte for byte, and WebSockets through a tunnel. A stream of events is passed on as
/// it comes.
///
/// `X-Forwarded-Host` tells the other service the `Host` of the request, as [`Front`](crate::Front) tells it the rest. It
/// adds `traceparent` and `x-request-id` of [`observe`](crate::observe).
#[derive(Debug, Clone)]
pub struct Forward {
    client: Client<HttpConnector, Body>,
    departure: Departure,
}

/// In the extensions of a request that is forwarded: how long its WebSocket or stream of events may last.
#[derive(Debug, Clone)]
pub struct Until {
    /// Closes it when cancelled; dropped when it is closed.
    pub cut: Arc<CancellationToken>,
    /// When it is closed at the latest.
    pub end: Instant,
}

/// Why a forwarded request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The path of the request is not valid.
    #[error("the path is not valid")]
    Path,
    /// The body of the request ended too early, or breaks the rules of HTTP.
    #[error("the body ended too early")]
    Body,
    /// The other service does not answer.
    #[error("the service does not answer")]
    Silence,
    /// This service is shutting down.
    #[error("shutting down")]
    Shutdown,
}

impl Forward {
    /// The `departure` closes tunnels and ends streams of events one by one; its end gives up on unanswered requests.
    #[must_use]
    pub fn new(departure: Departure) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .build(connector),
            departure,
        }
    }

    /// Forwards a request to `origin`, such as `http://localhost:3001`, and the response back.
    ///
    /// # Errors
    /// If the service does not answer. A response of any status is not an error.
    pub async fn send(&self, origin: &str, mut request: Request) -> Result<Response, Unanswered> {
        let upgrade = requested_upgrade(request.headers());
        let until = request.extensions_mut().remove::<Until>();
        let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("{origin}{path}")
            .parse()
            .map_err(|_| Unanswered::Path)?;
        *request.version_mut() = hyper::Version::HTTP_11;
        let trace = request.extensions().get::<TraceContext>().copied();
        let id = request.extensions().get::<CorrelationId>().cloned();
        let headers = request.headers_mut();
        let takes_trailers = takes_trailers(headers);
        remove_hop_by_hop(headers);
        if let Some(protocol) = upgrade {
            upgrade_to(headers, protocol);
        }
        if takes_trailers {
            headers.append(header::CONNECTION, HeaderValue::from_static("TE"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(host) = headers.remove(header::HOST) {
            headers.insert(FORWARDED_HOST, host);
        }
        if let Some(Ok(trace)) = trace.map(|trace| HeaderValue::try_from(trace.to_string())) {
            headers.insert(TRACEPARENT, trace);
        }
        if let Some(id) = id {
            headers.insert(REQUEST_ID, id.header());
        }

        let answer = tokio::select! {
            answer = self.client.request(request) => answer,
            () = self.departure.over() => return Err(Unanswered::Shutdown),
        };
        let mut response = match answer {
            Ok(response) => response,
            Err(error) if is_of_body(&error) => return Err(Unanswered::Body),
            Err(error) => {
                static LINES: Seldom = Seldom::new();
                LINES.say(|unsaid| warn!(unsaid, "{origin} does not answer: {}", chain(&error)));
                return Err(Unanswered::Silence);
            }
        };
        let server = hyper::upgrade::on(&mut response);
        let protocol = response.headers_mut().remove(header::UPGRADE);
        remove_hop_by_hop(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let (Some(client), Some(protocol)) = (client, protocol)
        {
            upgrade_to(response.headers_mut(), protocol);
            let (tunnel, departure) = (tunnel_until(until, client, server), self.departure.clone());
            let tunnel = async move {
                tokio::select! {
                    () = tunnel => {}
                    () = departure.turn() => {}
                }
            };
            tokio::spawn(tunnel.in_current_span());
            return Ok(response.map(Body::new));
        }
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let is_endless = media_type.is_some_and(|media_type| media_type == EVENT_STREAM);
        let response = response.map(Body::new);
        Ok(match is_endless {
            true => response.map(|body| ending(body, until, self.departure.clone())),
            false => response,
        })
    }
}

/// A body that goes on until the service ends it, or `until`, or the departure of this service.
fn ending(body: Body, until: Option<Until>, departure: Departure) -> Body {
    let over = async move {
        let Some(Until { cut, end }) = until else {
            return departure.turn().await;
        };
        tokio::select! {
            () = departure.turn() => {}
            () = cut.cancelled() => {}
            () = sleep_until(end) => {}
        }
    };
    Body::from_stream(body.into_data_stream().take_until(Box::pin(over)))
}

/// Whether a request failed because its body did, which comes from the client.
fn is_of_body(error: &ClientError) -> bool {
    let cause = error.source();
    cause.is_some_and(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_user))
}

async fn tunnel_until(until: Option<Until>, client: OnUpgrade, server: OnUpgrade) {
    let tunnel = tunnel(client, server);
    let Some(Until { cut, end }) = until else {
        return tunnel.await;
    };
    let _ = timeout_at(end, cut.run_until_cancelled(tunnel)).await;
}

/// Carries bytes both ways until either side closes.
async fn tunnel(client: OnUpgrade, server: OnUpgrade) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => return debug!("a tunnel was not opened: {error}"),
    };
    // A client that has stopped reading would keep its tunnel open for ever.
    let mut client = TimeoutStream::new(TokioIo::new(client));
    client.set_write_timeout(Some(STALLED));
    let (mut from_client, mut to_client) = split(Box::pin(client));
    let (mut from_server, mut to_server) = split(TokioIo::new(server));
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended,
        ended = copy(&mut from_server, &mut to_client) => ended,
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
        .filter(|name| !FOR_ALL.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether the client can read fields behind a body.
fn takes_trailers(headers: &HeaderMap) -> bool {
    list(headers, header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, header::CONNECTION)
}

fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests;
