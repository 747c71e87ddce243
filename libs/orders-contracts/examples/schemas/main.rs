//! Writes what crosses the bus below the folder it is given: a JSON Schema for every message, and the AsyncAPI document
//! that says which travels where, and what each role may do on NATS. `cargo xtask schemas` calls it.

mod sockets;

use std::{fs, path::Path};

use orders_contracts::{
    Answer, CancelOrder, Channel, Claim, CreateOrder, Deployment, FeedEntry, OrderEvent, OrderPaid,
    PaymentFailed, Permissions, Revocation, Role, schema_settings, streams,
};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

fn main() -> std::io::Result<()> {
    let out = std::env::args().nth(1).expect("usage: schemas OUT_DIR");
    let out = Path::new(&out);
    write(
        out,
        "commands/create-order.v1.json",
        &schema::<CreateOrder>(),
    )?;
    write(
        out,
        "commands/cancel-order.v1.json",
        &schema::<CancelOrder>(),
    )?;
    write(out, "events/order-event.v1.json", &schema::<OrderEvent>())?;
    write(out, "events/order-paid.v1.json", &schema::<OrderPaid>())?;
    write(
        out,
        "events/payment-failed.v1.json",
        &schema::<PaymentFailed>(),
    )?;
    write(out, "events/feed-entry.v1.json", &schema::<FeedEntry>())?;
    write(out, "replies/answers.v1.json", &schema::<Vec<Answer>>())?;
    write(out, "events/revocation.v1.json", &schema::<Revocation>())?;
    write(out, "asyncapi.json", &asyncapi())?;
    write(out, "sockets.json", &sockets::asyncapi())?;
    write(out, "nats-permissions.json", &permissions())
}

/// The lists of all roles, in an installation without a namespace.
fn permissions() -> Value {
    let list = |role: Role| {
        let permissions = Permissions::of(role, &Deployment::default());
        (role.as_str().to_owned(), json!(permissions))
    };
    Value::Object(Role::ALL.into_iter().map(list).collect())
}

fn schema<T: JsonSchema>() -> Value {
    let schema: Schema = schema_settings()
        .into_generator()
        .into_root_schema_for::<T>();
    schema.into()
}

/// A channel's name in documents, who sends on it, who receives from it, and the schema of its bodies.
fn describe(
    channel: Channel,
) -> (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
) {
    match channel {
        Channel::CreateOrder => (
            "createOrder",
            &["edge"],
            &["writer"],
            "commands/create-order.v1.json",
        ),
        Channel::CancelOrder => (
            "cancelOrder",
            &["edge"],
            &["writer"],
            "commands/cancel-order.v1.json",
        ),
        Channel::OrderCreated => (
            "orderCreated",
            &["writer"],
            &["projector", "payment-simulator"],
            "events/order-event.v1.json",
        ),
        Channel::OrderUpdated => (
            "orderUpdated",
            &["writer"],
            &["projector"],
            "events/order-event.v1.json",
        ),
        Channel::OrderPaid => (
            "orderPaid",
            &["payment-simulator", "edge", "orderctl"],
            &["writer"],
            "events/order-paid.v1.json",
        ),
        Channel::PaymentFailed => (
            "paymentFailed",
            &["edge"],
            &["writer"],
            "events/payment-failed.v1.json",
        ),
        Channel::FeedCreated => (
            "feedCreated",
            &["projector"],
            &["realtime"],
            "events/feed-entry.v1.json",
        ),
        Channel::FeedUpdated => (
            "feedUpdated",
            &["projector"],
            &["realtime"],
            "events/feed-entry.v1.json",
        ),
    }
}

/// An AsyncAPI 3.0 document of the whole bus.
fn asyncapi() -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for channel in Channel::ALL {
        let (name, senders, receivers, schema) = describe(channel);
        let address = channel.of_all_tenants().as_str().replace('*', "{tenantId}");
        let stream = streams::ALL
            .into_iter()
            .find(|stream| address.starts_with(stream.subjects.trim_end_matches('>')))
            .expect("every channel is in a stream");
        let body = json!({ "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": { "$ref": schema } });
        channels.insert(
            name.to_owned(),
            json!({
                "address": address,
                "parameters": { "tenantId": { "description": "The tenant, [A-Za-z0-9_-]{1,64}." } },
                "messages": { name: {
                    "name": channel.message_type(),
                    "contentType": "application/json",
                    "headers": { "$ref": "#/components/schemas/headers" },
                    "payload": body,
                } },
                "x-jetstream-stream": stream.name,
            }),
        );
        let reference = json!({ "$ref": format!("#/channels/{name}") });
        for sender in senders {
            operations.insert(
                format!("{sender}.send.{name}"),
                json!({ "action": "send", "channel": reference }),
            );
        }
        for receiver in receivers {
            operations.insert(
                format!("{receiver}.receive.{name}"),
                json!({ "action": "receive", "channel": reference }),
            );
        }
    }
    revocations(&mut channels, &mut operations);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "orders pipeline",
            "version": "1",
            "description": "Messages are CloudEvents 1.0 in binary mode: attributes in headers, the data as a JSON body.",
        },
        "defaultContentType": "application/json",
        "servers": { "local": { "host": "localhost:4222", "protocol": "nats" } },
        "channels": channels,
        "operations": operations,
        "components": { "schemas": { "headers": {
            "type": "object",
            "required": ["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time"],
            "properties": {
                "ce-specversion": { "const": "1.0" },
                "ce-id": { "type": "string", "description": "A command's id, or <order id>:<version>." },
                "ce-type": { "type": "string" },
                "ce-source": { "type": "string", "examples": ["/orders/writer"] },
                "ce-subject": { "type": "string", "description": "The order's id." },
                "ce-time": { "type": "string", "format": "date-time" },
                "ce-datacontenttype": { "const": "application/json" },
                "ce-traceparent": {
                    "type": "string",
                    "description": "W3C trace context of the span that published it. A `traceparent` is read where this is missing, as version 0.1 wrote it.",
                },
                "Orders-Reply-To": { "type": "string", "description": "Where an edge awaits the outcome." },
            },
        } } },
    })
}

/// The one channel that is not of a tenant.
fn revocations(channels: &mut Map<String, Value>, operations: &mut Map<String, Value>) {
    let hash = |of: &str| json!({ "description": format!("The hash of {of}: 26 characters of lower-case base32.") });
    channels.insert(
        "revoked".to_owned(),
        json!({
            "address": "orders.auth.revoked.{issuer}.{claim}.{value}",
            "parameters": {
                "issuer": hash("the tokens' `iss`"),
                "claim": { "enum": Claim::ALL.map(Claim::as_str), "description": "The claim that tokens are revoked by." },
                "value": hash("its value"),
            },
            "messages": { "revoked": {
                "name": "orders.auth.revoked.v1",
                "contentType": "application/json",
                "payload": {
                    "schemaFormat": "application/schema+json;version=draft-2020-12",
                    "schema": { "$ref": "events/revocation.v1.json" },
                },
            } },
            "x-jetstream-stream": streams::REVOCATIONS.name,
        }),
    );
    let reference = json!({ "$ref": "#/channels/revoked" });
    for sender in ["orderctl", "web"] {
        operations.insert(
            format!("{sender}.send.revoked"),
            json!({ "action": "send", "channel": reference }),
        );
    }
    for receiver in ["edge", "realtime", "web"] {
        operations.insert(
            format!("{receiver}.receive.revoked"),
            json!({ "action": "receive", "channel": reference }),
        );
    }
}

fn write(out: &Path, name: &str, document: &Value) -> std::io::Result<()> {
    let path = out.join(name);
    fs::create_dir_all(path.parent().expect("every name has a folder"))?;
    let text = serde_json::to_string_pretty(document).map_err(std::io::Error::other)?;
    fs::write(path, text + "\n")
}
