//! Every deadline of a command, in the order in which they run. The bus bounds the publishing itself by
//! [`PUBLISH_DEADLINE`](orders_bus::PUBLISH_DEADLINE).

use std::time::Duration;

/// For the writer's decision, from before the command is published.
pub(crate) const DECISION: Duration = Duration::from_secs(3);
/// For the writer's decision while the writer is silent.
pub(crate) const SILENT: Duration = Duration::from_millis(100);
/// For lists to show what the writer decided, from the decision.
pub(crate) const LISTED: Duration = Duration::from_millis(500);
/// For the turn of a command while other tenants send too. With the bus's own deadline it stays below 2 s.
pub(crate) const TURN: Duration = Duration::from_millis(400);
/// From the arrival of a command beyond its tenant's limit to its refusal, on average: between half and one and a half of
/// it.
pub(crate) const REFUSAL: Duration = Duration::from_millis(500);
