use std::{ops::Deref, sync::Arc};

use orders_bus::FeedMessage;
use orders_service::trace::{Kind, Span};

/// An entry of the feed on its way to clients.
#[derive(Debug)]
pub(crate) struct Emission {
    message: FeedMessage,
    /// Ends when the last client has taken it.
    _span: Option<Span>,
}

impl Emission {
    /// One that so many clients get as it comes.
    pub(crate) fn live(message: FeedMessage, clients: usize) -> Arc<Self> {
        let (channel, metadata) = (message.channel, &message.metadata);
        let span = Span::start(Kind::Emit, channel.template(), metadata.trace);
        span.about(&message.tenant, &metadata.order_id);
        span.number("orders.clients", i64::try_from(clients).unwrap_or(i64::MAX));
        Arc::new(Self {
            message,
            _span: Some(span),
        })
    }

    /// One that a client missed when it came. Its trace has long ended.
    pub(crate) fn missed(message: FeedMessage) -> Arc<Self> {
        Arc::new(Self {
            message,
            _span: None,
        })
    }
}

impl Deref for Emission {
    type Target = FeedMessage;

    fn deref(&self) -> &FeedMessage {
        &self.message
    }
}
