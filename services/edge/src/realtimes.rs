//! Forwards `/ws` and streams of events to a realtime daemon.
//!
//! A session lives in one daemon, and its id says in which: the edge adds the daemon's place in the list to the id that
//! the client gets, and takes it away from the id that the client sends. So sessions on polling stay with their daemon
//! through any edge, and whatever addresses their clients have.

mod follow;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header, request::Parts, uri::PathAndQuery},
    response::Response,
};
use orders_http::{Forward, Origins, Unanswered};
use orders_service::Departure;
use tokio::time::timeout;

use crate::problem::Problem;

/// How long a daemon may take to begin a session or a stream.
const OPENING: Duration = Duration::from_secs(5);
/// More than an answer that opens a session can have.
const MAX_OPENING: usize = 4 << 10;
/// Stands between an id and a daemon's place; no id has it.
const AT: char = '.';

pub(crate) struct Realtimes {
    forward: Forward,
    origins: Vec<String>,
    turn: AtomicUsize,
}

impl Realtimes {
    pub(crate) fn new(origins: &Origins, departure: Departure) -> Self {
        Self {
            forward: Forward::new(departure),
            origins: origins
                .iter()
                .map(|origin| origin.as_str().to_owned())
                .collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The place of the daemon that has the session of a request, and the URI by which the daemon knows the session.
    fn known(&self, uri: &Uri) -> Option<(usize, Uri)> {
        known(uri).filter(|(place, _)| *place < self.origins.len())
    }

    /// The place of the daemon whose turn it is.
    fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed) % self.origins.len()
    }

    /// Sends a request that begins a session or a stream to the daemon whose turn it is, or else to another one: one that
    /// is about to stop takes nobody. Returns the place of the daemon, and its answer.
    async fn open(&self, parts: Parts) -> (usize, Result<Response, Unanswered>) {
        let mut place = self.turn();
        for _ in 1..self.origins.len() {
            let answer = self.ask(place, parts.clone()).await;
            let elsewhere = match &answer {
                Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
                Err(unanswered) => *unanswered == Unanswered::Silence,
            };
            if !elsewhere {
                return (place, answer);
            }
            place = (place + 1) % self.origins.len();
        }
        (place, self.ask(place, parts).await)
    }

    async fn ask(&self, place: usize, mut parts: Parts) -> Result<Response, Unanswered> {
        // A body that came with it goes no further.
        parts.headers.remove(header::CONTENT_LENGTH);
        let request = Request::from_parts(parts, Body::empty());
        let answer = self.forward.send(&self.origins[place], request);
        let answer = timeout(OPENING, answer).await;
        answer.unwrap_or(Err(Unanswered::Silence))
    }
}

/// Forwards a request, and its response back.
pub(crate) async fn forward(
    State(realtimes): State<Arc<Realtimes>>,
    mut request: Request,
) -> Result<Response, Problem> {
    if let Some((place, uri)) = realtimes.known(request.uri()) {
        *request.uri_mut() = uri;
        let answer = realtimes.forward.send(&realtimes.origins[place], request);
        return answer.await.map_err(problem);
    }
    if request.method() != Method::GET {
        // It belongs to no session, as the daemon will say.
        let origin = &realtimes.origins[realtimes.turn()];
        return realtimes
            .forward
            .send(origin, request)
            .await
            .map_err(problem);
    }
    let (parts, _) = request.into_parts();
    let polls = !parts.headers.contains_key(header::UPGRADE);
    let (place, answer) = realtimes.open(parts).await;
    let response = answer.map_err(problem)?;
    if polls && response.status() == StatusCode::OK {
        return opened(response, place).await;
    }
    Ok(response)
}

fn problem(unanswered: Unanswered) -> Problem {
    match unanswered {
        Unanswered::Path => Problem::bad_request("The path is not valid"),
        Unanswered::Body => Problem::bad_request("The body ended too early"),
        Unanswered::Silence => silence(),
        Unanswered::Shutdown => Problem::unavailable("Shutting down, connect again"),
    }
}

fn silence() -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "The realtime service does not answer",
    )
}

/// Adds the daemon's place to the session id of an answer that opens a session on polling.
async fn opened(response: Response, place: usize) -> Result<Response, Problem> {
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_OPENING).await.map_err(|_| silence())?;
    let text = String::from_utf8_lossy(&body);
    let named = text
        .strip_prefix(r#"0{"sid":""#)
        .and_then(|rest| rest.split_once('"'));
    let body = match named {
        Some((sid, rest)) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Body::from(format!(r#"0{{"sid":"{sid}{AT}{place}"{rest}"#))
        }
        None => Body::from(body),
    };
    Ok(Response::from_parts(parts, body))
}

/// The place that the session id of a URI names, and the URI without it.
fn known(uri: &Uri) -> Option<(usize, Uri)> {
    let query = uri.query()?;
    let pair = query.split('&').find(|pair| pair.starts_with("sid="))?;
    let (sid, place) = pair.split_once(AT)?;
    let query = query.replacen(pair, sid, 1);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{}?{query}", uri.path())).ok()?);
    Some((place.parse().ok()?, Uri::from_parts(parts).ok()?))
}

#[cfg(test)]
mod tests {
    use axum::{response::IntoResponse, routing::any};

    use super::*;
    use crate::realtimes::follow::tests::listen;

    #[test]
    fn a_session_stays_where_its_id_says_and_new_ones_take_turns() {
        let origins = Origins::try_from("http://a,http://b,http://c".to_owned()).unwrap();
        let realtimes = Realtimes::new(&origins, Departure::default());
        let known = |query: &str| {
            let known = realtimes.known(&format!("/ws/?EIO=4{query}").parse().unwrap());
            known.map(|(place, uri)| (place, uri.to_string()))
        };
        let uri = "/ws/?EIO=4&sid=AAAAAAAAAAAAAAHs&t=x".to_owned();
        assert_eq!(known("&sid=AAAAAAAAAAAAAAHs.2&t=x"), Some((2, uri)));
        for unknown in ["", "&sid=A.3", "&sid=A.x", "&sid=A"] {
            assert_eq!(known(unknown), None, "{unknown}");
        }
        assert_eq!([(); 4].map(|()| realtimes.turn()), [0, 1, 2, 0]);
    }

    #[tokio::test]
    async fn a_session_begins_at_any_daemon_that_takes_it() {
        let full = any(async || StatusCode::SERVICE_UNAVAILABLE);
        let open = any(async || r#"0{"sid":"AAAAAAAAAAAAAAHs","upgrades":[]}"#);
        let [stopping, open] = [full, open].map(|answer| listen("/ws/", answer));
        let origins = format!("http://127.0.0.1:9,{},{}", stopping.await, open.await);
        let origins = Origins::try_from(origins).unwrap();
        let realtimes = Arc::new(Realtimes::new(&origins, Departure::default()));
        let ask = async |method: Method, query: &str| {
            let request = Request::builder().method(method);
            let request = request.uri(format!("/ws/?EIO=4{query}"));
            let request = request.body(Body::empty()).unwrap();
            match forward(State(Arc::clone(&realtimes)), request).await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                    (status, String::from_utf8(body.to_vec()).unwrap())
                }
                Err(problem) => (problem.into_response().status().as_u16(), String::new()),
            }
        };
        for _ in 0..3 {
            let (status, opened) = ask(Method::GET, "").await;
            assert_eq!(status, 200);
            assert!(opened.contains(r#""AAAAAAAAAAAAAAHs.2""#), "{opened}");
        }
        // What belongs to a session goes nowhere else.
        assert_eq!(ask(Method::GET, "&sid=AAAAAAAAAAAAAAHs.0").await.0, 502);
        assert_eq!(ask(Method::GET, "&sid=AAAAAAAAAAAAAAHs.1").await.0, 503);
    }

    #[tokio::test]
    async fn the_id_of_a_new_session_says_where_it_is() {
        let changed = async |body: &'static str| {
            let response = Response::new(Body::from(body));
            let response = opened(response, 1).await.unwrap();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let open = changed(r#"0{"sid":"AAAAAAAAAAAAAAHs","upgrades":["websocket"]}"#).await;
        assert_eq!(
            open,
            r#"0{"sid":"AAAAAAAAAAAAAAHs.1","upgrades":["websocket"]}"#
        );
        assert_eq!(
            changed("96:0{\"sid\":\"none\"}").await,
            "96:0{\"sid\":\"none\"}"
        );
    }
}
