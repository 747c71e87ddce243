//! Sends batches of spans, and counts those that are lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tracing::warn;

use super::sender::Sender;
use crate::{
    BoxError, Seldom,
    config::{Endpoint, Traces},
    metrics::{TRACE_SPANS_DROPPED, counter},
};

/// Counts spans that nobody gets.
pub(super) fn dropped(spans: usize) {
    counter!(TRACE_SPANS_DROPPED).increment(spans as u64);
}

/// Sends each batch once. One that the collector does not take in time is lost: what comes next matters as much.
#[derive(Debug)]
pub(super) struct Exporter {
    otlp: Otlp,
    url: String,
    queued: Arc<AtomicUsize>,
    lines: Seldom,
}

impl Exporter {
    /// `queued` is lowered by what it takes.
    pub(super) fn to(
        endpoint: &Endpoint,
        traces: &Traces,
        resource: &Resource,
        queued: Arc<AtomicUsize>,
    ) -> Result<Self, BoxError> {
        let timeout = Duration::from_millis(traces.bsp_export_timeout.into());
        let headers = traces.exporter_otlp_headers.iter();
        let headers = headers.flat_map(|headers| headers.pairs());
        let mut otlp = Otlp::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.of_traces())
            .with_headers(headers.collect())
            .with_timeout(timeout)
            .with_retry_policy(RetryPolicy::disabled())
            .with_http_client(Sender::new(timeout)?)
            .build()?;
        otlp.set_resource(resource);
        Ok(Self {
            otlp,
            url: endpoint.of_traces(),
            queued,
            lines: Seldom::new(),
        })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.queued.fetch_sub(count, Ordering::Relaxed);
        let sent = self.otlp.export(batch).await;
        if let Err(error) = &sent {
            dropped(count);
            let url = &self.url;
            self.lines
                .say(|unsaid| warn!(unsaid, "{url} does not take traces: {error}"));
        }
        sent
    }
}
