use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OrderId, OrderRow, Status, Timestamp};

/// The id of an order that is stored: the answer to `POST /api/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(description = "The id of an order that is stored.")]
pub struct OrderRef {
    /// The order's id.
    pub order_id: OrderId,
}

/// Whether a webhook counted: the answer to `POST /api/payments/webhook` and `/api/payments/stripe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "Whether a webhook counted.")]
pub struct PaymentAnswer {
    /// True if it tells of a payment, which is stored now; false if it tells of something else.
    pub accepted: bool,
}

/// One page of orders, newest first: the answer to `GET /api/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(description = "One page of orders, newest first.")]
pub struct OrderList {
    /// The orders of this page.
    pub items: Vec<OrderRow>,
    /// The number of this page, from 1.
    pub page: u64,
    /// How many orders a page has at most.
    pub limit: u64,
    /// How many orders all pages have. Up to 10,000 it is exact; above that, `totalAsOf` or `totalRelation` is present.
    pub total: u64,
    /// When the orders were counted, at most 30 s ago; absent when `total` was counted for this very answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_as_of: Option<Timestamp>,
    /// `gte` when `total` is a lower bound, because the orders are still being counted; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_relation: Option<TotalRelation>,
}

/// How the number of orders relates to a `total` that is not the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TotalRelation {
    /// There are at least so many.
    Gte,
}

/// The state of an order after a request: the answer to a cancel, and to a request that waits for the writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(description = "The state of an order after the request.")]
pub struct OrderState {
    /// The order's id.
    pub order_id: OrderId,
    /// `CANCELLED`; or `ACCEPTED` when the request is stored and will be carried out later.
    pub status: &'static str,
}

impl OrderState {
    /// A request that is stored and will be carried out later.
    pub fn accepted(order_id: OrderId) -> Self {
        let status = "ACCEPTED";
        Self { order_id, status }
    }

    /// An order that is cancelled.
    pub fn cancelled(order_id: OrderId) -> Self {
        let status = Status::Cancelled.as_str();
        Self { order_id, status }
    }
}

/// Where and how to upload a file: the answer to `POST /api/uploads/presign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Presigned", description = "Where and how to upload a file.")]
pub struct PresignedUpload {
    /// Where to PUT the file.
    pub url: String,
    /// The key by which an order's attachment refers to the file.
    pub storage_key: String,
    /// How long the URL is valid.
    pub expires_in_seconds: u32,
    /// The headers to send with the file.
    pub headers: BTreeMap<&'static str, String>,
}

/// A file that was received whole: the answer to the upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Received", description = "A file that was received whole.")]
pub struct ReceivedUpload {
    /// Always true.
    pub ok: bool,
    /// The key from the path.
    pub storage_key: String,
    /// The number of bytes received.
    pub size: u64,
}

/// The body of every error: what NestJS sends (`statusCode`, `message`, `error`) and RFC 9457 problem details in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Problem")]
pub struct ProblemDetails {
    /// The HTTP status.
    pub status_code: u16,
    /// Every fault, with the dotted path of its field.
    pub message: Vec<String>,
    /// The name of the HTTP status.
    pub error: String,
    /// The kind of problem, a URI; `about:blank` when the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, always the same for a `type`.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// The request that went wrong: `urn:orders:request:`, and its `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The id of its trace, by which logs and traces name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Every faulty field.
    pub errors: Vec<Fault>,
    /// The limits that the request exceeds, when it is one too many: `tenant`, for example.
    #[serde(
        rename = "violated-policies",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub violated_policies: Vec<String>,
}

/// A faulty field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Where it is, as a JSON pointer: `#/items/0/qty`.
    pub pointer: String,
    /// The rule it breaks: `must be an integer number`.
    pub detail: String,
}
