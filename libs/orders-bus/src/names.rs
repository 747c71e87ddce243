//! The boundary between names of the pipeline and names on the server, where an installation may have a namespace.

use std::borrow::Cow;

use async_nats::{Subject as ServerSubject, jetstream, jetstream::message::StreamMessage};
use orders_contracts::{
    Namespace,
    streams::{Consumer, Stream},
};

use crate::{Bus, Operator};

impl Operator {
    /// The name of `stream` on the server, as the `nats` tool needs it.
    pub fn server_name(&self, stream: &Stream) -> Cow<'static, str> {
        self.bus.name_of(stream)
    }
}

impl Bus {
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.deployment.namespace
    }

    /// The name of `stream` on the server.
    pub(crate) fn name_of(&self, stream: &Stream) -> Cow<'static, str> {
        self.namespace().stream(stream)
    }

    /// A consumer's name in messages: `ORDERS_EVENTS/projector`.
    pub(crate) fn name_of_consumer(&self, consumer: &Consumer) -> String {
        format!("{}/{}", self.name_of(&consumer.stream), consumer.durable)
    }

    /// The subject or filter on the server.
    pub(crate) fn subject(&self, subject: impl Into<String>) -> String {
        self.namespace().subject(subject.into())
    }

    /// A message of a consumer, with its subject as the pipeline knows it.
    pub(crate) fn delivered_here(&self, mut message: jetstream::Message) -> jetstream::Message {
        self.strip(&mut message.message.subject);
        message
    }

    /// A stored message, with its subject as the pipeline knows it.
    pub(crate) fn stored_here(&self, mut message: StreamMessage) -> StreamMessage {
        self.strip(&mut message.subject);
        message
    }

    pub(crate) fn strip(&self, subject: &mut ServerSubject) {
        let inside = self.namespace().strip(subject);
        if inside.len() < subject.len() {
            *subject = ServerSubject::from(inside.to_owned());
        }
    }
}
