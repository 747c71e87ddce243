//! Logs to stdout.

mod flat;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{IsTerminal as _, stdout},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    panic::PanicHookInfo,
};

use tracing::error;
use tracing_subscriber::{EnvFilter, fmt::format::JsonFields, prelude::*};

use self::flat::Flat;
use crate::config::{Format, Logging, Times};

/// Sends the logs of `instance` of the daemon `service`, and panics as logs, to stdout. Only the first call in a process
/// counts.
pub(crate) fn logs(config: &Logging, service: &'static str, instance: &str) {
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
        Format::Json => {
            let instance = instance.to_owned();
            let lines = lines.with_ansi(false).fmt_fields(JsonFields::new());
            lines.event_format(Flat { service, instance }).boxed()
        }
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
