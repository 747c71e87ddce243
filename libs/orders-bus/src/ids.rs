//! The ids by which the log lines about a message are found.

use orders_contracts::{Channel, Metadata, OrderId, TenantId, TraceContext, header};
use tracing::{Span, error_span, field};

/// The span of the log lines about a message.
pub(crate) fn span(tenant: &TenantId, metadata: &Metadata) -> Span {
    let Metadata {
        trace, order_id, ..
    } = metadata;
    known(Some(*trace), Some(tenant), Some(order_id))
}

/// The span of the log lines about a message that need not be well-formed, with as much as its subject and headers tell;
/// `get` looks up a header.
pub(crate) fn span_of<'a>(subject: &str, get: impl Fn(&'static str) -> Option<&'a str>) -> Span {
    let tenant = Channel::parse(subject).map(|(_, tenant)| tenant);
    let order: Option<OrderId> = get(header::SUBJECT).and_then(|id| id.parse().ok());
    let trace = TraceContext::of_message(get);
    known(trace, tenant.as_ref(), order.as_ref())
}

fn known(trace: Option<TraceContext>, tenant: Option<&TenantId>, order: Option<&OrderId>) -> Span {
    // As severe as any line in it, so that a filter that lets a line pass does not take away its ids.
    error_span!(
        parent: None,
        "message",
        trace.id = trace.map(TraceContext::trace_id),
        tenant.id = tenant.map(field::display),
        order.id = order.map(field::display),
    )
}
