use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, StatusCode},
};
use orders_contracts::OrderId;
use orders_http::CorrelationId;
use tracing::info;

use super::Caller;

/// A request of an operator, for the log: the edge may not write to the stream of the audit.
pub(super) struct Entry {
    action: String,
    order_id: Option<OrderId>,
    request_id: Option<CorrelationId>,
    /// As the front has found it.
    address: Option<HeaderValue>,
}

impl Entry {
    pub(super) fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("", MatchedPath::as_str);
        let mut segments = request.uri().path().split('/');
        Self {
            action: format!("{} {route}", request.method()),
            // Nothing else of the path: it is the client's text.
            order_id: segments.find_map(|segment| segment.parse().ok()),
            request_id: request.extensions().get().cloned(),
            address: request.headers().get("x-forwarded-for").cloned(),
        }
    }

    /// Writes the line, once the outcome is known. It names no buyer.
    pub(super) fn write(&self, caller: &Caller, status: StatusCode) {
        let Some((operator, tenant)) = caller.operator() else {
            return;
        };
        info!(
            target: "audit",
            actor = operator.actor(),
            action = self.action,
            tenant.id = tenant.map(tracing::field::display),
            order.id = self.order_id.as_ref().map(tracing::field::display),
            result = status.as_u16(),
            http.request.id = self.request_id.as_ref().map(CorrelationId::as_str),
            address = self.address.as_ref().and_then(|address| address.to_str().ok()),
            "audit: a request of an operator"
        );
    }
}
