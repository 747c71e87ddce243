//! The table. A row is a constant with the name, and its doc comment is the help.

use super::{
    Definition,
    Kind::{Counter, Gauge, Histogram},
    Label,
};

macro_rules! table {
    ($(
        $(#[doc = $help:literal])+
        $row:ident = $name:literal: $kind:expr, { $($label:ident: $values:expr),* } of $daemons:expr;
    )+) => {
        $(
            $(#[doc = $help])+
            pub const $row: &str = $name;
        )+
        /// Every metric of every daemon.
        pub const ALL: &[Definition] = &[$(Definition {
            name: $name,
            kind: $kind,
            labels: &[$(Label { name: stringify!($label), values: $values }),*],
            help: concat!($($help),+),
            daemons: $daemons,
        }),+];
    };
}

/// The bounds of a duration in seconds.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Those of a request, which nobody waits for any longer.
const REQUEST: &[f64] = SECONDS.split_at(13).0;
/// The bounds of a number of messages.
const MESSAGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Every daemon.
const EVERY: &[&str] = &[
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
    "web",
];
/// Those that people reach over HTTP.
const REACHED: &[&str] = &["edge", "web"];
/// Those that fill a stream of the line.
const PUBLISHERS: &[&str] = &["edge", "writer", "projector", "payment-simulator"];
/// Those that read a durable consumer.
const CONSUMERS: &[&str] = &["writer", "projector", "payment-simulator"];
/// Those that handle batches of messages, or fill or read a stream.
const LINE: &[&str] = &[
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
];
const STORES: &[&str] = &["edge", "writer", "projector"];
const EDGE: &[&str] = &["edge"];
const WRITER: &[&str] = &["writer"];
const PROJECTOR: &[&str] = &["projector"];
const PAYMENTS: &[&str] = &["payment-simulator"];
const REALTIME: &[&str] = &["realtime"];

/// A label with values that nobody lists.
const ANY: &[&str] = &[];
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER",
];

table! {
    /// Always 1; the labels say which build runs.
    BUILD_INFO = "orders_build_info": Gauge, { version: ANY, commit: ANY } of EVERY;
    /// The processor time of the process.
    PROCESSOR_TIME = "process_cpu_seconds_total": Counter, {} of EVERY;
    /// The memory of the process that is not swapped out.
    RESIDENT_MEMORY = "process_resident_memory_bytes": Gauge, {} of EVERY;
    /// The files, sockets among them, that the process has open.
    OPEN_FILES = "process_open_fds": Gauge, {} of EVERY;
    /// The most of them that it may have open.
    OPEN_FILES_LIMIT = "process_max_fds": Gauge, {} of EVERY;
    /// Spans that were thrown away because they could not be sent.
    TRACE_SPANS_DROPPED = "orders_trace_spans_dropped_total": Counter, {} of EVERY;

    /// How long a request took, until the head of its answer. `http_route` is `other` if no route fits.
    HTTP_REQUESTS = "http_server_request_duration_seconds": Histogram(REQUEST),
        { http_request_method: METHODS, http_route: ANY, http_response_status_code: ANY } of REACHED;
    /// Requests that wait for the head of their answer.
    HTTP_ACTIVE_REQUESTS = "http_server_active_requests": Gauge, {} of REACHED;

    /// Errors that NATS told, besides those of its answers.
    BUS_ERRORS = "orders_bus_errors_total": Counter, {} of EVERY;
    /// What NATS did not permit.
    PERMISSION_VIOLATIONS = "orders_nats_permission_violations_total": Counter, {} of EVERY;
    /// How long it took until a message, or a batch of them, was stored in its stream.
    PUBLISH_DURATION = "orders_publish_duration_seconds": Histogram(SECONDS),
        { stream: ANY, outcome: &["ok", "failed"] } of PUBLISHERS;
    /// How long it took to handle a batch of messages. A batch that fails is handled again in halves.
    PROCESS_DURATION = "orders_process_duration_seconds": Histogram(SECONDS),
        { stream: ANY, outcome: &["ok", "refused", "later", "panicked"] } of CONSUMERS;
    /// The messages in each batch that was read.
    BATCH_MESSAGES = "orders_batch_messages": Histogram(MESSAGES), { stream: ANY } of CONSUMERS;
    /// Messages that were given up.
    DEAD_LETTERS = "orders_dead_letters_total": Counter,
        { reason: &["invalid", "unknown_order", "wrong_amount", "refused", "crash_loop", "panicked"] } of CONSUMERS;
    /// Deliveries of messages that were left to a newer version.
    NEWER_MESSAGES = "orders_newer_messages_total": Counter, {} of CONSUMERS;

    /// Messages that are not delivered yet. All who report a consumer say the same of it: take the maximum.
    CONSUMER_PENDING = "orders_consumer_pending_messages": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// Messages that are delivered and not acked.
    CONSUMER_ACK_PENDING = "orders_consumer_ack_pending_messages": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// Of these, those that were delivered more than once.
    CONSUMER_REDELIVERED = "orders_consumer_redelivered_messages": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// Requests for messages that wait for some; 0 if nobody reads.
    CONSUMER_WAITING_PULLS = "orders_consumer_waiting_pulls": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// The age of the oldest message that is not acked; 0 if all are. This is the lag.
    CONSUMER_OLDEST_UNACKED = "orders_consumer_oldest_unacked_seconds": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// The sequence up to which all messages are acked.
    CONSUMER_ACK_FLOOR = "orders_consumer_ack_floor_sequence": Gauge,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// Messages, at most, that left the stream before the consumer acked them.
    MESSAGES_LOST = "orders_messages_lost_total": Counter,
        { stream: ANY, consumer: ANY } of PUBLISHERS;
    /// Messages in the stream.
    STREAM_MESSAGES = "orders_stream_messages": Gauge, { stream: ANY } of LINE;
    /// The bytes of them.
    STREAM_BYTES = "orders_stream_bytes": Gauge, { stream: ANY } of LINE;
    /// The most bytes that the stream holds; missing if there is no limit.
    STREAM_BYTES_LIMIT = "orders_stream_bytes_limit": Gauge, { stream: ANY } of LINE;
    /// The sequence of its oldest message; the next sequence if it is empty.
    STREAM_FIRST_SEQUENCE = "orders_stream_first_sequence": Gauge, { stream: ANY } of LINE;
    /// The sequence of its newest message.
    STREAM_LAST_SEQUENCE = "orders_stream_last_sequence": Gauge, { stream: ANY } of LINE;
    /// Dead letters in ORDERS_DLQ.
    DLQ_MESSAGES = "orders_dlq_messages": Gauge, {} of CONSUMERS;

    /// How long the database took, without the wait for a permit to read.
    STORE_OPERATIONS = "orders_store_operation_duration_seconds": Histogram(SECONDS), {
        operation: &["insert", "update", "find", "count", "ping"],
        outcome: &["ok", "unavailable", "refused"]
    } of STORES;
    /// Times that a document could not be read.
    UNREADABLE_DOCUMENTS = "orders_unreadable_documents_total": Counter,
        { collection: &["orders_write", "orders_read"] } of &["edge", "writer"];

    /// From a request for a new order until lists show the order.
    CREATE_TO_LISTED = "orders_create_to_listed_seconds": Histogram(SECONDS), {} of EDGE;
    /// Requests that were answered 202: stored, and not decided in time.
    ACCEPTED = "orders_accepted_total": Counter, {} of EDGE;
    /// Creates and cancels that were refused because too many are under way.
    COMMANDS_SHED = "orders_commands_shed_total": Counter,
        { limit: &["all", "tenant", "waiting"] } of EDGE;
    /// Requests that were refused because somebody sends too many.
    REQUESTS_LIMITED = "orders_requests_limited_total": Counter,
        { policy: &["tenant", "subject", "peer"] } of EDGE;
    /// Requests without valid credentials, or whose credentials do not suffice.
    AUTH_REFUSALS = "orders_auth_refusals_total": Counter,
        { kind: &["missing", "malformed", "invalid", "expired", "scope", "tenant", "no_keys",
            "no_revocations"] } of EDGE;
    /// Exports.
    EXPORTS = "orders_exports_total": Counter,
        { outcome: &["complete", "interrupted", "abandoned", "refused"] } of EDGE;
    /// Orders whose file was looked at.
    ATTACHMENTS_VERIFIED = "orders_attachments_verified_total": Counter, { outcome: &[
        "ok", "foreign-attachment", "attachment-missing", "attachment-mismatch", "attachment-not-scanned",
        "attachment-not-clean", "unavailable", "temporary-reduced-capacity"
    ] } of EDGE;
    /// Orders that name another tenant's upload.
    FOREIGN_ATTACHMENTS = "orders_foreign_attachments_total": Counter, {} of EDGE;

    /// Webhooks of payments.
    PAYMENT_WEBHOOKS = "orders_payment_webhooks_total": Counter, { way: &["webhook", "stripe"], outcome: &[
        "accepted", "ignored", "unauthorized", "stale-webhook", "validation", "quota-exceeded", "unavailable",
        "temporary-reduced-capacity"
    ] } of EDGE;

    /// Orders whose latest event was published again, because it was lost.
    HEALED = "orders_healed_total": Counter, {} of WRITER;
    /// Payments of orders that were cancelled.
    PAYMENTS_OF_CANCELLED_ORDERS = "orders_payments_of_cancelled_orders_total": Counter, {} of WRITER;

    /// From a change of an order until its row is stored.
    PROJECTION_LAG = "orders_projection_lag_seconds": Histogram(SECONDS), {} of PROJECTOR;
    /// From the creation of an order until lists show it as PAID, without the delay of its payment.
    PAID_DELAY = "orders_paid_delay_seconds": Histogram(SECONDS), {} of PROJECTOR;

    /// Orders that wait for their payment.
    PAYMENTS_PENDING = "orders_payments_pending": Gauge, {} of PAYMENTS;

    /// Sockets that are in a room.
    SOCKET_CONNECTIONS = "orders_socket_connections": Gauge, {} of REALTIME;
    /// Events handed to sockets.
    SOCKET_EMITS = "orders_socket_emits_total": Counter,
        { event: &["connected", "order.created", "order.updated", "feed.reset", "auth.expiring"] } of REALTIME;
    /// Sockets that disconnected.
    SOCKET_DISCONNECTS = "orders_socket_disconnects_total": Counter, { reason: &[
        "transport_close", "transport_error", "ping_timeout", "client", "protocol_error", "server", "gone", "slow",
        "behind", "expired", "revoked", "shutdown"
    ] } of REALTIME;
    /// Clients of sockets and streams that were refused.
    SOCKET_REFUSALS = "orders_socket_refusals_total": Counter, { reason: &[
        "handshake", "token_required", "token_expired", "tenant", "keys", "revocations", "sockets"
    ] } of REALTIME;
    /// Tokens that clients sent for the sockets they have.
    SOCKET_REFRESHES = "orders_socket_refreshes_total": Counter, { outcome: &[
        "taken", "too_soon", "unauthorized", "expired", "subject", "tenant", "scope", "unavailable"
    ] } of REALTIME;
    /// Revocations that there is no room for; until there is, nobody new is let in.
    SOCKET_REVOCATIONS_MISSED = "orders_socket_revocations_missed_total": Counter, {} of REALTIME;
    /// Sockets and streams that came back with an offset, and why the feed could not honour it.
    SOCKET_RESUMES = "orders_socket_resumes_total": Counter,
        { outcome: &["resumed", "malformed", "other_feed", "future", "expired"] } of REALTIME;
    /// Streams of Server-Sent Events that are open.
    STREAM_CONNECTIONS = "orders_stream_connections": Gauge, {} of REALTIME;
    /// Events handed to streams.
    STREAM_EVENTS = "orders_stream_events_total": Counter,
        { event: &["connected", "order.created", "order.updated", "feed.reset"] } of REALTIME;
    /// Streams that ended.
    STREAM_ENDS = "orders_stream_ends_total": Counter,
        { reason: &["client", "slow", "behind", "revoked", "expired", "shutdown"] } of REALTIME;
    /// Entries of the feed that are not read yet.
    FEED_LAG = "orders_feed_lag_entries": Gauge, {} of REALTIME;
    /// From a change of an order until its entry in the feed is read, where a client follows its tenant.
    FEED_DELAY = "orders_feed_delay_seconds": Histogram(SECONDS), {} of REALTIME;
}
