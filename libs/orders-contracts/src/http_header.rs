//! The HTTP API's own headers, in lower case as HTTP/2 wants them.

/// On a request: a stand-in for `requestId`.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// On a response, always `true`: an earlier request created the order.
pub const REPLAYED: &str = "x-idempotent-replayed";
/// On a replayed response, always `true`: the earlier request had another body, and that body is the order's.
pub const MISMATCH: &str = "x-idempotency-mismatch";
/// On a response, `true` or `false`: whether lists already show the outcome.
pub const PROJECTED: &str = "x-projected";
/// On both: the id by which people find the request again in logs; the client's, or else one that the server makes.
pub const REQUEST_ID: &str = "x-request-id";
/// In the trailer of a complete export: how many orders it has.
pub const EXPORT_ROWS: &str = "x-export-rows";
/// On a request: the W3C trace context of whoever sends it.
pub const TRACEPARENT: &str = "traceparent";
/// On a response, if its trace is recorded: the context of the span that answered (W3C Trace Context Level 2).
pub const TRACERESPONSE: &str = "traceresponse";
