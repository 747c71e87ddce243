//! The way of ended spans to the collector.

use std::{
    collections::HashMap,
    iter::once,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{InstrumentationScope, KeyValue, trace::SpanId};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _},
};
use rustix::system::uname;

use super::{
    exporter::{self, Exporter},
    sampling::Sampling,
};
use crate::{
    About, BoxError, VERSION,
    config::{Common, Endpoint, Traces},
};

static STATE: OnceLock<State> = OnceLock::new();

#[derive(Debug)]
struct State {
    sampling: Sampling,
    pipe: Option<Pipe>,
}

/// Takes ended spans. A thread of its own sends them in batches, so whoever ends one never waits.
#[derive(Debug)]
pub(super) struct Pipe {
    scope: InstrumentationScope,
    processor: BatchSpanProcessor,
    /// The spans that the exporter has not taken yet.
    queued: Arc<AtomicUsize>,
    /// The most of them.
    room: usize,
    /// Spans of this process that have not ended and may have children here, with those children that have.
    open: Mutex<HashMap<SpanId, Vec<SpanData>>>,
}

/// Where spans go; `None` if nowhere.
pub(super) fn pipe() -> Option<&'static Pipe> {
    STATE.get()?.pipe.as_ref()
}

/// How traces are sampled; `None` before the start.
pub(super) fn sampling() -> Option<Sampling> {
    STATE.get().map(|state| state.sampling)
}

/// Makes spans go to the collector, if the settings name one. Only the first call in a process counts.
pub(crate) fn begin(about: &About, instance: &str, common: &Common) -> Result<(), BoxError> {
    let traces = &common.otel;
    let pipe = match &traces.exporter_otlp_endpoint {
        Some(endpoint) => Some(Pipe::to(endpoint, traces, about, instance)?),
        None => None,
    };
    let sampling = Sampling::of(traces, common.trace.trust_sampled);
    let _ = STATE.set(State { sampling, pipe });
    Ok(())
}

/// Sends the last spans, within `limit`. It blocks.
pub(crate) fn end(limit: Duration) {
    if let Some(pipe) = pipe() {
        // What is not sent in time is lost.
        let _ = pipe.processor.shutdown_with_timeout(limit);
    }
}

impl Pipe {
    fn to(
        endpoint: &Endpoint,
        traces: &Traces,
        about: &About,
        instance: &str,
    ) -> Result<Self, BoxError> {
        let queued = Arc::new(AtomicUsize::new(0));
        let resource = resource(traces, about, instance);
        let exporter = Exporter::to(endpoint, traces, &resource, Arc::clone(&queued))?;
        let room = traces.bsp_max_queue_size as usize;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(room)
            .with_max_export_batch_size(traces.bsp_max_export_batch_size as usize)
            .with_scheduled_delay(Duration::from_millis(traces.bsp_schedule_delay.into()))
            .build();
        Ok(Self {
            scope: InstrumentationScope::builder("orders")
                .with_version(VERSION)
                .build(),
            processor: BatchSpanProcessor::new(exporter, batches),
            queued,
            room,
            open: Mutex::default(),
        })
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }

    /// Has the children of the span wait until it ends: a collector that has a child, but not the parent, because the
    /// daemon was killed in between, would never get the parent.
    pub(super) fn open(&self, span: SpanId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(span, Vec::new());
    }

    /// Takes a span that has ended.
    pub(super) fn ended(&self, span: SpanData) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let children = open.remove(&span.span_context.span_id());
        let parent = span.parent_span_id;
        let spans = once(span).chain(children.into_iter().flatten());
        if let Some(waiting) = open.get_mut(&parent) {
            return waiting.extend(spans);
        }
        drop(open);
        spans.for_each(|span| self.send(span));
    }

    fn send(&self, span: SpanData) {
        // The processor would drop it as well, but tell nobody.
        if self.queued.fetch_add(1, Ordering::Relaxed) < self.room {
            self.processor.on_end(span);
        } else {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            exporter::dropped(1);
        }
    }
}

/// What all spans of this process have in common.
fn resource(traces: &Traces, about: &About, instance: &str) -> Resource {
    let host = uname();
    let id = format!("{instance}@{}", host.nodename().to_string_lossy());
    let own = [
        KeyValue::new("service.name", about.name),
        KeyValue::new("service.namespace", "orders"),
        KeyValue::new("service.instance.id", id),
        KeyValue::new("service.version", VERSION),
    ];
    let theirs = traces
        .resource_attributes
        .iter()
        .flat_map(|all| all.pairs());
    let theirs = theirs.map(|(key, value)| KeyValue::new(key, value));
    let name = traces.service_name.clone();
    let name = name.map(|name| KeyValue::new("service.name", name));
    // Of several with the same key the last one counts.
    let attributes = own.into_iter().chain(theirs).chain(name);
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}
