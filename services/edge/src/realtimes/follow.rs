//! Opens streams of events at realtime daemons.

use axum::{
    extract::Request,
    http::{StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use orders_contracts::{TenantId, sse::PATH};
use orders_http::Unanswered;

use super::{Realtimes, silence};
use crate::problem::Problem;

impl Realtimes {
    /// Opens a stream of the changes of `tenant` for the sender of `request`, at the daemon whose turn it is or else at
    /// another one: any of them goes on from the offset of any other, and a browser does not repeat a request that was
    /// refused.
    pub(crate) async fn follow(
        &self,
        tenant: &TenantId,
        request: Request,
    ) -> Result<Response, Problem> {
        let (mut parts, _) = request.into_parts();
        parts.uri = format!("{PATH}?tenantId={tenant}")
            .parse()
            .expect("tenant ids fit into URIs");
        let (_, answer) = self.open(parts).await;
        match answer {
            Ok(response) if response.status() == StatusCode::OK => Ok(response),
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Err(
                Problem::unavailable("The changes cannot be followed for a moment, try again"),
            ),
            Ok(response) => Ok(refused(&response)),
            Err(Unanswered::Shutdown) => Err(Problem::unavailable("Shutting down, connect again")),
            Err(_) => Err(silence()),
        }
    }
}

/// What a daemon's refusal says here. The edge has asked the same before, so apart from the limit only what happened in
/// between gets so far.
fn refused(response: &Response) -> Response {
    match response.status() {
        StatusCode::UNAUTHORIZED => {
            let challenge = response.headers().get(WWW_AUTHENTICATE).cloned();
            let challenge = challenge.map(|challenge| [(WWW_AUTHENTICATE, challenge)]);
            let problem = Problem::unauthorized("The token is not valid, or not any more");
            (challenge, problem).into_response()
        }
        StatusCode::FORBIDDEN => Problem::forbidden().into_response(),
        StatusCode::TOO_MANY_REQUESTS => {
            let detail =
                "There are as many sockets and streams as there may be, close others first";
            Problem::too_much("sockets", 1, detail).into_response()
        }
        _ => silence().into_response(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use axum::{
        Router,
        body::Body,
        http::HeaderMap,
        routing::{MethodRouter, get},
    };
    use orders_http::Origins;
    use orders_service::Departure;
    use tokio::net::TcpListener;

    use super::*;

    /// The origin of a server that answers below `path`.
    pub(in crate::realtimes) async fn listen(path: &str, answer: MethodRouter) -> String {
        let router = Router::new().route(path, answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        origin
    }

    /// A daemon that answers with `status`, or with what it was asked.
    async fn daemon(status: StatusCode) -> String {
        let answer = move |request: Request| async move {
            let headers: &HeaderMap = request.headers();
            let last = headers.get("last-event-id").cloned();
            let last = last.map(|last| last.to_str().unwrap().to_owned());
            (status, format!("{} {last:?}", request.uri()))
        };
        listen(PATH, get(answer)).await
    }

    /// The status and the text of an answer through daemons with these statuses; 0 is one that is away.
    async fn follow(statuses: &[u16]) -> (u16, String) {
        let mut origins = Vec::new();
        for status in statuses {
            origins.push(match StatusCode::from_u16(*status) {
                Ok(status) => daemon(status).await,
                Err(_) => "http://127.0.0.1:9".to_owned(),
            });
        }
        let origins = Origins::try_from(origins.join(",")).unwrap();
        let realtimes = Realtimes::new(&origins, Departure::default());
        let request = Request::get("/api/orders/events?tenantId=other&x=%2F")
            .header("last-event-id", "7.42")
            .header("content-length", "3")
            .body(Body::from("abc"))
            .unwrap();
        let answer = realtimes.follow(&"t-1".parse().unwrap(), request).await;
        let answer = answer.into_response();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_stream_is_opened_at_any_daemon_that_can() {
        let asked = "/api/orders/events?tenantId=t-1 Some(\"7.42\")".to_owned();
        for statuses in [&[200][..], &[0, 200], &[503, 0, 200]] {
            assert_eq!(follow(statuses).await, (200, asked.clone()), "{statuses:?}");
        }
        for (statuses, expected) in [
            (&[0][..], 502),
            (&[503, 0], 502),
            (&[0, 503], 503),
            (&[401, 200], 401),
            (&[403], 403),
            (&[429, 200], 429),
            (&[500], 502),
        ] {
            assert_eq!(follow(statuses).await.0, expected, "{statuses:?}");
        }
    }
}
