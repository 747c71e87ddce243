//! How a command ends: its exit code, and an interruption by the developer.

use std::process::ExitStatus;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Exit codes; the failure of a command is an error.
pub(crate) const SUCCESS: u8 = 0;
pub(crate) const INTERRUPTED: u8 = 130;

/// The code to pass on; 1 for a process that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

/// The result of `work`, or nothing if the developer interrupts it.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        result = work => result.map(Some),
        () = interrupted() => Ok(None),
    }
}

/// Returns when the developer interrupts this program.
pub(crate) async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
