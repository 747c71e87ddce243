//! Refusals of plain requests. The edge writes its own for its clients; these are for those who call this daemon.

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use orders_contracts::ProblemDetails;

use crate::handshake::ConnectError;

/// The answer to a client that was not let in.
pub(crate) fn answer(refusal: &ConnectError) -> Response {
    let status = match refusal {
        ConnectError::Required | ConnectError::Twice | ConnectError::Invalid(_) => {
            StatusCode::BAD_REQUEST
        }
        ConnectError::TokenRequired | ConnectError::TokenExpired => StatusCode::UNAUTHORIZED,
        ConnectError::Forbidden => StatusCode::FORBIDDEN,
        ConnectError::Unavailable | ConnectError::Revocations => StatusCode::SERVICE_UNAVAILABLE,
        ConnectError::Full => StatusCode::TOO_MANY_REQUESTS,
    };
    problem(status, &refusal.to_string())
}

/// The answer of a daemon that stops: another one, or the next one, takes the client.
pub(crate) fn shutting_down() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down")
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let problem = ProblemDetails {
        status_code: status.as_u16(),
        message: vec![detail.to_owned()],
        error: reason.to_owned(),
        kind: "about:blank".to_owned(),
        title: reason.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        instance: None,
        trace_id: None,
        errors: Vec::new(),
        violated_policies: Vec::new(),
    };
    let mut response = (status, Json(problem)).into_response();
    let headers = response.headers_mut();
    let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
    insert(CONTENT_TYPE, "application/problem+json");
    insert(CACHE_CONTROL, "no-store");
    match status {
        StatusCode::UNAUTHORIZED => {
            insert(
                WWW_AUTHENTICATE,
                r#"Bearer realm="orders", error="invalid_token""#,
            );
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            insert(RETRY_AFTER, "1");
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_status_that_the_edge_knows() {
        let told = |refusal: ConnectError| {
            let response = answer(&refusal);
            let has = |name| response.headers().contains_key(name);
            let status = response.status().as_u16();
            (status, has(WWW_AUTHENTICATE), has(RETRY_AFTER))
        };
        let rule = "a.b".parse::<orders_contracts::TenantId>().unwrap_err();
        for (refusal, expected) in [
            (ConnectError::Required, (400, false, false)),
            (ConnectError::Twice, (400, false, false)),
            (ConnectError::Invalid(rule), (400, false, false)),
            (ConnectError::TokenRequired, (401, true, false)),
            (ConnectError::TokenExpired, (401, true, false)),
            (ConnectError::Forbidden, (403, false, false)),
            (ConnectError::Full, (429, false, true)),
            (ConnectError::Unavailable, (503, false, true)),
            (ConnectError::Revocations, (503, false, true)),
        ] {
            assert_eq!(told(refusal), expected);
        }
        assert_eq!(shutting_down().status(), 503);
    }
}
