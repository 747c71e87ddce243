//! Conditional reads (RFC 9110 section 13.1.2): who has the latest version of something does not get it again.

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use headers::{ETag, HeaderMapExt, IfNoneMatch};

/// Answers with `answer`, or with 304 if `asked`, the headers of the request, name `tag` in `If-None-Match`.
pub(crate) fn unless_known(asked: &HeaderMap, tag: ETag, answer: impl IntoResponse) -> Response {
    let known = asked.typed_get::<IfNoneMatch>();
    let mut response = if known.is_none_or(|known| known.precondition_passes(&tag)) {
        answer.into_response()
    } else {
        StatusCode::NOT_MODIFIED.into_response()
    };
    response.headers_mut().typed_insert(tag);
    response
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn a_tag_that_the_client_names_is_not_modified() {
        for (known, status) in [
            (&[][..], 200),
            (&["\"2\""], 304),
            (&["W/\"2\""], 304),
            (&["\"1\", W/\"2\""], 304),
            (&["\"1\"", "\"2\""], 304),
            (&["\"a,\", \"2\""], 304),
            (&["*"], 304),
            (&["\"1\""], 200),
            (&["\"22\", \"a,2\""], 200),
            (&["2"], 200),
            (&["\"1\", *"], 200),
            (&[""], 200),
        ] {
            let mut asked = HeaderMap::new();
            for tags in known {
                asked.append(header::IF_NONE_MATCH, tags.parse().unwrap());
            }
            let response = unless_known(&asked, "\"2\"".parse().unwrap(), "body");
            assert_eq!(response.status(), status, "{known:?}");
            assert_eq!(response.headers()[header::ETAG], "\"2\"");
        }
    }
}
