//! The AsyncAPI document of the Socket.IO events.

use orders_contracts::{
    schema_settings,
    socket::{
        AUTH_EXPIRING, AUTH_REFRESH, AuthExpiring, AuthRefresh, CONNECTED, Connected, FEED_RESET,
        FeedReset, ORDER_CREATED, ORDER_UPDATED, OrderChange, Position, RECEIVED, Refreshed, SENT,
    },
};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

const ACK: &str = "auth.refresh.ack";

/// An AsyncAPI 3.0 document of what Socket.IO clients receive and send.
pub(crate) fn asyncapi() -> Value {
    let (mut messages, mut operations) = (Map::new(), Map::new());
    for event in RECEIVED.into_iter().chain(SENT).chain([ACK]) {
        messages.insert(event.to_owned(), message(event));
    }
    let channel = json!({ "$ref": "#/channels/socket" });
    let reference =
        |event: &str| json!([{ "$ref": format!("#/channels/socket/messages/{event}") }]);
    for event in RECEIVED {
        operations.insert(
            format!("realtime.send.{event}"),
            json!({ "action": "send", "channel": channel, "messages": reference(event) }),
        );
    }
    for event in SENT {
        operations.insert(
            format!("realtime.receive.{event}"),
            json!({
                "action": "receive",
                "channel": channel,
                "messages": reference(event),
                "reply": { "channel": channel, "messages": reference(ACK) },
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "orders pipeline, Socket.IO events",
            "version": "1",
            "description": "A payload is the array of an event's arguments. A client connects with \
                `auth: {tenantId, serverOffset, token}`: the token is needed if the installation checks tokens, and \
                `serverOffset` is the last `offset` that the client has seen. A refused client gets one of the texts \
                below in `connect_error` and does not retry by itself. Make `auth` a function that gets a fresh token, \
                and connect again after a pause.",
        },
        "defaultContentType": "application/json",
        "servers": { "local": { "host": "localhost:3001", "pathname": "/ws", "protocol": "socket.io" } },
        "channels": { "socket": {
            "address": "/",
            "description": "The default namespace.",
            "messages": messages,
            "x-refusals": [
                "unauthorized: token required",
                "unauthorized: token expired",
                "forbidden: tenant",
                "unavailable: keys",
                "limit: sockets",
            ],
        } },
        "operations": operations,
    })
}

fn message(event: &str) -> Value {
    let (summary, payload) = match event {
        CONNECTED => (
            "Greets a client in the room of its tenant.",
            arguments::<(Connected<'_>, Position)>(),
        ),
        ORDER_CREATED => (
            "The list now has the order.",
            arguments::<(OrderChange<'_>, Position)>(),
        ),
        ORDER_UPDATED => (
            "The list now shows this status.",
            arguments::<(OrderChange<'_>, Position)>(),
        ),
        FEED_RESET => (
            "The server cannot resume from the client's offset: load the list again.",
            arguments::<(FeedReset, Position)>(),
        ),
        AUTH_EXPIRING => (
            "The client's token is about to expire: send another one.",
            arguments::<(AuthExpiring,)>(),
        ),
        AUTH_REFRESH => (
            "Another token of the same subject, for the same tenant; at most every 10 s.",
            arguments::<(AuthRefresh,)>(),
        ),
        ACK => ("What became of the token.", arguments::<(Refreshed,)>()),
        other => panic!("nobody has described {other}"),
    };
    json!({
        "name": event,
        "summary": summary,
        "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": payload },
    })
}

fn arguments<T: JsonSchema>() -> Value {
    let mut settings = schema_settings();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.into()
}
