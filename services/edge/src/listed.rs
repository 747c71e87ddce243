use std::time::Duration;

use orders_contracts::{OrderId, OrderRow, TenantId};
use orders_store::ReadModel;
use tokio::time::{sleep, timeout};

use crate::deadlines::LISTED;

const FIRST_PAUSE: Duration = Duration::from_millis(5);

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
