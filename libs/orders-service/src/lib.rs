//! What every daemon shares: configuration, logs, metrics, health, signals and shutdown.
//!
//! A service's `main.rs` is one call, `orders_service::main(orders_service::about!(), writer::run)`, and its `run`
//! receives the loaded configuration and a [`Daemon`]. Invariants:
//!
//! * the port is bound and `/livez`, `/readyz`, `/healthz`, `/metrics` answer before `run` starts;
//! * the first SIGTERM or SIGINT cancels [`Daemon::shutdown`], the process is gone [`GRACE`] later at the latest,
//!   a second signal ends it at once;
//! * a spawned task that fails or panics takes the whole daemon down with exit code 1;
//! * no service reads the environment itself.

mod backoff;
mod cli;
pub mod config;
mod daemon;
mod failpoint;
mod health;
mod http;
mod limits;
mod poison;
mod retry;
mod telemetry;

pub use backoff::Backoff;
pub use cli::About;
pub use config::{Invalid, Settings, redact};
pub use daemon::{BoxError, Daemon, GRACE, Outcome, main};
pub use failpoint::failpoint;
pub use health::Health;
pub use poison::poison;
pub use retry::{always, retry};
