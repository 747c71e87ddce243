//! The system tests: one module for each behaviour, against real servers and the real daemons.
//!
//! Run them with `cargo xtask test`, which brings the servers up and says where they are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authorization;
mod backup;
mod bad_input;
mod bus;
mod cancel;
mod conformance;
mod connections;
mod crash;
mod damaged;
mod dialects;
mod events;
mod generated_clients;
mod helm;
mod hostile;
mod hosts;
mod idempotency;
mod image;
mod installations;
mod lists;
mod login;
mod logs;
mod metrics;
mod observe;
mod orderctl;
mod outage;
mod overload;
mod payments;
mod permissions;
mod personal_data;
mod pipeline;
mod poison;
mod processes;
mod projection;
mod proxies;
mod read;
mod readme;
mod realtime;
mod rolling;
mod routes;
mod secure;
mod seed;
mod seed_data;
mod skew;
mod sse;
mod streams;
mod trace;
mod units;
mod uploads;
mod web;
mod wire;
