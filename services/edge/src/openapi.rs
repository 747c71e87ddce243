//! The OpenAPI document: `schemas/openapi.json` in the repository, `/openapi.json` in the API.

use orders_contracts::{
    CreateOrder, OrderList, OrderRef, OrderRow, PresignUpload, ProblemDetails, Status, TenantId,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    idempotency,
    problem::{self, PROBLEM_JSON},
    query,
    routes::{
        orders::OrderState,
        uploads::{Presigned, Received},
    },
};

/// The document as JSON text.
pub fn openapi() -> String {
    serde_json::to_string_pretty(&document()).expect("JSON values can be written") + "\n"
}

pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Orders API",
            "version": "1",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Orders that are stored exactly once, listed as soon as they are answered, and paid a few seconds later. Changes come by Socket.IO at `/ws`.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "orders", "description": "Create, cancel and list orders" },
            { "name": "uploads", "description": "A mock of an object store with presigned URLs" },
            { "name": "realtime", "description": "Changes as they happen" },
            { "name": "operations", "description": "Health, metrics and this document" },
        ],
        "paths": paths(),
        "components": {
            "parameters": parameters(),
            "headers": headers(),
            "links": links(),
            "responses": responses(),
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    json!({
        "/api/orders": {
            "get": {
                "tags": ["orders"],
                "operationId": "listOrders",
                "summary": "List a tenant's orders, newest first",
                "parameters": [
                    parameter("tenantId"),
                    filter("status", "Only orders in this status", &schema_ref("Status")),
                    filter("buyerEmail", "Only orders of exactly this buyer", &json!({ "type": "string", "format": "email" })),
                    filter("from", "Only orders from this day (UTC) or moment on, itself included", &moment()),
                    filter("to", "Only orders up to this day (UTC) or moment, itself included", &moment()),
                    filter("page", "Which page. It costs what all pages before it cost. One that ends behind row 1,000 may be refused (503) while others ask for such pages, or when it takes more than 4 s; with a `cursor` each costs what the first one costs.", &json!({ "type": "integer", "minimum": 1, "maximum": query::MAX_PAGE, "default": 1 })),
                    filter("cursor", "Begin behind the last order of an earlier page, as its `Link` says; `page` is then no more than a number. However deep the page is, it costs what the first one does.", &json!({ "type": "string", "pattern": r"^[0-9]{1,15}\.ord_[a-z2-7]{26}$" })),
                    filter("limit", "Orders per page", &json!({ "type": "integer", "minimum": 1, "maximum": query::MAX_LIMIT, "default": query::DEFAULT_LIMIT })),
                ],
                "responses": with_problems(json!({
                    "200": with_headers(
                        answer("One page of orders", "OrderList", &json!({
                            "items": [row()], "page": 1, "limit": 10, "total": 1,
                        })),
                        &["link"],
                    ),
                }), &["400", "503"]),
            },
            "post": {
                "tags": ["orders"],
                "operationId": "createOrder",
                "summary": "Create an order",
                "description": "The same `requestId` of the same tenant creates no second order: the first one's id is answered again. An answer of 201 or 200 means that the order is stored, and, with `x-projected: true`, that lists show it.",
                "parameters": [parameter("idempotencyKey"), parameter("traceparent")],
                "requestBody": body("CreateOrder", &json!({
                    "requestId": "r1",
                    "tenantId": "t-123",
                    "buyer": { "email": "alice@example.com", "name": "Alice" },
                    "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
                    "attachment": {
                        "filename": "invoice.pdf",
                        "contentType": "application/pdf",
                        "size": 123_456,
                        "storageKey": STORAGE_KEY,
                    },
                })),
                "responses": with_problems(json!({
                    "201": with_links(with_headers(
                        answer("The order was created", "OrderRef", &json!({ "orderId": ORDER_ID })),
                        &["location", "x-projected"],
                    )),
                    "200": with_links(with_headers(
                        answer("The order had been created by an earlier request", "OrderRef", &json!({ "orderId": ORDER_ID })),
                        &["x-idempotent-replayed", "x-idempotency-mismatch", "x-projected"],
                    )),
                    "202": with_links(with_headers(
                        answer(
                            "The request is safe, and the order will be stored when the writer is back",
                            "OrderState",
                            &json!({ "orderId": ORDER_ID, "status": "ACCEPTED" }),
                        ),
                        &["location"],
                    )),
                }), &["400", "408", "413", "415", "422", "503"]),
            },
        },
        "/api/orders/{orderId}": {
            "get": {
                "tags": ["orders"],
                "operationId": "showOrder",
                "summary": "Show one order",
                "parameters": [parameter("orderId"), parameter("tenantId")],
                "responses": with_problems(
                    json!({ "200": answer("The order", "OrderRow", &row()) }),
                    &["400", "404", "503"],
                ),
            },
        },
        "/api/orders/{orderId}/cancel": {
            "post": {
                "tags": ["orders"],
                "operationId": "cancelOrder",
                "summary": "Cancel an order that is PENDING",
                "description": "An order that is cancelled already answers 200 again; one that is paid answers 409.",
                "parameters": [parameter("orderId"), parameter("traceparent")],
                "requestBody": body("CancelRequest", &json!({ "tenantId": "t-123" })),
                "responses": with_problems(json!({
                    "200": with_headers(
                        answer("The order is cancelled", "OrderState", &json!({ "orderId": ORDER_ID, "status": "CANCELLED" })),
                        &["x-projected"],
                    ),
                    "202": with_headers(
                        answer(
                            "The request is safe, and will be decided when the writer is back",
                            "OrderState",
                            &json!({ "orderId": ORDER_ID, "status": "ACCEPTED" }),
                        ),
                        &["location"],
                    ),
                }), &["400", "404", "408", "409", "413", "415", "503"]),
            },
        },
        "/api/uploads/presign": {
            "post": {
                "tags": ["uploads"],
                "operationId": "presignUpload",
                "summary": "Get a URL to upload a file to",
                "requestBody": body("PresignUpload", &json!({
                    "tenantId": "t-123", "filename": "invoice.pdf", "contentType": "application/pdf", "size": 123_456,
                })),
                "responses": with_problems(json!({
                    "201": answer("Where and how to upload", "Presigned", &json!({
                        "url": "http://localhost:3001/mock-upload/tenants%2Ft-123%2Forders%2Fabcd1234%2Finvoice.pdf",
                        "storageKey": STORAGE_KEY,
                        "expiresInSeconds": 120,
                        "headers": { "Content-Type": "application/pdf" },
                    })),
                }), &["400", "408", "413", "415"]),
            },
        },
        "/mock-upload/{key}": {
            "put": {
                "tags": ["uploads"],
                "operationId": "receiveUpload",
                "summary": "Upload a file",
                "description": "Counts the bytes and keeps none. There is no limit to the size.",
                "parameters": [{
                    "name": "key", "in": "path", "required": true,
                    "description": "The storage key, percent-encoded into one segment",
                    "schema": { "type": "string" },
                    "example": STORAGE_KEY,
                }],
                "requestBody": { "content": { "*/*": {} } },
                "responses": with_problems(json!({
                    "200": answer("The file came whole", "Received", &json!({ "ok": true, "storageKey": STORAGE_KEY, "size": 6 })),
                }), &["400"]),
            },
        },
        "/ws/": {
            "get": {
                "tags": ["realtime"],
                "operationId": "connect",
                "summary": "Socket.IO, by websocket or polling",
                "description": "For a Socket.IO client: `io('http://localhost:3001', { path: '/ws', auth: { tenantId: 't-123' } })`. Events are `order.created` and `order.updated` with `{ orderId, status }`.",
                "responses": with_problems(json!({
                    "101": { "description": "A websocket" },
                    "200": { "description": "Engine.IO packets" },
                    "400": { "description": "Not a request of Engine.IO" },
                }), &["502", "503"]),
            },
        },
        "/openapi.json": { "get": operation("describe", "This document", "application/json", &["200"]) },
        "/livez": { "get": operation("live", "Is the process alive?", "text/plain", &["200"]) },
        "/healthz": { "get": operation("health", "The old name of /livez", "text/plain", &["200"]) },
        "/readyz": { "get": operation("ready", "Is it ready for work? With `?verbose` for people", "text/plain", &["200", "503"]) },
        "/metrics": { "get": operation("measure", "Metrics for Prometheus", "text/plain", &["200"]) },
    })
}

const ORDER_ID: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";
const STORAGE_KEY: &str = "tenants/t-123/orders/abcd1234/invoice.pdf";

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

fn parameters() -> Value {
    json!({
        "tenantId": {
            "name": "tenantId", "in": "query", "required": true, "description": "Whose orders",
            "schema": schema_ref("TenantId"), "example": "t-123",
        },
        "orderId": {
            "name": "orderId", "in": "path", "required": true, "description": "Which order",
            "schema": schema_ref("OrderId"), "example": ORDER_ID,
        },
        "idempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Stands in for `requestId`; 1 to 255 visible ASCII characters, quoted or not. When both are given they must be the same.",
            "schema": { "type": "string", "pattern": idempotency::PATTERN }, "example": "\"r1\"",
        },
        "traceparent": {
            "name": "traceparent", "in": "header", "description": "The trace to continue (W3C trace context)",
            "schema": { "type": "string" },
        },
    })
}

fn headers() -> Value {
    let flag = json!({ "type": "string", "enum": ["true", "false"] });
    let always = json!({ "type": "string", "const": "true" });
    json!({
        "location": { "description": "Where the order is", "schema": { "type": "string", "format": "uri-reference" } },
        "x-projected": {
            "description": "Whether lists show the order already; `false` when the projector takes longer than 500 ms",
            "schema": flag,
        },
        "x-idempotent-replayed": { "description": "An earlier request had created the order", "schema": always },
        "x-idempotency-mismatch": {
            "description": "Present when the earlier request had another body, which is the one that counts",
            "schema": always,
        },
        "link": {
            "description": "`rel=\"next\"`, absent from the last page, and `rel=\"first\"`: the same list with a `cursor`, and from its beginning (RFC 8288)",
            "schema": { "type": "string" },
        },
        "retry-after": { "description": "When to try again, in seconds", "schema": { "type": "integer" } },
    })
}

/// What can be done with the order that was just created.
fn links() -> Value {
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

fn responses() -> Value {
    use problem::Kind;
    let all = [
        (
            Kind::Validation,
            "The request is malformed or breaks a rule; nothing is stored",
        ),
        (Kind::NotFound, "The tenant has no such order"),
        (Kind::Timeout, "The body took too long to arrive"),
        (
            Kind::NotCancellable,
            "The order is paid and cannot be cancelled",
        ),
        (Kind::TooLarge, "The body exceeds 512 KiB"),
        (
            Kind::UnsupportedMediaType,
            "The body is not application/json",
        ),
        (
            Kind::IdempotencyMismatch,
            "The request id was used for another body, and the service is set to reject that",
        ),
        (Kind::BadGateway, "No realtime daemon answers"),
        (
            Kind::Unavailable,
            "Nothing is known to be stored; the same request again is safe",
        ),
        (Kind::Internal, "A fault of the service"),
    ];
    let responses = all.into_iter().map(|(kind, description)| {
        let (kind_uri, title) = kind.type_and_title();
        let status = kind.status();
        let content = json!({
            "schema": schema_ref("Problem"),
            "example": {
                "statusCode": status.as_u16(),
                "message": [description],
                "error": status.canonical_reason(),
                "type": kind_uri,
                "title": title,
                "status": status.as_u16(),
                "detail": description,
                "errors": [],
            },
        });
        let mut response = json!({
            "description": description,
            "content": { "application/json": content, PROBLEM_JSON: content },
        });
        if kind == Kind::Unavailable {
            response = with_headers(response, &["retry-after"]);
        }
        (status.as_str().to_owned(), response)
    });
    Value::Object(responses.collect())
}

fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    add::<CreateOrder>(&mut generator);
    add::<PresignUpload>(&mut generator);
    add::<OrderRow>(&mut generator);
    add::<OrderList>(&mut generator);
    add::<OrderRef>(&mut generator);
    add::<OrderState>(&mut generator);
    add::<Presigned>(&mut generator);
    add::<Received>(&mut generator);
    add::<Status>(&mut generator);
    add::<TenantId>(&mut generator);
    add::<ProblemDetails>(&mut generator);
    let mut schemas = generator.take_definitions(true);
    // The header Idempotency-Key may stand in for it, and null is as good as nothing.
    let create = &mut schemas["CreateOrder"];
    if let Some(required) = create["required"].as_array_mut() {
        required.retain(|name| name != "requestId");
    }
    let request_id = create["properties"]["requestId"].take();
    create["properties"]["requestId"] = json!({ "anyOf": [request_id, { "type": "null" }] });
    let cancel = json!({
        "type": "object",
        "description": "Whose order to cancel.",
        "properties": { "tenantId": schema_ref("TenantId") },
        "required": ["tenantId"],
        "additionalProperties": false,
    });
    schemas.insert("CancelRequest".to_owned(), cancel);
    schemas
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

fn schema_ref(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn filter(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn moment() -> Value {
    json!({
        "type": "string",
        "anyOf": [{ "format": "date" }, { "format": "date-time" }],
        "examples": ["2025-08-20", "2025-08-20T09:00:00.000Z"],
    })
}

fn body(schema: &str, example: &Value) -> Value {
    let content = json!({ "schema": schema_ref(schema), "example": example });
    json!({ "required": true, "content": { "application/json": content } })
}

fn answer(description: &str, schema: &str, example: &Value) -> Value {
    let content = json!({ "schema": schema_ref(schema), "example": example });
    json!({ "description": description, "content": { "application/json": content } })
}

fn with_headers(mut answer: Value, names: &[&str]) -> Value {
    for name in names {
        answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
    answer
}

fn with_links(mut answer: Value) -> Value {
    for name in ["show", "cancel"] {
        answer["links"][name] = json!({ "$ref": format!("#/components/links/{name}") });
    }
    answer
}

fn with_problems(mut answers: Value, statuses: &[&str]) -> Value {
    for status in statuses.iter().chain(&["500"]) {
        answers[status] = json!({ "$ref": format!("#/components/responses/{status}") });
    }
    answers
}

fn operation(id: &str, summary: &str, media_type: &str, statuses: &[&str]) -> Value {
    let responses = statuses.iter().map(|status| {
        let description = if *status == "200" { "Yes" } else { "No" };
        (
            (*status).to_owned(),
            json!({ "description": description, "content": { media_type: {} } }),
        )
    });
    json!({
        "tags": ["operations"],
        "operationId": id,
        "summary": summary,
        "responses": responses.collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn refs<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| refs(value, found));
            }
            Value::Array(elements) => elements.iter().for_each(|value| refs(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let document = document();
        let mut used = BTreeSet::new();
        refs(&document, &mut used);
        for reference in &used {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (kind, components) in document["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                assert!(
                    used.contains(format!("#/components/{kind}/{name}").as_str()),
                    "{kind}/{name} is not used"
                );
            }
        }
    }

    #[test]
    fn operations_have_ids_of_their_own() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<&Value> = paths
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
            .collect();
        let ids: BTreeSet<_> = operations
            .iter()
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), operations.len());
    }
}
