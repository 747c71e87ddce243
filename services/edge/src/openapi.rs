//! The OpenAPI document: `schemas/openapi.json` in the repository, `/openapi.json` in the API.
//!
//! It is written by hand around the schemas of the contracts: the handlers take raw bodies and queries, which the
//! contracts check, so a library such as aide could infer no more than the status codes, and it has no builders for
//! response headers, links and shared components.

mod components;
mod paths;
mod payments;
mod reads;
mod security;
mod uploads;

use orders_contracts::{
    CreateOrder, OrderDetails, OrderList, OrderRef, OrderRow, OrderState, PaymentAnswer,
    PaymentWebhook, PresignUpload, PresignedUpload, ProblemDetails, ReceivedUpload, Status,
    TenantId, schema_settings,
};
use serde_json::{Map, Value, json};

/// The document as JSON text, as it is in mode off.
pub fn openapi() -> String {
    text(None)
}

/// The document as JSON text; with an issuer, whose tokens are required, as in mode jwt.
pub(crate) fn text(issuer: Option<&str>) -> String {
    serde_json::to_string_pretty(&document(issuer)).expect("JSON values can be written") + "\n"
}

pub(crate) fn document(issuer: Option<&str>) -> Value {
    let mut document = open();
    if let Some(issuer) = issuer {
        security::require(&mut document, issuer);
    }
    document
}

/// The document without identity.
fn open() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Orders API",
            "version": "1",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Orders that are stored exactly once, listed as soon as they are answered, and paid a few seconds later. Changes come by Socket.IO at `/ws`, or as Server-Sent Events. Every answer has an `x-request-id`, by which its lines in the logs are found: the one that the client sent, or a new one; where the service records its trace, it also has a `traceresponse`.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "orders", "description": "Create, cancel and list orders" },
            { "name": "payments", "description": "Webhooks of whoever takes payments" },
            { "name": "uploads", "description": "Files: to a bucket by presigned URLs, or to a mock of one" },
            { "name": "realtime", "description": "Changes as they happen" },
            { "name": "operations", "description": "Health, metrics and this document" },
        ],
        "paths": paths::paths(),
        "components": {
            "parameters": components::parameters(),
            "headers": components::headers(),
            "links": components::links(),
            "responses": components::responses(),
            "schemas": schemas(),
        },
    })
}

fn schemas() -> Map<String, Value> {
    let settings =
        schema_settings().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    // A tuple is not a component, but each of its elements is.
    generator.subschema_for::<(
        CreateOrder,
        PresignUpload,
        OrderRow,
        OrderList,
        OrderDetails,
        OrderRef,
        OrderState,
    )>();
    generator.subschema_for::<(
        PresignedUpload,
        ReceivedUpload,
        Status,
        TenantId,
        ProblemDetails,
        PaymentWebhook,
        PaymentAnswer,
    )>();
    let mut schemas = generator.take_definitions(true);
    // What the edge finds is in commands only.
    if let Some(file) = schemas["Attachment"]["properties"].as_object_mut() {
        file.retain(|name, _| !["etag", "version"].contains(&name.as_str()));
    }
    // The header Idempotency-Key may stand in for it, and null counts as absent.
    let create = &mut schemas["CreateOrder"];
    if let Some(required) = create["required"].as_array_mut() {
        required.retain(|name| name != "requestId");
    }
    let request_id = create["properties"]["requestId"].take();
    create["properties"]["requestId"] = json!({ "anyOf": [request_id, { "type": "null" }] });
    let cancel = json!({
        "type": "object",
        "description": "Whose order to cancel.",
        "properties": { "tenantId": components::reference("schemas/TenantId") },
        "required": ["tenantId"],
        "additionalProperties": false,
    });
    schemas.insert("CancelRequest".to_owned(), cancel);
    schemas
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
        for issuer in [None, Some("https://login.example")] {
            check(&document(issuer));
        }
    }

    fn check(document: &Value) {
        let mut used = BTreeSet::new();
        refs(document, &mut used);
        for reference in &used {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let components = document["components"].as_object().unwrap();
        // Schemes are named by operations.
        for (kind, components) in components
            .iter()
            .filter(|(kind, _)| *kind != "securitySchemes")
        {
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
        let document = document(Some("https://login.example"));
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
