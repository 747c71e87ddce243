//! The one error body, which is both what NestJS sends and a problem of RFC 9457.

use std::any::Any;

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use orders_contracts::{Fault, FieldError, Invalid, ProblemDetails};
use orders_http::CorrelationId;

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The type and the title of one request too many of somebody, as IANA registers them.
const TOO_MUCH: (&str, &str) = (
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "Request cannot be satisfied as assigned quota has been exceeded",
);
/// The type and the title of one request too many of all together.
const OVERLOADED: (&str, &str) = (
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    "Request cannot be satisfied due to temporary server capacity constraints",
);

/// The type and the title of an order that may still come.
const NOT_YET: (&str, &str) = ("urn:orders:problem:not-yet", "The order is not there yet");
/// The type and the title of an order that is damaged.
const UNREADABLE: (&str, &str) = (
    "urn:orders:problem:unreadable",
    "The stored order cannot be read",
);

/// The type and the title of a request whose credentials allow other requests.
const OUT_OF_SCOPE: (&str, &str) = (
    "urn:orders:problem:insufficient-scope",
    "The credentials do not allow this operation",
);
/// The type and the title of a webhook that was signed at another time.
const STALE: (&str, &str) = (
    "urn:orders:problem:stale-webhook",
    "The webhook is of another time",
);
/// The type and the title of an order with another tenant's file.
const FOREIGN_ATTACHMENT: (&str, &str) = (
    "urn:orders:problem:foreign-attachment",
    "The attachment is not an upload of the tenant",
);

/// Why a request failed. It never reveals internals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The type and the title, if the status does not say them.
    kind: Option<(&'static str, &'static str)>,
    detail: String,
    errors: Vec<FieldError>,
    /// The limit that the request exceeds.
    violated: Option<&'static str>,
    /// When the client may try again, in seconds, if that may help.
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: None,
            detail: detail.into(),
            errors: Vec::new(),
            violated: None,
            retry_after: None,
        }
    }

    /// It, with the seconds after which another try may help.
    pub(crate) fn retry(self, after: u64) -> Self {
        Self {
            retry_after: Some(after),
            ..self
        }
    }

    /// The answer to a read of an order that may still come.
    pub(crate) fn not_yet() -> Self {
        let detail = "Order not found; it may still be on its way, try again";
        let problem = Self::new(StatusCode::NOT_FOUND, detail);
        Self {
            kind: Some(NOT_YET),
            ..problem.retry(1)
        }
    }

    /// The answer to a request without valid credentials.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// The answer to a request whose credentials lack `scope`.
    pub(crate) fn out_of_scope(scope: &str) -> Self {
        let detail = format!("The token lacks the scope {scope}");
        Self::of_kind(StatusCode::FORBIDDEN, OUT_OF_SCOPE, &detail)
    }

    /// The answer to a request about another tenant, whether or not there is one.
    pub(crate) fn forbidden() -> Self {
        let detail = "The token is not for this tenant";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// The answer to a webhook that may be a recording of an old one.
    pub(crate) fn stale() -> Self {
        let detail = "The webhook's time is more than 5 minutes from now; sign it anew";
        Self::of_kind(StatusCode::BAD_REQUEST, STALE, detail)
    }

    /// The answer to an order with a file that its tenant has not uploaded.
    pub(crate) fn foreign_attachment() -> Self {
        let detail = "attachment.storageKey must be of an upload of the same tenant";
        Self::of_kind(StatusCode::UNPROCESSABLE_ENTITY, FOREIGN_ATTACHMENT, detail)
    }

    pub(crate) fn of_kind(
        status: StatusCode,
        kind: (&'static str, &'static str),
        detail: &str,
    ) -> Self {
        Self {
            kind: Some(kind),
            ..Self::new(status, detail)
        }
    }

    /// It, with the fields that are at fault.
    pub(crate) fn about(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// The last word of its type, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        let (kind, _) = self.type_and_title();
        kind.rsplit([':', '#']).next().unwrap_or(kind)
    }

    /// The answer to any request about an order that is damaged.
    pub(crate) fn unreadable() -> Self {
        let detail = "The stored order cannot be read; whoever runs the service has to repair it";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
        Self {
            kind: Some(UNREADABLE),
            ..problem
        }
    }

    pub(crate) fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "The request is not valid".to_owned(),
            [only] => only.message.clone(),
            [first, rest @ ..] => format!("{}, and {} more", first.message, rest.len()),
        };
        Self {
            errors,
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }

    /// A fault of the request's line or headers.
    pub(crate) fn bad_request(detail: &str) -> Self {
        Self::validation(vec![FieldError::of_message(detail)])
    }

    pub(crate) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(1)
    }

    /// More than the edge can take from all clients together.
    pub(crate) fn overloaded(detail: &str) -> Self {
        Self {
            kind: Some(OVERLOADED),
            ..Self::unavailable(detail)
        }
    }

    /// More than the limit `violated` lets somebody have; after so many seconds it may be less.
    pub(crate) fn too_much(violated: &'static str, after: u64, detail: &str) -> Self {
        Self {
            kind: Some(TOO_MUCH),
            violated: Some(violated),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry(after)
        }
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    fn reason(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or_default()
    }

    /// The type and its title; `about:blank` is the type of a problem that its status alone explains.
    fn type_and_title(&self) -> (&'static str, &'static str) {
        if let Some(kind) = self.kind {
            return kind;
        }
        match self.status {
            StatusCode::BAD_REQUEST => {
                ("urn:orders:problem:validation", "The request is not valid")
            }
            StatusCode::UNAUTHORIZED => (
                "urn:orders:problem:unauthorized",
                "The request has no valid credentials",
            ),
            StatusCode::FORBIDDEN => (
                "urn:orders:problem:forbidden",
                "The credentials are for other tenants",
            ),
            StatusCode::CONFLICT => (
                "urn:orders:problem:not-cancellable",
                "The order is no longer PENDING",
            ),
            StatusCode::UNPROCESSABLE_ENTITY => (
                "urn:orders:problem:idempotency-mismatch",
                "The request id was used for another body",
            ),
            StatusCode::TOO_MANY_REQUESTS => TOO_MUCH,
            StatusCode::SERVICE_UNAVAILABLE => (
                "urn:orders:problem:unavailable",
                "The service is temporarily unavailable",
            ),
            _ => ("about:blank", self.reason()),
        }
    }
}

impl From<Invalid> for Problem {
    fn from(Invalid(errors): Invalid) -> Self {
        Self::validation(errors)
    }
}

impl From<Problem> for ProblemDetails {
    fn from(problem: Problem) -> Self {
        let (kind, title) = problem.type_and_title();
        let (status, reason) = (problem.status.as_u16(), problem.reason());
        let message = match problem.errors.as_slice() {
            [] => vec![problem.detail.clone()],
            errors => errors.iter().map(|error| error.message.clone()).collect(),
        };
        let fault = |error: FieldError| Fault {
            pointer: error.pointer,
            detail: error.detail,
        };
        Self {
            status_code: status,
            message,
            error: reason.to_owned(),
            kind: kind.to_owned(),
            title: title.to_owned(),
            status,
            detail: problem.detail,
            instance: None,
            trace_id: None,
            errors: problem.errors.into_iter().map(fault).collect(),
            violated_policies: problem.violated.map(str::to_owned).into_iter().collect(),
        }
    }
}

impl IntoResponse for Problem {
    /// Leaves the body to [`render`], which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a problem, which names the request. It is labelled `application/json`, as NestJS does, unless the
/// client names `application/problem+json`.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let media_type = if names_problem(request.headers()) {
        PROBLEM_JSON
    } else {
        "application/json"
    };
    let id = request.extensions().get::<CorrelationId>().cloned();
    let (mut parts, body) = next.run(request).await.into_parts();
    let Some(problem) = parts.extensions.remove::<Problem>() else {
        return Response::from_parts(parts, body);
    };
    let problem = ProblemDetails {
        instance: id.as_ref().map(CorrelationId::uri),
        trace_id: id.as_ref().map(CorrelationId::trace_id),
        ..problem.into()
    };
    let content_type = [(header::CONTENT_TYPE, media_type)];
    (parts, content_type, Json(problem)).into_response()
}

fn names_problem(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(is_problem)
}

/// Whether a media range is `application/problem+json`, with a weight (`q`) that is not 0.
fn is_problem(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_named = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM_JSON));
    let is_refused = |(name, weight): (&str, &str)| {
        name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32)
    };
    is_named && !parts.filter_map(|one| one.split_once('=')).any(is_refused)
}

/// The answer to an unknown path.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, unroutable(&method, &uri))
}

/// The answer to a method that the path does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, unroutable(&method, &uri))
}

fn unroutable(method: &Method, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("Cannot {method} {path:.256}")
}

/// The answer after a panic of a handler; the log has the panic itself.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_body_serves_nest_clients_and_rfc_9457() {
        let errors = vec![
            FieldError::new(&["items", "0", "qty"], "must be an integer number"),
            FieldError::unknown("extra"),
        ];
        let body = serde_json::to_value(ProblemDetails::from(Problem::validation(errors))).unwrap();
        let expected = json!({
            "statusCode": 400,
            "message": ["items.0.qty must be an integer number", "property extra should not exist"],
            "error": "Bad Request",
            "type": "urn:orders:problem:validation",
            "title": "The request is not valid",
            "status": 400,
            "detail": "items.0.qty must be an integer number, and 1 more",
            "errors": [
                { "pointer": "#/items/0/qty", "detail": "must be an integer number" },
                { "pointer": "#/extra", "detail": "should not exist" },
            ],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_problem_without_fields_has_its_detail_as_message() {
        let problem = Problem::new(StatusCode::NOT_FOUND, "Cannot GET /nope");
        let body = serde_json::to_value(ProblemDetails::from(problem)).unwrap();
        let expected = json!({
            "statusCode": 404, "message": ["Cannot GET /nope"], "error": "Not Found",
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": "Cannot GET /nope",
            "errors": [],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_client_has_to_name_problem_json() {
        let accept = |value: &'static str| {
            names_problem(&HeaderMap::from_iter([(
                header::ACCEPT,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(accept("application/json, Application/problem+json; q=0.9"));
        assert!(accept("application/problem+json;v=0;q=0.001"));
        assert!(!accept("application/problem+json;q=0, application/json"));
        assert!(!accept("application/problem+json; Q=0.000"));
        assert!(!accept("*/*"));
        assert!(!accept("application/json"));
        assert!(!names_problem(&HeaderMap::new()));
    }
}
