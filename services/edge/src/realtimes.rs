//! Forwards `/ws` and streams of events to a realtime daemon.
//!
//! A session lives in one daemon, and its id says in which: the edge adds the daemon's place in the list to the id that
//! the client gets, and takes it away from the id that the client sends. So sessions on polling stay with their daemon
//! through any edge, and whatever addresses their clients have.

mod follow;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, Uri, header, uri::PathAndQuery},
    response::Response,
};
use orders_http::{Forward, Origins, Unanswered};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

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
    pub(crate) fn new(origins: &Origins, shutdown: CancellationToken) -> Self {
        Self {
            forward: Forward::new(shutdown),
            origins: origins
                .iter()
                .map(|origin| origin.as_str().to_owned())
                .collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The place of the daemon that has the session of a request, and the URI by which the daemon knows the session. New
    /// sessions go to the daemons in turn.
    fn pick(&self, uri: &Uri) -> (usize, Option<Uri>) {
        let known = known(uri).filter(|(place, _)| *place < self.origins.len());
        match known {
            Some((place, uri)) => (place, Some(uri)),
            None => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                (turn % self.origins.len(), None)
            }
        }
    }
}

/// Forwards a request, and its response back.
pub(crate) async fn forward(
    State(realtimes): State<Arc<Realtimes>>,
    mut request: Request,
) -> Result<Response, Problem> {
    let (place, uri) = realtimes.pick(request.uri());
    let opens = uri.is_none() && !request.headers().contains_key(header::UPGRADE);
    if let Some(uri) = uri {
        *request.uri_mut() = uri;
    }
    let answer = realtimes.forward.send(&realtimes.origins[place], request);
    let response = answer.await.map_err(|unanswered| match unanswered {
        Unanswered::Path => Problem::bad_request("The path is not valid"),
        Unanswered::Body => Problem::bad_request("The body ended too early"),
        Unanswered::Silence => silence(),
        Unanswered::Shutdown => Problem::unavailable("Shutting down, connect again"),
    })?;
    if opens && response.status() == StatusCode::OK {
        return opened(response, place).await;
    }
    Ok(response)
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
    use super::*;

    fn realtimes() -> Realtimes {
        let origins = Origins::try_from("http://a,http://b,http://c".to_owned()).unwrap();
        Realtimes::new(&origins, CancellationToken::new())
    }

    #[test]
    fn a_session_stays_where_its_id_says_and_new_ones_take_turns() {
        let realtimes = realtimes();
        let pick = |query: &str| {
            let (place, uri) = realtimes.pick(&format!("/ws/?EIO=4{query}").parse().unwrap());
            (place, uri.map(|uri| uri.to_string()))
        };
        let known = Some("/ws/?EIO=4&sid=AAAAAAAAAAAAAAHs&t=x".to_owned());
        for _ in 0..2 {
            assert_eq!(pick("&sid=AAAAAAAAAAAAAAHs.2&t=x"), (2, known.clone()));
        }
        assert_eq!(pick("").0, 0);
        // The daemon that gets these knows no such session.
        assert_eq!(pick("&sid=AAAAAAAAAAAAAAHs.3"), (1, None));
        assert_eq!(pick("&sid=AAAAAAAAAAAAAAHs.x"), (2, None));
        assert_eq!(pick("&sid=AAAAAAAAAAAAAAHs"), (0, None));
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
