//! The operations on files.

use serde_json::{Value, json};

use super::{
    components::reference,
    paths::{STORAGE_KEY, answer, body, with_problems},
};

/// `POST /api/uploads/presign`
pub(super) fn presign() -> Value {
    json!({
        "tags": ["uploads"], "operationId": "presignUpload", "summary": "Get a URL to upload a file to",
        "description": "PUT the file to `url` with all `headers`, which are signed: the URL takes no other size and type, and with `sha256` no other content. A browser sends `Content-Length` by itself. Order the file within 23 hours. While uploads are a mock, `sha256` counts for nothing.",
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
    })
}

/// `PUT /mock-upload/{key}`
pub(super) fn receive() -> Value {
    json!({
        "tags": ["uploads"], "operationId": "receiveUpload", "summary": "Upload a file to the mock",
        "description": "Counts the bytes and discards them. There is no limit to the size, and any media type is accepted; an upload that sends nothing for 10 s, or less than 1 KiB/s for long, is given up. Where uploads go to a bucket, it answers 404.",
        "parameters": [{
            "name": "key", "in": "path", "required": true, "example": STORAGE_KEY, "schema": { "type": "string" },
            "description": "The storage key, percent-encoded into one segment; slashes may stay as they are",
        }],
        "requestBody": { "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } } },
        "responses": with_problems(json!({
            "200": answer("The file was received whole", "Received", &json!({ "ok": true, "storageKey": STORAGE_KEY, "size": 6 }), &[]),
        }), &["400", "404", "408", "503"]),
    })
}

/// `GET /api/orders/{orderId}/attachment`
pub(super) fn download() -> Value {
    let location = json!({
        "description": "Where to download the file for a minute",
        "schema": { "type": "string", "format": "uri" },
    });
    json!({
        "tags": ["uploads"], "operationId": "downloadAttachment", "summary": "Download the file of an order",
        "description": "Leads to the bucket, which sends the file as a download with its name. It is the file that was there when the order was accepted, or none. While uploads are a mock there is none.",
        "parameters": [reference("parameters/orderId"), reference("parameters/tenantId")],
        "responses": with_problems(json!({
            "303": { "description": "The file is elsewhere", "headers": { "location": location } },
        }), &["400", "404", "409", "410", "422", "429", "503"]),
    })
}
