use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommandId, FieldError, Status};

/// What the edge is told about one of its commands. A message has an array of them, for commands of the same edge, and
/// goes to the [`ReplyTo`](crate::ReplyTo) of any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Which command it is about.
    pub command: CommandId,
    /// What became of it.
    pub reply: Reply,
}

/// What became of a command.
///
/// The writer's decision and the projector's [`Projected`](Self::Projected) may come in either order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Reply {
    /// This command stored the order.
    Created,
    /// An earlier command with the same request id had stored the order.
    Replayed {
        /// Whether the earlier command had the same body.
        same_body: bool,
    },
    /// This command cancelled the order.
    Cancelled,
    /// The order had been cancelled before.
    AlreadyCancelled,
    /// Nothing was stored.
    Refused(Refusal),
    /// The list shows the order at this version.
    Projected {
        /// The version that the list shows.
        version: u32,
    },
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "reason",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Refusal {
    /// The command is malformed or breaks a rule; it was dead-lettered.
    Invalid {
        /// Every fault that was found.
        errors: Vec<FieldError>,
    },
    /// The tenant has no such order.
    NotFound,
    /// The order is stored, but the writer cannot read it; the command was dead-lettered.
    Unreadable,
    /// The order's status is final and another one.
    Conflict {
        /// The status that stands in the way.
        status: Status,
    },
}
