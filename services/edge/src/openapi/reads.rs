//! The operations that read orders.

use orders_contracts::{
    http_header,
    query::{DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE},
};
use serde_json::{Value, json};

use super::{
    components::{ORDER_ID, reference},
    paths::{STORAGE_KEY, answer, with_problems},
};

/// `GET /api/orders`
pub(super) fn list() -> Value {
    let mut parameters = filters();
    parameters.extend([
        parameter("page", "Which page. It costs what all pages before it cost. One that ends behind row 1,000 may be refused (503) while others ask for such pages, or when it takes more than 4 s; with a `cursor` each costs what the first one costs.", &json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 1 })),
        parameter("cursor", "Begin after the last order of an earlier page, as its `Link` says; `page` is then no more than a number. However deep the page is, it costs what the first one does.", &json!({ "type": "string", "pattern": r"^[0-9]{1,15}\.ord_[a-z2-7]{26}$" })),
        parameter("limit", "Orders per page", &json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT })),
        parameter("expand", "With `summary`, each order also has its `buyerName`, `itemCount` and `currency`, as far as they are known", &json!({ "type": "string", "enum": ["summary"] })),
    ]);
    let examples = json!({
        "plain": { "value": { "items": [row()], "page": 1, "limit": 10, "total": 1 } },
        "summary": {
            "summary": "With expand=summary",
            "value": { "items": [expanded_row()], "page": 1, "limit": 10, "total": 1 },
        },
    });
    let page = json!({
        "description": "One page of orders",
        "headers": { "link": reference("headers/link") },
        "content": { "application/json": { "schema": reference("schemas/OrderList"), "examples": examples } },
    });
    json!({
        "tags": ["orders"], "operationId": "listOrders", "summary": "List a tenant's orders, newest first",
        "parameters": parameters,
        "responses": with_problems(json!({ "200": page }), &["400", "429", "503"]),
    })
}

/// `GET /api/orders/export`
pub(super) fn export() -> Value {
    let format = json!({ "type": "string", "enum": ["csv", "ndjson"], "default": "csv" });
    let mut parameters = filters();
    parameters.push(parameter(
        "format",
        "`csv` is for spreadsheet programs, `ndjson` for all other programs",
        &format,
    ));
    let csv = format!(
        "orderId,status,createdAt,buyerEmail,total,attachmentFilename,attachmentStorageKey,buyerName,itemCount,currency\r\n\
         {ORDER_ID},PENDING,2025-08-26T09:00:00.000Z,alice@example.com,99.98,invoice.pdf,{STORAGE_KEY},Alice,1,EUR\r\n"
    );
    let ndjson = format!("{}\n{{\"exported\":1,\"complete\":true}}\n", expanded_row());
    let text = |example: String| json!({ "schema": { "type": "string" }, "example": example });
    let description = format!(
        "All orders of the list, newest first, one a line. NDJSON has what a list with `expand=summary` has, and a last line \
         with the number of orders, without which it is not whole. CSV (RFC 4180) has the same in columns; where a \
         spreadsheet program would take a cell, or a part of one, for a formula, an apostrophe comes first. An export that fails breaks off its \
         connection before the end of the body; of a complete one, a client that sends `TE: trailers` gets the number of \
         orders in the trailer `{}`. A tenant has at most two exports at once, and a client that reads too slowly is cut off.",
        http_header::EXPORT_ROWS
    );
    json!({
        "tags": ["orders"], "operationId": "exportOrders", "summary": "Export a tenant's orders as a file",
        "description": description,
        "parameters": parameters,
        "responses": with_problems(json!({
            "200": {
                "description": "The file, as long as it lasts",
                "headers": { "content-disposition": reference("headers/content-disposition") },
                "content": { "text/csv": text(csv), "application/x-ndjson": text(ndjson) },
            },
        }), &["400", "429", "503", "505"]),
    })
}

/// `GET /api/orders/{orderId}`
pub(super) fn show() -> Value {
    let known = "The `ETag`s of the versions that the client has, or `*`; if the order still is one of them, the answer is 304";
    json!({
        "tags": ["orders"], "operationId": "showOrder", "summary": "Show one order, with all that is known of it",
        "description": "It tells what the list will show: a moment after a change, it may be ahead of the list.",
        "parameters": [reference("parameters/orderId"), reference("parameters/tenantId"), {
            "name": "If-None-Match", "in": "header", "description": known,
            "schema": { "type": "string" }, "example": "\"1\"",
        }],
        "responses": with_problems(json!({
            "200": answer("The order", "OrderDetails", &details(), &["headers/etag"]),
            "304": {
                "description": "The client has the order as it is",
                "headers": { "etag": reference("headers/etag") },
            },
        }), &["400", "404", "429", "503"]),
    })
}

/// The parameters that say which orders are wanted.
fn filters() -> Vec<Value> {
    let text = |max| json!({ "type": "string", "minLength": 1, "maxLength": max });
    vec![
        reference("parameters/tenantId"),
        parameter(
            "status",
            "Only orders in this status",
            &reference("schemas/Status"),
        ),
        parameter(
            "buyerEmail",
            "Only orders of this buyer; upper and lower case are the same, and so are a domain in Unicode and in ASCII",
            &json!({ "type": "string", "format": "email" }),
        ),
        parameter(
            "q",
            "Only orders whose id, or whose buyer's e-mail address, begins like this; upper and lower case are the same",
            &text(254),
        ),
        parameter(
            "requestId",
            "Only the order that this `requestId` has created",
            &text(255),
        ),
        parameter(
            "from",
            "Only orders from this day (UTC) or moment on, itself included. Any date or time of ISO 8601; a time without an offset is in UTC, and a whole month, week or year is meant as one.",
            &moment(),
        ),
        parameter(
            "to",
            "Only orders up to this day (UTC) or moment, itself included; read as `from` is",
            &moment(),
        ),
    ]
}

fn parameter(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn moment() -> Value {
    json!({
        "anyOf": [{ "type": "string", "format": "date" }, { "type": "string", "format": "date-time" }],
        "examples": ["2025-08-20", "2025-08-20T09:00:00.000Z"],
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

fn expanded_row() -> Value {
    let mut row = row();
    for (name, value) in [
        ("buyerName", json!("Alice")),
        ("itemCount", json!(1)),
        ("currency", json!("EUR")),
    ] {
        row[name] = value;
    }
    row
}

fn details() -> Value {
    let (created, paid) = ("2025-08-26T09:00:00.000Z", "2025-08-26T09:00:05.000Z");
    json!({
        "orderId": ORDER_ID,
        "status": "PAID",
        "createdAt": created,
        "buyerEmail": "alice@example.com",
        "total": 99.98,
        "attachment": { "filename": "invoice.pdf", "storageKey": STORAGE_KEY, "contentType": "application/pdf", "size": 123_456 },
        "requestId": "r1",
        "buyer": { "email": "Alice@example.com", "name": "Alice" },
        "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99, "lineTotal": 99.98 }],
        "metadata": { "channel": "web" },
        "currency": "EUR",
        "updatedAt": paid,
        "paidAt": paid,
        "version": 2,
        "history": [{ "status": "PENDING", "at": created }, { "status": "PAID", "at": paid }],
    })
}
