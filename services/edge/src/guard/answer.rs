use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use orders_auth::{Refusal, Scope};

use crate::problem::Problem;

/// The answer to a refused request (RFC 6750); `metadata` is where clients learn how to get a token.
pub(super) fn answer(refusal: Refusal, metadata: &str) -> Response {
    let challenged = |problem: Problem| (challenge(refusal, metadata), problem).into_response();
    match refusal {
        Refusal::Missing => challenged(Problem::unauthorized("A bearer token is required")),
        Refusal::Malformed => challenged(Problem::bad_request(
            "There must be one Authorization header, with one bearer token",
        )),
        Refusal::Invalid(_) | Refusal::Expired => challenged(Problem::unauthorized(NOT_VALID)),
        Refusal::Scope(scope) => challenged(Problem::out_of_scope(scope.as_str())),
        Refusal::Tenant => Problem::forbidden().into_response(),
        Refusal::NoKeys { retry_after } => {
            let seconds = retry_after.as_secs_f64().ceil().max(1.0);
            let retry = [(header::RETRY_AFTER, format!("{seconds:.0}"))];
            (retry, Problem::unavailable(NOT_YET)).into_response()
        }
        Refusal::NoRevocations => Problem::unavailable(NOT_YET).into_response(),
    }
}

const NOT_YET: &str = "Tokens cannot be verified for a moment, try again";

const NOT_VALID: &str = "The token is not valid, or not any more";

/// `WWW-Authenticate`.
fn challenge(refusal: Refusal, metadata: &str) -> Option<[(HeaderName, HeaderValue); 1]> {
    let error = match refusal {
        Refusal::Missing => String::new(),
        Refusal::Malformed => r#", error="invalid_request""#.to_owned(),
        Refusal::Scope(scope) => scope_lacking(scope),
        _ => format!(r#", error="invalid_token", error_description="{NOT_VALID}""#),
    };
    let text = format!(r#"Bearer realm="orders", resource_metadata="{metadata}"{error}"#);
    let value = HeaderValue::try_from(text).ok()?;
    Some([(header::WWW_AUTHENTICATE, value)])
}

fn scope_lacking(scope: Scope) -> String {
    let scope = scope.as_str();
    format!(r#", error="insufficient_scope", scope="{scope}""#)
}

/// The kind of a refusal, for metrics.
pub(super) fn kind(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "missing",
        Refusal::Malformed => "malformed",
        Refusal::Invalid(_) => "invalid",
        Refusal::Expired => "expired",
        Refusal::Scope(_) => "scope",
        Refusal::Tenant => "tenant",
        Refusal::NoKeys { .. } => "no_keys",
        Refusal::NoRevocations => "no_revocations",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orders_auth::Reason;

    use super::*;

    const METADATA: &str = "https://shop.example/.well-known/oauth-protected-resource";

    fn told(refusal: Refusal) -> (u16, Option<String>, Option<String>) {
        let response = answer(refusal, METADATA);
        let text = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            text(header::WWW_AUTHENTICATE),
            text(header::RETRY_AFTER),
        )
    }

    #[test]
    fn every_refusal_has_its_answer() {
        let bearer = format!(r#"Bearer realm="orders", resource_metadata="{METADATA}""#);
        assert_eq!(told(Refusal::Missing), (401, Some(bearer.clone()), None));
        let invalid = format!(
            r#"{bearer}, error="invalid_token", error_description="The token is not valid, or not any more""#
        );
        for refusal in [
            Refusal::Expired,
            Refusal::Invalid(Reason::Signature),
            Refusal::Invalid(Reason::Revoked),
        ] {
            assert_eq!(told(refusal), (401, Some(invalid.clone()), None));
        }
        let malformed = format!(r#"{bearer}, error="invalid_request""#);
        assert_eq!(told(Refusal::Malformed), (400, Some(malformed), None));
        let scope = format!(r#"{bearer}, error="insufficient_scope", scope="orders:create""#);
        let lacking = Refusal::Scope(Scope::OrdersCreate);
        assert_eq!(told(lacking), (403, Some(scope), None));
        assert_eq!(told(Refusal::Tenant), (403, None, None));
        let unknown = (503, None, Some("1".to_owned()));
        assert_eq!(told(Refusal::NoRevocations), unknown);
        for (millis, seconds) in [(0, "1"), (4_001, "5"), (300_000, "300")] {
            let retry_after = Duration::from_millis(millis);
            let expected = (503, None, Some(seconds.to_owned()));
            assert_eq!(told(Refusal::NoKeys { retry_after }), expected);
        }
    }
}
