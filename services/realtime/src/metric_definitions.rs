//! The names of the metrics of realtime.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Sockets that are in a room now.
pub(crate) const CONNECTIONS: &str = "orders_socket_connections";
/// Events handed to sockets, by `event`.
pub(crate) const EMITS: &str = "orders_socket_emits_total";
/// Sockets that disconnected, by `reason`.
pub(crate) const DISCONNECTS: &str = "orders_socket_disconnects_total";
/// Clients that were refused, by `reason`.
pub(crate) const REFUSALS: &str = "orders_socket_refusals_total";
/// Tokens that clients sent for the sockets they have, by `outcome`.
pub(crate) const REFRESHES: &str = "orders_socket_refreshes_total";
/// Revocations that this daemon has no room for; until there is room, nobody new is let in.
pub(crate) const REVOCATIONS_MISSED: &str = "orders_socket_revocations_missed_total";
/// Sockets that reconnected with an offset, by `outcome`: `resumed`, or why the feed could not honour the offset.
pub(crate) const RESUMES: &str = "orders_socket_resumes_total";
/// Entries of the feed that are not read yet.
pub(crate) const LAG: &str = "orders_feed_lag_entries";
/// From the change of an order until its entry is read.
pub(crate) const DELAY: &str = "orders_feed_delay_seconds";

/// Explains the metrics to the recorder.
pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, "sockets that are in a room now");
    describe_counter!(EMITS, "events handed to sockets");
    describe_counter!(DISCONNECTS, "sockets that disconnected");
    describe_counter!(REFUSALS, "clients that were refused");
    describe_counter!(
        REFRESHES,
        "tokens that clients sent for the sockets they have"
    );
    describe_counter!(REVOCATIONS_MISSED, "revocations that there is no room for");
    describe_counter!(RESUMES, "sockets that reconnected with an offset");
    describe_gauge!(LAG, "entries of the feed that are not read yet");
    describe_histogram!(
        DELAY,
        Unit::Seconds,
        "from the change of an order until its entry is read"
    );
}
