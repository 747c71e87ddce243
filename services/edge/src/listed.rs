use std::time::Duration;

use orders_bus::Bus;
use orders_contracts::{Channel, OrderId, OrderRow, TenantId, streams::ORDERS_COMMANDS};
use orders_store::{ReadModel, WriteModel};
use tokio::time::{sleep, timeout};

use crate::deadlines::LISTED;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// How long NATS may take to say whether a create waits.
const WAITING: Duration = Duration::from_millis(250);

/// Whether lists come to show the order as `wanted` within [`LISTED`], for a decision that the projector need not
/// announce because it is an earlier command's.
pub(crate) async fn is_listed(
    rows: &ReadModel,
    tenant: &TenantId,
    order_id: &OrderId,
    wanted: impl Fn(&OrderRow) -> bool,
) -> bool {
    let polling = async {
        let mut pause = FIRST_PAUSE;
        while !matches!(rows.get(tenant, order_id).await, Ok(Some((_, row))) if wanted(&row)) {
            sleep(pause).await;
            pause *= 2;
        }
    };
    timeout(LISTED, polling).await.is_ok()
}

/// The orders that are not listed yet.
pub(crate) struct Unlisted {
    pub(crate) bus: Bus,
    pub(crate) orders: WriteModel,
}

impl Unlisted {
    /// Whether lists may come to show the order: a create of its tenant waits for the writer, or the writer has stored it.
    /// Looks in this order, because an order goes that way.
    pub(crate) async fn may_have(&self, tenant: &TenantId, order_id: &OrderId) -> bool {
        let create = Channel::CreateOrder;
        let oldest = self.bus.oldest(&ORDERS_COMMANDS, create, tenant);
        match timeout(WAITING, oldest).await {
            Ok(Ok(None)) => !matches!(self.orders.has(tenant, order_id).await, Ok(false)),
            // One waits, or nobody knows.
            _ => true,
        }
    }
}
