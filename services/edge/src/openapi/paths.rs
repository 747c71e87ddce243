//! The operations.

use orders_contracts::sse;
use serde_json::{Map, Value, json};

use super::{
    components::{ORDER_ID, reference},
    payments, reads, uploads,
};
use crate::payments::Way;

pub(super) const STORAGE_KEY: &str = "tenants/t-123/orders/abcd1234/invoice.pdf";

pub(super) fn paths() -> Value {
    let order_ref = json!({ "orderId": ORDER_ID });
    let accepted = json!({ "orderId": ORDER_ID, "status": "ACCEPTED" });
    let cancelled = json!({ "orderId": ORDER_ID, "status": "CANCELLED" });
    json!({
        "/api/orders": {
            "get": reads::list(),
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
                }), &["400", "408", "409", "413", "415", "422", "429", "503"]),
            },
        },
        (sse::PATH): {
            "get": {
                "tags": ["orders"], "operationId": "followOrders", "summary": "Follow a tenant's orders, as Server-Sent Events",
                "description": "Events are `order.created` and `order.updated`, with JSON of `orderId`, `status` and `version`, once lists show the change. The `id` of each is the place after it; a client that comes back with the last one as `Last-Event-ID`, as an `EventSource` does by itself, gets what it missed, in order, and then what comes. `feed.reset` says that this is not possible: load the list again. A stream that says nothing sends a comment every 15 s. It ends when the token does, when the service stops, or when the client reads too slowly: come back.",
                "parameters": [reference("parameters/tenantId"), {
                    "name": "Last-Event-ID", "in": "header", "description": "The `id` of the last event that the client has seen",
                    "schema": { "type": "string" },
                }],
                "responses": with_problems(json!({
                    "200": {
                        "description": "The stream, which goes on until either side ends it",
                        "content": { "text/event-stream": {
                            "example": format!("id: 1763856000000.42.1763856000777\nretry: 2000\n\nid: 1763856000000.43.1763856000901\nevent: order.created\ndata: {{\"orderId\":\"{ORDER_ID}\",\"status\":\"PENDING\",\"version\":1}}\n\n"),
                        } },
                    },
                }), &["400", "429", "502", "503"]),
            },
        },
        "/api/orders/export": { "get": reads::export() },
        "/api/orders/{orderId}": { "get": reads::show() },
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
        "/api/orders/{orderId}/attachment": { "get": uploads::download() },
        (Way::Standard.path()): { "post": payments::standard() },
        (Way::Stripe.path()): { "post": payments::stripe() },
        "/api/uploads/presign": { "post": uploads::presign() },
        "/mock-upload/{key}": { "put": uploads::receive() },
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

pub(super) fn body(schema: &str, example: &Value) -> Value {
    json!({ "required": true, "content": content(schema, example) })
}

fn content(schema: &str, example: &Value) -> Value {
    let schema = reference(&format!("schemas/{schema}"));
    json!({ "application/json": { "schema": schema, "example": example } })
}

/// A response with the named headers and links, as in `headers/location`.
pub(super) fn answer(
    description: &str,
    schema: &str,
    example: &Value,
    components: &[&str],
) -> Value {
    let content = content(schema, example);
    let mut answer = json!({ "description": description, "content": content });
    for (kind, name) in components.iter().filter_map(|path| path.split_once('/')) {
        answer[kind][name] = reference(&format!("{kind}/{name}"));
    }
    answer
}

/// Any operation may answer 500.
pub(super) fn with_problems(mut answers: Value, statuses: &[&str]) -> Value {
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
