use axum::http::{HeaderMap, HeaderName, HeaderValue};
use orders_contracts::{TraceContext, http_header};

/// The header that carries it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(http_header::REQUEST_ID);

const MAX_LENGTH: usize = 128;

/// The id by which people find one HTTP request again: `x-request-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId {
    text: HeaderValue,
    trace: TraceContext,
}

impl CorrelationId {
    /// The id that the client chose, if it can stand in a log and in a URI as it is; otherwise the id of the trace.
    pub(crate) fn of(headers: &HeaderMap, trace: TraceContext) -> Self {
        let theirs = headers.get(REQUEST_ID).filter(|id| is_plain(id.as_bytes()));
        let ours = || HeaderValue::try_from(trace.trace_id()).expect("digits fit into a header");
        Self {
            text: theirs.cloned().unwrap_or_else(ours),
            trace,
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.to_str().unwrap_or_default()
    }

    /// The id of the request's trace.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.trace_id()
    }

    /// As the value of the header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.text.clone()
    }

    /// As a URI, for the member `instance` of a problem (RFC 9457).
    #[must_use]
    pub fn uri(&self) -> String {
        format!("urn:orders:request:{}", self.as_str())
    }
}

fn is_plain(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:=+/".contains(byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_choose_an_id_that_can_stand_anywhere() {
        let trace = TraceContext::root();
        let id = |sent: &str| {
            let value = HeaderValue::from_str(sent).unwrap();
            CorrelationId::of(&HeaderMap::from_iter([(REQUEST_ID, value)]), trace)
        };
        for good in ["1", "0b6f-41c2", "Root=1-67891233:abc/def+gh==", "b.c~d_e"] {
            assert_eq!(id(good).as_str(), good);
        }
        assert_eq!(id("a:1").uri(), "urn:orders:request:a:1");
        let ours = CorrelationId::of(&HeaderMap::new(), trace);
        assert_eq!(ours.as_str(), trace.trace_id());
        for bad in [
            "",
            "a b",
            "a@b.example",
            "a,b",
            "a\"b",
            "é",
            "<b>",
            "{}",
            "a?b",
            "a#b",
            &"x".repeat(129),
        ] {
            assert_eq!(id(bad), ours, "{bad}");
        }
    }
}
