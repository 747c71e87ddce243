//! The names of the metrics of realtime.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Sockets that are in a room now.
pub(crate) const CONNECTIONS: &str = "orders_socket_connections";
/// Streams that are open now.
pub(crate) const STREAMS: &str = "orders_stream_connections";
/// Events handed to streams, by `event`.
pub(crate) const STREAM_EVENTS: &str = "orders_stream_events_total";
/// Streams that ended, by `reason`.
pub(crate) const STREAM_ENDS: &str = "orders_stream_ends_total";
/// Events handed to sockets, by `event`.
pub(crate) const EMITS: &str = "orders_socket_emits_total";
/// Sockets that disconnected, by `reason`.
pub(crate) const DISCONNECTS: &str = "orders_socket_disconnects_total";
/// Clients of sockets and streams that were refused, by `reason`.
pub(crate) const REFUSALS: &str = "orders_socket_refusals_total";
/// Tokens that clients sent for the sockets they have, by `outcome`.
pub(crate) const REFRESHES: &str = "orders_socket_refreshes_total";
/// Revocations that this daemon has no room for; until there is room, nobody new is let in.
pub(crate) const REVOCATIONS_MISSED: &str = "orders_socket_revocations_missed_total";
/// Sockets and streams that came back with an offset, by `outcome`: `resumed`, or why the feed could not honour the offset.
pub(crate) const RESUMES: &str = "orders_socket_resumes_total";
/// Entries of the feed that are not read yet.
pub(crate) const LAG: &str = "orders_feed_lag_entries";
/// From the change of an order until its entry is read.
pub(crate) const DELAY: &str = "orders_feed_delay_seconds";

/// Explains the metrics to the recorder.
pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, "sockets that are in a room now");
    describe_gauge!(STREAMS, "streams that are open now");
    describe_counter!(STREAM_EVENTS, "events handed to streams");
    describe_counter!(STREAM_ENDS, "streams that ended");
    describe_counter!(EMITS, "events handed to sockets");
    describe_counter!(DISCONNECTS, "sockets that disconnected");
    describe_counter!(REFUSALS, "clients of sockets and streams that were refused");
    describe_counter!(
        REFRESHES,
        "tokens that clients sent for the sockets they have"
    );
    describe_counter!(REVOCATIONS_MISSED, "revocations that there is no room for");
    describe_counter!(RESUMES, "sockets and streams that came back with an offset");
    describe_gauge!(LAG, "entries of the feed that are not read yet");
    describe_histogram!(
        DELAY,
        Unit::Seconds,
        "from the change of an order until its entry is read"
    );
}
