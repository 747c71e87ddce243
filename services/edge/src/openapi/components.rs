//! The parameters, headers, links and problems that several operations share.

use axum::http::StatusCode;
use orders_contracts::{ProblemDetails, http_header};
use serde_json::{Value, json};

use crate::{
    idempotency,
    problem::{PROBLEM_JSON, Problem},
};

pub(super) const ORDER_ID: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";

/// A reference to a component, such as `schemas/OrderRow`.
pub(super) fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/{component}") })
}

pub(super) fn parameters() -> Value {
    json!({
        "tenantId": {
            "name": "tenantId", "in": "query", "required": true, "description": "Whose orders",
            "schema": reference("schemas/TenantId"), "example": "t-123",
        },
        "orderId": {
            "name": "orderId", "in": "path", "required": true, "description": "Which order",
            "schema": reference("schemas/OrderId"), "example": ORDER_ID,
        },
        "idempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Stands in for `requestId`; 1 to 255 visible ASCII characters, quoted or not. When both are given they must be the same.",
            "schema": { "type": "string", "pattern": idempotency::PATTERN }, "example": "\"r1\"",
        },
        "traceparent": {
            "name": "traceparent", "in": "header", "description": "The trace to continue (W3C Trace Context); whether it is recorded is decided by the service",
            "schema": { "type": "string" },
        },
    })
}

pub(super) fn headers() -> Value {
    let flag = json!({ "type": "string", "enum": ["true", "false"] });
    let always = json!({ "type": "string", "const": "true" });
    json!({
        "location": { "description": "Where the order is", "schema": { "type": "string", "format": "uri-reference" } },
        (http_header::PROJECTED): {
            "description": "Whether lists already show the order; `false` when the projector takes longer than 500 ms",
            "schema": flag,
        },
        (http_header::REPLAYED): { "description": "An earlier request created the order", "schema": always },
        (http_header::MISMATCH): {
            "description": "Present when the earlier request had another body, which is the one that counts",
            "schema": always,
        },
        "link": {
            "description": "The same list with a `cursor` behind this page (`rel=\"next\"`, absent from the last page), the page before this one by number (`rel=\"prev\"`, absent from page 1), and from its beginning (`rel=\"first\"`); RFC 8288. Absolute URLs where the service knows its public URL, otherwise paths.",
            "schema": { "type": "string" },
        },
        "etag": {
            "description": "The version of the order, in quotes, for `If-None-Match`",
            "schema": { "type": "string" }, "example": "\"1\"",
        },
        "content-disposition": {
            "description": "The name of the file",
            "schema": { "type": "string" }, "example": "attachment; filename=\"orders-t-123-2025-08-26.csv\"",
        },
        "accept-encoding": {
            "description": "The content encodings that a request may have, when it had another",
            "schema": { "type": "string" },
        },
        "ratelimit": {
            "description": "What is left of each limit, and the seconds until all of it is there again, if the service tells",
            "schema": { "type": "string" }, "example": "\"tenant\";r=42;t=1",
        },
        "ratelimit-policy": {
            "description": "The limits of requests, each with the requests at once and the seconds in which as many come again, if the service tells",
            "schema": { "type": "string" }, "example": "\"tenant\";q=200;w=2",
        },
        "retry-after": { "description": "When to try again, in seconds", "schema": { "type": "integer" } },
    })
}

/// Links from a new order to what clients can do with it.
pub(super) fn links() -> Value {
    let (order, tenant) = ("$response.body#/orderId", "$request.body#/tenantId");
    json!({
        "show": { "operationId": "showOrder", "parameters": { "orderId": order, "tenantId": tenant } },
        "cancel": {
            "operationId": "cancelOrder",
            "parameters": { "orderId": order },
            "requestBody": { "tenantId": tenant },
        },
    })
}

pub(super) fn responses() -> Value {
    let mut responses = json!({
        "400": problem(StatusCode::BAD_REQUEST, "The request is malformed or breaks a rule; nothing is stored"),
        "404": problem(StatusCode::NOT_FOUND, "The tenant has no such order; with `Retry-After` and the type `urn:orders:problem:not-yet`, it may still be on its way, such as after a 202"),
        "408": problem(StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive"),
        "409": problem(StatusCode::CONFLICT, "The order is paid and cannot be cancelled; or, of the type `urn:orders:problem:attachment-not-scanned` and with `Retry-After`, its file has not been scanned yet"),
        "410": problem(StatusCode::GONE, "The file that the order was accepted with was removed or overwritten"),
        "413": problem(StatusCode::PAYLOAD_TOO_LARGE, "The body exceeds 512 KiB"),
        "415": problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not application/json in UTF-8, or compressed with another method than gzip or deflate"),
        "422": problem(StatusCode::UNPROCESSABLE_ENTITY, "The request id was used for another body, and the service is set to reject that; or the attachment is no upload of the tenant, or was not uploaded as it says, or is not clean"),
        "429": problem(StatusCode::TOO_MANY_REQUESTS, "Whoever asks has asked for too much; `violated-policies` names the limit. Nothing is stored; the same request again is safe"),
        "500": problem(StatusCode::INTERNAL_SERVER_ERROR, "A fault of the service; of the type `urn:orders:problem:unreadable`, the stored order cannot be read"),
        "502": problem(StatusCode::BAD_GATEWAY, "No realtime daemon answers"),
        "503": problem(StatusCode::SERVICE_UNAVAILABLE, "Nothing is known to be stored; the same request again is safe"),
        "505": problem(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "CSV takes HTTP/1.1, which tells the end of a file from a broken connection"),
    });
    responses["415"]["headers"] =
        json!({ "accept-encoding": reference("headers/accept-encoding") });
    for status in ["404", "409", "429", "503"] {
        responses[status]["headers"] = json!({ "retry-after": reference("headers/retry-after") });
    }
    for name in ["ratelimit", "ratelimit-policy"] {
        responses["429"]["headers"][name] = reference(&format!("headers/{name}"));
    }
    responses
}

pub(super) fn problem(status: StatusCode, description: &str) -> Value {
    let example = ProblemDetails::from(Problem::new(status, description));
    let content = json!({ "schema": reference("schemas/Problem"), "example": example });
    let content = json!({ "application/json": content, PROBLEM_JSON: content });
    json!({ "description": description, "content": content })
}
