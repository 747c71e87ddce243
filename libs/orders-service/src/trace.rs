//! Spans for OpenTelemetry, whose SDK only this module uses.
//!
//! The edge decides whether a trace is [sampled](Span::enter); whoever comes later follows the flag in the message. A span
//! is recorded if its trace is sampled and the process has a collector. Any other costs a branch: it keeps the context of
//! its parent, so that what comes after it hangs on the last span that is recorded, and nothing is an orphan.
//!
//! A span goes to the collector after its parent, where both are of this process, so a daemon that is killed leaves no
//! orphan. Whoever does its work again [records the same spans](Span::identified_by) of the messages that it publishes.

mod exporter;
mod pipe;
mod sampling;
mod sender;

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use opentelemetry::{
    KeyValue, Value,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use orders_contracts::{OrderId, TenantId, TraceContext};

use self::pipe::{Pipe, pipe, sampling};
pub(crate) use self::pipe::{begin, end};

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answering an HTTP request.
    Server,
    /// Publishing a message, until its stream has stored it.
    Publish,
    /// Handling a message.
    Process,
    /// Telling clients of a message.
    Emit,
    /// One call for many messages.
    Bulk,
}

impl Kind {
    fn name(self, template: &str) -> String {
        match self {
            Self::Server | Self::Bulk => template.to_owned(),
            Self::Publish => format!("publish {template}"),
            Self::Process => format!("process {template}"),
            Self::Emit => format!("emit {template}"),
        }
    }

    const fn kind(self) -> SpanKind {
        match self {
            Self::Server => SpanKind::Server,
            Self::Publish => SpanKind::Producer,
            Self::Process | Self::Emit => SpanKind::Consumer,
            Self::Bulk => SpanKind::Internal,
        }
    }

    /// Whether its parent is another process's.
    const fn is_first_here(self) -> bool {
        matches!(self, Self::Server | Self::Process | Self::Emit)
    }

    /// `messaging.operation.type`.
    const fn operation(self) -> Option<&'static str> {
        match self {
            Self::Publish => Some("send"),
            Self::Process | Self::Emit => Some("process"),
            Self::Server | Self::Bulk => None,
        }
    }
}

/// A piece of work in a trace. It ends when it is dropped, at the latest.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    record: Option<Record>,
}

#[derive(Debug)]
struct Record {
    pipe: &'static Pipe,
    /// Until it ends.
    span: Mutex<Option<Box<SpanData>>>,
}

impl Span {
    /// Begins a span of a message. Its name is the kind and `template`, such as `publish orders.evt.{tenant}.created`.
    #[must_use]
    pub fn start(kind: Kind, template: &'static str, parent: TraceContext) -> Self {
        if !parent.is_sampled() {
            return Self::passed(parent);
        }
        let Some(pipe) = pipe() else {
            return Self::passed(parent);
        };
        let context = parent.recorded_as(random_id());
        Self::record(pipe, kind, template, parent.span().into(), context)
    }

    /// Begins the span of an HTTP request, and decides whether its trace is sampled. `theirs` is the context that the
    /// client sent: its id counts, its flag only where `ORDERS_TRACE__TRUST_SAMPLED` says so.
    #[must_use]
    pub fn enter(method: &str, route: &str, theirs: Option<TraceContext>) -> Self {
        let context = theirs.unwrap_or_else(TraceContext::root);
        if !sampling().is_some_and(|sampling| sampling.samples(theirs, context)) {
            return Self::passed(context.unsampled());
        }
        let Some(pipe) = pipe() else {
            return Self::passed(context);
        };
        let parent = theirs.map_or(SpanId::INVALID, |theirs| theirs.span().into());
        let context = context.recorded_as(random_id());
        let name = format!("{method} {route}");
        let span = Self::record(pipe, Kind::Server, &name, parent, context);
        span.text("http.request.method", method);
        span.text("http.route", route);
        span
    }

    /// Begins the span of one call for the messages of many `spans`, if any of them is recorded: in a trace of its own,
    /// linked with all of them both ways.
    #[must_use]
    pub fn bulk<'a>(name: &'static str, spans: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let spans = spans.into_iter().filter(|span| span.is_recorded());
        let spans: Vec<_> = spans.collect();
        let pipe = pipe().filter(|_| !spans.is_empty())?;
        let context = TraceContext::root().recorded_as(random_id());
        let bulk = Self::record(pipe, Kind::Bulk, name, SpanId::INVALID, context);
        for span in spans {
            bulk.link(span);
            span.link(&bulk);
        }
        Some(bulk)
    }

    const fn passed(context: TraceContext) -> Self {
        Self {
            context,
            record: None,
        }
    }

    fn record(
        pipe: &'static Pipe,
        kind: Kind,
        template: &str,
        parent: SpanId,
        context: TraceContext,
    ) -> Self {
        let now = SystemTime::now();
        let data = SpanData {
            span_context: span_context(context),
            parent_span_id: parent,
            parent_span_is_remote: kind.is_first_here() && parent != SpanId::INVALID,
            span_kind: kind.kind(),
            name: kind.name(template).into(),
            start_time: now,
            end_time: now,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: pipe.scope(),
        };
        if kind.is_first_here() {
            pipe.open(data.span_context.span_id());
        }
        let span = Self {
            context,
            record: Some(Record {
                pipe,
                span: Mutex::new(Some(Box::new(data))),
            }),
        };
        if let Some(operation) = kind.operation() {
            span.set("messaging.system", "nats");
            span.set("messaging.operation.type", operation);
            span.text("messaging.destination.template", template);
        }
        span
    }

    /// Gives it the id that every span of publishing the message `message_id` to `template` has. If the daemon that
    /// published it first was killed before the collector had its span, whoever publishes the message again records the one
    /// that the stored message names.
    #[must_use]
    pub fn identified_by(mut self, template: &str, message_id: &str) -> Self {
        if let Some(record) = &self.record {
            let id = derived_id(self.context.trace(), template, message_id);
            self.context = self.context.recorded_as(id);
            record.change(|span| span.span_context = span_context(self.context));
        }
        self
    }

    /// The context for what it causes, for a header.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Whether the collector gets it.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Says whose order it is about.
    pub fn about(&self, tenant: &TenantId, order: &OrderId) {
        if self.is_recorded() {
            self.text("orders.tenant_id", tenant.as_str());
            self.text("orders.order_id", order.as_str());
        }
    }

    /// Sets an attribute.
    pub fn text(&self, key: &'static str, value: &str) {
        if self.is_recorded() {
            self.set(key, value.to_owned());
        }
    }

    /// Sets an attribute.
    pub fn number(&self, key: &'static str, value: i64) {
        self.set(key, value);
    }

    /// Says that it failed.
    pub fn fail(&self, why: &'static str) {
        self.change(|span| span.status = Status::error(why));
    }

    /// Links it to another one.
    fn link(&self, other: &Self) {
        let link = Link::new(span_context(other.context), Vec::new(), 0);
        self.change(|span| span.links.links.push(link));
    }

    /// Ends it now. Its context goes on.
    pub fn end(&self) {
        if let Some(record) = &self.record {
            record.end();
        }
    }

    fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.change(|span| span.attributes.push(KeyValue::new(key, value)));
    }

    fn change(&self, change: impl FnOnce(&mut SpanData)) {
        if let Some(record) = &self.record {
            record.change(change);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

impl Record {
    fn change(&self, change: impl FnOnce(&mut SpanData)) {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = span.as_mut() {
            change(span);
        }
    }

    fn end(&self) {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut span) = span.take() {
            span.end_time = SystemTime::now();
            self.pipe.ended(*span);
        }
    }
}

fn span_context(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from(context.trace()),
        SpanId::from(context.span()),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

fn random_id() -> NonZeroU64 {
    NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN)
}

/// FNV-1a, the same in every daemon of every version.
fn derived_id(trace: u128, template: &str, message_id: &str) -> NonZeroU64 {
    let trace = trace.to_be_bytes();
    // An event and the entry of the feed that tells of it have the same message id.
    let message = template.as_bytes().iter().chain(message_id.as_bytes());
    let bytes = trace.iter().chain(message);
    let id = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn without_a_collector_a_span_passes_the_context_on_and_no_client_samples() {
        let sampled: TraceContext = SAMPLED.parse().unwrap();
        for parent in [sampled, sampled.unsampled()] {
            let span = Span::start(Kind::Process, "orders.evt.{tenant}.created", parent);
            assert!(!span.is_recorded());
            assert_eq!(span.identified_by("s", "m").context(), parent);
            let span = Span::enter("GET", "/", Some(parent));
            assert_eq!(span.context(), parent.unsampled());
        }
        assert!(Span::bulk("bulk", [&Span::passed(sampled)]).is_none());
    }

    #[test]
    fn whoever_publishes_a_message_again_has_the_same_id() {
        let all = [(1, "s", "a"), (1, "s", "b"), (1, "t", "a"), (2, "s", "a")];
        let ids = all.map(|(trace, template, id)| derived_id(trace, template, id));
        assert_eq!(ids[0], derived_id(1, "s", "a"));
        assert_eq!(std::collections::BTreeSet::from(ids).len(), ids.len());
    }
}
