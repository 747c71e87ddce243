use orders_service::trace::{Kind, Span};

use super::{Message, Outgoing};
use crate::Error;

/// A message on its way to its stream, however many attempts that takes.
pub(super) struct Publication {
    pub(super) message: Message,
    span: Span,
}

impl Publication {
    /// From now on the message's headers name the span of its publication, as the creation context of CloudEvents and of
    /// OpenTelemetry: who handles the message hangs on it.
    pub(super) fn begin(mut message: Message) -> Self {
        let metadata = &mut message.metadata;
        let template = message.channel.template();
        let span = Span::start(Kind::Publish, template, metadata.trace);
        let span = span.identified_by(template, &message.message_id);
        span.about(&message.tenant, &metadata.order_id);
        span.text("messaging.message.id", &metadata.id);
        if let Some((key, value)) = message.note {
            span.number(key, value);
        }
        metadata.trace = span.context();
        Self { message, span }
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        self.message.outgoing()
    }

    /// After an attempt: its span ends once the message is stored.
    pub(super) fn attempted(&self, stored: &Result<(), Error>) {
        if stored.is_ok() {
            self.span.end();
        }
    }

    /// After the last attempt: it may not be stored.
    pub(super) fn given_up(&self) {
        self.span.fail("not acknowledged");
    }
}
