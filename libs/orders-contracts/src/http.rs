use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OrderId, OrderRow, Timestamp};

/// The id of an order that is stored: the answer to `POST /api/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(description = "The id of an order that is stored.")]
pub struct OrderRef {
    /// The order's id.
    pub order_id: OrderId,
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

/// Every error of the API: what NestJS sends (`statusCode`, `message`, `error`) and RFC 9457 problem details in one.
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
    /// What kind of problem it is, a URI; `about:blank` when the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, always the same for a `type`.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// Every faulty field.
    pub errors: Vec<Fault>,
}

/// A faulty field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Where it is, as a JSON pointer: `#/items/0/qty`.
    pub pointer: String,
    /// The rule it breaks: `must be an integer number`.
    pub detail: String,
}
