//! What every daemon shares: configuration, logs, metrics, traces, health, signals and shutdown.
//!
//! A service's `main.rs` is one call, `orders_service::main(orders_service::about!(), writer::run)`, and its `run`
//! receives the loaded configuration and a [`Daemon`]. Invariants:
//!
//! * the port is bound and `/livez`, `/readyz`, `/healthz`, `/metrics` answer before `run` starts;
//! * the first SIGTERM or SIGINT cancels [`Daemon::shutdown`], and the process exits within [`shutdown::PROMISE`];
//!   a second signal ends it at once. Only a [`Departure`] with a drain, which is a setting, comes before that;
//! * a spawned task that fails or panics takes the whole daemon down with exit code 1;
//! * no service reads the environment itself.

mod chain;
mod cli;
pub mod config;
mod daemon;
mod departure;
mod failpoint;
mod health;
mod healthcheck;
mod http;
mod https;
mod limits;
pub mod metrics;
mod notify;
mod poison;
mod retry;
mod seldom;
pub mod shutdown;
mod telemetry;
pub mod trace;

pub use self::{
    chain::chain,
    cli::About,
    config::{Invalid, Settings, redact},
    daemon::{BoxError, Daemon, TaskResult, main},
    departure::Departure,
    failpoint::failpoint,
    health::Health,
    https::https_connector,
    metrics::Metrics,
    poison::poison,
    retry::{always, retry},
    seldom::Seldom,
};

/// The version of the pipeline, which all its packages share.
const VERSION: &str = env!("CARGO_PKG_VERSION");
