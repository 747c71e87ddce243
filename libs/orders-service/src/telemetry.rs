//! Logs to stdout and metrics for Prometheus.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{IsTerminal as _, stdout},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    panic::PanicHookInfo,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::error;
use tracing_subscriber::{EnvFilter, prelude::*};

use crate::{
    About, VERSION,
    config::{Format, Logging, Times},
};

/// Upper bounds in seconds for every histogram whose name ends in `_seconds`.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Sends logs, and panics as logs, to stdout. Only the first call in a process counts.
pub(crate) fn logs(config: &Logging) {
    // `Logging::filter` was checked when the configuration was loaded.
    let filter = EnvFilter::new(&config.filter);
    // Without this a closed stderr would turn a failed log write into a panic.
    let lines = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let has_times = match config.times {
        Times::Auto => !is_journal(),
        Times::Always => true,
        Times::Never => false,
    };
    let lines = match config.format {
        Format::Text => {
            let lines = lines.with_target(false).with_ansi(stdout().is_terminal());
            if has_times {
                lines.boxed()
            } else {
                lines.without_time().boxed()
            }
        }
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// Whether systemd reads stdout into its journal, where each line gets a time.
fn is_journal() -> bool {
    let stdout = || {
        let file = File::from(stdout().as_fd().try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some(format!("{}:{}", metadata.dev(), metadata.ino()))
    };
    env::var("JOURNAL_STREAM").is_ok_and(|journal| stdout() == Some(journal))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured)
        .then(|| tracing::field::display(backtrace));
    error!(
        panic.location = location,
        panic.backtrace = backtrace,
        "panicked: {message}"
    );
}

/// Makes the `metrics` macros record into the returned handle. Only the first call in a process counts.
pub(crate) fn metrics(about: &About) -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .expect("there are buckets")
        .add_global_label("daemon", about.name)
        .build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    metrics::describe_gauge!(
        "orders_build_info",
        "always 1; version and commit are labels"
    );
    metrics::gauge!("orders_build_info", "version" => VERSION, "commit" => about.commit).set(1.0);
    handle
}
