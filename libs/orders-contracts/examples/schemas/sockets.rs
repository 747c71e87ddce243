//! The AsyncAPI document of what clients receive as it happens, over Socket.IO and as Server-Sent Events.

use orders_contracts::{
    Offset, TenantId, schema_settings,
    socket::{
        AUTH_EXPIRING, AUTH_REFRESH, AuthExpiring, AuthRefresh, CONNECTED, Connected, FEED_RESET,
        FeedReset, ORDER_CREATED, ORDER_UPDATED, OrderChange, Position, RECEIVED, Refreshed, SENT,
    },
    sse,
};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

const ACK: &str = "auth.refresh.ack";

/// An AsyncAPI 3.0 document of what Socket.IO clients receive and send, and of what others may follow.
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
    let mut told = Map::new();
    let query = json!({
        "type": "object",
        "properties": { "tenantId": inline::<TenantId>() },
        "required": ["tenantId"],
    });
    for event in sse::EVENTS {
        told.insert(event.to_owned(), server_sent(event));
        operations.insert(
            format!("realtime.tell.{event}"),
            json!({
                "action": "send",
                "channel": { "$ref": "#/channels/events" },
                "messages": [{ "$ref": format!("#/channels/events/messages/{event}") }],
                "bindings": { "http": { "method": "GET", "query": query } },
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "orders pipeline, changes as they happen",
            "version": "1",
            "description": "Over Socket.IO, a payload is the array of an event's arguments. A client connects with \
                `auth: {tenantId, serverOffset, token}`: the token is needed if the installation checks tokens, and \
                `serverOffset` is the last `offset` that the client has seen. A refused client gets one of the texts \
                below in `connect_error` and does not retry by itself. Make `auth` a function that gets a fresh token, \
                and connect again after a pause.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": { "host": "localhost:3001", "pathname": "/ws", "protocol": "socket.io" },
            "http": { "host": "localhost:3001", "protocol": "http" },
        },
        "channels": { "events": {
            "address": sse::PATH,
            "servers": [{ "$ref": "#/servers/http" }],
            "description": "The changes of a tenant's orders as Server-Sent Events. The name of a message is its `event`, \
                its payload the `data`. A client that sends the last `id` as `Last-Event-ID` goes on where it was.",
            "messages": told,
        }, "socket": {
            "address": "/",
            "servers": [{ "$ref": "#/servers/local" }],
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

fn server_sent(event: &str) -> Value {
    let (summary, payload) = match event {
        ORDER_CREATED => (
            "The list now has the order.",
            inline::<sse::OrderChange<'_>>(),
        ),
        ORDER_UPDATED => (
            "The list now shows this status.",
            inline::<sse::OrderChange<'_>>(),
        ),
        FEED_RESET => (
            "The server cannot go on from the client's offset: load the list again.",
            inline::<FeedReset>(),
        ),
        other => panic!("nobody has described {other}"),
    };
    json!({
        "name": event,
        "summary": summary,
        "headers": {
            "type": "object",
            "properties": { "id": inline::<Offset>() },
            "required": ["id"],
        },
        "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": payload },
    })
}

fn message(event: &str) -> Value {
    let (summary, payload) = match event {
        CONNECTED => (
            "Greets a client in the room of its tenant.",
            inline::<(Connected<'_>, Position)>(),
        ),
        ORDER_CREATED => (
            "The list now has the order.",
            inline::<(OrderChange<'_>, Position)>(),
        ),
        ORDER_UPDATED => (
            "The list now shows this status.",
            inline::<(OrderChange<'_>, Position)>(),
        ),
        FEED_RESET => (
            "The server cannot resume from the client's offset: load the list again.",
            inline::<(FeedReset, Position)>(),
        ),
        AUTH_EXPIRING => (
            "The client's token is about to expire: send another one.",
            inline::<(AuthExpiring,)>(),
        ),
        AUTH_REFRESH => (
            "Another token of the same subject, for the same tenant; at most every 10 s.",
            inline::<(AuthRefresh,)>(),
        ),
        ACK => ("What became of the token.", inline::<(Refreshed,)>()),
        other => panic!("nobody has described {other}"),
    };
    json!({
        "name": event,
        "summary": summary,
        "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": payload },
    })
}

fn inline<T: JsonSchema>() -> Value {
    let mut settings = schema_settings();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.into()
}
