//! The operations.

use orders_contracts::query::{DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE};
use serde_json::{Map, Value, json};

use super::components::{ORDER_ID, reference};

const STORAGE_KEY: &str = "tenants/t-123/orders/abcd1234/invoice.pdf";

pub(super) fn paths() -> Value {
    let order_ref = json!({ "orderId": ORDER_ID });
    let accepted = json!({ "orderId": ORDER_ID, "status": "ACCEPTED" });
    let cancelled = json!({ "orderId": ORDER_ID, "status": "CANCELLED" });
    json!({
        "/api/orders": {
            "get": {
                "tags": ["orders"], "operationId": "listOrders", "summary": "List a tenant's orders, newest first",
                "parameters": [
                    reference("parameters/tenantId"),
                    filter("status", "Only orders in this status", &reference("schemas/Status")),
                    filter("buyerEmail", "Only orders of this buyer; upper and lower case are the same, and so are a domain in Unicode and in ASCII", &json!({ "type": "string", "format": "email" })),
                    filter("from", "Only orders from this day (UTC) or moment on, itself included. Any date or time of ISO 8601; a time without an offset is in UTC, and a whole month, week or year is meant as one.", &moment()),
                    filter("to", "Only orders up to this day (UTC) or moment, itself included; read as `from` is", &moment()),
                    filter("page", "Which page. It costs what all pages before it cost. One that ends behind row 1,000 may be refused (503) while others ask for such pages, or when it takes more than 4 s; with a `cursor` each costs what the first one costs.", &json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 1 })),
                    filter("cursor", "Begin after the last order of an earlier page, as its `Link` says; `page` is then no more than a number. However deep the page is, it costs what the first one does.", &json!({ "type": "string", "pattern": r"^[0-9]{1,15}\.ord_[a-z2-7]{26}$" })),
                    filter("limit", "Orders per page", &json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT })),
                ],
                "responses": with_problems(json!({
                    "200": answer("One page of orders", "OrderList", &json!({
                        "items": [row()], "page": 1, "limit": 10, "total": 1,
                    }), &["headers/link"]),
                }), &["400", "429", "503"]),
            },
            "post": {
                "tags": ["orders"], "operationId": "createOrder", "summary": "Create an order",
                "description": "The same `requestId` of the same tenant creates no second order: the first one's id is answered again. An answer of 201 or 200 means that the order is stored, and, with `x-projected: true`, that lists show it.",
                "parameters": [reference("parameters/idempotencyKey"), reference("parameters/traceparent")],
                "requestBody": body("CreateOrder", &json!({
                    "requestId": "r1",
                    "tenantId": "t-123",
                    "buyer": { "email": "alice@example.com", "name": "Alice" },
                    "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
                    "attachment": { "filename": "invoice.pdf", "contentType": "application/pdf", "size": 123_456, "storageKey": STORAGE_KEY },
                })),
                "responses": with_problems(json!({
                    "201": answer(
                        "The order was created", "OrderRef", &order_ref,
                        &["headers/location", "headers/x-projected", "links/show", "links/cancel"],
                    ),
                    "200": answer(
                        "An earlier request created the order", "OrderRef", &order_ref,
                        &["headers/location", "headers/x-idempotent-replayed", "headers/x-idempotency-mismatch", "headers/x-projected", "links/show", "links/cancel"],
                    ),
                    "202": answer(
                        "The request is stored, and the order will be created when the writer is back. Until then `Location` answers 404 with `Retry-After`.", "OrderState", &accepted,
                        &["headers/location", "links/show", "links/cancel"],
                    ),
                }), &["400", "408", "413", "415", "422", "429", "503"]),
            },
        },
        "/api/orders/{orderId}": {
            "get": {
                "tags": ["orders"], "operationId": "showOrder", "summary": "Show one order",
                "parameters": [reference("parameters/orderId"), reference("parameters/tenantId")],
                "responses": with_problems(json!({ "200": answer("The order", "OrderRow", &row(), &[]) }), &["400", "404", "429", "503"]),
            },
        },
        "/api/orders/{orderId}/cancel": {
            "post": {
                "tags": ["orders"], "operationId": "cancelOrder", "summary": "Cancel an order that is PENDING",
                "description": "An order that is cancelled already answers 200 again; one that is paid answers 409.",
                "parameters": [reference("parameters/orderId"), reference("parameters/traceparent")],
                "requestBody": body("CancelRequest", &json!({ "tenantId": "t-123" })),
                "responses": with_problems(json!({
                    "200": answer("The order is cancelled", "OrderState", &cancelled, &["headers/x-projected"]),
                    "202": answer(
                        "The request is stored, and the writer will decide when it is back", "OrderState", &accepted,
                        &["headers/location"],
                    ),
                }), &["400", "404", "408", "409", "413", "415", "429", "503"]),
            },
        },
        "/api/uploads/presign": {
            "post": {
                "tags": ["uploads"], "operationId": "presignUpload", "summary": "Get a URL to upload a file to",
                "requestBody": body("PresignUpload", &json!({
                    "tenantId": "t-123", "filename": "invoice.pdf", "contentType": "application/pdf", "size": 123_456,
                })),
                "responses": with_problems(json!({
                    "201": answer("Where and how to upload", "Presigned", &json!({
                        "url": "http://localhost:3001/mock-upload/tenants%2Ft-123%2Forders%2Fabcd1234%2Finvoice.pdf",
                        "storageKey": STORAGE_KEY,
                        "expiresInSeconds": 120,
                        "headers": { "Content-Type": "application/pdf" },
                    }), &[]),
                }), &["400", "408", "413", "415", "429", "503"]),
            },
        },
        "/mock-upload/{key}": {
            "put": {
                "tags": ["uploads"], "operationId": "receiveUpload", "summary": "Upload a file",
                "description": "Counts the bytes and discards them. There is no limit to the size, and any media type is accepted; an upload that sends nothing for 10 s, or less than 1 KiB/s for long, is given up.",
                "parameters": [{
                    "name": "key", "in": "path", "required": true, "example": STORAGE_KEY, "schema": { "type": "string" },
                    "description": "The storage key, percent-encoded into one segment; slashes may stay as they are",
                }],
                "requestBody": { "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } } },
                "responses": with_problems(json!({
                    "200": answer("The file was received whole", "Received", &json!({ "ok": true, "storageKey": STORAGE_KEY, "size": 6 }), &[]),
                }), &["400", "408", "503"]),
            },
        },
        "/ws/": {
            "get": {
                "tags": ["realtime"], "operationId": "connect", "summary": "Socket.IO, by WebSocket or polling",
                "description": "For a Socket.IO client: `io('http://localhost:3001', { path: '/ws', auth: { tenantId: 't-123' } })`. Events are `order.created` and `order.updated` with `{ orderId, status }`.",
                "responses": with_problems(json!({
                    "101": { "description": "A WebSocket" },
                    "200": { "description": "Engine.IO packets" },
                    "400": { "description": "Not an Engine.IO request" },
                }), &["502", "503"]),
            },
        },
        "/openapi.json": { "get": probe("describe", "This document", "application/json", &["200"]) },
        "/livez": { "get": probe("live", "Is the process alive?", "text/plain", &["200"]) },
        "/healthz": { "get": probe("health", "The old name of /livez", "text/plain", &["200"]) },
        "/readyz": { "get": probe("ready", "Is it ready for work? With `?verbose` for people", "text/plain", &["200", "503"]) },
        "/metrics": { "get": probe("measure", "Metrics for Prometheus", "text/plain", &["200"]) },
    })
}

fn row() -> Value {
    json!({
        "orderId": ORDER_ID,
        "status": "PENDING",
        "createdAt": "2025-08-26T09:00:00.000Z",
        "buyerEmail": "alice@example.com",
        "total": 99.98,
        "attachment": { "filename": "invoice.pdf", "storageKey": STORAGE_KEY },
    })
}

fn filter(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn moment() -> Value {
    json!({
        "anyOf": [{ "type": "string", "format": "date" }, { "type": "string", "format": "date-time" }],
        "examples": ["2025-08-20", "2025-08-20T09:00:00.000Z"],
    })
}

fn body(schema: &str, example: &Value) -> Value {
    json!({ "required": true, "content": content(schema, example) })
}

fn content(schema: &str, example: &Value) -> Value {
    let schema = reference(&format!("schemas/{schema}"));
    json!({ "application/json": { "schema": schema, "example": example } })
}

/// A response with the named headers and links, as in `headers/location`.
fn answer(description: &str, schema: &str, example: &Value, components: &[&str]) -> Value {
    let content = content(schema, example);
    let mut answer = json!({ "description": description, "content": content });
    for (kind, name) in components.iter().filter_map(|path| path.split_once('/')) {
        answer[kind][name] = reference(&format!("{kind}/{name}"));
    }
    answer
}

/// Any operation may answer 500.
fn with_problems(mut answers: Value, statuses: &[&str]) -> Value {
    for status in statuses.iter().chain(&["500"]) {
        answers[status] = reference(&format!("responses/{status}"));
    }
    answers
}

pub(super) fn probe(id: &str, summary: &str, media_type: &str, statuses: &[&str]) -> Value {
    let responses = statuses.iter().map(|status| {
        let description = if *status == "200" { "Yes" } else { "No" };
        let answer = json!({ "description": description, "content": { media_type: {} } });
        ((*status).to_owned(), answer)
    });
    let responses: Map<_, _> = responses.collect();
    json!({ "tags": ["operations"], "operationId": id, "summary": summary, "responses": responses })
}
