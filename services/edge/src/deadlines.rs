//! Every deadline of a command, in the order in which they run. The bus bounds the publishing itself by
//! [`PUBLISH_DEADLINE`](orders_bus::PUBLISH_DEADLINE).

use std::time::Duration;

/// For the writer's decision, from before the command is published.
pub(crate) const DECISION: Duration = Duration::from_secs(3);
/// For the writer's decision while the writer is silent.
pub(crate) const SILENT: Duration = Duration::from_millis(100);
/// For lists to show what the writer decided, from the decision.
pub(crate) const LISTED: Duration = Duration::from_millis(500);
/// From the arrival of a command of a tenant that has too many in flight to its refusal, whether it is beyond the limit
/// or waits for its turn.
pub(crate) const REFUSAL: Duration = Duration::from_millis(500);
