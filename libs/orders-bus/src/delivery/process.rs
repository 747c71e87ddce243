//! The spans of handling messages.

use orders_contracts::{Channel, Metadata, TenantId, TraceContext};
use orders_service::trace::{Kind, Span};

use super::Received;

impl Received {
    /// Begins the span of handling it.
    pub(super) fn process(&self, channel: Channel, tenant: &TenantId, metadata: &Metadata) -> Span {
        let span = self.span_in(channel, metadata.trace);
        span.about(tenant, &metadata.order_id);
        span.text("messaging.message.id", &metadata.id);
        span
    }

    /// The span of refusing it: whoever looks at its trace finds out that it ends here.
    pub(super) fn refusal(&self) {
        let channel = Channel::parse(&self.original.subject).map(|(channel, _)| channel);
        let trace = TraceContext::of_message(|name| self.header(name));
        if let (Some(channel), Some(trace)) = (channel, trace) {
            self.span_in(channel, trace).fail("invalid");
        }
    }

    fn span_in(&self, channel: Channel, trace: TraceContext) -> Span {
        let span = Span::start(Kind::Process, channel.template(), trace);
        let consumer = &self.origin.declaration;
        span.text("messaging.consumer.group.name", consumer.durable);
        if self.original.deliveries > 1 {
            let deliveries = i64::try_from(self.original.deliveries);
            span.number("orders.deliveries", deliveries.unwrap_or(i64::MAX));
        }
        span
    }
}
