//! Moving orders to a final status: read, decide, store. Cancels and payments both do it, and the store decides which
//! comes first.

use orders_bus::Failure;
use orders_contracts::{Status, Timestamp};
use orders_domain::{Decision, Request, decide};
use orders_service::{failpoint, retry};
use orders_store::{Error as StoreError, OrderKey};

use crate::Writer;

/// The name of its span.
pub(crate) const BULK: &str = "bulk update orders_write";

impl Writer {
    /// Moves the orders in `requests` to the final status `to` with one bulk update, as far as their tenants have them
    /// and they can be moved. The decisions are in the order of the requests.
    pub(crate) async fn transition(
        &self,
        requests: &[Request<'_>],
        to: Status,
    ) -> Result<Vec<Decision>, Failure> {
        let keys: Vec<OrderKey<'_>> = requests.iter().map(OrderKey::from).collect();
        let orders = self.load(&keys).await?;
        let decisions = decide(requests, &orders, to, Timestamp::now());
        let moved: Vec<_> = decisions.iter().filter_map(Decision::moved).collect();
        let Some(first) = moved.first() else {
            return Ok(decisions);
        };
        let keys: Vec<OrderKey<'_>> = moved.iter().copied().map(OrderKey::from).collect();
        let count = retry("move orders", StoreError::is_transient, || {
            self.orders.move_pending(&keys, to, first.updated_at)
        })
        .await
        .map_err(Failure::refused)?;
        failpoint("writer.moved").await;
        if count == keys.len() as u64 {
            return Ok(decisions);
        }
        // Another writer was faster, or an earlier attempt succeeded unnoticed: decide again by the stored orders.
        let stored = self.load(&keys).await?;
        let again = decide(requests, &stored, to, Timestamp::now());
        if again.iter().any(|decision| decision.moved().is_some()) {
            return Err(Failure::later("the database did not move all orders"));
        }
        let decisions = requests.iter().zip(decisions).zip(again);
        let decisions = decisions.map(|((request, first), again)| {
            match stored.contains_key(request.order_id) {
                true => again,
                false => first,
            }
        });
        Ok(decisions.collect())
    }
}
